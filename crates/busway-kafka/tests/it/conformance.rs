//! The suite of all transports.

use std::sync::Arc;

use busway_engine::transport::{Transport, TransportFuture};
use busway_persistence::Stream;
use busway_testkit::conformance::{self, Broker, CASES, Case, Harness, Report, Restarted, runs_wanted};
use futures_util::future::join_all;

use crate::cluster::Cluster;

/// Mock clusters whose streams have so many partitions.
struct Clusters(u16);

struct One(Cluster);

impl Harness for Clusters {
    fn broker(&self, streams: Vec<Stream>) -> TransportFuture<'_, Box<dyn Broker>> {
        Box::pin(async move {
            let cluster = Cluster::of(1);
            streams.iter().for_each(|stream| cluster.make(stream.name(), self.0));
            Box::new(One(cluster)) as Box<dyn Broker>
        })
    }

    fn partitions(&self) -> u16 {
        self.0
    }
}

impl Broker for One {
    fn connect(&self) -> TransportFuture<'_, Arc<dyn Transport>> {
        Box::pin(async { Arc::new(self.0.connect().await) as Arc<dyn Transport> })
    }

    /// Its memory is its disk: what is killed is all of its connections, and it takes none until it is up again.
    fn restart(&self) -> TransportFuture<'_, Restarted> {
        Box::pin(async {
            self.0.mock().broker_down(-1).unwrap();
            tokio::task::yield_now().await;
            self.0.mock().broker_up(-1).unwrap();
            Restarted::ConnectionsStay
        })
    }
}

/// Cases that the harness cannot put to the proof, with the reason.
fn left_out(case: &Case, partitions: u16) -> Option<&'static str> {
    match case.name {
        "time to begin at" => Some("a mock broker knows no offset by its time: see on_kafka"),
        "replay from an offset" if partitions > 1 => {
            Some("offsets count in a partition each; in a stream of one the case is run")
        }
        "groups share" if partitions == 1 => {
            Some("members of a group share partitions, and this stream has one; with four the case is run")
        }
        _ => None,
    }
}

/// Most of a case is waiting for a group to form, three seconds on a mock broker: several are run at a time. Where the suite is run so many times at once that these keep the machine
/// busy, a run has its cases one after the other.
async fn run(partitions: u16) -> Vec<Report> {
    let is_run = |case: &&Case| match left_out(case, partitions) {
        Some(reason) => {
            println!("  left out  {} ({reason})", case.name);
            false
        }
        None => true,
    };
    let cases: Vec<&'static Case> = CASES.iter().filter(is_run).collect();
    let clusters = Clusters(partitions);
    let runs = runs_wanted();
    let count = (LANES / runs).max(1);
    let lanes = (0..count).map(|lane| {
        let some: Vec<_> = cases.iter().copied().skip(lane).step_by(count).collect();
        conformance::run_at_once(&clusters, some, runs)
    });
    join_all(lanes).await
}

fn assert_passed(reports: &[Report]) {
    reports.iter().for_each(|report| println!("{report}"));
    for report in reports {
        assert!(report.is_passed(), "{report}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mock_cluster_keeps_what_a_transport_promises() {
    let reports = run(4).await;
    assert_passed(&reports);
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guide/capability-matrix.md");
    reports[0].assert_documented(page, "Kafka");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_one_partition_keeps_it_too() {
    assert_passed(&run(1).await);
}

const LANES: usize = 6;
