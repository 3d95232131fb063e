//! Handlers, transports, stores of keys and kinds of middleware by name: registered on the builder, found on the bus. See [`named`](crate::named).

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use busway_event::Filter;
use busway_middleware::middleware::IntoStep;
use busway_middleware::{AnyHandler, BoxError, Durable, IntoHandler, Step};
use busway_reliability::IdempotencyStore;
use serde::de::DeserializeOwned;

use super::{BuildProblem, Bus, BusBuilder};
use crate::named::{Factory, MakeError, Parameter};
use crate::transport::Transport;

impl BusBuilder {
    /// Registers a handler by a name, for routes of a configuration; it handles nothing by itself. Each route that names it calls the same
    /// handler, so a handler with values of its own shares them.
    ///
    /// It may be any handler, of durable subscriptions too. A route in memory whose handler needs more than that, a
    /// [`Tx`](crate::Tx) say, is an error of the configuration. A name is registered once: twice is an error of [`start`](BusBuilder::start).
    pub fn handler<Args, H: IntoHandler<Durable, Args>>(
        mut self,
        name: impl Into<String>,
        handler: H,
    ) -> Self {
        register(
            &mut self.named.handlers,
            ("handler", name.into()),
            handler.into_handler(),
            &mut self.problems,
        );
        self
    }

    /// Registers a transport by a name, for a configuration: streams that are carried, and routes at a broker. It does nothing by itself. A name is
    /// registered once: twice is an error of [`start`](BusBuilder::start).
    pub fn transport(mut self, name: impl Into<String>, transport: impl Transport) -> Self {
        let transport: Arc<dyn Transport> = Arc::new(transport);
        register(&mut self.named.transports, ("transport", name.into()), transport, &mut self.problems);
        self
    }

    /// Registers a store of keys that several processes share by a name, for the `idempotency` of a configuration's routes. It does nothing by itself. A name is
    /// registered once: twice is an error of [`start`](BusBuilder::start).
    pub fn idempotency_store(mut self, name: impl Into<String>, store: Arc<dyn IdempotencyStore>) -> Self {
        register(&mut self.named.key_stores, ("store of keys", name.into()), store, &mut self.problems);
        self
    }

    /// Registers a kind of middleware by a name, for the middleware of a configuration: `make` is given the parameters, of any type that serde can
    /// read (`()` for none; a struct should say `deny_unknown_fields`, so that what is misspelt is no silence), and makes one. It is called each time that
    /// a configuration has a new one or other parameters, also to see whether they are good: it should do nothing else.
    ///
    /// A name is registered once: twice is an error of [`start`](BusBuilder::start).
    pub fn middleware_factory<P, W, E, Form>(
        mut self,
        name: impl Into<String>,
        make: impl Fn(P) -> Result<W, E> + Send + Sync + 'static,
    ) -> Self
    where
        P: DeserializeOwned,
        W: IntoStep<Form>,
        E: Into<BoxError>,
    {
        let factory = move |parameter: &Parameter| {
            let parameters = P::deserialize(parameter).map_err(MakeError::Parameters)?;
            make(parameters).map(IntoStep::into_step).map_err(|error| MakeError::Refused(error.into()))
        };
        let (kind, factory): (_, Factory) = (("kind of middleware", name.into()), Arc::new(factory));
        register(&mut self.named.factories, kind, factory, &mut self.problems);
        self
    }
}

fn register<T>(
    names: &mut BTreeMap<String, T>,
    (what, name): (&'static str, String),
    value: T,
    problems: &mut Vec<BuildProblem>,
) {
    match names.entry(name) {
        Entry::Vacant(free) => _ = free.insert(value),
        Entry::Occupied(taken) => {
            problems.push(BuildProblem::NamedTwice { what, name: taken.key().clone() });
        }
    }
}

impl Bus {
    /// A value of this type that is kept with the bus, made when it is first asked for: for crates that build on the bus, whose state is to end with it. It
    /// must not hold the bus.
    #[must_use]
    pub fn attached<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut attached = self.core().named.attached.lock();
        if let Some(there) = attached.get::<Arc<T>>() {
            return Arc::clone(there);
        }
        let made = Arc::<T>::default();
        attached.insert(Arc::clone(&made));
        made
    }

    /// The handler that was registered by this name, see [`BusBuilder::handler`].
    #[must_use]
    pub fn named_handler(&self, name: &str) -> Option<AnyHandler<Durable>> {
        self.core().named.handlers.get(name).cloned()
    }

    /// The transport that was registered by this name, see [`BusBuilder::transport`].
    #[must_use]
    pub fn named_transport(&self, name: &str) -> Option<Arc<dyn Transport>> {
        self.core().named.transports.get(name).cloned()
    }

    /// Names of transports that were registered.
    pub fn transport_names(&self) -> impl Iterator<Item = &str> {
        self.core().named.transports.keys().map(String::as_str)
    }

    /// The store of keys that was registered by this name, see [`BusBuilder::idempotency_store`].
    #[must_use]
    pub fn named_idempotency_store(&self, name: &str) -> Option<Arc<dyn IdempotencyStore>> {
        self.core().named.key_stores.get(name).cloned()
    }

    /// Names of stores of keys that were registered.
    pub fn idempotency_store_names(&self) -> impl Iterator<Item = &str> {
        self.core().named.key_stores.keys().map(String::as_str)
    }

    /// The names of its streams.
    pub fn stream_names(&self) -> impl Iterator<Item = String> {
        let streams = self.core().log.iter().flat_map(|log| log.streams());
        streams.map(|(stream, ..)| stream.name().to_owned())
    }

    /// Whether it has a stream of this name.
    #[must_use]
    pub fn has_stream(&self, name: &str) -> bool {
        self.core().log.as_ref().is_some_and(|log| log.partitions_named(name).is_some())
    }

    /// The stream that captures every topic that the filter means, if one does.
    #[must_use]
    pub fn stream_within(&self, filter: &Filter) -> Option<String> {
        let log = self.core().log.as_ref()?;
        let found = log.streams().find(|(stream, ..)| stream.covers(filter));
        found.map(|(stream, ..)| stream.name().to_owned())
    }

    /// Whether a stream captures topics that the filter means.
    #[must_use]
    pub fn stream_overlaps(&self, stream: &str, filter: &Filter) -> bool {
        let log = self.core().log.as_ref();
        log.is_some_and(|log| log.streams().any(|(own, ..)| own.name() == stream && own.overlaps(filter)))
    }

    /// Names of handlers that were registered.
    pub fn handler_names(&self) -> impl Iterator<Item = &str> {
        self.core().named.handlers.keys().map(String::as_str)
    }

    /// Names of kinds of middleware that were registered, see [`BusBuilder::middleware_factory`].
    pub fn middleware_kinds(&self) -> impl Iterator<Item = &str> {
        self.core().named.factories.keys().map(String::as_str)
    }

    /// Makes a middleware of a kind that was registered.
    ///
    /// # Errors
    /// [`MakeError`]; a panic of the factory is contained and is one too.
    pub fn make_middleware(&self, kind: &str, parameters: &Parameter) -> Result<Step, MakeError> {
        let factory = self.core().named.factories.get(kind).ok_or(MakeError::Unknown)?;
        let made = catch_unwind(AssertUnwindSafe(|| factory(parameters)));
        made.unwrap_or_else(|_| Err(MakeError::Refused("its factory panicked".into())))
    }
}
