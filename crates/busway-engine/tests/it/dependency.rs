//! What handlers depend on: up, down, and counting who asks.

use std::collections::BTreeSet;
use std::future::ready;
use std::sync::Arc;

use busway_event::Topic;
use busway_middleware::{AnyHandler, BoxError, Delivery, IntoHandler, Mode, Payload};
use parking_lot::Mutex;

use crate::world::{Number, number};

/// A service with one door a topic. Clones are the same service.
#[derive(Clone, Default)]
pub(crate) struct Service {
    shared: Arc<Mutex<Asked>>,
}

#[derive(Default)]
struct Asked {
    down: BTreeSet<String>,
    /// Topic, number and attempt of each call.
    calls: Vec<(String, u32, u32)>,
}

impl Service {
    pub(crate) fn down(&self, topic: &str) {
        self.shared.lock().down.insert(topic.to_owned());
    }

    pub(crate) fn up(&self, topic: &str) {
        self.shared.lock().down.remove(topic);
    }

    /// The calls on a topic: number and attempt.
    pub(crate) fn calls(&self, topic: &str) -> Vec<(u32, u32)> {
        let asked = self.shared.lock();
        asked.calls.iter().filter(|(on, ..)| on == topic).map(|(_, n, attempt)| (*n, *attempt)).collect()
    }

    pub(crate) fn call(&self, topic: &Topic, n: u32, attempt: u32) -> Result<(), BoxError> {
        let mut asked = self.shared.lock();
        asked.calls.push((topic.to_string(), n, attempt));
        match asked.down.contains(topic.as_str()) {
            true => Err("no connection".into()),
            false => Ok(()),
        }
    }

    /// A handler that calls it.
    pub(crate) fn handler<M: Mode>(&self) -> AnyHandler<M> {
        let service = self.clone();
        let call = move |payload: Payload<Number>, delivery: Delivery| {
            ready(service.call(delivery.event().topic(), payload.n, delivery.attempt()))
        };
        IntoHandler::<M, _>::into_handler(call)
    }

    /// One that answers with the number, when the call is good.
    pub(crate) fn answering<M: Mode>(&self) -> AnyHandler<M> {
        let service = self.clone();
        let call = move |payload: Payload<Number>, delivery: Delivery| {
            let called = service.call(delivery.event().topic(), payload.n, delivery.attempt());
            ready(called.map(|()| number("profiles.answered", payload.n)))
        };
        IntoHandler::<M, _>::into_handler(call)
    }
}
