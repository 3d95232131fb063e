//! The mode of a subscription, carried in the types of its handler and extractors.
//!
//! What only a durable subscription can give (a transaction, say) is an extractor for [`Durable`] alone, so asking for
//! it on an ephemeral subscription does not compile instead of failing at night.

use std::fmt;

/// Where a subscription's events live. Sealed: [`Ephemeral`] and [`Durable`].
pub trait Mode: sealed::Sealed + Send + Sync + 'static {
    /// The mode as a value.
    const KIND: ModeKind;
}

/// In memory, from now on: at most once across a crash.
#[derive(Debug, Clone, Copy)]
pub enum Ephemeral {}

/// Named, with a stored cursor: at least once.
#[derive(Debug, Clone, Copy)]
pub enum Durable {}

impl Mode for Ephemeral {
    const KIND: ModeKind = ModeKind::Ephemeral;
}

impl Mode for Durable {
    const KIND: ModeKind = ModeKind::Durable;
}

/// The mode of a subscription as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ModeKind {
    /// See [`Ephemeral`].
    Ephemeral,
    /// See [`Durable`].
    Durable,
}

impl fmt::Display for ModeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ephemeral => "ephemeral",
            Self::Durable => "durable",
        })
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Ephemeral {}
    impl Sealed for super::Durable {}
}
