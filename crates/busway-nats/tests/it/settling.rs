//! What a verdict does.

use std::time::{Duration, Instant};

use async_nats::HeaderMap;
use async_nats::jetstream::consumer::pull;
use busway_engine::transport::{DeliveryId, Letter, Transport, TransportError, Verdict};
use bytes::Bytes;
use futures_util::StreamExt as _;

use crate::server::{
    Server, join, nothing_comes, number, orders, receive, reception, send_numbers, settle, take,
};

const DELAY: Duration = Duration::from_millis(700);
/// Of headers, which have 64 KiB at most in a stream.
const WIDE: usize = 65_450;

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_again_comes_after_its_delay_and_back_at_once_and_both_are_counted() {
    let (_server, transport) = orders().await;
    send_numbers(&transport, 1..=3).await;
    let receiver = join(&transport, &reception("stock", "#")).await;
    let all = receive(&*receiver, 3).await;
    assert!(all.iter().all(|one| one.attempt.get() == 1));
    let begun = Instant::now();
    settle(&*receiver, &all[..1], &Verdict::Again(DELAY)).await;
    settle(&*receiver, &all[1..2], &Verdict::Back).await;
    settle(&*receiver, &all[2..], &Verdict::Done).await;
    let back = receive(&*receiver, 1).await;
    assert!(begun.elapsed() < DELAY, "{:?}", begun.elapsed());
    assert_eq!((number(&back[0]), back[0].attempt.get()), (2, 2));
    settle(&*receiver, &back, &Verdict::Done).await;
    let again = receive(&*receiver, 1).await;
    assert!(begun.elapsed() >= DELAY, "{:?}", begun.elapsed());
    assert_eq!((number(&again[0]), again[0].attempt.get()), (1, 2));
    settle(&*receiver, &again, &Verdict::Again(Duration::ZERO)).await;
    let third = receive(&*receiver, 1).await;
    assert_eq!(third[0].attempt.get(), 3);
    settle(&*receiver, &third, &Verdict::Done).await;
    nothing_comes(&*receiver).await;
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_what_is_given_up_is_kept_with_its_reason_and_taken_off() {
    let (server, transport) = orders().await;
    send_numbers(&transport, 1..=2).await;
    let receiver = join(&transport, &reception("stock", "#")).await;
    let all = receive(&*receiver, 2).await;
    let letter = Letter::new("no stock:\nempty — ü").attempts(5).handler("reserve \"now\"");
    settle(&*receiver, &all[..1], &Verdict::Dead(letter)).await;
    settle(&*receiver, &all[1..], &Verdict::Done).await;
    nothing_comes(&*receiver).await;
    let dead = server.plain().await.get_stream("busway_dead").await.unwrap();
    let kept = dead.get_raw_message(1).await.unwrap();
    assert_eq!(kept.subject.as_str(), "busway_dead.stock.orders.created");
    assert_eq!(&*kept.payload, b"1");
    let header = |name: &str| kept.headers.get(name).map_or("", |value| value.as_str()).to_owned();
    assert_eq!(header("Busway-Dead-Reason"), "no%20stock:%0Aempty%20%E2%80%94%20%C3%BC");
    assert_eq!(
        (header("Busway-Dead-Attempts"), header("Busway-Dead-Handler")),
        ("5".into(), "reserve%20%22now%22".into())
    );
    assert_eq!(
        (header("Busway-Dead-Subject"), header("Busway-Dead-Stream")),
        ("orders.created".into(), "orders".into())
    );
    assert_eq!((header("Busway-Dead-Sequence"), header("ce-type")), ("1".into(), "order".into()));
    assert_eq!(header("Nats-Msg-Id"), "dead.stock.orders.1");
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_an_event_stays_while_its_letter_cannot_be_kept() {
    let (server, transport) = orders().await;
    send_numbers(&transport, 1..=1).await;
    let reception = reception("stock", "#").ack_wait(Duration::from_millis(1_500));
    let receiver = join(&transport, &reception).await;
    let all = receive(&*receiver, 1).await;
    // The stream of dead letters is lost, and its place is taken by one that captures something else.
    let plain = server.plain().await;
    plain.delete_stream("busway_dead").await.unwrap();
    let other = async_nats::jetstream::stream::Config {
        name: "busway_dead".to_owned(),
        subjects: vec!["other".to_owned()],
        ..Default::default()
    };
    plain.create_stream(other).await.unwrap();
    let told = receiver.settle(vec![(all[0].id, Verdict::Dead(Letter::new("x")))]).await;
    assert!(matches!(told[0], Err(TransportError::Incompatible { .. })), "{told:?}");
    // It is unsettled: it comes again when its time is over. Without the other stream it is made anew when it is needed.
    plain.delete_stream("busway_dead").await.unwrap();
    let again = receive(&*receiver, 1).await;
    assert_eq!((number(&again[0]), again[0].attempt.get()), (1, 2));
    settle(&*receiver, &again, &Verdict::Dead(Letter::new("y".repeat(9_000)))).await;
    let dead = plain.get_stream("busway_dead").await.unwrap();
    assert_eq!(dead.cached_info().state.messages, 1);
    nothing_comes(&*receiver).await;
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_the_largest_event_that_is_taken_can_be_given_up() {
    let (server, transport) = orders().await;
    let limit = transport.capabilities().payload_limit().unwrap();
    let sender = transport.sender().await.unwrap();
    let with = |len: usize| crate::server::event_of("orders.big", 1, vec![b'"'; len].into());
    let refused = sender.send(vec![with(limit)]).await.remove(0).unwrap_err();
    let TransportError::TooLarge { len, .. } = *refused.reason() else { panic!("{refused:?}") };
    crate::server::send(&*sender, vec![with(limit - (len - limit))]).await;
    let receiver = join(&transport, &reception("stock", "#")).await;
    let all = receive(&*receiver, 1).await;
    let letter = Letter::new("ä".repeat(2_000)).handler("h".repeat(9_000));
    settle(&*receiver, &all, &Verdict::Dead(letter)).await;
    let kept =
        server.plain().await.get_stream("busway_dead").await.unwrap().get_raw_message(1).await.unwrap();
    let reason = kept.headers.get("Busway-Dead-Reason").unwrap().as_str().to_owned();
    assert!(reason.starts_with("%C3%A4") && reason.len() > 900, "{}", reason.len());
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_message_that_leaves_no_room_for_its_reason_is_kept_in_parts() {
    let (server, transport) = orders().await;
    let receiver = join(&transport, &reception("stock", "#")).await;
    let plain = server.plain().await;
    let limit = 1 << 20;
    let payload = Bytes::from((0..limit).map(|at| b'a' + u8::try_from(at % 23).unwrap()).collect::<Vec<_>>());
    let mut many = HeaderMap::new();
    many.insert("X-Note", "n".repeat(WIDE).as_str());
    let wide = Bytes::from_static(b"wide");
    for (headers, body) in [(HeaderMap::new(), &payload), (many, &wide)] {
        match headers.is_empty() {
            true => plain.publish("orders.big", body.clone()).await.unwrap().await.unwrap(),
            false => {
                plain.publish_with_headers("orders.big", headers, body.clone()).await.unwrap().await.unwrap()
            }
        };
    }
    let all = receive(&*receiver, 2).await;
    settle(&*receiver, &all, &Verdict::Dead(Letter::new("no event").attempts(1))).await;
    nothing_comes(&*receiver).await;
    let dead = plain.get_stream("busway_dead").await.unwrap();
    for (sequence, is_wide) in [("1", false), ("2", true)] {
        let (mut letter, mut rest) = (None, Vec::new());
        for number in 1..=dead.cached_info().state.messages {
            let kept = dead.get_raw_message(number).await.unwrap();
            let header = |name: &str| kept.headers.get(name).map(|value| value.as_str().to_owned());
            match header("Busway-Dead-Part") {
                _ if header("Busway-Dead-Sequence").as_deref() != Some(sequence) => {}
                Some(part) => rest.push((part.parse::<usize>().unwrap(), kept.payload)),
                None => letter = Some(kept),
            }
        }
        rest.sort_unstable();
        let letter = letter.unwrap();
        let header = |name: &str| letter.headers.get(name).map_or("", |value| value.as_str());
        let parts = if is_wide { "" } else { "2" };
        assert_eq!((header("Busway-Dead-Reason"), header("Busway-Dead-Parts")), ("no%20event", parts));
        let content = rest.iter().fold(letter.payload.to_vec(), |all, (_, more)| [&*all, more].concat());
        let headers: usize = header("Busway-Dead-Headers-Bytes").parse().unwrap_or_default();
        assert_eq!(headers > WIDE, is_wide);
        let (headers, body) = content.split_at(headers);
        assert!(body == if is_wide { &*wide } else { &*payload }, "all of it is there");
        assert!(!is_wide || headers.starts_with(b"X-Note: nn"));
    }
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_what_is_not_settled_in_time_comes_again_unless_it_is_renewed() {
    let (_server, transport) = orders().await;
    send_numbers(&transport, 1..=2).await;
    let wait = Duration::from_millis(900);
    let receiver = join(&transport, &reception("stock", "#").ack_wait(wait)).await;
    let all = receive(&*receiver, 2).await;
    let begun = Instant::now();
    let (again, ()) = tokio::join!(receive(&*receiver, 1), async {
        let mut ticks = tokio::time::interval(wait / 3);
        for _ in 0..6 {
            ticks.tick().await;
            receiver.renew(&[all[0].id]).await.unwrap();
        }
    });
    assert!(begun.elapsed() >= wait, "{:?}", begun.elapsed());
    assert_eq!((number(&again[0]), again[0].attempt.get()), (2, 2));
    // The first was renewed, and is still its holder's; the second is another delivery by now.
    settle(&*receiver, &all[..1], &Verdict::Done).await;
    let late = receiver.settle(vec![(all[1].id, Verdict::Done), (DeliveryId(999), Verdict::Done)]).await;
    assert!(late.iter().all(|told| matches!(told, Err(TransportError::Gone { .. }))), "{late:?}");
    settle(&*receiver, &again, &Verdict::Done).await;
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_member_that_is_gone_without_a_word_leaves_what_it_had_to_the_next() {
    let (_server, transport) = orders().await;
    send_numbers(&transport, 1..=4).await;
    let reception = reception("stock", "#").ack_wait(Duration::from_millis(600));
    let receiver = join(&transport, &reception).await;
    let all = receive(&*receiver, 3).await;
    settle(&*receiver, &all[..1], &Verdict::Done).await;
    drop(receiver);
    let next = join(&transport, &reception).await;
    let mut came = take(&*next, 3).await;
    came.sort_unstable();
    assert_eq!(came, [2, 3, 4]);
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_member_that_is_closed_gives_back_what_it_had_at_once() {
    let (_server, transport) = orders().await;
    send_numbers(&transport, 1..=20).await;
    let receiver = join(&transport, &reception("stock", "#")).await;
    let all = receive(&*receiver, 5).await;
    settle(&*receiver, &all[..2], &Verdict::Done).await;
    // Some are fetched and not handed over: it was cut short while it waited for more.
    _ = tokio::time::timeout(Duration::from_millis(1), receiver.receive(10)).await;
    receiver.close().await.unwrap();
    assert_eq!(receiver.receive(1).await.unwrap_err(), TransportError::Closed);
    let told = receiver.settle(vec![(all[2].id, Verdict::Done)]).await;
    assert_eq!(told, [Err(TransportError::Closed)]);
    let begun = Instant::now();
    let next = join(&transport, &reception("stock", "#")).await;
    let mut came = take(&*next, 18).await;
    came.sort_unstable();
    assert_eq!(came, (3..=20).collect::<Vec<_>>());
    assert!(begun.elapsed() < Duration::from_secs(10), "without waiting for its time");
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_settled_is_settled_at_the_server() {
    let server = Server::start();
    let transport = server.transport().await;
    transport.prepare(&[busway_persistence::Stream::new("orders").capture("orders.#")]).await.unwrap();
    send_numbers(&transport, 1..=50).await;
    let receiver = join(&transport, &reception("stock", "#")).await;
    take(&*receiver, 50).await;
    // No wait in between: the answers had come.
    let stream = server.plain().await.get_stream("orders").await.unwrap();
    let consumer = stream.get_consumer::<pull::Config>("stock").await.unwrap();
    let info = consumer.cached_info();
    assert_eq!((info.num_ack_pending, info.ack_floor.stream_sequence), (0, 50));
    let left = consumer.fetch().max_messages(1).messages().await.unwrap().collect::<Vec<_>>().await;
    assert!(left.is_empty());
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_one_delivery_that_is_gone_does_not_stop_the_renewal_of_others() {
    let wait = Duration::from_secs(1);
    let (_server, transport) = orders().await;
    send_numbers(&transport, 1..=2).await;
    let receiver = join(&transport, &reception("stock", "#").ack_wait(wait)).await;
    let all = receive(&*receiver, 2).await;
    let (gone, held) = (&all[..1], &all[1..]);
    settle(&*receiver, gone, &Verdict::Done).await;
    // The second lives by these alone: longer than two of its times.
    let begun = Instant::now();
    while begun.elapsed() < wait * 5 / 2 {
        let told = receiver.renew(&[gone[0].id, held[0].id]).await;
        assert!(matches!(told, Err(TransportError::Gone { .. })), "{told:?}");
        let came = tokio::time::timeout(wait / 4, receiver.receive(1)).await;
        assert!(came.is_err(), "it is held, and came again: {came:?}");
    }
    settle(&*receiver, held, &Verdict::Done).await;
}
