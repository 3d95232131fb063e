//! The suite that every transport passes.

use std::sync::Arc;

use busway_engine::Stream;
use busway_engine::transport::{Transport, TransportFuture};
use busway_redis::RedisTransport;
use busway_testkit::Proxy;
use busway_testkit::conformance::{self, Broker, CASES, Harness, Restarted};
use tokio::sync::Mutex;

use crate::server::Server;

/// A server for each case.
struct Servers;

struct OneServer {
    network: Proxy,
    server: Mutex<Server>,
}

impl Harness for Servers {
    fn broker(&self, _streams: Vec<Stream>) -> TransportFuture<'_, Box<dyn Broker>> {
        Box::pin(async {
            let server = Server::start().await;
            let network = Proxy::to(server.address).await;
            Box::new(OneServer { network, server: Mutex::new(server) }) as Box<dyn Broker>
        })
    }
}

impl Broker for OneServer {
    fn connect(&self) -> TransportFuture<'_, Arc<dyn Transport>> {
        let url = format!("redis://{}", self.network.address());
        Box::pin(async move {
            Arc::new(RedisTransport::builder(&url).connect().await.unwrap()) as Arc<dyn Transport>
        })
    }

    fn network(&self) -> Option<&Proxy> {
        Some(&self.network)
    }

    fn restart(&self) -> TransportFuture<'_, Restarted> {
        Box::pin(async {
            let mut server = self.server.lock().await;
            server.kill();
            server.start_again().await;
            Restarted::ConnectionsStay
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs a redis-server; `cargo xtask test` starts one"]
async fn on_redis_streams_keep_what_a_transport_promises() {
    let report = conformance::run_at_once(&Servers, CASES, conformance::runs_wanted()).await;
    println!("{report}");
    assert!(report.is_passed(), "{report}");
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/capability-matrix.md");
    report.assert_documented(page, "Redis Streams");
}
