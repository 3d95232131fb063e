//! Connecting: what is refused, and how soon.

use std::time::{Duration, Instant};

use busway_engine::transport::{Ability, Capability, Transport, TransportError};
use busway_event::Durability;
use busway_nats::{NatsTransport, Syncing};

use crate::server::Server;

const PASSWORD: &str =
    "jetstream { store_dir: \"{folder}\" }\nauthorization { user: ann, password: s3cr3t }\n";

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_wrong_password_is_access_denied_and_is_not_repeated() {
    let server = Server::with(PASSWORD);
    for builder in
        [server.builder(), server.builder().password("ann", "wr0ng"), server.builder().token("wr0ng")]
    {
        let error = builder.connect().await.unwrap_err();
        assert!(matches!(error, TransportError::AccessDenied { .. }) && !error.is_transient(), "{error}");
        assert!(error.to_string().contains(&server.address.to_string()), "{error}");
        assert!(!format!("{error:?}").contains("wr0ng"), "{error:?}");
    }
    let transport = server.builder().password("ann", "s3cr3t").connect().await.unwrap();
    assert!(!format!("{transport:?}").contains("s3cr3t"));
    let url = format!("nats://ann:s3cr3t@{}", server.address);
    NatsTransport::builder(&url).connect().await.unwrap();
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_server_that_does_not_answer_is_unreachable_within_the_timeout() {
    // It takes connections and says nothing.
    let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", mute.local_addr().unwrap());
    let begun = Instant::now();
    let connecting = NatsTransport::builder(&url).timeout(Duration::from_millis(300)).connect().await;
    let error = connecting.unwrap_err();
    assert!(matches!(error, TransportError::Unreachable { .. }) && error.is_transient(), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_server_without_jetstream_is_refused() {
    let server = Server::with("");
    let error = server.builder().connect().await.unwrap_err();
    assert!(matches!(error, TransportError::Refused(_)), "{error}");
    assert!(error.to_string().contains("has no JetStream"), "{error}");
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_what_it_can_do_and_what_acknowledged_means_is_said() {
    let server = Server::start();
    let transport = server.transport().await;
    let capabilities = transport.capabilities();
    assert_eq!(transport.kind(), "nats");
    // Native or emulated, by the server's version.
    assert!(capabilities.has(Capability::Wildcards));
    assert!(matches!(capabilities.of(Capability::OrderPerKeyInGroup), Ability::Missing(_)));
    // Which depends on the streams.
    transport.prepare(&[busway_persistence::Stream::new("a").capture("a.#").partitions(4)]).await.unwrap();
    assert!(matches!(transport.capabilities().of(Capability::OrderPerKeyInGroup), Ability::Emulated(_)));
    let order_in = |stream| transport.capabilities_of(stream).of(Capability::OrderPerKeyInGroup);
    assert!(matches!((order_in("a"), order_in("b")), (Ability::Emulated(_), Ability::Missing(_))));
    // Also of a member alone: what one has in hand when it dies comes behind what follows.
    let alone = |stream| transport.capabilities_of(stream).of(Capability::OrderPerKey).to_string();
    assert!(alone("b").starts_with("emulated: ") && alone("b").contains(".partitions(16)"), "{}", alone("b"));
    assert!(alone("a").contains("one event is under way at a time"), "{}", alone("a"));
    assert!(capabilities.has(Capability::DeadLetters) && capabilities.has(Capability::Renewal));
    assert_eq!(capabilities.durability(), Durability::Written);
    assert_eq!(capabilities.payload_limit(), Some((1 << 20) - (2 << 10)));
    let notes = capabilities.notes().join("\n");
    assert!(notes.contains("acknowledged is written, and not yet on the disk"), "{notes}");
    let always = server.builder().syncing(Syncing::Always).connect().await.unwrap().capabilities();
    assert_eq!(always.durability(), Durability::Synced);
    assert!(!always.notes().join("\n").contains("not yet on the disk"));
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_a_closed_transport_takes_and_gives_nothing() {
    let (_server, transport) = crate::server::orders().await;
    let (sender, reception) = (transport.sender().await.unwrap(), crate::server::reception("stock", "#"));
    let receiver = crate::server::join(&transport, &reception).await;
    let (waiting, closed) = tokio::join!(receiver.receive(1), async {
        tokio::task::yield_now().await;
        transport.close().await
    });
    assert_eq!(waiting.unwrap_err(), TransportError::Closed);
    assert_eq!(closed, Ok(()));
    let sent = sender.send(vec![crate::server::event("orders.a", 1)]).await;
    assert_eq!(sent[0].as_ref().unwrap_err().reason(), &TransportError::Closed);
    assert!(matches!(transport.receiver(&reception).await, Err(TransportError::Closed)));
}
