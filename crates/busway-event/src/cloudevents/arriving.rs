//! An event in binary mode whose attributes arrive one by one: for those who receive many events, and would not make a list of each first.

use std::borrow::Cow;

use bytes::Bytes;

use super::attributes::{Attributes, Value};
use super::error::CloudEventError;
use super::known::{Known, Name};
use super::{Import, import};
use crate::event::AnyEvent;

/// An event in binary mode, of which attributes have arrived. [`from_binary`](super::from_binary) is all of it in one call.
///
/// ```
/// use busway_event::cloudevents::{Arriving, Import};
///
/// let headers = [("specversion", "1.0"), ("id", "A-1"), ("source", "/shop"), ("type", "order-created"),
///                ("subject", "orders.created"), ("time", "2026-01-31T10:00:00Z")];
/// let mut arriving = Arriving::new();
/// for (name, value) in headers {
///     arriving.attribute(name, value)?;
/// }
/// let event = arriving.event("{}".into(), &Import::new())?;
/// assert_eq!(event.topic().as_str(), "orders.created");
/// # Ok::<(), busway_event::cloudevents::CloudEventError>(())
/// ```
#[derive(Debug, Default)]
pub struct Arriving<'a>(Attributes<'a>);

impl<'a> Arriving<'a> {
    /// Nothing of it has arrived.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an attribute: its name without the protocol's prefix, in any case, and its decoded value. The protocol's content type is one, `datacontenttype`.
    ///
    /// # Errors
    /// [`CloudEventError`]: it is there already, is one too many, or holds a character that no attribute may hold. What has arrived before is as it was.
    pub fn attribute(&mut self, name: &str, value: impl Into<Cow<'a, str>>) -> Result<(), CloudEventError> {
        self.0.add(Name::of_header(name), Value::text(value))
    }

    /// Whether nothing has arrived.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `datacontenttype` has arrived.
    #[must_use]
    pub fn has_content_type(&self) -> bool {
        self.0.has(Known::ContentType)
    }

    /// Whether a `subject` has arrived that is not empty, which is as good as none.
    #[must_use]
    pub fn has_subject(&self) -> bool {
        self.0.says(Known::Subject)
    }

    /// Puts the attributes that become metadata pairs in the order of their names, for protocols whose headers come in none. Otherwise they are in that of their arrival.
    pub fn by_name(mut self) -> Self {
        self.0.sort_others();
        self
    }

    /// The event, all of whose attributes have arrived.
    ///
    /// # Errors
    /// [`CloudEventError`], which names the attribute.
    pub fn event(self, body: Bytes, import: &Import) -> Result<AnyEvent, CloudEventError> {
        import::event(self.0, import::Data::Binary(body), import)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::cloudevents::TopicFrom;
    use crate::topic::Topic;

    #[test]
    fn what_was_known_on_the_way_is_of_an_event_that_does_not_say_it() {
        let (topic, taken) = (Topic::new("a.b").unwrap(), "2026-01-31T10:00:00Z".parse().unwrap());
        let read = |said: &[(&str, &'static str)]| {
            let mut arriving = Arriving::new();
            let wanted = [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "t")];
            for (name, value) in wanted.iter().chain(said) {
                arriving.attribute(name, *value).unwrap();
            }
            assert_eq!(arriving.has_subject(), said.contains(&("subject", "c")));
            let import = Import::new().topic(TopicFrom::SubjectOr(topic.clone())).taken_at(taken);
            let event = arriving.event(Bytes::new(), &import).unwrap();
            (event.topic().to_string(), event.time().to_string(), event.header().ttl())
        };
        let expiry = ("expirytime", "2026-01-31T10:00:07Z");
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let (known, said) = ("2026-01-31T10:00:00Z".to_owned(), "2026-01-31T10:00:05Z".to_owned());
        assert_eq!(read(&[expiry]), ("a.b".to_owned(), known.clone(), seconds(7)));
        assert_eq!(read(&[("subject", "")]), ("a.b".to_owned(), known, None));
        assert_eq!(
            read(&[("subject", "c"), ("time", "2026-01-31T10:00:05Z"), expiry]),
            ("c".to_owned(), said, seconds(2))
        );
    }

    #[test]
    fn a_refused_attribute_leaves_those_before_it_as_they_were() {
        let mut arriving = Arriving::new();
        assert!(arriving.is_empty() && !arriving.has_content_type());
        arriving.attribute("DataContentType", "text/plain").unwrap();
        assert!(arriving.attribute("datacontenttype", "text/html").is_err());
        assert!(arriving.attribute("tenant", "a\0").is_err());
        assert!(!arriving.is_empty() && arriving.has_content_type());
        let wanted = [("specversion", "1.0"), ("id", "1"), ("source", "/s"), ("type", "t")];
        let rest = [("subject", "a.b"), ("time", "2026-01-31T10:00:00Z"), ("zone", "z"), ("area", "a")];
        for (name, value) in wanted.into_iter().chain(rest) {
            arriving.attribute(name, value).unwrap();
        }
        let event = arriving.by_name().event(Bytes::new(), &Import::new()).unwrap();
        let pairs: Vec<_> = event.metadata().iter().collect();
        assert_eq!(pairs, [("ce-datacontenttype", "text/plain"), ("area", "a"), ("zone", "z")]);
    }
}
