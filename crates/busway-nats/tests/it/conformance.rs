//! The suite of all transports.

use std::sync::Arc;

use busway_engine::transport::{Transport, TransportFuture};
use busway_persistence::Stream;
use busway_testkit::conformance::{self, Broker, CASES, Harness, Restarted};
use parking_lot::Mutex;

use crate::server::Server;

struct Servers;

impl Harness for Servers {
    fn broker(&self, _: Vec<Stream>) -> TransportFuture<'_, Box<dyn Broker>> {
        Box::pin(async { Box::new(One(Mutex::new(Server::start()))) as Box<dyn Broker> })
    }
}

struct One(Mutex<Server>);

impl Broker for One {
    fn connect(&self) -> TransportFuture<'_, Arc<dyn Transport>> {
        let builder = self.0.lock().builder();
        Box::pin(async { Arc::new(builder.connect().await.unwrap()) as Arc<dyn Transport> })
    }

    fn restart(&self) -> TransportFuture<'_, Restarted> {
        let mut server = self.0.lock();
        server.kill();
        server.start_again();
        Box::pin(async { Restarted::ConnectionsStay })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs nats-server"]
async fn on_nats_the_transport_keeps_its_promises() {
    let report = conformance::run(&Servers, CASES).await;
    assert!(report.is_passed(), "{report}");
    println!("{report}");
}
