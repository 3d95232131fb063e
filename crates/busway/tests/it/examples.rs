//! The numbered examples print what they should.

use crate::example_process::stdout;

#[test]
fn durable_topics_survive_a_restart_and_a_failing_order_holds_its_own_key_only() {
    let expected = "\
synced at orders/0/0
synced at orders/0/1
synced at orders/0/2
in memory, offered to 0 subscriptions
stock: 1 done, 1 failed, 2 parked
drained: true
  -- the process starts again --
reserved A-1 at 0, attempt 2
reserved A-1 at 1, attempt 1
0 events behind
";
    assert_eq!(stdout("08_durable", &[]), expected);
}

#[test]
fn a_payment_that_is_asked_for_twice_is_made_once() {
    let expected = "\
the bank is away
paid 4200 cents for P-1
1 done, 2 skipped
  -- the process starts again --
1 known to the store, 0 handled
subscription \"wrong\" did not begin: JSON pointer \"number\" does not begin with \"/\"; a pointer looks like \"/order/id\" (RFC 6901)
";
    assert_eq!(stdout("13_idempotency", &[]), expected);
}

#[test]
fn a_replay_compares_two_versions_and_the_new_one_takes_over() {
    let expected = "\
revenue 6400
what B-7 did:
  orders.created at orders/0/1
3 events, 2 alike, 1 not
  orders/0/1: 500 before, 800 now
revenue 6700
";
    assert_eq!(stdout("10_replay", &[]), expected);
}

#[test]
fn the_counter_that_is_killed_is_right() {
    let printed = stdout("09_exactly_once_counter", &[]);
    assert!(printed.ends_with("total 180300 cents in 600 payments\n"), "{printed}");
    assert!(printed.contains("killed"), "{printed}");
}

#[test]
fn delayed_events_survive_a_restart_and_schedules_tick() {
    let expected = "\
A-1 waits: true
B-7 is taken back: true
\"0 25 * * *\" is no cron expression: at character 3, \"25\" is no hour: it is 0 to 23; a good one is \"30 3 * * 1-5\": at 3:30 from Monday to Friday
  -- the process starts again --
reminded of A-1
0 left
report 1
report 2
heartbeat-report: every 200ms
nightly-report: cron 30 3 * * 1-5 in UTC
";
    assert_eq!(stdout("11_schedule", &[]), expected);
}

#[test]
fn what_is_given_up_is_redriven_edited_and_discarded() {
    let expected = "\
labels/parcels/0/0: given up after 3 attempts: the printer does not answer (3 attempts)
labels/parcels/0/1: given up after 3 attempts: the printer does not answer (3 attempts)
labels/parcels/0/2: the address is empty (1 attempts)
  -- the printer is up again --
label for Kiel, attempt 1 (replay)
label for Ulm, attempt 1 (replay)
redrive of 2 letters by ann (subscription labels, text \"does not answer\")
again: done before
label for Bonn, attempt 1 (replay)
edit of 1 letter by ann (letter labels/parcels/0/2)
kept: {\"address\":\"\"}
discard of 1 letter by ann (letter labels/parcels/0/2)
trail: 3 operations
";
    assert_eq!(stdout("12_retry_and_dead_letters", &[]), expected);
}

#[cfg(feature = "otel")]
#[test]
fn an_order_and_what_it_sets_off_are_one_tree() {
    let expected = "\
checkout
  publish destination=orders.created
    process orders.created destination=orders.created subscription=stock attempt=1 outcome=failed
      ! busway.retry
    process orders.created destination=orders.created subscription=stock attempt=2 outcome=done
      create destination=stock.reserved
        process stock.# destination=stock.reserved subscription=mail attempt=1 outcome=done
          render mail
";
    assert_eq!(stdout("16_tracing", &[]), expected);
}

#[test]
fn what_is_down_is_not_called_and_its_events_are_acknowledged_or_answered_from_memory() {
    let expected = "\
payment-notify is open after 2 calls that failed
4 payments wait in the store
notified: A-1, A-2, A-3, A-4
payment-notify is closed after 2 calls that failed
anna has the plan gold, says the service
anna has the plan gold, says cached
user-profile-sync is open after 5 calls that failed
";
    assert_eq!(stdout("14_circuit_breaker", &[]), expected);
}

#[cfg(feature = "http")]
#[test]
fn each_window_of_a_pipeline_is_summed_up_once() {
    let printed = stdout("pipeline", &["--plain", "--seconds", "3", "--window", "300"]);
    assert!(printed.starts_with("metrics at http://127.0.0.1:"), "{printed}");
    for site in ["harbour", "mill", "orchard"] {
        let of_site =
            printed.lines().filter_map(|line| line.strip_prefix(&format!("sites.{site}.summary: window ")));
        let windows: Vec<u64> =
            of_site.map(|line| line.split_whitespace().next().unwrap().parse().unwrap()).collect();
        // The table drops the oldest when it is slow, and nothing here is; none may come twice.
        assert!(windows.len() > 2 && windows.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{windows:?}");
    }
    assert!(printed.trim_end().ends_with("0 dropped + 0 expired + 0 abandoned + 0 waiting"), "{printed}");
}

#[test]
fn hello_greets_and_shows_receipts_and_a_refusal() {
    let expected = "\
        in memory, offered to 1 subscription\n\
        hello, world\n\
        in memory, offered to 0 subscriptions\n\
        refused Greeting { name: \"nobody\" }\n\
        drained: true, 1 delivered\n";
    let printed = stdout("01_hello", &[]);
    // The receipt and the greeting may come in either order: handler and publisher run side by side.
    let sorted = |text: &str| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines[..2].sort();
        lines
    };
    assert_eq!(sorted(&printed), sorted(expected));
}

#[test]
fn wildcards_match_and_malformed_filters_name_the_place() {
    let expected = "\
plant.hall1.oven: 4 subscriptions
  # got plant.hall1.oven at 21.5
  plant.# got plant.hall1.oven at 21.5
  plant.+.oven got plant.hall1.oven at 21.5
  plant.hall1.oven got plant.hall1.oven at 21.5
plant.hall2.oven: 3 subscriptions
  # got plant.hall2.oven at 21.5
  plant.# got plant.hall2.oven at 21.5
  plant.+.oven got plant.hall2.oven at 21.5
plant: 2 subscriptions
  # got plant at 21.5
  plant.# got plant at 21.5
office.hall1.oven: 1 subscriptions
  # got office.hall1.oven at 21.5
";
    let printed = stdout("02_wildcards", &[]);
    let errors = printed.strip_prefix(expected).unwrap_or_else(|| panic!("printed:\n{printed}"));
    let errors: Vec<&str> = errors.lines().collect();
    assert_eq!(errors.len(), 3);
    assert!(errors[0].contains("\"plant.#.oven\" is refused at byte 6 (segment 1)"), "{}", errors[0]);
    assert!(errors[1].contains("\"plant.ov+\" is refused at byte 8 (segment 1)"), "{}", errors[1]);
    assert!(errors[2].contains("\"plant..oven\" is refused at byte 6 (segment 1)"), "{}", errors[2]);
}

#[test]
fn middleware_runs_by_stage_and_changes_while_running() {
    let expected = "\
-> payments.due
   paid 4200
<- done
-> payments.due
   again, after: nothing to pay
<- failed: nothing to pay
-> payments.due
<- dead: not authorized: unknown tenant
-> payments.due
   paid 1
<- done
last way: announce > second-chance > handler
2 done, 1 failed, 1 dead
";
    assert_eq!(stdout("03_middleware", &[]), expected);
}

#[test]
fn priorities_share_eight_four_two_one_and_an_old_event_expires() {
    let expected = "the first 15 by priority: [8, 4, 2, 1]\n120 delivered, 1 expired\n";
    assert_eq!(stdout("04_priorities", &[]), expected);
}

#[test]
fn each_overflow_policy_loses_what_it_says() {
    let expected = "\
drop newest:
  odd at 1, 2 lost before
  even at 2, 0 lost before
  odd at 3, 0 lost before
  5 offered = 3 delivered + 2 dropped + 0 expired + 0 abandoned + 0 waiting
drop oldest:
  odd at 3, 2 lost before
  even at 4, 0 lost before
  odd at 5, 0 lost before
  5 offered = 3 delivered + 2 dropped + 0 expired + 0 abandoned + 0 waiting
coalesce:
  odd at 5, 3 lost before
  even at 4, 0 lost before
  5 offered = 2 delivered + 3 dropped + 0 expired + 0 abandoned + 0 waiting
disconnect:
  4 offered = 0 delivered + 1 dropped + 0 expired + 3 abandoned + 0 waiting
block 5 ms:
  odd at 1, 2 lost before
  even at 2, 0 lost before
  odd at 3, 0 lost before
  5 offered = 3 delivered + 2 dropped + 0 expired + 0 abandoned + 0 waiting
";
    assert_eq!(stdout("05_backpressure", &[]), expected);
}

#[test]
fn shutdown_finishes_what_it_can_and_refuses_what_comes_later() {
    let expected = "\
stored 1 parts
stored 2 parts
stored 3 parts
interrupted, left in order
drained: true, 7 offered = 7 delivered + 0 dropped + 0 expired + 0 abandoned + 0 waiting
afterwards: the bus is shutting down: it takes no events from outside any more
";
    assert_eq!(stdout("06_graceful_shutdown", &[]), expected);
}

#[test]
fn a_test_of_a_handler_needs_no_sleep() {
    let expected = "reminded after a virtual hour\n3 delivered, none lost\n";
    assert_eq!(stdout("07_testing", &[]), expected);
}

#[test]
fn each_form_of_handler_gives_its_outcomes() {
    let expected = "  charged 4200
  charged 100
async: 2 done, 1 failed, 0 dead
  archived 4200 from sales.berlin
  archived 0 from sales.berlin
  archived 100 from sales.berlin
blocking: 3 done, 0 failed, 0 dead
  stored [4200, 0, 100] at once
batch: 2 done, 0 failed, 1 dead
inline: 4200 in all, 1 done
";
    assert_eq!(stdout("20_handlers", &[]), expected);
}

#[cfg(feature = "config")]
#[test]
fn a_file_is_in_force_when_it_is_saved_and_one_that_is_wrong_changes_nothing() {
    let expected = "  reserved 1
  -- another handler, and another route --
applied:
+ routes.audit: orders.# to refuse
~ routes.stock.handler: reserve, now refuse
  sold out: 2
  sold out: 2
  -- a slip of the pen --
refused:
/busway.yaml:4:14: no handler \"reserv\" is registered
  |
4 |     handler: reserv
  |              ^^^^^^
  = help: did you mean \"reserve\"?
health: degraded
the last configuration is not in force: one thing is wrong with it
  sold out: 3
  sold out: 3
  -- and mended --
applied:
- routes.audit: orders.# to refuse
~ routes.stock.handler: refuse, now reserve
health: good
  reserved 4
2 applied, 1 refused
drained: true
";
    assert_eq!(stdout("17_hot_reload", &[]), expected);
}

#[cfg(feature = "config")]
#[test]
fn a_configuration_says_all_that_is_wrong_and_what_it_would_change() {
    let expected = "
concurrency = 4 (subscription)
  hello orders.created
  reserved 1
in memory, offered to 1 subscription
orders.secret: the event was refused: publish middleware busway-access refused the event: not authorized: shop may not publish orders.secret
would differ:
~ routes.stock.middleware.user[1].with.limit: 2s, now 500ms
~ bus.producer: shop, now store (at the next start)
differs still:
~ bus.producer: shop, now store (at the next start)
drained: true
";
    let printed = stdout("18_config", &[]);
    let problems = printed.strip_suffix(expected).unwrap_or_else(|| panic!("printed:\n{printed}"));
    for problem in [
        "busway.yaml:3:5: a route has no \"handler\"",
        "busway.yaml:3:13: filter \"orders.#.created\" is refused at byte 7",
        "busway.yaml:4:5: unknown field \"handlr\" of a route",
        "busway.yaml:5:28: this is a text; it has to be a whole number",
        "busway.yaml:5:44: \"blok\" is not known here; did you mean \"block\"?",
    ] {
        assert!(problems.contains(problem), "{problem} is not in\n{problems}");
    }
    let schema: serde_json::Value = serde_json::from_str(&stdout("18_config", &["--schema"])).unwrap();
    assert!(schema["properties"]["routes"].is_object());
}

#[cfg(feature = "tower")]
#[test]
fn each_built_in_middleware_does_what_it_is_for() {
    let printed = stdout("21_builtins", &[]);
    let (logs, lines): (Vec<&str>, Vec<&str>) =
        printed.lines().partition(|line| line.contains("busway_middleware::builtin::log: "));
    // The engine says of itself what it has to say; that is not what the example is about.
    let lines: Vec<&str> = lines.into_iter().filter(|line| !line.contains(" busway_engine::")).collect();
    let expected = [
        "packed book",
        "tower saw: done",
        "tower saw: failed",
        "1 done, 1 failed, 2 dead",
        "in pairs: 6 of 6",
        "at once: Some(\"a\"), Some(\"b\")",
        "then nothing more: true",
        "faster: Some(\"c\")",
    ];
    assert_eq!(lines, expected, "{printed}");

    let expected = [
        ("DEBUG", "outcome=\"done\"", ""),
        ("WARN", "outcome=\"dead\"", "this must not be packed"),
        ("WARN", "outcome=\"failed\"", "middleware deadline failed: the handler was cancelled after 50ms"),
        ("WARN", "outcome=\"dead\"", "is required here and missing"),
    ];
    assert_eq!(logs.len(), expected.len(), "{printed}");
    for (log, (level, outcome, error)) in logs.iter().zip(expected) {
        assert!(log.trim_start().starts_with(level), "{log}");
        assert!(log.contains(outcome) && log.contains(error), "{log}");
        assert!(log.contains("subscription=\"packing\" topic=\"orders.created\""), "{log}");
    }
}

#[test]
fn a_bus_is_set_looked_at_and_its_subscriptions_are_ended() {
    let expected = "\
the bus did not start: the start was cancelled
one: 2 subscriptions
at once: 2 subscriptions
batch: 2 receipts
event 1 of the batch: it is not valid; 2 come back
watched: 3 subscriptions
not watched: 3 subscriptions
aborted: 1 offered = 0 delivered + 0 dropped + 0 expired + 1 abandoned + 0 waiting
workers: 2 members, running
  capacity = 8 (filter jobs.#)
  overflow = Block(None) (bus)
  order = Lane (default)
  concurrency = 2 (subscription)
  share = [4, 3, 2, 1] (filter jobs.#)
  limit_p0 = 4 (subscription)
published 8, refused 1, unrouted 0; 18 offered = 17 delivered + 0 dropped + 0 expired + 1 abandoned + 0 waiting
  audit (running): 8 offered = 8 delivered + 0 dropped + 0 expired + 0 abandoned + 0 waiting
  workers (running): 8 offered = 8 delivered + 0 dropped + 0 expired + 0 abandoned + 0 waiting
";
    assert_eq!(stdout("22_operating", &[]), expected);
}
