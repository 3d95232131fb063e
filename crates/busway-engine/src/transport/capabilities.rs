//! What a transport can do, as a value.

use std::fmt;
use std::time::Duration;

use busway_event::Durability;

/// One thing that a subscription or a publisher may rely on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Capability {
    /// What was sent is there after the broker was killed and started again.
    SurvivesRestart,
    /// Events of one key are received in the order in which they were sent.
    OrderPerKey,
    /// The same while several members share the subscription.
    OrderPerKeyInGroup,
    /// What is not settled is delivered again when its member is gone.
    RedeliveryAfterCrash,
    /// What is not settled in time is delivered again, while its member still lives.
    RedeliveryAfterTimeout,
    /// A delivery that is worked on can be kept beyond its time.
    Renewal,
    /// An event is delivered again after a while that is asked for.
    DelayedRetry,
    /// What is given up is kept with its reason.
    DeadLetters,
    /// A subscription goes on where it stood, whoever comes back to it.
    Resume,
    /// Several members share the events of a subscription.
    Groups,
    /// A new subscription begins at an offset.
    ReplayFromOffset,
    /// A new subscription begins at a time.
    ReplayFromTime,
    /// An event that is sent twice under one id, within the [window](Capabilities::window), is there once.
    IdempotentSend,
    /// A filter's `+` and `#` are the broker's own work.
    Wildcards,
    /// A subscription that nobody is a member of can be [removed](super::Transport::remove).
    Removal,
}

impl Capability {
    /// All of them, in the order of the matrix.
    pub const ALL: [Self; 15] = [
        Self::SurvivesRestart,
        Self::OrderPerKey,
        Self::OrderPerKeyInGroup,
        Self::RedeliveryAfterCrash,
        Self::RedeliveryAfterTimeout,
        Self::Renewal,
        Self::DelayedRetry,
        Self::DeadLetters,
        Self::Resume,
        Self::Groups,
        Self::ReplayFromOffset,
        Self::ReplayFromTime,
        Self::IdempotentSend,
        Self::Wildcards,
        Self::Removal,
    ];

    /// What it is called in the matrix.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SurvivesRestart => "survives a restart of the broker",
            Self::OrderPerKey => "order per key",
            Self::OrderPerKeyInGroup => "order per key within a group",
            Self::RedeliveryAfterCrash => "redelivery after a crash",
            Self::RedeliveryAfterTimeout => "redelivery after a timeout",
            Self::Renewal => "renewal of what takes long",
            Self::DelayedRetry => "delayed retry",
            Self::DeadLetters => "dead letters",
            Self::Resume => "resume",
            Self::Groups => "groups",
            Self::ReplayFromOffset => "replay from an offset",
            Self::ReplayFromTime => "replay from a time",
            Self::IdempotentSend => "idempotent publish",
            Self::Wildcards => "wildcards",
            Self::Removal => "removal of a subscription",
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether and how a transport can do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ability {
    /// The broker does it.
    Native,
    /// The transport does it in the broker's place, with this limit.
    Emulated(&'static str),
    /// Nobody does it, for this reason.
    Missing(&'static str),
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native => f.write_str("yes"),
            Self::Emulated(limit) => write!(f, "emulated: {limit}"),
            Self::Missing(reason) => write!(f, "no: {reason}"),
        }
    }
}

/// What a transport can do. What is not set is [missing](Ability::Missing).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    abilities: [Ability; Capability::ALL.len()],
    durability: Durability,
    payload_bytes_max: Option<usize>,
    window: Option<Duration>,
    notes: Vec<String>,
}

impl Capabilities {
    /// Nothing but sending and receiving; what is sent has reached this much when the broker has taken it.
    #[must_use]
    pub const fn new(durability: Durability) -> Self {
        Self {
            abilities: [Ability::Missing("not offered by this transport"); Capability::ALL.len()],
            durability,
            payload_bytes_max: None,
            window: None,
            notes: Vec::new(),
        }
    }

    /// Says how it can do something.
    pub fn with(mut self, capability: Capability, ability: Ability) -> Self {
        if let Some(slot) = self.abilities.get_mut(capability as usize) {
            *slot = ability;
        }
        self
    }

    /// Says that the broker can do these.
    pub fn native(self, capabilities: impl IntoIterator<Item = Capability>) -> Self {
        capabilities.into_iter().fold(self, |all, capability| all.with(capability, Ability::Native))
    }

    /// The most bytes of a payload. Default: as many as an event may have.
    pub const fn payload_bytes_max(mut self, bytes: usize) -> Self {
        self.payload_bytes_max = Some(bytes);
        self
    }

    /// How long the broker remembers ids. Default: it does not, or for ever.
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = Some(window);
        self
    }

    /// Something that an operator has to know, found out when it was connected: that what is acknowledged is not on the disk yet.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// How it can do something.
    #[must_use]
    pub fn of(&self, capability: Capability) -> Ability {
        self.abilities.get(capability as usize).copied().unwrap_or(Ability::Missing("unknown"))
    }

    /// Whether it can do it, by itself or emulated.
    #[must_use]
    pub fn has(&self, capability: Capability) -> bool {
        !matches!(self.of(capability), Ability::Missing(_))
    }

    /// What an event has reached at least when the broker has taken it.
    #[must_use]
    pub const fn durability(&self) -> Durability {
        self.durability
    }

    /// The most bytes of a payload, where the broker has a limit of its own.
    #[must_use]
    pub const fn payload_limit(&self) -> Option<usize> {
        self.payload_bytes_max
    }

    /// How long an id is remembered, where the broker says so.
    #[must_use]
    pub const fn id_window(&self) -> Option<Duration> {
        self.window
    }

    /// What an operator has to know.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_capability_has_a_place_of_its_own() {
        for (at, capability) in Capability::ALL.into_iter().enumerate() {
            assert_eq!(capability as usize, at, "{capability}");
            let some = Capabilities::new(Durability::Written).native([capability]);
            let had: Vec<_> = Capability::ALL.into_iter().filter(|other| some.has(*other)).collect();
            assert_eq!(had, [capability]);
        }
    }

    #[test]
    fn what_is_emulated_is_had_and_says_its_limit() {
        let some = Capabilities::new(Durability::Memory)
            .with(Capability::Wildcards, Ability::Emulated("filtered by the receiver"));
        assert!(some.has(Capability::Wildcards) && !some.has(Capability::Groups));
        assert_eq!(some.of(Capability::Wildcards).to_string(), "emulated: filtered by the receiver");
        assert!(some.of(Capability::Groups).to_string().starts_with("no: "));
    }
}
