//! Removing a subscription: all of its consumers.

use async_nats::jetstream::stream::ConsumerErrorKind;
use busway_engine::transport::TransportError;

use crate::link::Link;
use crate::{fault, partition, stream, subject};

/// Removes the consumer of what has no key, and that of each partition which the stream has now. Of a stream that is not there, none is.
pub(crate) async fn remove(link: &Link, of_stream: &str, name: &str) -> Result<(), TransportError> {
    subject::check_name("stream", of_stream)?;
    let whole = subject::consumer(name)?;
    let Some(stream::Info { config, .. }) = stream::info(link, of_stream).await? else { return Ok(()) };
    let handle = link.context.get_stream_no_info(of_stream).await;
    let handle = handle.map_err(|error| fault::request(&link.address, "naming a stream", &error))?;
    let partitions = partition::count(&config.name, &config.subjects);
    let parts = (0..partitions).filter(|_| partitions > 1).map(|number| partition::consumer(&whole, number));
    // The whole one last: while it is there, the subscription is.
    for consumer in parts.chain([whole.clone()]) {
        if let Err(error) = handle.delete_consumer(&consumer).await {
            match error.kind() {
                ConsumerErrorKind::JetStream(said) if fault::is_missing(&said) => {}
                _ => {
                    return Err(fault::request(
                        &link.address,
                        &format!("removing consumer {consumer}"),
                        &error,
                    ));
                }
            }
        }
    }
    Ok(())
}
