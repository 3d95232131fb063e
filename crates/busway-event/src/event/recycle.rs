//! Envelopes that are used again and again.
//!
//! An event is allocated by the thread that publishes it and freed by the thread that handled it last. For a general
//! allocator that is the worst case: the memory never comes back to the publisher's own cache, and above 128 bytes both
//! threads meet at one lock of glibc's. So a publisher keeps [`Envelopes`], a worker collects what it is done with in
//! [`Spent`], and whole batches of empty envelopes go back at once. In a steady state nothing is allocated.
//!
//! Only the memory is kept: the payload is dropped by whoever held the event last, at that moment, as if there were no
//! such thing as an envelope. An event that somebody keeps longer is freed like any other value when it is let go.
//!
//! # Bounds
//! A publisher keeps at most twice [`KEPT_MAX`] empty envelopes (at hand, and come back), a worker at most [`BATCH`] for each of [`HOMES_MAX`]
//! publishers; all others are freed. When a publisher's [`Envelopes`] are dropped, its empty envelopes are freed and
//! those still under way are freed when they come back.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{Ordering, fence};

use parking_lot::Mutex;

use super::envelope::{Envelope, Typed};
use super::{AnyEvent, Event, Form, Header, Moment};
use crate::draft::{Invalid, Stamp};
use crate::event_type::EventType;
use crate::key::Key;
use crate::topic::Topic;

/// A publisher's empty envelopes for payloads of type `T`.
pub struct Envelopes<T> {
    free: Vec<Arc<Typed<T>>>,
    /// What has come back, for the moment in which it is looked through.
    back: Vec<Arc<dyn Envelope>>,
    home: Arc<Home>,
}

impl<T: EventType> Envelopes<T> {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self { free: Vec::new(), back: Vec::new(), home: Arc::default() }
    }

    /// The event that [`Draft::finish`](crate::Draft::finish) makes of `Event::new(topic, payload)`, without the draft
    /// in between.
    ///
    /// # Errors
    /// The first rule that is broken, with the payload.
    #[inline]
    pub(crate) fn event(
        &mut self,
        topic: &Topic,
        payload: T,
        stamp: &Stamp<'_>,
    ) -> Result<Event<T>, Box<(T, Invalid)>> {
        let key = match Header::key_of(&payload, stamp.payload_bytes_max) {
            Ok(key) => key,
            Err(reason) => return Err(Box::new((payload, reason))),
        };
        if let Some(mut inner) = self.take()
            && let Some(typed) = Arc::get_mut(&mut inner)
        {
            typed.renew(topic, key, payload, stamp);
            return Ok(Event { inner });
        }
        let header = Header::plain::<T>(topic, key, stamp);
        Ok(self.allocate(header, payload, stamp.payload_bytes_max))
    }

    /// The same as an event of any type; in the envelope `last` if it fits, which is taken then: what this thread has emptied
    /// last is still in its cache. Nothing in it asks twice whose envelope it is.
    ///
    /// # Errors
    /// As there.
    #[inline]
    pub fn any_event(
        &mut self,
        last: &Cell<Option<Empty>>,
        topic: &Topic,
        payload: T,
        stamp: &Stamp<'_>,
    ) -> Result<AnyEvent, Box<(T, Invalid)>> {
        let key = match Header::key_of(&payload, stamp.payload_bytes_max) {
            Ok(key) => key,
            Err(reason) => return Err(Box::new((payload, reason))),
        };
        if let Some(Empty(mut inner)) = last.take() {
            if let Some(typed) = claimed::<T>(&mut inner) {
                typed.renew(topic, key, payload, stamp);
                return Ok(AnyEvent { inner });
            }
            last.set(Some(Empty(inner)));
        }
        if let Some(mut inner) = self.take()
            && let Some(typed) = Arc::get_mut(&mut inner)
        {
            typed.renew(topic, key, payload, stamp);
            return Ok(AnyEvent { inner });
        }
        let header = Header::plain::<T>(topic, key, stamp);
        Ok(self.allocate(header, payload, stamp.payload_bytes_max).into())
    }

    /// An event of this form. What its payload breaks was [looked at](Form::key_of) before.
    #[inline]
    pub fn of_form(&mut self, form: &Form, key: Option<Key>, payload: T, moment: &Moment) -> AnyEvent {
        if let Some(mut inner) = self.take()
            && let Some(typed) = Arc::get_mut(&mut inner)
        {
            typed.fill(form, key, payload, moment);
            return AnyEvent { inner };
        }
        self.allocate_of_form(form, key, payload, moment)
    }

    #[cold]
    #[inline(never)]
    fn allocate_of_form(&self, form: &Form, key: Option<Key>, payload: T, moment: &Moment) -> AnyEvent {
        let stamp = form.stamp(moment);
        let header = Header::plain::<T>(form.topic(), key, &stamp);
        self.allocate(header, payload, stamp.payload_bytes_max).into()
    }

    pub(crate) fn fill(&mut self, header: Header, payload: T, payload_bytes_max: usize) -> Event<T> {
        if let Some(mut inner) = self.take()
            && let Some(typed) = Arc::get_mut(&mut inner)
        {
            typed.header = header;
            typed.payload = Some(payload);
            typed.payload_bytes_max = payload_bytes_max;
            typed.form = None;
            return Event { inner };
        }
        self.allocate(header, payload, payload_bytes_max)
    }

    fn allocate(&self, header: Header, payload: T, payload_bytes_max: usize) -> Event<T> {
        let home = Some(Arc::clone(&self.home));
        Event { inner: Arc::new(Typed::new(header, payload, payload_bytes_max, home)) }
    }

    #[inline]
    fn take(&mut self) -> Option<Arc<Typed<T>>> {
        match self.free.pop() {
            Some(envelope) => Some(envelope),
            None => self.take_from_shelf(),
        }
    }

    #[cold]
    #[inline(never)]
    fn take_from_shelf(&mut self) -> Option<Arc<Typed<T>>> {
        // A worker that holds the lock is about to put some there: not worth the wait.
        if let Shelf::Open(envelopes) = &mut *self.home.shelf.try_lock()? {
            std::mem::swap(envelopes, &mut self.back);
        }
        // All at once, so that finding out of which type an envelope is holds up no event.
        self.free.extend(self.back.drain(..).filter_map(typed));
        self.free.pop()
    }
}

/// An envelope for payloads of type `T` that has one owner, to be written.
#[inline]
fn claimed<T: EventType>(envelope: &mut Arc<dyn Envelope>) -> Option<&mut Typed<T>> {
    let any: &mut dyn Any = Arc::get_mut(envelope)?;
    any.downcast_mut()
}

#[inline]
fn typed<T: EventType>(envelope: Arc<dyn Envelope>) -> Option<Arc<Typed<T>>> {
    let any: Arc<dyn Any + Send + Sync> = envelope;
    any.downcast().ok()
}

impl<T: EventType> Default for Envelopes<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for Envelopes<T> {
    fn drop(&mut self) {
        // They hold their home, and it must not hold them for ever.
        let left = std::mem::replace(&mut *self.home.shelf.lock(), Shelf::Closed);
        drop(left);
    }
}

impl<T> fmt::Debug for Envelopes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelopes({} at hand)", self.free.len())
    }
}

/// Where the empty envelopes of one publisher come back to.
#[derive(Default)]
pub(super) struct Home {
    /// Held to move a batch in or out, never while foreign code runs.
    shelf: Mutex<Shelf>,
}

enum Shelf {
    Open(Vec<Arc<dyn Envelope>>),
    /// The publisher is gone.
    Closed,
}

impl Default for Shelf {
    fn default() -> Self {
        Self::Open(Vec::new())
    }
}

impl Home {
    /// Takes a batch back; what there is no room for is left in it.
    fn take_back(&self, batch: &mut Vec<Arc<dyn Envelope>>) {
        if let Shelf::Open(envelopes) = &mut *self.shelf.lock() {
            let room = KEPT_MAX.saturating_sub(envelopes.len()).min(batch.len());
            envelopes.extend(batch.drain(..room));
        }
    }
}

/// The envelope of an event that was let go by its last owner: its payload is dropped.
pub struct Empty(Arc<dyn Envelope>);

impl Empty {
    /// An event of this form, in this envelope. What its payload breaks was [looked at](Form::key_of) before, and it has no key.
    ///
    /// An atomic exchange lies between the call and its return: nobody else can have a part in the envelope, and that is how it is found out.
    ///
    /// # Errors
    /// The payload, when the envelope is one for another type. Boxed, so that the event comes in registers.
    #[inline]
    pub fn fill<T: EventType>(self, form: &Form, payload: T, moment: &Moment) -> Result<Event<T>, Box<T>> {
        let Some(mut inner) = typed::<T>(self.0) else { return Err(Box::new(payload)) };
        let Some(typed) = Arc::get_mut(&mut inner) else { return Err(Box::new(payload)) };
        typed.fill(form, None, payload, moment);
        Ok(Event { inner })
    }

    /// The same with the key that it has.
    ///
    /// # Errors
    /// As there.
    pub fn fill_keyed<T: EventType>(
        self,
        form: &Form,
        key: Key,
        payload: T,
        moment: &Moment,
    ) -> Result<Event<T>, Box<T>> {
        let Some(mut inner) = typed::<T>(self.0) else { return Err(Box::new(payload)) };
        let Some(typed) = Arc::get_mut(&mut inner) else { return Err(Box::new(payload)) };
        typed.fill(form, Some(key), payload, moment);
        Ok(Event { inner })
    }

    /// Lets an event go. `None` when somebody else holds it too, or its envelope is used only once.
    #[inline]
    pub fn of(event: AnyEvent) -> Option<Self> {
        emptied(event.inner).map(Self)
    }
}

/// An envelope without its payload, when nobody else has a part in it and it may be used again.
#[inline]
fn emptied<E: Envelope + ?Sized>(mut inner: Arc<E>) -> Option<Arc<E>> {
    // A glance, which spares those who share an event an exchange that must fail.
    if Arc::strong_count(&inner) > 1 {
        return None;
    }
    // What others did to it before they let go is seen from here on.
    fence(Ordering::Acquire);
    // Most payloads are values that nothing happens to when they are dropped: they lie there until the next one is written over them, and
    // the envelope is claimed once instead of twice.
    if !inner.is_as_good_as_empty() {
        Arc::get_mut(&mut inner)?.empty()?;
    }
    Some(inner)
}

impl<T: EventType> Event<T> {
    /// Lets it go. `None` when somebody else holds it too, or its envelope is used only once. Otherwise the payload is dropped, as [`Empty::of`] does.
    #[inline]
    pub fn into_empty(self) -> Option<Empty> {
        let inner = emptied(self.inner)?;
        Some(Empty(inner))
    }
}

impl fmt::Debug for Empty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Empty")
    }
}

/// Events that a worker is done with, on their way back to their publishers.
#[derive(Default)]
pub struct Spent {
    batches: Vec<Batch>,
}

struct Batch {
    home: Arc<Home>,
    envelopes: Vec<Arc<dyn Envelope>>,
}

impl Spent {
    /// Nothing yet. Allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self { batches: Vec::new() }
    }

    /// Lets an event go. If nobody else holds it, its payload is dropped here and its memory is kept for its publisher.
    #[inline]
    pub fn put(&mut self, event: AnyEvent) {
        if let Some(empty) = Empty::of(event) {
            self.put_empty(empty);
        }
    }

    /// Takes an envelope that is empty already.
    #[inline]
    pub fn put_empty(&mut self, Empty(inner): Empty) {
        let Some(home) = inner.home() else { return };
        let known = match self.batches.first() {
            Some(first) if Arc::ptr_eq(&first.home, home) => Some(0),
            _ => self.batches.iter().position(|batch| Arc::ptr_eq(&batch.home, home)),
        };
        let at = match known {
            Some(at) => at,
            None => {
                let home = Arc::clone(home);
                self.begin(home)
            }
        };
        if let Some(batch) = self.batches.get_mut(at) {
            batch.envelopes.push(inner);
            if batch.envelopes.len() >= BATCH {
                batch.flush();
            }
        }
    }

    /// Gives back what was collected. To be called before a long pause.
    pub fn flush(&mut self) {
        self.batches.iter_mut().for_each(Batch::flush);
        self.batches.clear();
    }

    #[cold]
    fn begin(&mut self, home: Arc<Home>) -> usize {
        if self.batches.len() >= HOMES_MAX {
            self.flush();
        }
        self.batches.push(Batch { home, envelopes: Vec::with_capacity(BATCH) });
        self.batches.len() - 1
    }
}

impl Batch {
    #[inline(never)]
    fn flush(&mut self) {
        self.home.take_back(&mut self.envelopes);
        self.envelopes.clear();
    }
}

impl Drop for Spent {
    fn drop(&mut self) {
        self.flush();
    }
}

impl fmt::Debug for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let envelopes: usize = self.batches.iter().map(|batch| batch.envelopes.len()).sum();
        write!(f, "Spent({envelopes} envelopes)")
    }
}

/// Empty envelopes that a publisher has at hand, and as many again that have come back: as many as a commit of a log stores, so that a batch, or as many
/// publishes that wait for their receipts, finds those of the one before.
pub const KEPT_MAX: usize = 4_096;
/// Envelopes that go back at once: enough that the lock of the shelf is nothing beside them.
pub const BATCH: usize = 32;
/// Publishers whose envelopes a worker collects at a time.
pub const HOMES_MAX: usize = 8;

#[cfg(test)]
mod tests;
