//! What differs between two files.

use busway_config::{Applies, Config, Format, Watcher};

use crate::loading::{YAML, yaml};

const BEFORE: &str = r##"
streams: { orders: { capture: ["orders.#"] } }
middleware:
  user: [{ kind: rate_limit, with: { events: 5 } }, { kind: mine, with: { api_token: abc, depth: [1, { x: y }] } }]
routes:
  stock: { filter: orders.created, handler: reserve, durable: stock, limits: { concurrency: 2 } }
  gone: { filter: a, handler: h }
  same: { filter: a, handler: h, retry: {} }
observability: { log: { format: pretty, filter: info } }
access: [{ effect: allow, identity: shop, action: publish, filter: "#" }]
"##;

const AFTER: &str = r##"
streams: { orders: { capture: ["orders.#"], partitions: 4 } }
middleware:
  user: [{ kind: rate_limit, with: { events: 9 } }, { kind: mine, with: { api_token: xyz, depth: [1, { x: z }] } }]
routes:
  same: { filter: a, handler: h, retry: {} }
  invoices: { filter: orders.paid, handler: write }
  stock: { filter: orders.new, handler: reserve, durable: stock, limits: { concurrency: 8 }, breaker: {} }
observability: { log: { format: json, filter: debug } }
access: [{ effect: deny, identity: shop, action: publish, filter: "#" }]
"##;

#[test]
fn a_file_that_only_moved_its_lines_does_not_differ() {
    let moved = format!("# a line more\n\n{YAML}");
    let diff = yaml(&moved).diff(&yaml(YAML));
    assert!(diff.is_empty(), "{diff}");
    assert_eq!(diff.to_string(), "nothing differs\n");
}

#[test]
fn filters_in_another_order_differ_for_the_last_one_wins() {
    let of = |names: &[&str]| {
        let lines = names.iter().map(|name| format!("  \"{name}\": {{ concurrency: 2 }}\n"));
        yaml(&format!("filters:\n{}", lines.collect::<String>()))
    };
    let before = of(&["a.#", "b.#", "c.#", "d.#"]);
    let diff = of(&["a.#", "c.#", "b.#", "d.#"]).diff(&before);
    assert_eq!(diff.to_string(), "~ filters: b.#, c.#, now c.#, b.# (at the next start)\n");
    assert_eq!((diff.changes(), diff.at_restart().count()), (1, 1));
    // What is new or gone is named by itself, and moves no other.
    let diff = of(&["new.#", "b.#", "c.#", "d.#"]).diff(&before);
    let expected = "- filters.\"a.#\".concurrency: 2 (at the next start)\n\
        + filters.\"new.#\".concurrency: 2 (at the next start)\n";
    assert_eq!(diff.to_string(), expected);
    assert!(of(&["a.#", "b.#", "c.#", "d.#"]).diff(&before).is_empty());
}

#[test]
fn everything_that_differs_is_named_and_when_it_takes_effect() {
    let diff = yaml(AFTER).diff(&yaml(BEFORE));
    let shown = diff.to_string();
    let expected = "\
+ routes.invoices: orders.paid to write
- routes.gone: a to h
+ routes.stock.breaker: {}
~ routes.stock.filter: orders.created, now orders.new (refused: the store holds it otherwise; another durable name begins anew)
~ routes.stock.limits.concurrency: 2, now 8
~ middleware.user[0].with.events: 5, now 9
~ middleware.user[1].with.api_token: ***, now ***
~ middleware.user[1].with.depth[1].x: y, now z
~ observability.log.filter: info, now debug
~ observability.log.format: pretty, now json (at the next start)
+ streams.orders.partitions: 4 (at the next start)
- access: allow shop to publish #
+ access: deny shop to publish #
";
    assert_eq!(shown, expected);
    assert_eq!(diff.added_routes().collect::<Vec<_>>(), ["invoices"]);
    assert_eq!(diff.removed_routes().collect::<Vec<_>>(), ["gone"]);
    assert_eq!(diff.changed_routes().map(|(name, _)| name).collect::<Vec<_>>(), ["stock"]);
    assert_eq!(diff.at_restart().count(), 2);
    assert_eq!(
        diff.refused().map(|change| change.path.as_str()).collect::<Vec<_>>(),
        ["routes.stock.filter"]
    );
    assert!(diff.fields().iter().any(|change| change.applies == Applies::AtOnce));
}

#[test]
fn what_becomes_of_another_durable_name_is_said() {
    let route = |durable: &str| yaml(&format!("routes: {{ stock: {{ filter: a, handler: h{durable} }} }}"));
    let (memory, stock, other) = (route(""), route(", durable: stock"), route(", durable: other"));
    let diff = other.diff(&stock);
    assert_eq!(
        diff.to_string(),
        "~ routes.stock.durable: stock, now other (begins anew; what stock has left stays with stock)\n"
    );
    assert!(diff.changed_routes().all(|(_, fields)| fields[0].applies == Applies::Anew));
    let gone = memory.diff(&stock).to_string();
    assert_eq!(gone, "- routes.stock.durable: stock (what stock has left stays with stock)\n");
    assert_eq!(stock.diff(&memory).to_string(), "+ routes.stock.durable: stock\n");
}

#[test]
fn what_is_called_a_secret_is_not_shown() {
    let shown = yaml(AFTER).diff(&yaml("{}")).to_string();
    assert!(shown.contains("api_token: ***") && !shown.contains("xyz"), "{shown}");
}

#[test]
fn secrets_are_neither_debugged_nor_shown_in_errors() {
    let secret = "hunter2";
    let with = "{ api_token: hunter2, nested: { private_key: [hunter2, { x: hunter2 }] } }";
    let good = yaml(&format!("middleware: {{ user: [{{ kind: mine, with: {with} }}] }}"));
    let debugged = format!("{good:?} {:?}", good.diff(&yaml("{}")));
    assert!(debugged.contains("api_token") && !debugged.contains(secret), "{debugged}");

    let wrong = format!("middleware: {{ user: [{{ kind: mine, with: {with}, parallel: 1 }}] }}");
    let error = Config::parse("busway.yaml", &wrong, Format::Yaml).unwrap_err();
    let shown = format!("{error} {error:?}");
    assert!(shown.contains("unknown field \"parallel\"") && !shown.contains(secret), "{shown}");

    let variables = [("BUSWAY__MIDDLEWARE__API_TOKEN".to_owned(), secret.to_owned())];
    let error = Config::parse_with("busway.yaml", "{}", Format::Yaml, variables.clone()).unwrap_err();
    let shown = format!("{error} {error:?} {:?}", Watcher::of("busway.yaml").environment(variables));
    assert!(shown.contains("API_TOKEN") && !shown.contains(secret), "{shown}");
}

#[test]
fn what_differs_is_told_however_little_of_it_is_shown() {
    let differs = |one: &str, two: &str| {
        let with =
            |with: &str| yaml(&format!("middleware: {{ user: [{{ kind: mine, with: {{ {with} }} }}] }}"));
        let differs = !with(two).diff(&with(one)).is_empty();
        assert_eq!(differs, with(one) != with(two), "{one} and {two}");
        differs
    };
    let long = "x".repeat(300);
    assert!(differs(&format!("a: {long}1"), &format!("a: {long}2")));
    assert!(differs("a: 8", "a: '8'"));
    assert!(differs("a: null", "a: 'null'"));
    assert!(differs("a: []", "a: {}"));
    assert!(differs("'a.b': 1, a: { b: 1 }", "'a.b': 1, a: { b: 2 }"));
    assert!(differs("'a.b': 1, a: { b: 2 }", "'a.b': 2, a: { b: 2 }"));
    assert!(!differs("a: 8", "a:   8"));
}

#[test]
fn a_secret_is_hidden_also_where_its_name_is_on_another_line() {
    let wrong = "\
middleware:
  user:
  - kind: rate_limit
    with:
      credentials:
        key: hunter2
      events:
        pass word:
          - hunter2
";
    let error = Config::parse("busway.yaml", wrong, Format::Yaml).unwrap_err().to_string();
    assert!(error.contains("unknown field \"credentials\"") && !error.contains("hunter2"), "{error}");
}
