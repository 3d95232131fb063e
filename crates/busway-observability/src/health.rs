//! Health: whether a bus works, and what somebody should look at.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::numbers::BusNumbers;
use crate::signal::Circuit;

/// How well a bus is. In rising order of concern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Condition {
    /// All is well.
    #[default]
    Good,
    /// It works, and something of it does not: somebody should look.
    Degraded,
    /// It cannot do what it is for: give it no more work.
    Failed,
}

/// The health of a bus at one moment: the worst of its concerns.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Health {
    /// How well it is.
    pub condition: Condition,
    /// What is not well, the worst first.
    pub concerns: Vec<Concern>,
}

/// Something that is not well.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Concern {
    /// The bus is gone, or was never started.
    Gone,
    /// The bus is being shut down, or was: it accepts no publish from outside any more.
    Closing,
    /// The store has failed and acknowledges nothing more: open it again.
    StoreFaulted,
    /// Handlers of a subscription have overrun their deadline and still run.
    Hung {
        /// The subscription.
        subscription: Arc<str>,
        /// As many.
        handlers: u64,
    },
    /// A subscription has as many dead letters as it may keep: lanes have stopped.
    DeadLettersFull {
        /// The subscription.
        subscription: Arc<str>,
        /// Events that wait for a place.
        waiting: u64,
    },
    /// A subscription's oldest event waits longer than is well.
    Behind {
        /// The subscription.
        subscription: Arc<str>,
        /// How long the oldest waits.
        oldest: Duration,
        /// How many wait.
        events: u64,
    },
    /// Circuits of a subscription are open.
    CircuitsOpen {
        /// The subscription; the filter of those without a name, which are told of together.
        subscription: String,
        /// As many.
        channels: u64,
    },
    /// The last configuration was refused: an older one is in force.
    ConfigurationRefused {
        /// As many things are wrong with it.
        problems: u64,
    },
}

impl Concern {
    /// How much of a concern it is.
    #[must_use]
    pub const fn condition(&self) -> Condition {
        match self {
            Self::Gone | Self::Closing | Self::StoreFaulted => Condition::Failed,
            _ => Condition::Degraded,
        }
    }
}

impl Health {
    /// That of a bus that looks so. `behind` is how long an event may wait before its subscription is a concern; `None`: however long.
    #[must_use]
    pub fn of(numbers: Option<&BusNumbers>, behind: Option<Duration>) -> Self {
        let mut concerns = Vec::new();
        match numbers {
            None => concerns.push(Concern::Gone),
            Some(numbers) => concerns_of(numbers, behind, &mut concerns),
        }
        concerns.sort_by_key(|concern| std::cmp::Reverse(concern.condition()));
        let condition = concerns.first().map(Concern::condition).unwrap_or_default();
        Self { condition, concerns }
    }

    /// Whether it should be given work: it is not [`Failed`](Condition::Failed).
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.condition < Condition::Failed
    }
}

fn concerns_of(numbers: &BusNumbers, behind: Option<Duration>, concerns: &mut Vec<Concern>) {
    if numbers.is_closing {
        concerns.push(Concern::Closing);
    }
    if numbers.store.is_some_and(|store| store.is_faulted) {
        concerns.push(Concern::StoreFaulted);
    }
    if numbers.reloads.problems > 0 {
        concerns.push(Concern::ConfigurationRefused { problems: numbers.reloads.problems });
    }
    for numbers in &numbers.subscriptions {
        let subscription = || Arc::clone(&numbers.name);
        if numbers.hung > 0 {
            concerns.push(Concern::Hung { subscription: subscription(), handlers: numbers.hung });
        }
        if numbers.no_room > 0 {
            concerns
                .push(Concern::DeadLettersFull { subscription: subscription(), waiting: numbers.no_room });
        }
        if let (Some(oldest), Some(limit)) = (numbers.oldest, behind)
            && oldest > limit
        {
            concerns.push(Concern::Behind { subscription: subscription(), oldest, events: numbers.pending });
        }
    }
    let mut open: Vec<(&str, u64)> = Vec::new();
    for channel in numbers.channels.iter().filter(|channel| channel.circuit == Circuit::Open) {
        let own = if channel.subscription.is_empty() { &channel.filter } else { &channel.subscription };
        match open.iter_mut().find(|(subscription, _)| *subscription == own.as_str()) {
            Some((_, channels)) => *channels += 1,
            None => open.push((own, 1)),
        }
    }
    let circuits = open.into_iter();
    concerns.extend(circuits.map(|(subscription, channels)| Concern::CircuitsOpen {
        subscription: subscription.to_owned(),
        channels,
    }));
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Degraded => "degraded",
            Self::Failed => "failed",
        })
    }
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("the bus is gone"),
            Self::Closing => f.write_str("the bus is being shut down: it accepts no publish any more"),
            Self::StoreFaulted => {
                f.write_str("the store has failed and acknowledges nothing more: open it again")
            }
            Self::Hung { subscription, handlers } => {
                write!(
                    f,
                    "{handlers} handlers of {subscription} hang: they overran their deadline and still run"
                )
            }
            Self::DeadLettersFull { subscription, waiting } => {
                write!(
                    f,
                    "{subscription} keeps as many dead letters as it may, and {waiting} events wait: redrive or discard some"
                )
            }
            Self::Behind { subscription, oldest, events } => {
                write!(f, "{subscription} is {events} events behind, the oldest waits for {oldest:?}")
            }
            Self::CircuitsOpen { subscription, channels } => {
                write!(f, "{channels} circuits of {subscription} are open")
            }
            Self::ConfigurationRefused { problems: 1 } => {
                f.write_str("the last configuration is not in force: one thing is wrong with it")
            }
            Self::ConfigurationRefused { problems } => {
                write!(f, "the last configuration is not in force: {problems} things are wrong with it")
            }
        }
    }
}

impl fmt::Display for Health {
    /// The condition, and a line for each concern.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.condition)?;
        self.concerns.iter().try_for_each(|concern| write!(f, "\n{concern}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::{ChannelNumbers, StoreNumbers, SubscriptionNumbers};

    #[test]
    fn the_worst_concern_comes_first_and_only_what_has_failed_is_not_ready() {
        let mut numbers = BusNumbers::default();
        assert_eq!(Health::of(Some(&numbers), None), Health::default());
        numbers.subscriptions.push(SubscriptionNumbers {
            name: "stock".into(),
            hung: 2,
            no_room: 1,
            pending: 7,
            oldest: Some(Duration::from_secs(90)),
            ..SubscriptionNumbers::default()
        });
        for topic in ["a", "b"] {
            let channel = ChannelNumbers::new("stock".to_owned(), topic.to_owned());
            numbers.channels.push(ChannelNumbers { circuit: Circuit::Open, ..channel });
        }
        let degraded = Health::of(Some(&numbers), Some(Duration::from_secs(60)));
        assert!(degraded.is_ready());
        assert_eq!(degraded.concerns.len(), 4, "{degraded}");
        assert!(degraded.to_string().contains("2 circuits of stock are open"), "{degraded}");
        assert_eq!(Health::of(Some(&numbers), None).concerns.len(), 3, "however long");
        numbers.reloads.problems = 2;
        let refused = Health::of(Some(&numbers), None);
        assert!(refused.is_ready(), "the one before is in force");
        assert!(refused.to_string().contains("2 things are wrong with it"), "{refused}");
        numbers.store = Some(StoreNumbers { is_faulted: true, ..StoreNumbers::default() });
        let failed = Health::of(Some(&numbers), None);
        assert!(!failed.is_ready());
        assert_eq!(failed.concerns.first(), Some(&Concern::StoreFaulted));
        assert!(!Health::of(None, None).is_ready(), "a bus that is gone");
        let closing = Health::of(Some(&BusNumbers { is_closing: true, ..BusNumbers::default() }), None);
        assert_eq!((closing.is_ready(), closing.concerns), (false, vec![Concern::Closing]));
    }
}
