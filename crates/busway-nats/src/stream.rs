//! Streams at the server: made when they are not there, and compared with what is declared when they are.
//!
//! | declared | `JetStream` |
//! |---|---|
//! | captured filters | subjects |
//! | several partitions | one more subject, of [what has a key](crate::partition) |
//! | retention by age, bytes or count | `max_age`, `max_bytes`, `max_msgs`: one of them, for the server drops at the first limit and busway at the last |
//! | bytes and events of a partition | times the partitions, for the server's stream has one |
//! | a cap | `max_bytes`, with `discard` `new` or `old` |
//! | audit | nothing: a trail is the embedded store's own |
//!
//! Events go when a limit says so, whether subscriptions have settled them or not.

use std::time::Duration;

use async_nats::jetstream::context::GetStreamErrorKind;
pub(crate) use async_nats::jetstream::stream::Info;
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use busway_engine::transport::TransportError;
use busway_persistence::{AtCap, PARTITIONS_MAX, Stream};

use crate::fault;
use crate::link::Link;
use crate::partition;
use crate::subject::{check_name, unmappable};

/// What a declared stream is at the server.
pub(crate) fn wanted(link: &Link, stream: &Stream) -> Result<Config, TransportError> {
    let name = stream.name();
    check_name("stream", name)?;
    let mut filters = Vec::new();
    for captured in stream.captured() {
        filters.push(captured.map_err(|error| unmappable(name, format!("it captures no filter: {error}")))?);
    }
    if filters.is_empty() {
        return Err(unmappable(name, "it captures nothing; add .capture(filter)".to_owned()));
    }
    let mut subjects = link.subjects.captured(filters.into_iter())?;
    match stream.partition_count() {
        1 => {}
        partitions @ 2..=PARTITIONS_MAX => subjects.push(partition::captured(name, partitions)),
        partitions => {
            return Err(unmappable(
                name,
                format!("it has {partitions} partitions, of 1 to {PARTITIONS_MAX}"),
            ));
        }
    }
    let mut config = Config {
        name: name.to_owned(),
        subjects,
        num_replicas: link.replicas,
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        duplicate_window: WINDOW,
        ..Config::default()
    };
    limits(stream, &mut config)?;
    Ok(config)
}

fn limits(stream: &Stream, config: &mut Config) -> Result<(), TransportError> {
    let (age, (bytes, count, cap)) = (stream.age_max(), stream.size_limits());
    if [age.is_some(), bytes.is_some(), count.is_some()].into_iter().filter(|is_set| *is_set).count() > 1 {
        let reason = "it has several limits: NATS drops an event at the first of them, and not when all allow it; set one";
        return Err(unmappable(stream.name(), reason.to_owned()));
    }
    if bytes.is_some() && cap.is_some() {
        let reason = "it has a limit of bytes and a cap, which are one to NATS; set one";
        return Err(unmappable(stream.name(), reason.to_owned()));
    }
    let partitions = u64::from(stream.partition_count());
    let whole = |limit: u64| i64::try_from(limit.saturating_mul(partitions)).unwrap_or(i64::MAX);
    if let Some(age) = age {
        config.max_age = age;
        config.duplicate_window = WINDOW.min(age);
    }
    if let Some(bytes) = bytes {
        config.max_bytes = whole(bytes);
    }
    if let Some(count) = count {
        config.max_messages = whole(count);
    }
    if let Some((bytes, then)) = cap {
        config.max_bytes = whole(bytes);
        config.discard = match then {
            AtCap::DropOldest => DiscardPolicy::Old,
            _ => DiscardPolicy::New,
        };
    }
    Ok(())
}

/// The stream of dead letters, whose subjects begin with its name.
pub(crate) fn dead(link: &Link) -> Config {
    Config {
        name: link.dead_stream.clone(),
        description: Some("events that subscriptions have given up, with their reasons".to_owned()),
        subjects: vec![format!("{}.>", link.dead_stream)],
        num_replicas: link.replicas,
        max_bytes: -1,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_consumers: -1,
        duplicate_window: WINDOW,
        ..Config::default()
    }
}

/// What is at the server under this name.
pub(crate) async fn find(link: &Link, name: &str) -> Result<Option<Config>, TransportError> {
    Ok(info(link, name).await?.map(|info| info.config))
}

/// The same with when it was made.
pub(crate) async fn info(link: &Link, name: &str) -> Result<Option<Info>, TransportError> {
    match link.context.get_stream(name).await {
        Ok(stream) => Ok(Some(stream.cached_info().clone())),
        Err(error) => match error.kind() {
            GetStreamErrorKind::JetStream(said) if fault::is_missing(&said) => Ok(None),
            _ => Err(fault::request(&link.address, &format!("looking for stream {name}"), &error)),
        },
    }
}

/// Makes a stream that is not there, and checks one that is.
pub(crate) async fn prepare(link: &Link, wanted: &Config) -> Result<(), TransportError> {
    let name = &wanted.name;
    if let Some(found) = find(link, name).await? {
        return check(&found, wanted);
    }
    let Err(error) = link.context.create_stream(wanted.clone()).await else { return Ok(()) };
    // Another process may have made it meanwhile, somewhat differently.
    match find(link, name).await? {
        Some(found) => check(&found, wanted),
        None => {
            let what = format!("making stream {name}, which captures {}", wanted.subjects.join(" "));
            Err(kind(link, &what, &error))
        }
    }
}

fn kind(
    link: &Link,
    what: &str,
    error: &async_nats::jetstream::context::CreateStreamError,
) -> TransportError {
    match error.kind() {
        async_nats::jetstream::context::CreateStreamErrorKind::JetStream(said) => {
            fault::refused(&link.address, what, &said)
        }
        _ => fault::request(&link.address, what, error),
    }
}

/// Compares what is there with what is declared. What keeps more, or lies on more servers, will do.
fn check(found: &Config, wanted: &Config) -> Result<(), TransportError> {
    first_difference(found, wanted).map_or(Ok(()), |(setting, is, should)| {
        Err(TransportError::Incompatible {
            what: format!("stream {}", wanted.name),
            setting,
            found: is,
            wanted: should,
        })
    })
}

/// The setting, what it is, and what it should be.
fn first_difference(found: &Config, wanted: &Config) -> Option<(&'static str, String, String)> {
    let subjects = |config: &Config| {
        let mut all = config.subjects.clone();
        all.sort();
        all.join(" ")
    };
    let limit = |limit: i64| if limit <= 0 { "none".to_owned() } else { limit.to_string() };
    let age = |age: Duration| if age.is_zero() { "none".to_owned() } else { format!("{age:?}") };
    let has_limits = wanted.max_bytes > 0 || wanted.max_messages > 0;
    let partitions = |config: &Config| partition::count(&config.name, &config.subjects);
    if partitions(found) != partitions(wanted) {
        let [is, should] = [found, wanted].map(|config| partitions(config).to_string());
        let advice = format!(
            "{should} (what is in it stays where it is, so declare {is}; or take a stream of another name, or remove this one with its consumers when it is empty)"
        );
        return Some(("partitions", is, advice));
    }
    let same = [
        ("subjects", subjects(found), subjects(wanted)),
        ("retention", text(&found.retention), text(&RetentionPolicy::Limits)),
        ("storage", text(&found.storage), text(&StorageType::File)),
        ("max_age", age(found.max_age), age(wanted.max_age)),
        ("max_bytes", limit(found.max_bytes), limit(wanted.max_bytes)),
        ("max_msgs", limit(found.max_messages), limit(wanted.max_messages)),
        ("max_msgs_per_subject", limit(found.max_messages_per_subject), "none".to_owned()),
        ("no_ack", found.no_ack.to_string(), false.to_string()),
        ("sealed", found.sealed.to_string(), false.to_string()),
    ];
    let discard = has_limits.then(|| ("discard", text(&found.discard), text(&wanted.discard)));
    let mut all = same.into_iter().chain(discard);
    let differing = all.find(|(_, is, should)| is != should);
    let fewer = (found.num_replicas < wanted.num_replicas)
        .then(|| ("replicas", found.num_replicas.to_string(), wanted.num_replicas.to_string()));
    let shorter = (found.duplicate_window < wanted.duplicate_window)
        .then(|| ("duplicate_window", age(found.duplicate_window), age(wanted.duplicate_window)));
    differing.or(fewer).or(shorter)
}

/// As the server's own configuration calls it.
fn text(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").to_lowercase()
}

/// How long the server remembers ids, its own default.
pub(crate) const WINDOW: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        Config {
            name: "orders".to_owned(),
            subjects: vec!["a".to_owned(), "a.>".to_owned()],
            num_replicas: 1,
            max_bytes: -1,
            max_messages: -1,
            max_messages_per_subject: -1,
            duplicate_window: WINDOW,
            ..Config::default()
        }
    }

    #[test]
    fn each_setting_that_contradicts_is_named_and_more_of_a_good_thing_is_none() {
        let wanted = config();
        let turned = Config { subjects: vec!["a.>".to_owned(), "a".to_owned()], ..config() };
        let more = Config { num_replicas: 3, duplicate_window: WINDOW * 2, ..config() };
        for fine in [config(), turned, more] {
            assert_eq!(check(&fine, &wanted), Ok(()));
        }
        let second = Duration::from_secs(1);
        for (setting, found) in [
            ("subjects", Config { subjects: vec!["a".to_owned()], ..config() }),
            (
                "partitions",
                Config { subjects: vec!["a".to_owned(), "~busway.orders.4.*.>".to_owned()], ..config() },
            ),
            ("retention", Config { retention: RetentionPolicy::WorkQueue, ..config() }),
            ("storage", Config { storage: StorageType::Memory, ..config() }),
            ("max_age", Config { max_age: second, ..config() }),
            ("max_bytes", Config { max_bytes: 7, ..config() }),
            ("max_msgs", Config { max_messages: 7, ..config() }),
            ("max_msgs_per_subject", Config { max_messages_per_subject: 1, ..config() }),
            ("no_ack", Config { no_ack: true, ..config() }),
            ("replicas", Config { num_replicas: 0, ..config() }),
            ("duplicate_window", Config { duplicate_window: second, ..config() }),
        ] {
            let error = check(&found, &wanted).unwrap_err();
            assert!(
                matches!(&error, TransportError::Incompatible { setting: named, .. } if *named == setting),
                "{error}"
            );
            assert!(error.to_string().starts_with("stream orders has"), "{error}");
        }
    }

    #[test]
    fn one_limit_is_mapped_and_several_are_refused() {
        use busway_persistence::Retention;
        let limited = |retention: Retention| {
            let mut config = config();
            limits(&Stream::new("orders").partitions(4).retention(retention), &mut config).map(|()| config)
        };
        let minute = Duration::from_secs(60);
        let aged = limited(Retention::forever().age(minute)).unwrap();
        assert_eq!((aged.max_age, aged.duplicate_window), (minute, minute));
        assert_eq!(limited(Retention::forever().count(10)).unwrap().max_messages, 40);
        let capped = limited(Retention::forever().cap(1 << 20, AtCap::RefusePublish)).unwrap();
        assert_eq!((capped.max_bytes, capped.discard), (4 << 20, DiscardPolicy::New));
        let both = limited(Retention::forever().count(10).age(minute)).unwrap_err();
        assert!(matches!(both, TransportError::Unmappable { .. }), "{both}");
        assert!(limited(Retention::forever().bytes(10).cap(1 << 20, AtCap::DropOldest)).is_err());
    }
}
