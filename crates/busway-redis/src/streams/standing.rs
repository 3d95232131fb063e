//! What the server's settings make of its promises.

use std::time::Duration;

use busway_engine::transport::{Ability, Capabilities, Capability};
use busway_event::Durability;
use redis::InfoDict;

use super::message::PAYLOAD_BYTES_MAX;
use crate::line::Line;

/// What becomes of what the server has taken when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// `appendonly yes`, `appendfsync always`.
    Synced,
    /// An append-only file that is synced each second.
    EverySecond,
    /// One that the operating system writes when it likes.
    WheneverLiked,
    /// None.
    InMemory,
    /// There is one, and the server does not say when it is synced.
    Untold,
}

impl Standing {
    /// Asks the server. A server that does not let its settings be read says less, and promises less.
    pub(super) async fn of(connection: &mut Line) -> redis::RedisResult<Self> {
        let setting = async |connection: &mut Line, name: &str| {
            let mut question = redis::cmd("CONFIG");
            question.arg("GET").arg(name);
            let pair: redis::RedisResult<Vec<String>> = question.query_async(connection).await;
            pair.ok().and_then(|pair| pair.into_iter().nth(1))
        };
        let mut question = redis::cmd("INFO");
        question.arg("persistence");
        let info: InfoDict = question.query_async(connection).await?;
        let is_on = info.get::<u8>("aof_enabled") == Some(1);
        let fsync = setting(connection, "appendfsync").await;
        Ok(Self::from(is_on, fsync.as_deref()))
    }

    fn from(is_on: bool, fsync: Option<&str>) -> Self {
        match (is_on, fsync) {
            (false, _) => Self::InMemory,
            (true, Some("always")) => Self::Synced,
            (true, Some("everysec")) => Self::EverySecond,
            (true, Some("no")) => Self::WheneverLiked,
            (true, _) => Self::Untold,
        }
    }

    pub(super) const fn durability(self) -> Durability {
        match self {
            Self::Synced => Durability::Synced,
            _ => Durability::Written,
        }
    }

    const fn note(self) -> Option<&'static str> {
        match self {
            Self::Synced => None,
            Self::EverySecond => Some(
                "appendfsync is everysec: a power cut loses what was acknowledged in the last second or two; set it to always",
            ),
            Self::WheneverLiked => Some(
                "appendfsync is no: a power cut loses what the operating system has not written, half a minute or more; set it to always",
            ),
            Self::InMemory => Some(
                "there is no append-only file: all that was acknowledged since the last snapshot is lost when the server ends; set appendonly to yes and appendfsync to always",
            ),
            Self::Untold => Some(
                "the server does not let its settings be read: how much of what was acknowledged a power cut loses is not known; allow CONFIG GET appendfsync",
            ),
        }
    }

    pub(super) fn capabilities(self, window: Duration) -> Capabilities {
        let all = Capabilities::new(self.durability())
            .native([
                Capability::SurvivesRestart,
                Capability::RedeliveryAfterCrash,
                Capability::RedeliveryAfterTimeout,
                Capability::Renewal,
                Capability::Resume,
                Capability::Groups,
                Capability::ReplayFromOffset,
                Capability::ReplayFromTime,
                Capability::Removal,
            ])
            .with(
                Capability::OrderPerKey,
                Ability::Emulated("one that is delivered again may come behind later ones of its key"),
            )
            .with(
                Capability::OrderPerKeyInGroup,
                Ability::Missing("Redis gives the entries of a stream to whichever member asks first"),
            )
            .with(Capability::DelayedRetry, Ability::Emulated("by a sorted set, which members look at"))
            .with(
                Capability::DeadLetters,
                Ability::Emulated("in a stream beside, by a script, both or neither"),
            )
            .with(
                Capability::IdempotentSend,
                Ability::Emulated("by ids that are kept beside, in the same transaction"),
            )
            .with(Capability::Wildcards, Ability::Emulated("the receiver leaves out what does not match"))
            .payload_bytes_max(PAYLOAD_BYTES_MAX)
            .window(window);
        let all = match self {
            Self::InMemory => all.with(
                Capability::SurvivesRestart,
                Ability::Missing("the server has no append-only file: appendonly is no"),
            ),
            _ => all,
        };
        match self.note() {
            Some(note) => all.note(note),
            None => all,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_syncs_before_it_answers_promises_that_much() {
        let standings = [
            (Standing::from(true, Some("always")), Durability::Synced, true),
            (Standing::from(true, Some("everysec")), Durability::Written, true),
            (Standing::from(true, Some("no")), Durability::Written, true),
            (Standing::from(true, None), Durability::Written, true),
            (Standing::from(false, Some("always")), Durability::Written, false),
        ];
        for (standing, durability, survives) in standings {
            let capabilities = standing.capabilities(Duration::from_secs(1));
            assert_eq!(capabilities.durability(), durability, "{standing:?}");
            assert_eq!(capabilities.has(Capability::SurvivesRestart), survives, "{standing:?}");
            assert_eq!(capabilities.notes().is_empty(), durability == Durability::Synced, "{standing:?}");
        }
    }
}
