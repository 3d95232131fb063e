//! Asking the store from tasks: on threads that may block, because it reads files and its writer may be busy. `None` says that it is
//! closed.

use std::sync::Arc;

use busway_event::Filter;
use busway_persistence::{Registered, RequestError, Store};
use tokio::sync::oneshot;

use super::Log;
use crate::bus::Services;

impl Log {
    /// Lends the store.
    pub(crate) async fn lend<R: Send + 'static>(
        self: &Arc<Self>,
        services: &Services,
        with: impl FnOnce(&Store) -> R + Send + 'static,
    ) -> Option<R> {
        let log = Arc::clone(self);
        services.runtime.spawn_blocking(move || log.with(with)).await.ok().flatten()
    }

    /// Asks its writer for something, and waits for the answer.
    pub(crate) async fn ask<R: Send + 'static>(
        self: &Arc<Self>,
        services: &Services,
        ask: impl FnOnce(&Store, oneshot::Sender<R>) + Send + 'static,
    ) -> Option<R> {
        let (answer, answered) = oneshot::channel();
        self.lend(services, move |store| ask(store, answer)).await?;
        answered.await.ok()
    }

    /// Registers a durable subscription, or finds it; `starts` has its partitions and where a cursor that is made now begins.
    pub(crate) async fn register(
        self: &Arc<Self>,
        services: &Services,
        (name, filter): (&str, &Filter),
        starts: impl FnOnce(&Store) -> Vec<(u32, u64)> + Send + 'static,
    ) -> Option<Result<Registered, RequestError>> {
        let (name, filter, now) = (name.to_owned(), filter.clone(), services.clock.utc());
        let register = move |store: &Store, answer: oneshot::Sender<_>| {
            // Since when it is attended.
            store.retain(now);
            let done = Box::new(move |result| _ = answer.send(result));
            store.register(&name, &filter, starts(store), done);
        };
        self.ask(services, register).await
    }

    /// Sends a subscription elsewhere, partition by partition; ends with the first that is refused.
    pub(crate) async fn seek(
        self: &Arc<Self>,
        services: &Services,
        number: u32,
        to: &[(u32, u64)],
    ) -> Option<Result<(), RequestError>> {
        for &(partition, offset) in to {
            let seek = move |store: &Store, answer: oneshot::Sender<_>| {
                store.seek(number, partition, offset, Box::new(move |result| _ = answer.send(result)));
            };
            if let Err(error) = self.ask(services, seek).await? {
                return Some(Err(error));
            }
        }
        Some(Ok(()))
    }
}
