//! Rules of who may publish and subscribe what.

use busway_event::Filter;

use crate::read::{Given, choice, section};

section! {
    /// A rule. What a rule denies is denied, whatever others allow; what none allows is denied.
    AccessRule, "an access rule" {
        /// Whether it allows or denies.
        effect: Given<Effect>,
        /// Whom it is about: a producer's or a subscription's name, of a durable one that in the store, or `*` for everybody.
        identity: Given<String>,
        /// What it is about.
        action: Given<Action>,
        /// Which topics it is about. To subscribe, a filter has to lie within what is allowed, and have nothing in common with what is denied.
        filter: Given<Filter>,
    }
}

choice! {
    /// Whether a rule allows or denies.
    Effect {
        /// It allows.
        Allow = "allow",
        /// It denies, whatever others allow.
        Deny = "deny",
    }
}

choice! {
    /// What a rule is about.
    Action {
        /// Publishing: the identity is the producer.
        Publish = "publish",
        /// Subscribing: the identity is the subscription.
        Subscribe = "subscribe",
    }
}
