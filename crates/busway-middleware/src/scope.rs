//! What a subscription gives to each of its deliveries: its name, its mode and the values that handlers ask for by type.

use std::any::{Any, TypeId};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use busway_event::Filter;

use crate::mode::ModeKind;

/// One value of each type, shared. Cheap to clone once built.
#[derive(Clone, Default)]
pub struct States {
    values: HashMap<TypeId, Arc<dyn Any + Send + Sync>>,
}

impl States {
    /// Nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces the value of type `S`.
    pub fn insert<S: Send + Sync + 'static>(&mut self, value: S) {
        self.values.insert(TypeId::of::<S>(), Arc::new(value));
    }

    /// The value of type `S`.
    #[must_use]
    pub fn get<S: Send + Sync + 'static>(&self) -> Option<&S> {
        self.values.get(&TypeId::of::<S>())?.downcast_ref()
    }

    /// Whether there is a value of the type with this id.
    #[must_use]
    pub fn contains(&self, id: TypeId) -> bool {
        self.values.contains_key(&id)
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "States({} types)", self.values.len())
    }
}

/// Who a subscription is to rules of who may handle what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Identity {
    /// The one of its name.
    #[default]
    Name,
    /// Another one: it is a part of something that has that name.
    Other(Arc<str>),
    /// The bus itself: it carries events for others, which are asked in its place.
    Bus,
}

/// What all deliveries of one subscription share; or, where members of a group are not the same to rules, of one member.
#[derive(Clone)]
pub struct Scope {
    subscription: Arc<str>,
    filter: Filter,
    mode: ModeKind,
    states: States,
    identity: Identity,
    redaction: Option<Arc<Redaction>>,
}

/// Makes a text showable: a bus's redaction, as a function of texts.
type Redaction = dyn Fn(&str) -> String + Send + Sync;

impl Scope {
    /// The scope of a subscription.
    #[must_use]
    pub fn new(subscription: impl Into<Arc<str>>, filter: Filter, mode: ModeKind, states: States) -> Self {
        let (subscription, identity) = (subscription.into(), Identity::Name);
        Self { subscription, filter, mode, states, identity, redaction: None }
    }

    /// Sets what makes texts of failures showable. Default: they are shown as they are.
    pub fn with_redaction(mut self, redaction: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        self.redaction = Some(Arc::new(redaction));
        self
    }

    /// Sets who it is to rules. Default: the one of its name.
    pub fn with_identity(mut self, identity: Identity) -> Self {
        self.identity = identity;
        self
    }

    /// As whom its deliveries are judged: by whoever keeps rules of who may handle what. `None`: they are the bus's own, and are not judged.
    #[must_use]
    pub fn identity(&self) -> Option<&str> {
        match &self.identity {
            Identity::Name => Some(&self.subscription),
            Identity::Other(identity) => Some(identity),
            Identity::Bus => None,
        }
    }

    /// The subscription's name.
    #[must_use]
    pub fn subscription(&self) -> &str {
        &self.subscription
    }

    /// The subscription's filter.
    #[must_use]
    pub const fn filter(&self) -> &Filter {
        &self.filter
    }

    /// The subscription's mode.
    #[must_use]
    pub const fn mode(&self) -> ModeKind {
        self.mode
    }

    /// The values that extractors take.
    #[must_use]
    pub const fn states(&self) -> &States {
        &self.states
    }

    /// A text of somebody else's as people may see it: with the redaction of the bus, as in its dead letters. For middleware that logs or stores errors; given the
    /// whole text, since of half a secret nobody knows that it is one.
    #[must_use]
    pub fn shown<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.redaction {
            Some(redaction) => Cow::Owned(redaction(text)),
            None => Cow::Borrowed(text),
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope")
            .field("subscription", &self.subscription)
            .field("filter", &self.filter)
            .field("mode", &self.mode)
            .field("states", &self.states)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
