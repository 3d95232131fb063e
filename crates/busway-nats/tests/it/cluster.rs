//! Three servers that keep streams together, of which one dies under load.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use busway_engine::transport::{Sender, Transport, TransportError, Verdict};
use busway_nats::{NatsBuilder, NatsTransport};
use busway_persistence::Stream;
use busway_testkit::free_address;
use parking_lot::Mutex;

use crate::server::{Server, join, keyed, number, reception};

/// Three servers that know each other.
fn cluster() -> [Server; 3] {
    let routes = [(); 3].map(|()| free_address());
    let known = routes.map(|route| format!("\"nats-route://{route}\"")).join(", ");
    routes.map(|route| {
        let cluster = format!("cluster {{ name: shop, listen: \"{route}\", routes: [{known}] }}");
        Server::with(&format!("jetstream {{ store_dir: \"{{folder}}\" }}\n{cluster}\n"))
    })
}

fn builder(servers: &[Server]) -> NatsBuilder {
    let urls: Vec<_> = servers.iter().map(Server::url).collect();
    NatsTransport::builder(&urls.join(","))
        .timeout(Duration::from_secs(3))
        .heartbeat(Duration::from_millis(500))
}

/// Once they have elected who leads.
async fn prepared(servers: &[Server], stream: &Stream) -> NatsTransport {
    let may_pass =
        |error: &TransportError| error.is_transient() || matches!(error, TransportError::Refused(_));
    let preparing = async {
        let transport = loop {
            match builder(servers).replicas(3).connect().await {
                Ok(transport) => break transport,
                Err(error) => assert!(may_pass(&error), "{error}"),
            }
        };
        while let Err(error) = transport.prepare(std::slice::from_ref(stream)).await {
            assert!(may_pass(&error), "{error}");
            tokio::task::yield_now().await;
        }
        transport
    };
    tokio::time::timeout(Duration::from_secs(60), preparing).await.unwrap()
}

async fn insist(sender: &dyn Sender, number: u32) {
    let mut event = keyed("orders.made", &format!("key-{}", number % 5), number);
    loop {
        match sender.send(vec![event]).await.remove(0) {
            Ok(_) => return,
            Err(error) => {
                assert!(error.is_transient() || !error.is_refused(), "{error:?}");
                event = error.into_event();
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs nats-server"]
async fn on_nats_a_cluster_of_three_of_which_one_after_the_other_dies_loses_nothing_and_keeps_the_order_of_keys()
 {
    let mut servers = cluster();
    let transport = prepared(&servers, &Stream::new("orders").capture("orders.#").partitions(4)).await;
    let receiver = join(&transport, &reception("stock", "#").ack_wait(Duration::from_secs(2))).await;
    let came: Arc<Mutex<Vec<u32>>> = Arc::default();
    let taking = tokio::spawn({
        let (receiver, came) = (Arc::clone(&receiver), Arc::clone(&came));
        async move {
            loop {
                match receiver.receive(16).await {
                    Ok(some) => {
                        came.lock().extend(some.iter().map(number));
                        drop(receiver.settle(some.iter().map(|one| (one.id, Verdict::Done)).collect()).await);
                    }
                    Err(TransportError::Closed) => return,
                    Err(error) => assert!(error.is_transient(), "{error}"),
                }
            }
        }
    });
    let sender = transport.sender().await.unwrap();
    for (round, server) in (0_u32..).zip(&mut servers) {
        for number in round * 60..round * 60 + 30 {
            insist(&*sender, number).await;
        }
        server.kill();
        for number in round * 60 + 30..round * 60 + 60 {
            insist(&*sender, number).await;
        }
        server.start_again();
    }
    let all = async {
        while came.lock().iter().collect::<BTreeSet<_>>().len() < 180 {
            tokio::task::yield_now().await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(60), all).await;
    assert!(in_time.is_ok(), "{:?}", came.lock());
    for key in 0..5 {
        let mut first = Vec::new();
        for number in came.lock().iter().filter(|number| **number % 5 == key) {
            if !first.contains(number) {
                first.push(*number);
            }
        }
        assert!(first.is_sorted(), "key {key}: {first:?}");
    }
    receiver.close().await.unwrap();
    taking.await.unwrap();
}
