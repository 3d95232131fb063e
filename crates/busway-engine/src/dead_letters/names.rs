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
        let all = store.subscription_names()?.into_iter().chain(store.removed_subscriptions()?);
        Ok(Self { known: all.map(|(number, name)| (number, name.into())).collect() })
    }

    /// The numbers of a name: several when one was removed and made again.
    pub(super) fn numbers(&self, name: &str) -> Result<Vec<u32>, DeadLetterError> {
        let of_name = self.known.iter().filter(|(_, known)| **known == *name);
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

    /// The name of a letter.
    pub(super) fn id(&self, store: &Store, key: LetterKey) -> DeadLetterId {
        let name = self.of(key.subscription);
        let subscription = name.map_or_else(|| key.subscription.to_string().into(), Arc::clone);
        let (stream, partition) = store.partition_name(key.partition).unwrap_or(("", 0));
        DeadLetterId {
            subscription,
            position: Position { stream: stream.into(), partition, offset: key.offset },
        }
    }

    /// Where a letter lies. Of several subscriptions of the name it is the one that has it.
    pub(super) fn key(&self, store: &Store, id: &DeadLetterId) -> Result<LetterKey, DeadLetterError> {
        let Position { stream, partition, offset } = &id.position;
        let unknown = || DeadLetterError::Unknown { id: id.clone() };
        let mut partitions = store.partitions(stream).ok_or_else(unknown)?;
        let partition = partitions.nth(usize::from(*partition)).ok_or_else(unknown)?;
        for subscription in self.numbers(&id.subscription)? {
            let key = LetterKey { subscription, partition, offset: *offset };
            if store.has_letter(key)? {
                return Ok(key);
            }
        }
        Err(unknown())
    }
}
