//! Between the numbers of a store and the names that people know.

use std::sync::Arc;

use busway_middleware::Position;
use busway_persistence::{LetterKey, ReadError, Store};

use super::error::DeadLetterError;
use super::id::DeadLetterId;

/// The subscriptions of a store that have, or may have, dead letters.
pub(super) struct Names {
    /// Numbers and names: those that are there, and behind them those that were removed.
    known: Vec<(u32, Arc<str>)>,
}

impl Names {
    pub(super) fn read(store: &Store) -> Result<Self, ReadError> {
        // The last one that bore a name goes on bearing it when it is removed: no other letter comes under an id that is known.
        let removed = store.removed_subscriptions()?.into_iter().rev();
        let all = store.subscription_names()?.into_iter().chain(removed);
        Ok(Self { known: all.map(|(number, name)| (number, name.into())).collect() })
    }

    /// The numbers of a name: several when one was removed and made again. Each of them has a [name of its own](Self::own_name).
    pub(super) fn numbers(&self, name: &str) -> Result<Vec<u32>, DeadLetterError> {
        let numbered =
            name.rsplit_once(REMOVED).and_then(|(name, number)| Some((name, number.parse::<u32>().ok()?)));
        let of_name = self.known.iter().filter(|(number, known)| {
            **known == *name
                || numbered.is_some_and(|(name, numbered)| **known == *name && *number == numbered)
        });
        let numbers: Vec<u32> = of_name.map(|(number, _)| *number).collect();
        match numbers.is_empty() {
            true => Err(DeadLetterError::UnknownSubscription { name: name.to_owned() }),
            false => Ok(numbers),
        }
    }

    /// The name that bears, or bore, a number.
    pub(super) fn of(&self, number: u32) -> Option<&Arc<str>> {
        self.known.iter().find(|(known, _)| *known == number).map(|(_, name)| name)
    }

    /// A name that no other subscription has: of those that bore the same, one that was removed before has its number behind it.
    fn own_name(&self, number: u32, name: &Arc<str>) -> Arc<str> {
        let bearer = self.known.iter().find(|(_, known)| known == name);
        match bearer.is_some_and(|(bearer, _)| *bearer != number) {
            true => format!("{name}{REMOVED}{number}").into(),
            false => Arc::clone(name),
        }
    }

    /// The name of a letter.
    pub(super) fn id(&self, store: &Store, key: LetterKey) -> DeadLetterId {
        let name = self.of(key.subscription).map(|name| self.own_name(key.subscription, name));
        let subscription = name.unwrap_or_else(|| key.subscription.to_string().into());
        let (stream, partition) = store.partition_name(key.partition).unwrap_or(("", 0));
        DeadLetterId {
            subscription,
            position: Position { stream: stream.into(), partition, offset: key.offset },
        }
    }

    /// Where a letter lies.
    pub(super) fn key(&self, store: &Store, id: &DeadLetterId) -> Result<LetterKey, DeadLetterError> {
        let Position { stream, partition, offset } = &id.position;
        let unknown = || DeadLetterError::Unknown { id: id.clone() };
        let mut partitions = store.partitions(stream).ok_or_else(unknown)?;
        let partition = partitions.nth(usize::from(*partition)).ok_or_else(unknown)?;
        // The first one bears the name; the others have names of their own.
        let subscription = self.numbers(&id.subscription)?.first().copied().ok_or_else(unknown)?;
        let key = LetterKey { subscription, partition, offset: *offset };
        if store.has_letter(key)? { Ok(key) } else { Err(unknown()) }
    }
}

/// In no name that a subscription can have.
const REMOVED: char = '#';
