//! What is said of a file that is wrong: everything at once, with its place and a hint.

use busway_config::{Config, ConfigError, Format};

fn wrong(text: &str) -> ConfigError {
    Config::parse("busway.yaml", text, Format::Yaml).expect_err("the file is wrong")
}

/// Each of them is there, as a line with its place.
fn says(text: &str, expected: &[&str]) {
    let error = wrong(text);
    let shown = error.to_string();
    for line in expected {
        assert!(shown.contains(line), "{line}\nis not in\n{shown}");
    }
    assert_eq!(error.problems().len(), expected.len(), "{shown}");
}

#[test]
fn all_problems_of_a_file_are_shown_at_once() {
    says(
        "\
streams:
  orders: { capture: [orders.#], partitions: 100 }
  eu: { capture: [orders..x] }
routes:
  stock:
    filter: orders.created
    handler: reserve
    limits: { concurency: 8, order: lanes }
    deadline: 5
  board:
    filter: [a, b]
    limits: { concurrency: 0 }
",
        &[
            "busway.yaml:2:46: it has to be a whole number from 1 to 64",
            "busway.yaml:3:19: ",
            "busway.yaml:8:15: unknown field \"concurency\" of limits\n  |\n8 |     limits: { concurency: 8, order: lanes }\n  |               ^^^^^^^^^^\n  = help: did you mean \"concurrency\"?",
            "busway.yaml:8:37: \"lanes\" is not known here; did you mean \"lane\"?",
            "busway.yaml:9:15: its unit is missing: it has to be a time with its unit",
            "busway.yaml:11:13: this is a list; it has to be a filter",
            "busway.yaml:11:5: a route has no \"handler\"",
            "busway.yaml:12:28: it has to be a whole number from 1 to 65536",
        ],
    );
}

#[test]
fn what_fields_mean_together_is_checked() {
    says(
        "\
streams:
  orders: { capture: [orders.#] }
  eu: { capture: [orders.eu.#] }
  none: {}
  \"a b\": { capture: [x] }
limits: { block_deadline: 1s }
filters: { \"a..b\": {} }
",
        &[
            "busway.yaml:3:19: orders.eu.# and orders.# of stream \"orders\" have topics in common",
            "busway.yaml:4:3: stream \"none\" captures nothing",
            "busway.yaml:5:3: \"a b\" cannot be a name",
            "busway.yaml:6:27: nobody waits without \"overflow: block\"",
            "busway.yaml:7:12: ",
        ],
    );
}

#[test]
fn what_a_route_cannot_be_is_said() {
    says(
        "\
routes:
  one: { filter: a, handler: h, durable: x, limits: { capacity: 5, ttl: { p0: 1s } } }
  two: { filter: a, handler: h, durable: x, group: g }
  three: { filter: a, handler: h, durable: y, group: g }
  four: { filter: b, handler: h, durable: y, group: g }
  five:
    filter: a
    handler: h
    start_at: latest
    deadline: 1s
    at_most_once: true
    dead_letters: {}
    group_rule: round_robin
    retry: { delays: [1s], first_delay: 1s, budget: { percent: 0, per_second: 0 } }
    breaker: { rate: { percent: 50, calls: 5, window: 2d } }
    idempotency: { by: id, fields: [x] }
  six:
    filter: a
    handler: h
    durable: six
    idempotency: { by: payload, fields: [order] }
    dead_letters: { policy: discard, capacity: 5, with_expired: true }
",
        &[
            "2:65: \"capacity\" is of no effect",
            "3:42: the name \"x\" in the store is taken by route \"one\" at busway.yaml:2:3",
            "5:19: members of a group want the same topics; \"three\" at busway.yaml:4:3 wants a",
            "9:15: \"start_at\" is for durable subscriptions",
            "10:15: \"deadline\" is for durable subscriptions",
            "11:19: \"at_most_once\" is for durable subscriptions",
            "12:19: \"dead_letters\" is for durable subscriptions",
            "13:17: \"group_rule\" is of no effect without a group",
            "14:41: delays are either listed or doubled",
            "14:53: ",
            "15:55: a window is a day at most",
            "16:37: an id is a key by itself",
            "21:18: ",
            "22:48: what is discarded is not kept",
            "22:65: what is discarded is not kept",
        ],
    );
}

#[test]
fn middleware_is_checked_with_its_parameters() {
    says(
        "\
middleware:
  timeout: [{ kind: timeout }]
  user:
  - { kind: rate_limit, with: { events: 0, pre: 1s } }
  - { kind: log_outcome, with: { level: info } }
  - { kind: concurrency_limit, name: timeout, with: { at_once: 3 } }
  - { kind: of_the_program, with: { whatever: 1 } }
  - { name: x }
",
        &[
            "2:13: parameters of a timeout has no \"limit\"",
            "4:41: it has to be a whole number from 1",
            "4:44: unknown field \"pre\" of a rate",
            "5:34: unknown field \"level\" of parameters of log_outcome",
            "6:38: there are two middleware named \"timeout\"",
            "8:5: a middleware has no \"kind\"",
        ],
    );
}

#[test]
fn syntax_errors_have_their_place_in_every_format() {
    let cases = [
        ("a: [1, 2\nb: 3\n", Format::Yaml, "f:2:"),
        ("a: 1\na: 2\n", Format::Yaml, "f:2:1: "),
        ("[bus]\nproducer = \n[routes\n", Format::Toml, "f:2:"),
        ("[bus]\n[bus]\n", Format::Toml, "f:2:"),
        ("{\"bus\": {},\n \"bus\": {}}", Format::Json, "f:2:2: \"bus\" is given twice"),
        ("{\"bus\": }", Format::Json, "f:1:9: expected value"),
    ];
    for (text, format, expected) in cases {
        let shown = Config::parse("f", text, format).unwrap_err().to_string();
        assert!(shown.contains(expected), "{expected} is not in\n{shown}");
        assert!(shown.contains('^'), "{shown}");
    }
    // Of TOML all of them.
    let error = Config::parse("f", "a = \nb = [\nc = 1\n", Format::Toml).unwrap_err();
    assert!(error.problems().len() > 1, "{error}");
}
