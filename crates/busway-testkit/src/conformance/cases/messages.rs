//! What is sent is what comes.

use std::time::Duration;

use busway_engine::transport::TransportError;
use busway_event::{AnyEvent, CodecId, EventId, Priority, TraceContext};

use crate::conformance::world::{
    World, assert_same_events, event_of, nothing_comes, received, send, take, take_and_settle, utc,
};

/// What is sent comes, each once.
pub(super) async fn publish_and_subscribe(world: &World) {
    let receiver = world.receiver(&world.reception("all")).await;
    let events = world.events(100);
    let sent = send(&*world.sender().await, &events).await;
    let promised = world.capabilities().durability();
    assert!(sent.iter().all(|sent| sent.durability >= promised), "less than {promised} was reached");
    let came = take_and_settle(&*receiver, events.len()).await;
    assert_same_events(&came, &events, "each once");
    nothing_comes(&*receiver, SHORTLY).await;
}

/// All that an event has beside its payload comes as it was.
pub(super) async fn metadata_goes_round(world: &World) {
    let receiver = world.receiver(&world.reception("all")).await;
    let (mut parts, mut encoded) = world.parts("a.b_c.D-4", br#"{"n": 1}"#.to_vec());
    parts.key = Some("Schlüssel %1 \"x\"".into());
    parts.priority = Priority::P0;
    parts.ttl = Some(Duration::from_secs(3600));
    parts.time = utc();
    parts.metadata.set("tenant", "blau & \"groß\" 100 %");
    parts.metadata.set("with-dash", "2");
    match "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse::<TraceContext>() {
        Ok(trace) => parts.metadata.set_trace(trace.with_state("rojo=00f067aa0ba902b7")),
        Err(error) => panic!("{error}"),
    }
    encoded.codec = CodecId::Json;
    encoded.version = 7;
    let rich = received(parts, encoded);
    let (mut parts, encoded) = world.parts("foreign", b"x".to_vec());
    parts.id = EventId::foreign("conformance", &format!("foreign-{}", parts.id));
    parts.origin_id = Some(format!("A-1/{}", parts.id));
    parts.id = EventId::foreign("conformance", parts.origin_id.as_deref().unwrap_or_default());
    let foreign = received(parts, encoded);
    send(&*world.sender().await, &[rich.clone(), foreign.clone()]).await;
    let came = take_and_settle(&*receiver, 2).await;
    each_as_sent(&came, &[rich, foreign]);
}

fn each_as_sent(came: &[AnyEvent], sent: &[AnyEvent]) {
    for sent in sent {
        match came.iter().find(|came| came.id() == sent.id()) {
            Some(came) => assert_same(came, sent),
            None => panic!("{:?} did not come", sent.id()),
        }
    }
}

fn assert_same(came: &AnyEvent, sent: &AnyEvent) {
    assert_eq!(came.id(), sent.id());
    assert_eq!(came.origin_id(), sent.origin_id());
    assert_eq!((came.topic(), came.key()), (sent.topic(), sent.key()));
    assert_eq!((came.time(), came.priority()), (sent.time(), sent.priority()));
    assert_eq!(came.type_name(), sent.type_name());
    let (metadata, expected) = (came.metadata(), sent.metadata());
    assert_eq!(metadata.producer(), expected.producer());
    assert_eq!(metadata.version(), expected.version());
    assert_eq!(metadata.trace(), expected.trace());
    let mut pairs: [Vec<_>; 2] = [metadata.iter().collect(), expected.iter().collect()];
    pairs.iter_mut().for_each(|pairs| pairs.sort_unstable());
    assert_eq!(pairs[0], pairs[1]);
    // What is left of it may be less: the clock goes on.
    assert_eq!(came.ttl().is_some(), sent.ttl().is_some());
    assert!(came.ttl() <= sent.ttl());
    let bytes = |event: &AnyEvent| event.encoded(usize::MAX).map(|encoded| (encoded.codec, encoded.bytes));
    assert_eq!(bytes(came).ok(), bytes(sent).ok());
}

/// No bytes, and many.
pub(super) async fn empty_and_big_payloads(world: &World) {
    let receiver = world.receiver(&world.reception("all")).await;
    let big = world.capabilities().payload_limit().map_or(BIG, |limit| BIG.min(limit / 2));
    let events: Vec<_> = [0, 1, 4096, big]
        .into_iter()
        .map(|len| {
            let payload = (0..len).map(|at| u8::try_from(at % 251).unwrap_or_default()).collect();
            world.event_with("bytes", None, payload)
        })
        .collect();
    send(&*world.sender().await, &events).await;
    let came = take_and_settle(&*receiver, events.len()).await;
    each_as_sent(&came, &events);
}

/// What the broker would not take is refused here, with its size, and costs its neighbours nothing.
pub(super) async fn oversized_messages_are_refused(world: &World) {
    let Some(limit) = world.capabilities().payload_limit().filter(|limit| *limit < AFFORDABLE) else {
        return;
    };
    let receiver = world.receiver(&world.reception("all")).await;
    let (mut parts, mut encoded) = world.parts("big", Vec::new());
    parts.payload_bytes_max = usize::MAX;
    encoded.bytes = vec![7; limit + 1].into();
    let [before, after] = [world.event("small", None), world.event("small", None)];
    let sender = world.sender().await;
    let results = sender.send(vec![before.clone(), received(parts, encoded), after.clone()]).await;
    match results.as_slice() {
        [Ok(_), Err(error), Ok(_)] => {
            assert!(error.is_refused() && !error.is_transient(), "{error}");
            assert!(matches!(error.reason(), TransportError::TooLarge { .. }), "{}", error.reason());
        }
        results => panic!("{results:?}"),
    }
    assert_same_events(&take_and_settle(&*receiver, 2).await, &[before, after], "the neighbours");
}

/// `+` is one segment, `#` the rest, also none.
pub(super) async fn wildcards(world: &World) {
    let filters = ["a.b.c", "a.+.c", "a.#", "+.b.#", "#"];
    let topics = ["a", "a.b", "a.b.c", "a.x.c", "a.b.c.d", "b.b", "b"];
    let expected: [&[usize]; 5] = [&[2], &[2, 3], &[0, 1, 2, 3, 4], &[1, 2, 4, 5], &[0, 1, 2, 3, 4, 5, 6]];
    let mut receivers = Vec::new();
    for (at, filter) in filters.into_iter().enumerate() {
        receivers.push(world.receiver(&world.reception_of(&format!("f{at}"), filter)).await);
    }
    let events: Vec<_> = topics.into_iter().map(|topic| world.event(topic, None)).collect();
    send(&*world.sender().await, &events).await;
    for ((filter, receiver), expected) in filters.iter().zip(receivers).zip(expected) {
        let came = take_and_settle(&*receiver, expected.len()).await;
        let wanted: Vec<_> = expected.iter().filter_map(|at| events.get(*at)).cloned().collect();
        assert_same_events(&came, &wanted, filter);
        nothing_comes(&*receiver, SHORTLY / 4).await;
    }
}

/// The same event sent twice, also by another process, is there once.
pub(super) async fn idempotent_publish(world: &World) {
    let receiver = world.receiver(&world.reception("all")).await;
    let [first, second] = [world.event("once", None), world.event("once", None)];
    let sent = send(&*world.sender().await, &[first.clone(), first.clone(), second.clone()]).await;
    if let [one, again, _] = sent.as_slice() {
        assert_eq!(one.offset, again.offset, "it has one place");
    }
    let another = world.another().await;
    match another.sender().await {
        Ok(sender) => _ = send(&*sender, std::slice::from_ref(&first)).await,
        Err(error) => panic!("{error}"),
    }
    let came: Vec<_> = take(&*receiver, 2).await.iter().map(event_of).collect();
    assert_same_events(&came, &[first, second], "each once");
    nothing_comes(&*receiver, SHORTLY).await;
}

/// Time in which something that must not come would have come.
const SHORTLY: Duration = Duration::from_millis(400);
/// Within what every broker takes without being told to.
const BIG: usize = 256 << 10;
/// A limit that a test can go beyond.
const AFFORDABLE: usize = 64 << 20;
