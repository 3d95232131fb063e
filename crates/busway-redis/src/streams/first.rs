//! Where the first of events lies that were sent again. Their ids are remembered without their places: most come again soon, and lie near the end.

use std::collections::BTreeMap;

use redis::Value;

use super::adding::Outgoing;
use super::fetch::{array, bytes, text};
use super::message::from_fields;
use super::place::Place;
use super::shared::Shared;

/// Looks for each among the last entries of its partition. `None` for one that is not among these: it is there once all the same, or was.
///
/// # Cancel safety
/// Safe: it only reads.
pub(super) async fn find(shared: &Shared, known: &[&Outgoing<'_>]) -> Vec<Option<Place>> {
    let mut places = vec![None; known.len()];
    if !known.is_empty()
        && tokio::time::timeout(shared.timeout, look(shared, known, &mut places)).await.is_err()
    {
        tracing::debug!("the places of events that were sent again were not found in time");
    }
    places
}

async fn look(shared: &Shared, known: &[&Outgoing<'_>], places: &mut [Option<Place>]) {
    let mut partitions = BTreeMap::<&str, Vec<(usize, &[u8; 16])>>::new();
    for (at, message) in known.iter().enumerate() {
        let Some(key) = message.declared.partitions.get(message.partition) else { continue };
        partitions.entry(key).or_default().push((at, &message.id));
    }
    for (key, mut wanted) in partitions {
        let mut end = "+".to_owned();
        for _ in 0..PAGES {
            let Some(page) = page(shared, key, &end).await else { break };
            let Some((last, _)) = page.last() else { break };
            end = format!("({last}");
            for (place, id) in &page {
                wanted.retain(|(at, wanted)| {
                    let is_found = id.as_ref() == Some(*wanted);
                    if let (true, Some(slot)) = (is_found, places.get_mut(*at)) {
                        *slot = Some(*place);
                    }
                    !is_found
                });
            }
            if wanted.is_empty() {
                break;
            }
        }
    }
}

/// Places, the last ones first, and the ids of their events. `None` when the server does not say.
async fn page(shared: &Shared, key: &str, end: &str) -> Option<Vec<(Place, Option<[u8; 16]>)>> {
    let mut question = redis::cmd("XREVRANGE");
    question.arg(key).arg(end).arg("-").arg("COUNT").arg(PAGE);
    let mut connection = shared.link.connection.clone();
    let entries = array(question.query_async::<Value>(&mut connection).await.ok()?)?;
    let read = |entry: Value| {
        let [id, fields] = <[Value; 2]>::try_from(array(entry)?).ok()?;
        let fields = array(fields)?.into_iter().map(bytes).collect::<Option<Vec<_>>>()?;
        let event = from_fields(String::new(), fields).ok();
        Some((Place::parse(&text(id)?)?, event.map(|event| *event.id().as_uuid().as_bytes())))
    };
    entries.into_iter().map(read).collect()
}

/// Of entries that are asked for at once; so many times they are.
const PAGE: usize = 256;
const PAGES: usize = 8;
