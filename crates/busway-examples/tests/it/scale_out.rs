//! Several processes do what one does.

use std::process::Command;

use busway_testkit::ServerProcess;
use rdkafka::mocking::MockCluster;
use serde_json::Value;

use crate::built::example;
use crate::nats::NATS;

fn figures(command: &mut Command) -> Value {
    let output = command.arg("--json").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    let mut figures: Value = serde_json::from_slice(&output.stdout).unwrap();
    figures.as_object_mut().unwrap().remove("seconds").unwrap();
    figures
}

#[test]
#[ignore = "needs nats-server; `cargo xtask test` starts one"]
fn on_nats_processes_that_are_killed_in_turn_give_the_figures_of_one() {
    let server = ServerProcess::start(NATS);
    let one = figures(&mut example("busway", "flights"));
    let several = figures(
        example("busway-examples", "19_scale_out").args(["--nats", &format!("nats://{}", server.address())]),
    );
    assert_eq!(several, one);
}

#[test]
#[ignore = "takes the session times of Kafka; `cargo xtask test` runs it"]
fn on_kafka_processes_that_are_killed_in_turn_give_the_figures_of_one() {
    let cluster = MockCluster::new(3).unwrap();
    // A mock cluster makes no topics when it is asked to: the stream's own, and those beside it.
    cluster.create_topic("flights", 16, 3).unwrap();
    for beside in ["dead", "retry.1s", "retry.10s", "retry.60s", "retry.10m"] {
        cluster.create_topic(&format!("flights.{beside}"), 1, 3).unwrap();
    }
    let one = figures(&mut example("busway", "flights"));
    let brokers = cluster.bootstrap_servers();
    let several = figures(example("busway-examples", "19_scale_out").args(["--kafka", &brokers]));
    assert_eq!(several, one);
}
