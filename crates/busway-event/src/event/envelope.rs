//! What an event is in memory: a value, or bytes.

use std::any::Any;
use std::mem::needs_drop;
use std::sync::{Arc, OnceLock};

use super::form::{Form, Mark};
use super::recycle::Home;
use super::{Header, Moment};
use crate::codec::{Bounded, CodecId, EncodeError};
use crate::draft::Stamp;
use crate::event_type::{Encoded, EventType};
use crate::key::Key;
use crate::topic::Topic;

/// What all events can do, whatever they hold.
pub(super) trait Envelope: Any + Send + Sync {
    fn header(&self) -> &Header;
    fn type_name(&self) -> &str;
    fn encoded(&self, limit: usize) -> Result<Encoded, EncodeError>;
    /// Appends the bytes, and says of which schema version and codec they are.
    fn encode_to(&self, out: &mut Bounded) -> Result<(u16, CodecId), EncodeError>;
    /// The bytes, if they exist already.
    fn at_hand(&self) -> Option<&Encoded>;
    /// The largest payload that may be encoded, for readers without a limit of their own.
    fn payload_bytes_max(&self) -> usize;
    fn payload_weight(&self) -> usize;

    /// Where the envelope belongs when it is empty. `None` when it is used for this event only.
    fn home(&self) -> Option<&Arc<Home>> {
        None
    }

    /// Whether it has a home and [`empty`](Self::empty) would change nothing that anybody could see.
    fn is_as_good_as_empty(&self) -> bool {
        false
    }

    /// Drops the payload of an envelope that has a home; `None` when it has none.
    fn empty(&mut self) -> Option<()> {
        None
    }
}

/// An event that holds a value.
///
/// The order of the fields is that of the memory: what each event writes comes first, what most events of a publisher
/// share comes last, so that an envelope which is used again makes few cache lines travel between cores.
#[repr(C)]
pub(super) struct Typed<T> {
    /// `None` only while the envelope waits to be used again; nobody else holds it then. A payload that need not be dropped stays
    /// until the next one is written in its place.
    pub(super) payload: Option<T>,
    pub(super) header: Header,
    pub(super) encoded: OnceLock<Box<Encoded>>,
    pub(super) payload_bytes_max: usize,
    pub(super) home: Option<Arc<Home>>,
    /// Of which form all is that is said here beside payload, key, id and time.
    pub(super) form: Option<Mark>,
}

impl<T> Typed<T> {
    /// An envelope that goes back to `home` when it is empty, or is used for this event only.
    pub(super) const fn new(
        header: Header,
        payload: T,
        payload_bytes_max: usize,
        home: Option<Arc<Home>>,
    ) -> Self {
        let encoded = OnceLock::new();
        Self { payload: Some(payload), header, encoded, payload_bytes_max, home, form: None }
    }

    #[expect(clippy::unreachable, reason = "an empty envelope has one owner: the pool, or who fills it")]
    pub(super) fn payload(&self) -> &T {
        match &self.payload {
            Some(payload) => payload,
            None => unreachable!("an event without a payload"),
        }
    }
}

impl<T: EventType> Typed<T> {
    /// Becomes an event that says nothing but its topic.
    #[inline]
    pub(super) fn renew(&mut self, topic: &Topic, key: Option<Key>, payload: T, stamp: &Stamp<'_>) {
        self.header.set_key(key);
        self.payload = Some(payload);
        self.renew_head(topic, stamp);
    }

    #[inline]
    fn renew_head(&mut self, topic: &Topic, stamp: &Stamp<'_>) {
        self.header.renew::<T>(topic, stamp);
        if self.payload_bytes_max != stamp.payload_bytes_max {
            self.payload_bytes_max = stamp.payload_bytes_max;
        }
        if self.form.is_some() {
            self.form = None;
        }
    }

    /// Becomes an event of a form; of one that it was of before, nothing but what differs is written.
    #[inline]
    pub(super) fn fill(&mut self, form: &Form, key: Option<Key>, payload: T, moment: &Moment) {
        if self.form != Some(form.mark()) {
            self.take_form(form, moment);
        }
        self.header.set_key(key);
        self.payload = Some(payload);
        self.header.at(moment.id, moment.time);
    }

    #[cold]
    #[inline(never)]
    fn take_form(&mut self, form: &Form, moment: &Moment) {
        self.renew_head(form.topic(), &form.stamp(moment));
        self.form = Some(form.mark());
    }
}

impl<T: EventType> Envelope for Typed<T> {
    fn header(&self) -> &Header {
        &self.header
    }

    fn type_name(&self) -> &str {
        T::NAME
    }

    fn encoded(&self, limit: usize) -> Result<Encoded, EncodeError> {
        if let Some(encoded) = self.encoded.get() {
            return within(encoded, limit);
        }
        // Two readers may encode at once; the first result stays.
        let encoded = Box::new(Encoded::of(self.payload(), limit)?);
        within(self.encoded.get_or_init(|| encoded), limit)
    }

    fn encode_to(&self, out: &mut Bounded) -> Result<(u16, CodecId), EncodeError> {
        match self.encoded.get() {
            Some(encoded) => append(encoded, out),
            None => self.payload().encode(out).map(|()| (T::VERSION, T::CODEC)),
        }
    }

    fn at_hand(&self) -> Option<&Encoded> {
        self.encoded.get().map(|encoded| &**encoded)
    }

    fn payload_bytes_max(&self) -> usize {
        self.payload_bytes_max
    }

    fn payload_weight(&self) -> usize {
        self.payload().weight()
    }

    fn home(&self) -> Option<&Arc<Home>> {
        self.home.as_ref()
    }

    #[inline]
    fn is_as_good_as_empty(&self) -> bool {
        !needs_drop::<T>() && self.home.is_some() && self.encoded.get().is_none()
    }

    fn empty(&mut self) -> Option<()> {
        self.home.as_ref()?;
        self.payload = None;
        if self.encoded.get().is_some() {
            self.encoded = OnceLock::new();
        }
        Some(())
    }
}

/// An event that holds bytes.
pub(super) struct Wire {
    pub(super) header: Header,
    pub(super) encoded: Encoded,
}

impl Envelope for Wire {
    fn header(&self) -> &Header {
        &self.header
    }

    fn type_name(&self) -> &str {
        &self.encoded.type_name
    }

    fn encoded(&self, limit: usize) -> Result<Encoded, EncodeError> {
        within(&self.encoded, limit)
    }

    fn encode_to(&self, out: &mut Bounded) -> Result<(u16, CodecId), EncodeError> {
        append(&self.encoded, out)
    }

    fn at_hand(&self) -> Option<&Encoded> {
        Some(&self.encoded)
    }

    fn payload_bytes_max(&self) -> usize {
        self.encoded.bytes.len()
    }

    fn payload_weight(&self) -> usize {
        self.encoded.bytes.len()
    }
}

fn append(encoded: &Encoded, out: &mut Bounded) -> Result<(u16, CodecId), EncodeError> {
    out.extend(&encoded.bytes)?;
    Ok((encoded.version, encoded.codec))
}

fn within(encoded: &Encoded, limit: usize) -> Result<Encoded, EncodeError> {
    match encoded.bytes.len() {
        len if len > limit => Err(EncodeError::TooLarge { len, limit }),
        _ => Ok(encoded.clone()),
    }
}
