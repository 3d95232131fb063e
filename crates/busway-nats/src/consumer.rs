//! Consumers at the server: the subscription as its members share it.
//!
//! In a stream without partitions it is one consumer. In one with partitions there is a consumer for each of them besides, which delivers one message at a time: the next one
//! only when that is settled, whoever asks, and again before the next one when it is not. So of a key no two are under way, and its order stays as it is, without any word between
//! members.

use std::time::Duration;

use async_nats::datetime::DateTime;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::stream::{Config, ConsumerCreateStrictErrorKind};
use busway_engine::StartAt;
use busway_engine::transport::{Reception, TransportError};

use crate::fault;
use crate::link::Link;
use crate::{layout, partition, stream, subject};

/// A subscription at the server, as this member wants it.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) stream: String,
    /// When that was made: another one of its name is of another time.
    pub(crate) stream_made: DateTime,
    /// The durable name of the whole.
    pub(crate) subscription: String,
    /// The durable name of this part of it: the same, or one for each partition.
    pub(crate) name: String,
    /// Whether it is one of a partition: one delivery at a time.
    pub(crate) keeps_order: bool,
    /// What the filter means. The receiver looks again where that is [wider](Self::is_wider).
    pub(crate) patterns: Vec<String>,
    /// What the server filters by; none: everything.
    filters: Vec<String>,
    /// Whether what lies in partitions comes too, where it is not meant.
    is_leaky: bool,
    /// Whether the server may deliver more than the patterns mean.
    is_wider: bool,
    ack_wait: Duration,
    ack_pending_max: i64,
    start: DeliverPolicy,
}

/// A consumer that is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// All up to this place of the stream are settled.
    pub(crate) floor: u64,
    /// When it was made: another one of its name is of another time.
    pub(crate) made: DateTime,
}

impl Plan {
    /// What a reception asks for, given what its stream captures: what has no key first, and then each partition.
    pub(crate) async fn all(link: &Link, reception: &Reception) -> Result<Vec<Self>, TransportError> {
        subject::check_name("stream", &reception.stream)?;
        let name = subject::consumer(&reception.name)?;
        let start = start(reception.start_at)?;
        let Some(stream::Info { config: stream, created: stream_made, .. }) =
            stream::info(link, &reception.stream).await?
        else {
            return Err(no_stream(&reception.stream));
        };
        keeps_consumers(&stream)?;
        link.layouts.learn(&stream);
        let partitions = partition::count(&stream.name, &stream.subjects);
        let within = partition::captured(&stream.name, partitions);
        let (plain, mut patterns) = (layout::plain(&stream), link.subjects.patterns(&reception.filter));
        if partitions > 1 && patterns == [">"] {
            patterns.clone_from(&plain);
        }
        let in_flight = i64::try_from(reception.in_flight_max.get()).unwrap_or(i64::MAX);
        let ack_pending_max = in_flight.max(ACK_PENDING_MAX);
        let wanted = filters(link, &patterns, &plain);
        let whole = Self {
            stream: reception.stream.clone(),
            stream_made,
            subscription: name.clone(),
            name,
            keeps_order: false,
            is_wider: is_wider(&wanted, &patterns),
            filters: wanted,
            is_leaky: partitions > 1 && patterns.iter().any(|pattern| subject::overlaps(pattern, &within)),
            patterns,
            ack_wait: reception.ack_wait,
            ack_pending_max: link
                .ack_pending_limit
                .map_or(ack_pending_max, |limit| limit.min(ack_pending_max)),
            start,
        };
        let parts = (0..partitions).filter(|_| partitions > 1).map(|number| {
            let lies = |pattern: &String| partition::subject(&whole.stream, partitions, number, pattern);
            // Of everything there is a pattern that says so.
            let patterns: Vec<_> = match reception.filter.as_str() {
                "#" => vec![lies(&link.subjects.everything())],
                _ => whole.patterns.iter().map(lies).collect(),
            };
            let wanted = filters(link, &patterns, std::slice::from_ref(&within));
            Self {
                name: partition::consumer(&whole.name, number),
                keeps_order: true,
                is_wider: is_wider(&wanted, &patterns),
                filters: wanted,
                is_leaky: false,
                patterns,
                ack_pending_max: 1,
                ..whole.clone()
            }
        });
        let parts: Vec<_> = parts.collect();
        Ok([whole].into_iter().chain(parts).collect())
    }

    /// Whether a message is one that was asked for: a server may deliver more than that.
    pub(crate) fn means(&self, subject: &str) -> bool {
        if self.is_leaky && partition::is_in_one(subject) {
            return false;
        }
        !self.is_wider || self.patterns.iter().any(|pattern| subject::matches(pattern, subject))
    }

    /// Makes the consumer if it is not there, and checks it if it is.
    pub(crate) async fn prepare(&self, link: &Link) -> Result<Found, TransportError> {
        match self.find(link).await? {
            Some(found) => Ok(found),
            None => self.make(link, self.start).await,
        }
    }

    /// Makes a consumer that was lost: behind what was settled, or at the beginning of a stream that is not the one of before. Also when that was made.
    pub(crate) async fn make_again(
        &self,
        link: &Link,
        floor: u64,
        stream_made: DateTime,
    ) -> Result<(Found, DateTime), TransportError> {
        let stream = self.stream_now(link).await?;
        keeps_consumers(&stream.config)?;
        let start = match stream.created == stream_made {
            true => DeliverPolicy::ByStartSequence { start_sequence: floor.saturating_add(1) },
            // It counts anew, and all that is in it has come since this subscription was there.
            false => DeliverPolicy::All,
        };
        Ok((self.make(link, start).await?, stream.created))
    }

    /// Its stream, as it is.
    pub(crate) async fn stream_now(&self, link: &Link) -> Result<stream::Info, TransportError> {
        let Some(stream) = stream::info(link, &self.stream).await? else {
            return Err(no_stream(&self.stream));
        };
        link.layouts.learn(&stream.config);
        Ok(stream)
    }

    /// The consumer that is there, checked.
    pub(crate) async fn find(&self, link: &Link) -> Result<Option<Found>, TransportError> {
        let stream = link.context.get_stream_no_info(&self.stream).await;
        let stream = stream.map_err(|error| fault::request(&link.address, "naming a stream", &error))?;
        match stream.consumer_info(&self.name).await {
            Ok(info) => self.check(&info).map(Some),
            Err(error) => match error.kind() {
                ConsumerInfoErrorKind::NotFound => Ok(None),
                ConsumerInfoErrorKind::StreamNotFound => Err(no_stream(&self.stream)),
                ConsumerInfoErrorKind::JetStream(said) if fault::is_missing(&said) => Ok(None),
                ConsumerInfoErrorKind::JetStream(said) => {
                    Err(fault::refused(&link.address, &self.what(), &said))
                }
                _ => Err(fault::request(&link.address, &self.what(), &error)),
            },
        }
    }

    async fn make(&self, link: &Link, start: DeliverPolicy) -> Result<Found, TransportError> {
        let mut config = pull::Config {
            durable_name: Some(self.name.clone()),
            name: Some(self.name.clone()),
            deliver_policy: start,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.ack_wait,
            // The caller counts attempts, and says when there are enough of them.
            max_deliver: -1,
            max_ack_pending: self.ack_pending_max,
            ..pull::Config::default()
        };
        match self.filters.as_slice() {
            [one] => config.filter_subject.clone_from(one),
            many => config.filter_subjects = many.to_vec(),
        }
        let stream = link.context.get_stream_no_info(&self.stream).await;
        let stream = stream.map_err(|error| fault::request(&link.address, "naming a stream", &error))?;
        let made = stream.create_consumer_strict(config).await;
        match made {
            Ok(consumer) => self.check(consumer.cached_info()),
            Err(error) => match error.kind() {
                // Another member was faster.
                ConsumerCreateStrictErrorKind::AlreadyExists => self.found_after(link).await,
                ConsumerCreateStrictErrorKind::JetStream(said) => match said.error_code() {
                    ErrorCode::STREAM_NOT_FOUND => Err(no_stream(&self.stream)),
                    ErrorCode::CONSUMER_NAME_EXIST | ErrorCode::CONSUMER_ALREADY_EXISTS => {
                        self.found_after(link).await
                    }
                    _ => Err(fault::refused(&link.address, &format!("making {}", self.what()), &said)),
                },
                _ => Err(fault::request(&link.address, &format!("making {}", self.what()), &error)),
            },
        }
    }

    async fn found_after(&self, link: &Link) -> Result<Found, TransportError> {
        self.find(link).await?.ok_or_else(|| link.unreachable(format!("{} comes and goes", self.what())))
    }

    fn check(&self, info: &consumer::Info) -> Result<Found, TransportError> {
        let config = &info.config;
        let differs = |setting: &'static str, found: String, wanted: String| {
            Err(TransportError::Incompatible { what: self.what(), setting, found, wanted })
        };
        let joined = |filters: &[String]| match filters {
            [] => "none".to_owned(),
            some => {
                let mut some = some.to_vec();
                some.sort();
                some.join(" ")
            }
        };
        let mut filters = config.filter_subjects.clone();
        filters.extend(Some(config.filter_subject.clone()).filter(|filter| !filter.is_empty()));
        let (is, should) = (joined(&filters), joined(&self.filters));
        if is != should && self.keeps_order {
            let should = format!(
                "{should} (if its stream was made with another number of partitions, remove the consumers of subscription {} by hand)",
                self.subscription
            );
            return differs("filters", is, should);
        }
        if is != should {
            return differs("filters", is, should);
        }
        if config.deliver_subject.is_some() {
            return differs("delivery", "push".to_owned(), "pull".to_owned());
        }
        if config.ack_policy != AckPolicy::Explicit {
            return differs(
                "ack_policy",
                format!("{:?}", config.ack_policy).to_lowercase(),
                "explicit".to_owned(),
            );
        }
        if config.max_deliver > 0 {
            return differs("max_deliver", config.max_deliver.to_string(), "none".to_owned());
        }
        if !config.backoff.is_empty() {
            return differs("backoff", format!("{:?}", config.backoff), "none".to_owned());
        }
        if config.headers_only {
            return differs("headers_only", "true".to_owned(), "false".to_owned());
        }
        // It would be removed while no member is there, and with it what is settled.
        let idle = config.inactive_threshold;
        if !idle.is_zero() {
            return differs("inactive_threshold", format!("{idle:?}"), "none".to_owned());
        }
        // Requests beyond these are refused, all of them.
        if !config.max_expires.is_zero() {
            return differs("max_expires", format!("{:?}", config.max_expires), "none".to_owned());
        }
        for (setting, limit) in [("max_batch", config.max_batch), ("max_bytes", config.max_bytes)] {
            if limit > 0 {
                return differs(setting, limit.to_string(), "none".to_owned());
            }
        }
        if self.keeps_order && config.max_ack_pending != 1 {
            return differs("max_ack_pending", config.max_ack_pending.to_string(), "1".to_owned());
        }
        // A longer one is only slower after a crash; a shorter one delivers what is worked on to another member.
        if config.ack_wait < self.ack_wait {
            return differs("ack_wait", format!("{:?}", config.ack_wait), format!("{:?}", self.ack_wait));
        }
        Ok(found(info))
    }

    pub(crate) fn what(&self) -> String {
        format!("consumer {}", self.name)
    }
}

/// What the server is to filter by, of a stream that captures this.
fn filters(link: &Link, patterns: &[String], captured: &[String]) -> Vec<String> {
    match (link.has_many_filters, patterns) {
        (_, [one]) if one == ">" => Vec::new(),
        (true, _) => patterns.to_vec(),
        (false, _) => subject::single(patterns, captured).into_iter().collect(),
    }
}

fn is_wider(filters: &[String], patterns: &[String]) -> bool {
    filters != patterns && patterns != [">"]
}

const fn found(info: &consumer::Info) -> Found {
    Found { floor: info.ack_floor.stream_sequence, made: info.created }
}

/// A stream may say that consumers are removed while no member is there, and with them what is settled.
fn keeps_consumers(stream: &Config) -> Result<(), TransportError> {
    let limits = stream.consumer_limits.as_ref();
    match limits.map(|limits| limits.inactive_threshold).filter(|idle| !idle.is_zero()) {
        None => Ok(()),
        Some(idle) => Err(TransportError::Incompatible {
            what: format!("stream {}", stream.name),
            setting: "consumer_limits.inactive_threshold",
            found: format!("{idle:?}"),
            wanted: "none".to_owned(),
        }),
    }
}

/// An offset is a sequence, of which the server counts from 1: from 0 on is from the beginning.
fn start(start_at: StartAt) -> Result<DeliverPolicy, TransportError> {
    match start_at {
        StartAt::Stored | StartAt::Latest => Ok(DeliverPolicy::New),
        StartAt::Earliest | StartAt::Offset(0) => Ok(DeliverPolicy::All),
        StartAt::Offset(start_sequence) => Ok(DeliverPolicy::ByStartSequence { start_sequence }),
        StartAt::Time(time) => {
            let start_time = async_nats::datetime::from_nanos(i128::from(time.as_nanos()));
            let start_time = start_time.map_err(|error| {
                TransportError::Refused(format!("a subscription cannot begin at {time}: {error}"))
            })?;
            Ok(DeliverPolicy::ByStartTime { start_time })
        }
        _ => Err(TransportError::Refused("this beginning is not known to the NATS transport".to_owned())),
    }
}

fn no_stream(name: &str) -> TransportError {
    TransportError::Gone {
        what: format!("stream {name}"),
        reason: "the server does not have it; declare it and prepare it first".to_owned(),
    }
}

/// Deliveries of all members that are under way, or wait to be retried. Each member has a limit of its own, so that this one only bounds what the server
/// remembers: were it as small, a few that wait for a retry would hold up all others.
const ACK_PENDING_MAX: i64 = 65_536;
