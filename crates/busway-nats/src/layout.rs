//! How streams are divided: known from their declaration, or asked for when the first event with a key is sent to one.

use async_nats::jetstream::context::GetStreamByNameErrorKind;
use async_nats::jetstream::stream::Config;
use busway_engine::transport::TransportError;
use busway_event::Key;
use parking_lot::RwLock;

use crate::link::Link;
use crate::{fault, partition, stream, subject};

/// What is known of the server's streams: of those that were prepared, received from, or sent to with a key. As many as the process has to do with.
#[derive(Debug, Default)]
pub(crate) struct Layouts {
    known: RwLock<Vec<Layout>>,
}

/// A stream and its partitions.
#[derive(Debug)]
struct Layout {
    stream: String,
    /// What it captures besides its partitions.
    subjects: Vec<String>,
    partitions: u16,
}

impl Layouts {
    /// Takes note of a stream as the server has it.
    pub(crate) fn learn(&self, config: &Config) {
        let layout = Layout {
            stream: config.name.clone(),
            subjects: plain(config),
            partitions: partition::count(&config.name, &config.subjects),
        };
        let mut known = self.known.write();
        known.retain(|one| one.stream != layout.stream);
        known.push(layout);
    }

    /// Nothing is known any more: something that was is not so.
    pub(crate) fn forget(&self) {
        self.known.write().clear();
    }

    /// Whether one of them has partitions.
    pub(crate) fn has_partitions(&self) -> bool {
        self.known.read().iter().any(|layout| layout.partitions > 1)
    }

    /// Whether this one has, as far as it is known.
    pub(crate) fn is_divided(&self, stream: &str) -> bool {
        self.known.read().iter().any(|layout| layout.stream == stream && layout.partitions > 1)
    }

    /// Where an event with this key goes that is for this subject; `None` when it is not known which stream captures that.
    fn subject(&self, subject: &str, key: &Key) -> Option<String> {
        let known = self.known.read();
        let captures =
            |layout: &&Layout| layout.subjects.iter().any(|pattern| subject::matches(pattern, subject));
        let Layout { stream, partitions, .. } = known.iter().find(captures)?;
        Some(match *partitions {
            1 => subject.to_owned(),
            partitions => partition::subject(stream, partitions, partition::of(key, partitions), subject),
        })
    }
}

/// What a stream captures besides its partitions.
pub(crate) fn plain(config: &Config) -> Vec<String> {
    config.subjects.iter().filter(|subject| !partition::is_in_one(subject)).cloned().collect()
}

/// The subject that an event with this key is sent to. The server is asked about subjects of streams that are not known, once for each stream.
pub(crate) async fn subject(link: &Link, subject: String, key: &Key) -> Result<String, TransportError> {
    if let Some(known) = link.layouts.subject(&subject, key) {
        return Ok(known);
    }
    let asking = || format!("asking which stream captures {subject}, for its key may belong in a partition");
    let name = match link.context.stream_by_subject(subject.clone()).await {
        Ok(name) => name,
        Err(error) => {
            return match error.kind() {
                GetStreamByNameErrorKind::Request => Err(fault::request(&link.address, &asking(), &error)),
                // None does: the server says so to what is sent there.
                _ => Ok(subject),
            };
        }
    };
    if let Some(config) = stream::find(link, &name).await? {
        link.layouts.learn(&config);
    }
    Ok(link.layouts.subject(&subject, key).unwrap_or(subject))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str, subjects: &[&str]) -> Config {
        let subjects = subjects.iter().map(|one| (*one).to_owned()).collect();
        Config { name: name.to_owned(), subjects, ..Config::default() }
    }

    #[test]
    fn a_key_goes_into_its_partition_where_there_are_some() {
        let layouts = Layouts::default();
        let key = Key::new("123456789").unwrap();
        assert_eq!(layouts.subject("orders.created", &key), None);
        layouts.learn(&config("bills", &["bills.>"]));
        assert!(!layouts.has_partitions());
        layouts.learn(&config("orders", &["orders", "orders.>", "~busway.orders.16.*.>"]));
        assert!(layouts.has_partitions());
        assert!(layouts.is_divided("orders") && !layouts.is_divided("bills") && !layouts.is_divided("more"));
        assert_eq!(
            layouts.subject("orders.created", &key).as_deref(),
            Some("~busway.orders.16.14.orders.created")
        );
        assert_eq!(layouts.subject("bills.paid", &key).as_deref(), Some("bills.paid"));
        // What is learned later is what is.
        layouts.learn(&config("orders", &["orders.>"]));
        assert_eq!(layouts.subject("orders.created", &key).as_deref(), Some("orders.created"));
        layouts.forget();
        assert_eq!(layouts.subject("orders.created", &key), None);
    }
}
