//! Comparing what a broker delivers with the log.

use std::time::Duration;

use busway_engine::cutover::{Compared, CutOverMode};
use busway_engine::transport::{LocalTransport, Transport as _};
use busway_event::{AnyEvent, CodecId, Encoded, EventId, Metadata, Parts, Timestamp, Topic};

use super::{open, publish, until};
use crate::world::ends;

fn foreign(id: &str) -> AnyEvent {
    let topic = Topic::new("orders.made").unwrap();
    let metadata = Metadata::draft("other", 1);
    let parts = Parts::new(EventId::foreign("other", id), Timestamp::from_nanos(1), topic, metadata);
    let encoded = Encoded { type_name: "raw".into(), version: 1, codec: CodecId::Raw, bytes: "?".into() };
    AnyEvent::receive(parts, encoded).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_comparison_finds_what_is_alike_and_what_only_the_broker_has() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (broker, bus) = (open(&folders[0], "broker").await, open(&folders[1], "one").await);
    let transport = LocalTransport::new(&broker);
    let cut = bus.cut_over("orders", CutOverMode::Compare).await.unwrap();
    let cut = cut.patience(Duration::from_millis(500));
    let carrier = cut.begin(&transport).await.unwrap();
    publish(&bus, "one", 0..50).await;
    let sender = transport.sender().await.unwrap();
    assert!(sender.send(vec![foreign("x")]).await[0].is_ok());
    let compared = || carrier.stats().compared.unwrap();
    until(|| compared().matched == 50 && compared().foreign == 1).await;
    let Compared { missing, changed, overtaken, open, .. } = compared();
    assert_eq!((missing, changed, overtaken, open), (0, 0, 0, 0));
    ends(carrier.stop()).await;
}
