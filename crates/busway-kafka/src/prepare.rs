//! Streams as Kafka topics: made when they are not there, checked when they are.
//!
//! A stream has one topic of its name with its partitions, `<stream>.dead` with one, and `<stream>.retry.<tier>` with one each. Filters are kept nowhere in Kafka:
//! a sender knows them from the declaration.

use std::sync::Arc;
use std::time::Duration;

use busway_engine::transport::TransportError;
use busway_persistence::Stream;
use rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic, OwnedResourceSpecifier, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::types::RDKafkaRespErr;

use crate::client::{Quiet, Settings, Trouble};
use crate::fault::of_code;
use crate::link::{Link, blocking};
use crate::topics::{Wanted, wanted};

/// Makes and checks the topics of a stream.
pub(crate) async fn prepare(link: &Arc<Link>, stream: &Stream) -> Result<(), TransportError> {
    let wanted = wanted(stream, &link.settings)?;
    let at = Arc::clone(link);
    // Its answers are waited for where it may block: a client that is let go of does.
    let runtime = tokio::runtime::Handle::current();
    blocking(move || {
        let (missing, there) = missing(&at.settings, &at.trouble, wanted)?;
        let admin = at.settings.admin(&at.trouble)?;
        runtime.block_on(async {
            check(&at, &admin, &there).await?;
            make(&at, &admin, &missing).await
        })
    })
    .await?;
    let mut streams = link.streams.write();
    streams.retain(|known| known.name() != stream.name());
    streams.push(stream.clone());
    Ok(())
}

/// Those that are not there, and those that are. One that is, and has not as many partitions as it should, is an error.
fn missing(
    settings: &Settings,
    trouble: &Trouble,
    wanted: Vec<Wanted>,
) -> Result<(Vec<Wanted>, Vec<Wanted>), TransportError> {
    let client = settings.asking(trouble)?;
    let (mut missing, mut there) = (Vec::new(), Vec::new());
    for wanted in wanted {
        match partitions(&client, settings, trouble, &wanted.topic)? {
            None => missing.push(wanted),
            Some(found) if wanted.is_exact && found != wanted.partitions => {
                return Err(TransportError::Incompatible {
                    what: format!("topic {}", wanted.topic),
                    setting: "partitions",
                    found: found.to_string(),
                    wanted: wanted.partitions.to_string(),
                });
            }
            Some(_) => there.push(wanted),
        }
    }
    Ok((missing, there))
}

/// Whether topics that are there keep what is wanted. Where nobody may ask, no broker can tell, or none does in time, that is said and no more: a cluster need not have a controller at
/// any moment, and a mock cluster never has one.
async fn check(link: &Link, admin: &AdminClient<Quiet>, there: &[Wanted]) -> Result<(), TransportError> {
    if there.is_empty() {
        return Ok(());
    }
    let what = "asking for the settings of topics";
    let unknown = |error: &TransportError| {
        tracing::warn!(%error, "it is not known whether topics keep what is declared: that is not checked");
    };
    let asked: Vec<_> = there.iter().map(|wanted| ResourceSpecifier::Topic(&wanted.topic)).collect();
    let patience = (link.settings.timeout / CHECK_PART).max(CHECK_MIN);
    let options = AdminOptions::new().request_timeout(Some(patience));
    let asking = tokio::time::timeout(2 * patience, admin.describe_configs(&asked, &options)).await;
    let answered = asking.map_err(|_| link.late(what));
    let answers = match answered.and_then(|said| said.map_err(|error| link.said(what, &error))) {
        Ok(answers) => answers,
        Err(error) => {
            unknown(&error);
            return Ok(());
        }
    };
    for answer in answers {
        match answer {
            Ok(found) => {
                let is_it = |wanted: &&Wanted| matches!(&found.specifier, OwnedResourceSpecifier::Topic(topic) if *topic == wanted.topic);
                if let Some(wanted) = there.iter().find(is_it) {
                    wanted.agrees(|name| found.get(name)?.value.as_deref())?;
                }
            }
            Err(code) => unknown(&of_code(&link.settings.brokers, what, code)),
        }
    }
    Ok(())
}

/// How many partitions a topic has; `None` when there is none of that name.
pub(crate) fn partitions(
    client: &BaseConsumer<Quiet>,
    settings: &Settings,
    trouble: &Trouble,
    topic: &str,
) -> Result<Option<usize>, TransportError> {
    let what = format!("asking for topic {topic}");
    let metadata = client
        .fetch_metadata(Some(topic), settings.timeout)
        .map_err(|error| trouble.explain(&settings.brokers, &what, &error))?;
    let found = metadata.topics().iter().find(|found| found.name() == topic);
    let Some(found) = found else { return Ok(None) };
    match found.error() {
        None => Ok(Some(found.partitions().len()).filter(|count| *count > 0)),
        Some(
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
            | RDKafkaRespErr::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
        ) => Ok(None),
        Some(error) => Err(of_code(&settings.brokers, &what, error.into())),
    }
}

async fn make(link: &Link, admin: &AdminClient<Quiet>, missing: &[Wanted]) -> Result<(), TransportError> {
    if missing.is_empty() {
        return Ok(());
    }
    let settings = &link.settings;
    let texts: Vec<_> = missing.iter().map(Wanted::settings).collect();
    let replication = settings.replication.unwrap_or(AS_THE_BROKER_LIKES);
    let topics: Vec<_> = missing
        .iter()
        .zip(&texts)
        .map(|(wanted, texts)| {
            let partitions = i32::try_from(wanted.partitions).unwrap_or(i32::MAX);
            let topic = NewTopic::new(&wanted.topic, partitions, TopicReplication::Fixed(replication));
            texts.iter().fold(topic, |topic, (name, value)| topic.set(name, value))
        })
        .collect();
    let options =
        AdminOptions::new().request_timeout(Some(settings.timeout)).operation_timeout(Some(settings.timeout));
    let making = tokio::time::timeout(2 * settings.timeout, admin.create_topics(&topics, &options)).await;
    let made = making
        .map_err(|_| link.late("making topics"))?
        .map_err(|error| link.said("making topics", &error))?;
    for made in made {
        match made {
            // Somebody else was quicker.
            Ok(_) | Err((_, Code::TopicAlreadyExists)) => {}
            Err((topic, code)) => {
                return Err(of_code(&settings.brokers, &format!("making topic {topic}"), code));
            }
        }
    }
    Ok(())
}

/// Its `default.replication.factor`; brokers of 2.4 and later know this.
const AS_THE_BROKER_LIKES: i32 = -1;
/// The part of the timeout that the check of settings may take, and the least of it.
const CHECK_PART: u32 = 5;
const CHECK_MIN: Duration = Duration::from_millis(500);
