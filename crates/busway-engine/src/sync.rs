//! The concurrency primitives that loom can see: `std` and `parking_lot`, or loom's own under `--cfg busway_loom`.

#[cfg(not(busway_loom))]
pub(crate) use std::sync::atomic::{AtomicUsize, Ordering, fence};

#[cfg(busway_loom)]
pub(crate) use loom::sync::atomic::{AtomicUsize, Ordering, fence};

/// A lock that is held for moments only, never across an await.
#[derive(Debug, Default)]
pub(crate) struct Mutex<T>(Inner<T>);

#[cfg(not(busway_loom))]
type Inner<T> = parking_lot::Mutex<T>;
#[cfg(busway_loom)]
type Inner<T> = loom::sync::Mutex<T>;

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Inner::new(value))
    }

    #[cfg(not(busway_loom))]
    pub(crate) fn lock(&self) -> parking_lot::MutexGuard<'_, T> {
        self.0.lock()
    }

    #[cfg(busway_loom)]
    pub(crate) fn lock(&self) -> loom::sync::MutexGuard<'_, T> {
        match self.0.lock() {
            Ok(guard) => guard,
            Err(poisoned) => poisoned.into_inner(),
        }
    }
}
