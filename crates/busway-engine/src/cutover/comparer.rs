//! Comparing what a broker delivers with the log: pure.
//!
//! Each side says what it has, in its order. An event is *matched* when both have said it and it is the same in both; what one side has and the other has not said within a while
//! is a difference. The memory is bounded: a side of which 32 Ki events are open is held back until the other has said them, or their time has run out. What a broker delivers again is no
//! difference, as far as it is among the last 16 Ki that were judged, whatever the judgement was.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use busway_event::{AnyEvent, EventId, Key, Timestamp};

use super::last::Last;

/// What differed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CarriedDifference {
    /// The log has it, and the broker did not deliver it in time, be it that it was not sent in time. Should it come later, that is not counted. Not counted either is what the broker says that it had before: it was sent before
    /// the comparison began.
    Missing,
    /// The broker delivered it, and the log of this process has it not: another process published it, be it of another producer or of the same. Not counted is what this producer made before
    /// the comparison began: it may have been on its way.
    Foreign,
    /// Both have it, and this is not the same.
    Changed(&'static str),
    /// Both have it, and an event of its key that came before it in the log came behind it.
    Overtaken,
}

/// What was compared so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Compared {
    /// Events that both sides have alike.
    pub matched: u64,
    /// See [`CarriedDifference::Missing`].
    pub missing: u64,
    /// See [`CarriedDifference::Foreign`].
    pub foreign: u64,
    /// See [`CarriedDifference::Changed`].
    pub changed: u64,
    /// See [`CarriedDifference::Overtaken`].
    pub overtaken: u64,
    /// Events that one side has said and the other has not yet.
    pub open: u64,
}

/// A side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Log,
    Broker,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Comparer {
    patience: Duration,
    origin: Origin,
    open: HashMap<EventId, Open>,
    /// In the order in which they were said, for their time to run out.
    ages: VecDeque<(Instant, EventId)>,
    /// Of each key: the numbers of its events in the log that the broker has not delivered yet.
    expected: HashMap<Key, VecDeque<EventId>>,
    /// How many are open that each side has said.
    ahead: [usize; 2],
    /// Those that were judged last.
    judged: Last,
    /// Those of which the broker has said last that it had them before: nobody who began since is given them.
    there_before: Last,
    compared: Compared,
}

/// Whose log it is, and since when it is compared.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) producer: String,
    pub(super) began: Timestamp,
}

impl Origin {
    /// Whether it may have been on its way when the comparison began: the log's side does not say it then.
    fn may_have_sent(&self, event: &AnyEvent) -> bool {
        event.time() < self.began && event.metadata().producer() == self.producer
    }
}

/// What one side has said and the other has not.
#[derive(Debug)]
struct Open {
    side: Side,
    event: AnyEvent,
    until: Instant,
}

impl Comparer {
    pub(super) fn new(patience: Duration, origin: Origin) -> Self {
        Self {
            patience,
            origin,
            open: HashMap::new(),
            ages: VecDeque::new(),
            expected: HashMap::new(),
            ahead: [0; 2],
            judged: Last::default(),
            there_before: Last::default(),
            compared: Compared::default(),
        }
    }

    /// Whether a side has to wait for the other.
    pub(super) fn is_ahead(&self, side: Side) -> bool {
        let [log, broker] = self.ahead;
        OPEN_MAX <= if side == Side::Log { log } else { broker }
    }

    fn open_of(&mut self, side: Side) -> &mut usize {
        let [log, broker] = &mut self.ahead;
        if side == Side::Log { log } else { broker }
    }

    /// Takes an open one out.
    fn close(&mut self, id: EventId) -> Option<Open> {
        let open = self.open.remove(&id)?;
        *self.open_of(open.side) -= 1;
        Some(open)
    }

    /// The broker says that it had this before.
    pub(super) fn was_there(&mut self, id: EventId) {
        self.there_before.remember(id);
    }

    pub(super) fn compared(&self) -> Compared {
        let open = u64::try_from(self.open.len()).unwrap_or(u64::MAX);
        Compared { open, ..self.compared }
    }

    /// A side has this. Says what differs, if both have it now and it does.
    pub(super) fn said(
        &mut self,
        side: Side,
        event: AnyEvent,
        now: Instant,
    ) -> Vec<(AnyEvent, CarriedDifference)> {
        match self.open.get(&event.id()).map(|open| open.side) {
            // Delivered again.
            Some(before) if before == side => Vec::new(),
            Some(_) => self.matched(&event, side),
            // Likewise, behind its judgement; or it comes at last.
            None if self.judged.has(event.id()) => Vec::new(),
            None => {
                if side == Side::Log
                    && let Some(key) = event.key()
                {
                    self.expected.entry(key.clone()).or_default().push_back(event.id());
                }
                let until = now + self.patience;
                if self.ages.len() >= 4 * OPEN_MAX {
                    let open = &self.open;
                    self.ages.retain(|(until, id)| open.get(id).is_some_and(|open| open.until == *until));
                }
                self.ages.push_back((until, event.id()));
                *self.open_of(side) += 1;
                self.open.insert(event.id(), Open { side, event, until });
                Vec::new()
            }
        }
    }

    fn matched(&mut self, event: &AnyEvent, side: Side) -> Vec<(AnyEvent, CarriedDifference)> {
        let Some(open) = self.close(event.id()) else { return Vec::new() };
        self.judged.remember(event.id());
        let (logged, delivered) = match side {
            Side::Broker => (&open.event, event),
            Side::Log => (event, &open.event),
        };
        let mut differences = Vec::new();
        if let Some(what) = changed(logged, delivered) {
            self.compared.changed += 1;
            differences.push((event.clone(), CarriedDifference::Changed(what)));
        }
        // What the broker said first has no place among those that the log expects.
        if side == Side::Broker && !self.is_next_of_its_key(event) {
            self.compared.overtaken += 1;
            differences.push((event.clone(), CarriedDifference::Overtaken));
        }
        if differences.is_empty() {
            self.compared.matched += 1;
        }
        differences
    }

    /// Takes it out of what is expected of its key; whether it was the first of it.
    fn is_next_of_its_key(&mut self, event: &AnyEvent) -> bool {
        let Some(key) = event.key() else { return true };
        let Some(expected) = self.expected.get_mut(key) else { return true };
        let place = expected.iter().position(|id| *id == event.id());
        if let Some(place) = place {
            expected.remove(place);
        }
        if expected.is_empty() {
            self.expected.remove(key);
        }
        place.is_none_or(|place| place == 0)
    }

    /// Until when nothing runs out.
    pub(super) fn next_due(&mut self) -> Option<Instant> {
        while let Some((until, id)) = self.ages.front() {
            if self.open.get(id).is_some_and(|open| open.until == *until) {
                return Some(*until);
            }
            self.ages.pop_front();
        }
        None
    }

    /// What one side has and the other has not said in time.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<(AnyEvent, CarriedDifference)> {
        let mut differences = Vec::new();
        while self.next_due().is_some_and(|due| due <= now) {
            let Some(open) = self.ages.pop_front().and_then(|(_, id)| self.close(id)) else { continue };
            let id = open.event.id();
            self.judged.remember(id);
            let difference = match open.side {
                Side::Log => {
                    self.is_next_of_its_key(&open.event);
                    if self.there_before.has(id) {
                        continue;
                    }
                    self.compared.missing += 1;
                    CarriedDifference::Missing
                }
                Side::Broker if self.origin.may_have_sent(&open.event) => continue,
                Side::Broker => {
                    self.compared.foreign += 1;
                    CarriedDifference::Foreign
                }
            };
            differences.push((open.event, difference));
        }
        differences
    }
}

/// What of an event is not as it was; who leads it is said of copies only.
fn changed(logged: &AnyEvent, delivered: &AnyEvent) -> Option<&'static str> {
    let pairs = |event: &AnyEvent| {
        let pairs = event.metadata().iter().filter(|(name, _)| *name != super::LED_BY);
        let mut pairs: Vec<_> = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        pairs.sort_unstable();
        pairs
    };
    let differs = [
        ("topic", logged.topic() != delivered.topic()),
        ("key", logged.key() != delivered.key()),
        ("time", logged.time() != delivered.time()),
        ("priority", logged.priority() != delivered.priority()),
        ("time to live", logged.ttl() != delivered.ttl()),
        ("type", logged.type_name() != delivered.type_name()),
        ("producer", logged.metadata().producer() != delivered.metadata().producer()),
        ("version", logged.metadata().version() != delivered.metadata().version()),
        ("metadata", pairs(logged) != pairs(delivered)),
        ("payload", !is_same_payload(logged, delivered)),
    ];
    differs.into_iter().find_map(|(what, differs)| differs.then_some(what))
}

fn is_same_payload(logged: &AnyEvent, delivered: &AnyEvent) -> bool {
    let bytes = |event: &AnyEvent| event.encoded(usize::MAX).map(|encoded| (encoded.codec, encoded.bytes));
    bytes(logged).ok() == bytes(delivered).ok()
}

/// Events of one side that may be open.
const OPEN_MAX: usize = 32_768;

#[cfg(test)]
mod tests {
    use busway_event::{CodecId, Encoded, Metadata, Parts, Timestamp, Topic};

    use super::*;
    use crate::{Clock as _, SystemClock};

    const PATIENCE: Duration = Duration::from_secs(30);

    fn comparer() -> Comparer {
        began(7)
    }

    /// Of the producer of these events, begun at this time; they are of the time 7.
    fn began(nanos: i64) -> Comparer {
        Comparer::new(PATIENCE, Origin { producer: "shop".to_owned(), began: Timestamp::from_nanos(nanos) })
    }

    fn event(id: &str, key: Option<&str>, payload: &str) -> AnyEvent {
        let (topic, metadata) = (Topic::new("orders.made").unwrap(), Metadata::draft("shop", 1));
        let mut parts = Parts::new(EventId::foreign("shop", id), Timestamp::from_nanos(7), topic, metadata);
        parts.key = key.map(Into::into);
        let bytes = payload.to_owned().into();
        let encoded = Encoded { type_name: "raw".into(), version: 1, codec: CodecId::Raw, bytes };
        AnyEvent::receive(parts, encoded).unwrap()
    }

    fn what(differences: Vec<(AnyEvent, CarriedDifference)>) -> Vec<CarriedDifference> {
        differences.into_iter().map(|(_, difference)| difference).collect()
    }

    #[test]
    fn what_both_say_alike_is_matched_whoever_says_it_first_and_a_mark_is_no_difference() {
        let (mut comparer, now) = (comparer(), SystemClock.now());
        let marked = |event: AnyEvent| {
            event.with_metadata(&event.metadata().with(super::super::LED_BY, "origin").unwrap()).unwrap()
        };
        for (first, second) in [(Side::Log, Side::Broker), (Side::Broker, Side::Log)] {
            let id = format!("{first:?}");
            assert_eq!(what(comparer.said(first, event(&id, Some("k"), "x"), now)), []);
            assert_eq!(what(comparer.said(first, event(&id, Some("k"), "x"), now)), [], "delivered again");
            assert_eq!(comparer.compared().open, 1);
            assert_eq!(what(comparer.said(second, marked(event(&id, Some("k"), "x")), now)), []);
        }
        assert_eq!(comparer.compared(), Compared { matched: 2, ..Compared::default() });
        assert!(what(comparer.overdue(now + 2 * PATIENCE)).is_empty());
    }

    #[test]
    fn what_is_not_as_it_was_is_named() {
        let (mut comparer, now) = (comparer(), SystemClock.now());
        comparer.said(Side::Log, event("1", None, "x"), now);
        let other = comparer.said(Side::Broker, event("1", None, "y"), now);
        assert_eq!(what(other), [CarriedDifference::Changed("payload")]);
        comparer.said(Side::Log, event("2", Some("k"), "x"), now);
        let other = comparer.said(Side::Broker, event("2", None, "x"), now);
        assert_eq!(what(other), [CarriedDifference::Changed("key")]);
        assert_eq!(comparer.compared().changed, 2);
    }

    #[test]
    fn an_event_that_overtakes_one_of_its_key_is_a_difference_and_one_of_another_key_is_none() {
        let (mut comparer, now) = (comparer(), SystemClock.now());
        for (id, key) in [("1", "k"), ("2", "k"), ("3", "other")] {
            comparer.said(Side::Log, event(id, Some(key), "x"), now);
        }
        assert_eq!(what(comparer.said(Side::Broker, event("3", Some("other"), "x"), now)), []);
        let second = comparer.said(Side::Broker, event("2", Some("k"), "x"), now);
        assert_eq!(what(second), [CarriedDifference::Overtaken]);
        assert_eq!(what(comparer.said(Side::Broker, event("1", Some("k"), "x"), now)), []);
        assert_eq!(comparer.compared(), Compared { matched: 2, overtaken: 1, ..Compared::default() });
    }

    #[test]
    fn what_one_side_never_says_is_found_when_its_time_is_over_and_not_before() {
        let (mut comparer, now) = (comparer(), SystemClock.now());
        comparer.said(Side::Log, event("1", Some("k"), "x"), now);
        comparer.said(Side::Broker, event("2", None, "x"), now + PATIENCE / 2);
        assert_eq!(comparer.next_due(), Some(now + PATIENCE));
        assert_eq!(what(comparer.overdue(now + PATIENCE.saturating_sub(Duration::from_nanos(1)))), []);
        assert_eq!(what(comparer.overdue(now + PATIENCE)), [CarriedDifference::Missing]);
        assert_eq!(what(comparer.overdue(now + 2 * PATIENCE)), [CarriedDifference::Foreign]);
        assert_eq!(comparer.compared(), Compared { missing: 1, foreign: 1, ..Compared::default() });
        // It comes at last.
        assert_eq!(what(comparer.said(Side::Broker, event("1", Some("k"), "x"), now)), []);
        assert_eq!(comparer.compared().open, 0);
        // The missing one holds nobody back.
        comparer.said(Side::Log, event("3", Some("k"), "x"), now);
        assert_eq!(what(comparer.said(Side::Broker, event("3", Some("k"), "x"), now)), []);
        assert_eq!(comparer.next_due(), None);
    }

    #[test]
    fn what_was_on_its_way_when_the_comparison_began_is_no_difference() {
        let (mut comparer, now) = (began(8), SystemClock.now());
        comparer.said(Side::Broker, event("1", None, "x"), now);
        assert_eq!(what(comparer.overdue(now + PATIENCE)), []);
        assert_eq!(comparer.compared(), Compared::default());
        // What the log says may not be missing for that.
        comparer.said(Side::Log, event("2", None, "x"), now);
        assert_eq!(what(comparer.overdue(now + PATIENCE)), [CarriedDifference::Missing]);
    }

    #[test]
    fn what_the_broker_had_before_is_not_missing_and_is_compared_if_it_comes() {
        let (mut comparer, now) = (comparer(), SystemClock.now());
        comparer.was_there(event("1", None, "x").id());
        for id in ["1", "2", "3"] {
            comparer.said(Side::Log, event(id, Some("k"), "x"), now);
        }
        comparer.was_there(event("2", None, "x").id());
        let other = comparer.said(Side::Broker, event("2", Some("k"), "y"), now);
        assert_eq!(what(other), [CarriedDifference::Changed("payload"), CarriedDifference::Overtaken]);
        assert_eq!(what(comparer.overdue(now + PATIENCE)), [CarriedDifference::Missing]);
        assert_eq!(comparer.compared().missing, 1, "the third alone");
    }
}
