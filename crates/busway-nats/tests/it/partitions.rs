//! Streams with partitions: what lies where, what is checked, and where subscriptions begin.

use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::message::PublishMessage;
use busway_engine::StartAt;
use busway_engine::transport::{Letter, Reception, Transport, TransportError, Verdict};
use busway_event::{Filter, Timestamp};
use busway_persistence::Stream;

use crate::server::{
    Server, event, join, keyed, nothing_comes, number, orders_in, receive, reception, send, settle, take,
};

fn orders(partitions: u16) -> Stream {
    Stream::new("orders").capture("orders.#").partitions(partitions)
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_what_has_a_key_lies_in_its_partition_and_all_else_under_its_subject() {
    let (server, transport) = orders_in(16).await;
    // Who sends need not have prepared the stream.
    let other = server.transport().await;
    for (transport, offset) in [(&transport, 0), (&other, 10)] {
        let events = vec![keyed("orders.a", "123456789", offset + 1), event("orders.a", offset + 2)];
        send(&*transport.sender().await.unwrap(), events).await;
    }
    let stream = server.plain().await.get_stream("orders").await.unwrap();
    for (sequence, subject) in [
        (1, "~busway.orders.16.14.orders.a"),
        (2, "orders.a"),
        (3, "~busway.orders.16.14.orders.a"),
        (4, "orders.a"),
    ] {
        assert_eq!(stream.get_raw_message(sequence).await.unwrap().subject.as_str(), subject);
    }
    let receiver = join(&transport, &reception("stock", "#")).await;
    let mut came = take(&*receiver, 4).await;
    came.sort_unstable();
    assert_eq!(came, [1, 2, 11, 12]);
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_events_of_programs_without_busway_are_delivered_from_where_they_lie() {
    let (server, transport) = orders_in(4).await;
    let plain = server.plain().await;
    let headers = || {
        PublishMessage::build()
            .header("ce-specversion", "1.0")
            .header("ce-source", "/shop")
            .header("ce-type", "order")
            .header("ce-datacontenttype", "application/json")
    };
    for (id, subject) in [("1", "orders.made"), ("2", "~busway.orders.4.3.orders.put")] {
        let message = headers().header("ce-id", id).payload(id.as_bytes().to_vec().into());
        plain.send_publish(subject, message).await.unwrap().await.unwrap();
    }
    plain.publish("~busway.orders.4.2.orders.raw", "hello".into()).await.unwrap().await.unwrap();
    let receiver = join(&transport, &reception("stock", "orders.#")).await;
    let mut came = receive(&*receiver, 3).await;
    came.sort_by_key(|one| one.offset);
    let topic = |index: usize| came[index].event.as_ref().unwrap().topic().to_string();
    assert_eq!((topic(0).as_str(), topic(1).as_str()), ("orders.made", "orders.put"));
    let raw = came[2].event.as_ref().unwrap_err();
    assert_eq!((raw.place.as_str(), &*raw.bytes), ("~busway.orders.4.2.orders.raw", &b"hello"[..]));
    settle(&*receiver, &came[..2], &Verdict::Done).await;
    settle(&*receiver, &came[2..], &Verdict::Dead(Letter::new("no event"))).await;
    let dead = plain.get_stream("busway_dead").await.unwrap().get_raw_message(1).await.unwrap();
    assert_eq!(dead.subject.as_str(), "busway_dead.stock.orders.raw");
    let lay = dead.headers.get("Busway-Dead-Subject").unwrap().as_str();
    assert_eq!(lay, "~busway.orders.4.2.orders.raw");
    nothing_comes(&*receiver).await;
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_filters_mean_what_they_mean_in_partitions_too() {
    for prefix in ["", "shop.eu"] {
        let server = Server::start();
        let transport = server.builder().subject_prefix(prefix).connect().await.unwrap();
        let stream = Stream::new("orders").capture("a.#").capture("b.+").partitions(3);
        transport.prepare(&[stream]).await.unwrap();
        let topics = ["a", "a.b", "a.b.c", "a.c", "b.b", "b.c"];
        let events = topics.iter().zip(1..).flat_map(|(topic, number)| {
            [keyed(topic, &format!("key-{number}"), number), event(topic, number + 10)]
        });
        send(&*transport.sender().await.unwrap(), events.collect()).await;
        for (name, filter, expected) in [
            ("rest", "a.#", &[1, 2, 3, 4][..]),
            ("one", "a.+", &[2, 4]),
            ("within", "a.b.#", &[2, 3]),
            ("first", "+.b", &[2, 5]),
            ("all", "#", &[1, 2, 3, 4, 5, 6]),
            ("both", "+.#", &[1, 2, 3, 4, 5, 6]),
            ("exact", "a", &[1]),
        ] {
            let receiver = join(&transport, &reception(name, filter)).await;
            let mut came = take(&*receiver, expected.len() * 2).await;
            came.sort_unstable();
            let both: Vec<_> =
                expected.iter().copied().chain(expected.iter().map(|number| number + 10)).collect();
            assert_eq!(came, both, "{filter}");
            nothing_comes(&*receiver).await;
            join(&transport, &reception(name, filter)).await;
            let other = transport.receiver(&reception(name, "a.x")).await.unwrap_err();
            assert!(matches!(&other, TransportError::Incompatible { setting: "filters", .. }), "{other}");
        }
    }
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_new_subscription_to_partitions_begins_where_it_says() {
    let (_server, transport) = orders_in(4).await;
    let sender = transport.sender().await.unwrap();
    // Every third one has no key.
    let events = |numbers: std::ops::RangeInclusive<u32>| {
        let one = |number| match number % 3 {
            0 => event("orders.a", number),
            _ => keyed("orders.a", &format!("key-{number}"), number),
        };
        numbers.map(one).collect::<Vec<_>>()
    };
    send(&*sender, events(1..=10)).await;
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let between = Timestamp::from_nanos(i64::try_from(clock.as_nanos()).unwrap());
    send(&*sender, events(11..=16)).await;
    let mut late = Vec::new();
    for start_at in [StartAt::Stored, StartAt::Latest] {
        late.push(join(&transport, &reception(&format!("{start_at:?}"), "#").start_at(start_at)).await);
    }
    for (name, start_at, from) in [
        ("earliest", StartAt::Earliest, 1),
        ("offset", StartAt::Offset(8), 8),
        ("time", StartAt::Time(between), 11),
    ] {
        let receiver = join(&transport, &reception(name, "#").start_at(start_at)).await;
        let mut came = Vec::new();
        while came.len() < 17 - from {
            for one in receive(&*receiver, 1).await {
                // Its sequence, whichever partition it lies in.
                assert_eq!(one.offset, Some(u64::from(number(&one))));
                settle(&*receiver, std::slice::from_ref(&one), &Verdict::Done).await;
                came.push(number(&one));
            }
        }
        came.sort_unstable();
        assert_eq!(came, (u32::try_from(from).unwrap()..=16).collect::<Vec<_>>(), "{name}");
        nothing_comes(&*receiver).await;
    }
    send(&*sender, events(17..=22)).await;
    for receiver in late {
        let mut came = take(&*receiver, 6).await;
        came.sort_unstable();
        assert_eq!(came, (17..=22).collect::<Vec<_>>());
    }
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_another_number_of_partitions_is_incompatible() {
    let (server, transport) = orders_in(8).await;
    transport.prepare(&[orders(8)]).await.unwrap();
    for other in [1, 16] {
        let error = server.transport().await.prepare(&[orders(other)]).await.unwrap_err();
        let TransportError::Incompatible { what, setting, found, wanted } = &error else { panic!("{error}") };
        assert_eq!((what.as_str(), *setting, found.as_str()), ("stream orders", "partitions", "8"));
        assert!(wanted.starts_with(&format!("{other} (")) && wanted.contains("declare 8"), "{wanted}");
    }
    let error = transport.prepare(&[Stream::new("many").capture("many").partitions(65)]).await.unwrap_err();
    assert!(matches!(error, TransportError::Unmappable { .. }), "{error}");
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_partitions_consumer_that_is_something_else_is_incompatible() {
    let (server, transport) = orders_in(2).await;
    let stream = server.plain().await.get_stream("orders").await.unwrap();
    let base = |name: &str, filter: &str| pull::Config {
        durable_name: Some(name.to_owned()),
        ack_policy: AckPolicy::Explicit,
        max_ack_pending: 1,
        filter_subject: filter.to_owned(),
        ..Default::default()
    };
    let lies = "~busway.orders.2.1.orders.a";
    for (name, config, expected) in [
        ("other", base("other~1", "orders.a"), "filters"),
        ("many", pull::Config { max_ack_pending: 7, ..base("many~1", lies) }, "max_ack_pending"),
    ] {
        stream.create_consumer(config).await.unwrap();
        let error = transport.receiver(&reception(name, "orders.a")).await.unwrap_err();
        assert!(
            matches!(&error, TransportError::Incompatible { setting, .. } if *setting == expected),
            "{name}: {error}"
        );
        assert!(error.to_string().starts_with(&format!("consumer {name}~1 has")), "{error}");
    }
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_sender_that_believes_in_other_partitions_is_refused_once_and_then_knows() {
    let (server, transport) = orders_in(8).await;
    let sender = transport.sender().await.unwrap();
    send(&*sender, vec![keyed("orders.a", "a", 1)]).await;
    let plain = server.plain().await;
    plain.delete_stream("orders").await.unwrap();
    server.transport().await.prepare(&[orders(4)]).await.unwrap();
    let error = sender.send(vec![keyed("orders.a", "a", 2)]).await.remove(0).unwrap_err();
    assert!(error.is_refused() && error.is_transient(), "{error:?}");
    send(&*sender, vec![keyed("orders.a", "a", 2)]).await;
    let stream = plain.get_stream("orders").await.unwrap();
    let subject = stream.get_raw_message(1).await.unwrap().subject;
    assert!(subject.starts_with("~busway.orders.4."), "{subject}");
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_partition_that_waits_for_a_retry_holds_its_keys_and_no_others() {
    let (server, _first) = orders_in(16).await;
    // A server of version 2.9 may forget a retry that falls due at a moment when no request waits: these wait for longer than the test takes.
    let transport = server.builder().heartbeat(Duration::from_secs(20)).connect().await.unwrap();
    let sender = transport.sender().await.unwrap();
    let receiver = join(&transport, &reception("stock", "#")).await;
    let events = [("a", 1), ("a", 2), ("b", 3), ("b", 4)];
    let mut events: Vec<_> = events.iter().map(|(key, number)| keyed("orders.a", key, *number)).collect();
    events.push(event("orders.a", 5));
    send(&*sender, events).await;
    let mut first = receive(&*receiver, 3).await;
    first.sort_by_key(number);
    assert_eq!(first.iter().map(number).collect::<Vec<_>>(), [1, 3, 5]);
    let delay = Duration::from_millis(800);
    let begun = std::time::Instant::now();
    settle(&*receiver, &first[..1], &Verdict::Again(delay)).await;
    settle(&*receiver, &first[1..], &Verdict::Done).await;
    assert_eq!(take(&*receiver, 1).await, [4]);
    assert!(begun.elapsed() < delay);
    let again = receive(&*receiver, 1).await;
    assert!(begun.elapsed() >= delay && number(&again[0]) == 1 && again[0].attempt.get() == 2);
    settle(&*receiver, &again, &Verdict::Done).await;
    assert_eq!(take(&*receiver, 1).await, [2]);
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_lost_consumer_of_a_partition_is_made_again() {
    let (server, transport) = orders_in(2).await;
    let sender = transport.sender().await.unwrap();
    let filter = Filter::new("#").unwrap();
    let receiver = join(&transport, &Reception::new("orders", "stock", filter)).await;
    send(&*sender, vec![keyed("orders.a", "123456789", 1)]).await;
    assert_eq!(take(&*receiver, 1).await, [1]);
    let stream = server.plain().await.get_stream("orders").await.unwrap();
    stream.delete_consumer("stock~1").await.unwrap();
    send(&*sender, vec![keyed("orders.a", "123456789", 2)]).await;
    // From the last place that is known to be settled on.
    let mut came = take(&*receiver, 1).await;
    while came.last() != Some(&2) {
        came.extend(take(&*receiver, 1).await);
    }
    nothing_comes(&*receiver).await;
}
