//! The suite of all transports.

use std::sync::Arc;

use busway_engine::transport::{Capability, Transport, TransportFuture};
use busway_persistence::Stream;
use busway_testkit::Proxy;
use busway_testkit::conformance::{self, Broker, CASES, Harness, Report, Restarted};
use parking_lot::Mutex;

use crate::server::{Server, builder_to};

/// Servers whose streams have so many partitions.
struct Servers(u16);

impl Harness for Servers {
    fn broker(&self, _: Vec<Stream>) -> TransportFuture<'_, Box<dyn Broker>> {
        Box::pin(async {
            let server = Server::start();
            let network = Proxy::to(server.address).await;
            Box::new(One { server: Mutex::new(server), network }) as Box<dyn Broker>
        })
    }

    fn partitions(&self) -> u16 {
        self.0
    }
}

struct One {
    server: Mutex<Server>,
    network: Proxy,
}

impl Broker for One {
    fn connect(&self) -> TransportFuture<'_, Arc<dyn Transport>> {
        let builder = builder_to(self.network.address());
        Box::pin(async { Arc::new(builder.connect().await.unwrap()) as Arc<dyn Transport> })
    }

    fn network(&self) -> Option<&Proxy> {
        Some(&self.network)
    }

    fn restart(&self) -> TransportFuture<'_, Restarted> {
        let mut server = self.server.lock();
        server.kill();
        server.start_again();
        Box::pin(async { Restarted::ConnectionsStay })
    }
}

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/capability-matrix.md");

/// What an old server cannot do by itself is said by the transport, and not in the table.
fn is_as_documented(report: &Report, column: &str) {
    let is_old = report
        .matrix()
        .iter()
        .any(|(capability, ability)| *capability == Capability::Wildcards && ability.starts_with("emulated"));
    if !is_old {
        report.assert_documented(PAGE, column);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs nats-server"]
async fn on_nats_the_transport_keeps_its_promises() {
    let report = conformance::run_at_once(&Servers(1), CASES, conformance::runs_wanted()).await;
    assert!(report.is_passed(), "{report}");
    is_as_documented(&report, "JetStream");
    println!("{report}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs nats-server"]
async fn on_nats_the_transport_keeps_its_promises_in_streams_with_partitions() {
    let report = conformance::run_at_once(&Servers(16), CASES, conformance::runs_wanted()).await;
    assert!(report.is_passed(), "{report}");
    is_as_documented(&report, "JetStream with partitions");
    let left_out = report.results().any(|(_, result)| matches!(result, conformance::Result::LeftOut(_)));
    assert!(!left_out, "{report}");
    println!("{report}");
}
