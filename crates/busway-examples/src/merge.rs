//! The merge: the union of what workers have stored, by the ids of events, counted as one process counts it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use busway::prelude::*;
use busway::{BoxError, EventId};
use serde_json::Value;

use crate::board::{Boards, Carriers};
use crate::flight::Status;
use crate::output::Figures;
use crate::worker::{self, SEEN, Seen};

/// The figures of all stores together, as the example `flights` prints them.
///
/// # Errors
/// A store cannot be read.
pub async fn merge(stores: &[PathBuf], bad_rows: u64, elapsed: Duration) -> Result<Value, BoxError> {
    let mut all: BTreeMap<EventId, Seen> = BTreeMap::new();
    for store in stores {
        let bus = worker::open(store, &Arc::default()).await?;
        for (id, seen) in bus.read(|tables| tables.range(&SEEN, .., usize::MAX))? {
            match all.get(&id) {
                // Done twice, for the first time was not settled: the first one counts.
                Some(other) if other.ended <= seen.ended => {}
                _ => _ = all.insert(id, seen),
            }
        }
        bus.shutdown(Duration::from_secs(10)).await;
    }
    Ok(Figures::new(&counted(all.values()), 0, bad_rows, elapsed).to_json())
}

fn counted<'a>(all: impl Iterator<Item = &'a Seen>) -> Boards {
    let mut carriers = Carriers::default();
    let (mut delays, mut at_jfk, mut alerts) = (0, 0, 0);
    let mut of_aircraft: HashMap<&str, Vec<&Seen>> = HashMap::new();
    for seen in all {
        let flight = &seen.flight;
        carriers.events += 1;
        *carriers.by_status.entry(flight.status.word()).or_default() += 1;
        *carriers.by_origin.entry(flight.origin.clone()).or_default() += 1;
        carriers.by_carrier.entry(flight.carrier.clone()).or_default().count(flight);
        delays += u64::from(matches!(flight.status, Status::Delayed { .. }));
        at_jfk += u64::from(seen.at_jfk);
        alerts += u64::from(seen.priority == 0);
        of_aircraft.entry(&flight.tail_number).or_default().push(seen);
    }
    let out_of_order = of_aircraft.into_values().map(out_of_order).sum();
    Boards::of(carriers, [delays, at_jfk, alerts, out_of_order])
}

/// How many of an aircraft's departures began before the one in front of them had ended, wherever they were handled.
fn out_of_order(mut of_aircraft: Vec<&Seen>) -> u64 {
    of_aircraft.sort_unstable_by_key(|seen| seen.row);
    let late =
        of_aircraft.windows(2).filter(|pair| matches!(pair, [before, behind] if behind.begun < before.ended));
    u64::try_from(late.count()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flight::Flight;

    fn seen(row: u64, begun: i64, ended: i64) -> Seen {
        let status = Status::of_delay(20);
        let flight = Flight { carrier: "aa".into(), origin: "jfk".into(), tail_number: "N1".into(), status };
        Seen { flight, row, priority: 1, at_jfk: true, begun, ended }
    }

    #[test]
    fn departures_of_an_aircraft_that_overlap_or_overtake_are_out_of_order() {
        let ordered = [seen(7, 10, 20), seen(9, 20, 30), seen(8, 15, 16)];
        assert_eq!(out_of_order(ordered[..2].iter().collect()), 0);
        assert_eq!(out_of_order(ordered.iter().collect()), 1, "row 8 begins while row 7 is under way");
        let boards = counted(ordered.iter());
        assert_eq!(boards.carriers().events, 3);
    }
}
