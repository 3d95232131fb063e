//! The example for operators prints what they should see.

use crate::example_process::stdout;

#[test]
fn an_operator_sees_from_outside_what_was_given_up() {
    let printed = stdout("15_metrics", &[]);
    let given_up = printed.lines().filter(|line| line.starts_with("pager: stock gave up ")).count();
    assert_eq!(given_up, 1, "{printed}");
    for line in [
        "busway_events_delivered_total{subscription=\"stock\",outcome=\"done\"} 19",
        "busway_dead_letter_depth{subscription=\"stock\"} 1",
        "busway_pending_events{subscription=\"stock\"} 0",
        "ready? HTTP/1.1 200 OK",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line} is not in\n{printed}");
    }
}
