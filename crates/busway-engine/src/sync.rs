//! The concurrency primitives that loom can see: `std` and `parking_lot`, or loom's own under `--cfg busway_loom`.

#[cfg(not(busway_loom))]
pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

#[cfg(busway_loom)]
pub(crate) use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

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

/// A sequentially consistent fence, right behind an atomic exchange (a read-modify-write of any order) of the same thread.
///
/// Where each exchange is a fence of the machine, as on `x86_64` (every one is a locked instruction, before which all stores are done and behind
/// which all loads are), only the compiler has to be kept from moving anything across it; a fence would cost as much as
/// the exchange again. Elsewhere, and for loom and miri, it is the fence.
#[inline]
pub(crate) fn fence_behind_exchange() {
    #[cfg(all(target_arch = "x86_64", not(busway_loom), not(miri)))]
    std::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(not(all(target_arch = "x86_64", not(busway_loom), not(miri))))]
    fence(Ordering::SeqCst);
}
