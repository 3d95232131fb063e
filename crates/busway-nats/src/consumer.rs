//! Consumers at the server: the subscription as its members share it.

use std::time::Duration;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::ConsumerInfoErrorKind;
use async_nats::jetstream::stream::ConsumerCreateStrictErrorKind;
use busway_engine::StartAt;
use busway_engine::transport::{Reception, TransportError};

use crate::fault;
use crate::link::Link;
use crate::{stream, subject};

/// A subscription at the server, as this member wants it.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) stream: String,
    /// The durable name.
    pub(crate) name: String,
    /// What the filter means. The receiver looks again where [`is_wider`](Self::is_wider).
    pub(crate) patterns: Vec<String>,
    /// What the server filters by; none: everything.
    filters: Vec<String>,
    ack_wait: Duration,
    ack_pending_max: i64,
    start: DeliverPolicy,
}

/// A consumer that is there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// All up to this place of the stream are settled.
    pub(crate) floor: u64,
}

impl Plan {
    /// What a reception asks for, given what its stream captures.
    pub(crate) async fn new(link: &Link, reception: &Reception) -> Result<Self, TransportError> {
        subject::check_name("stream", &reception.stream)?;
        let name = subject::consumer(&reception.name)?;
        let start = start(reception.start_at)?;
        let Some(stream) = stream::find(link, &reception.stream).await? else {
            return Err(no_stream(&reception.stream));
        };
        let patterns = link.subjects.patterns(&reception.filter);
        let filters = match (link.has_many_filters, patterns.as_slice()) {
            (_, [one]) if one == ">" => Vec::new(),
            (true, _) => patterns.clone(),
            (false, _) => subject::single(&patterns, &stream.subjects).into_iter().collect(),
        };
        let in_flight = i64::try_from(reception.in_flight_max.get()).unwrap_or(i64::MAX);
        let ack_pending_max = in_flight.max(ACK_PENDING_MAX);
        Ok(Self {
            stream: reception.stream.clone(),
            name,
            patterns,
            filters,
            ack_wait: reception.ack_wait,
            ack_pending_max: link
                .ack_pending_limit
                .map_or(ack_pending_max, |limit| limit.min(ack_pending_max)),
            start,
        })
    }

    /// Whether the server delivers more than is asked for.
    pub(crate) fn is_wider(&self) -> bool {
        self.filters != self.patterns && self.patterns != [">"]
    }

    /// Makes the consumer if it is not there, and checks it if it is.
    pub(crate) async fn prepare(&self, link: &Link) -> Result<Found, TransportError> {
        match self.find(link).await? {
            Some(found) => Ok(found),
            None => self.make(link, self.start).await,
        }
    }

    /// Makes a consumer that was lost, behind what was settled.
    pub(crate) async fn make_again(&self, link: &Link, floor: u64) -> Result<Found, TransportError> {
        if stream::find(link, &self.stream).await?.is_none() {
            return Err(no_stream(&self.stream));
        }
        self.make(link, DeliverPolicy::ByStartSequence { start_sequence: floor.saturating_add(1) }).await
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
            Ok(consumer) => Ok(found(consumer.cached_info())),
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

const fn found(info: &consumer::Info) -> Found {
    Found { floor: info.ack_floor.stream_sequence }
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
