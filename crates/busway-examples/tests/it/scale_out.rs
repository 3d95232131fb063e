//! Several processes do what one does.

use std::process::Command;

use busway_testkit::ServerProcess;
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
