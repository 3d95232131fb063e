//! The same settings in three formats.

use std::time::Duration;

use busway_config::{Config, Format, LogShape, OrderBy, Overflowing, StartingAt};

pub(crate) const YAML: &str = r##"
bus:
  producer: shop
  payload_bytes_max: 2MiB
streams:
  orders:
    capture: [orders.#]
    partitions: 4
    retention: { age: 7d, cap: { bytes: 1GiB, then: drop_oldest } }
limits: { capacity: 128 }
filters:
  sensors.#: { capacity: 1024, overflow: block, block_deadline: 50ms }
middleware:
  trace: [{ kind: log_outcome }]
  user: [{ kind: rate_limit, name: spare_db, with: { events: 100, per: 1s, burst: 10 } }]
routes:
  stock:
    filter: orders.created
    handler: reserve_stock
    durable: stock
    start_at: earliest
    limits: { concurrency: 8, order: key, at_once: { p0: 4 } }
    retry: { attempts: 8, first_delay: 100ms }
    breaker: { opens_after: 5, rate: { percent: 50, calls: 20, window: 10s } }
    idempotency: { by: metadata, fields: [bizId, version], ttl: 1h }
    dead_letters: { capacity: 5000, expire_after: 30d }
    deadline: 5s
  board:
    filter: orders.#
    handler: show
    limits: { ttl: { p0: forever, p1: 1.5s } }
observability:
  log: { format: json, filter: "info,busway=debug" }
  metrics: { address: "127.0.0.1:9464" }
access:
  - { effect: allow, identity: "*", action: publish, filter: "#" }
"##;

const TOML: &str = r##"
access = [{ effect = "allow", identity = "*", action = "publish", filter = "#" }]
limits.capacity = 128

[bus]
producer = "shop"
payload_bytes_max = 2_097_152

[streams.orders]
capture = ["orders.#"]
partitions = 4
retention = { age = "7d", cap = { bytes = "1GiB", then = "drop_oldest" } }

[filters."sensors.#"]
capacity = 1024
overflow = "block"
block_deadline = "50ms"

[[middleware.trace]]
kind = "log_outcome"

[[middleware.user]]
kind = "rate_limit"
name = "spare_db"
with = { events = 100, per = "1s", burst = 10 }

[routes.stock]
filter = "orders.created"
handler = "reserve_stock"
durable = "stock"
start_at = "earliest"
deadline = "5s"
limits = { concurrency = 8, order = "key", at_once = { p0 = 4 } }
retry = { attempts = 8, first_delay = "100ms" }
breaker = { opens_after = 5, rate = { percent = 50, calls = 20, window = "10s" } }
idempotency = { by = "metadata", fields = ["bizId", "version"], ttl = "1h" }
dead_letters = { capacity = 5000, expire_after = "30d" }

[routes.board]
filter = "orders.#"
handler = "show"
limits.ttl = { p0 = "forever", p1 = "1.5s" }

[observability]
log = { format = "json", filter = "info,busway=debug" }
metrics.address = "127.0.0.1:9464"
"##;

fn json() -> String {
    r##"{"bus": {"producer": "shop", "payload_bytes_max": 2097152},
"streams": {"orders": {"capture": ["orders.#"], "partitions": 4,
    "retention": {"age": "7d", "cap": {"bytes": "1GiB", "then": "drop_oldest"}}}},
"limits": {"capacity": 128},
"filters": {"sensors.#": {"capacity": 1024, "overflow": "block", "block_deadline": "50ms"}},
"middleware": {"trace": [{"kind": "log_outcome"}],
    "user": [{"kind": "rate_limit", "name": "spare\u005fdb", "with": {"events": 100, "per": "1s", "burst": 10}}]},
"routes": {
    "stock": {"filter": "orders.created", "handler": "reserve_stock", "durable": "stock", "start_at": "earliest", "deadline": "5s",
        "limits": {"concurrency": 8, "order": "key", "at_once": {"p0": 4}},
        "retry": {"attempts": 8, "first_delay": "100ms"},
        "breaker": {"opens_after": 5, "rate": {"percent": 50, "calls": 20, "window": "10s"}},
        "idempotency": {"by": "metadata", "fields": ["bizId", "version"], "ttl": "1h"},
        "dead_letters": {"capacity": 5000, "expire_after": "30d"}},
    "board": {"filter": "orders.#", "handler": "show", "limits": {"ttl": {"p0": "forever", "p1": "1.5s"}}}},
"observability": {"log": {"format": "json", "filter": "info,busway=debug"}, "metrics": {"address": "127.0.0.1:9464"}},
"access": [{"effect": "allow", "identity": "*", "action": "publish", "filter": "#"}]}"##
        .to_owned()
}

pub(crate) fn yaml(text: &str) -> Config {
    Config::parse("busway.yaml", text, Format::Yaml).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_three_formats_say_the_same() {
    let from_yaml = yaml(YAML);
    let from_toml =
        Config::parse("busway.toml", TOML, Format::Toml).unwrap_or_else(|error| panic!("{error}"));
    let from_json =
        Config::parse("busway.json", &json(), Format::Json).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(from_toml, from_json);
    // Sizes in other units are equal too.
    assert_eq!(from_yaml, from_toml);
}

#[test]
fn settings_are_typed() {
    let config = yaml(YAML);
    let stock = config.routes.get("stock").unwrap();
    let limits = stock.limits.as_ref().unwrap();
    assert_eq!(limits.concurrency.as_ref().unwrap().number(), 8);
    assert_eq!(*limits.order.as_ref().unwrap().value(), OrderBy::Key);
    assert_eq!(*stock.start_at.as_ref().unwrap().value(), StartingAt::Earliest);
    assert_eq!(stock.deadline.as_ref().unwrap().duration(), Duration::from_secs(5));
    let sensors = config.filters.get("sensors.#").unwrap();
    assert_eq!(*sensors.overflow.as_ref().unwrap().value(), Overflowing::Block);
    let ttl = config.routes.get("board").unwrap().limits.as_ref().unwrap().ttl.as_ref().unwrap();
    assert_eq!(ttl.p0.as_ref().unwrap().limit(), None);
    assert_eq!(ttl.p1.as_ref().unwrap().limit(), Some(Duration::from_millis(1_500)));
    let log = config.observability.as_ref().unwrap().log.as_ref().unwrap();
    assert_eq!(*log.format.as_ref().unwrap().value(), LogShape::Json);
}

#[test]
fn every_setting_knows_where_it_was_given() {
    let at = |config: &Config| config.routes.get("stock").unwrap().filter.place().to_string();
    assert_eq!(at(&yaml(YAML)), "busway.yaml:18:13");
    assert_eq!(at(&Config::parse("busway.toml", TOML, Format::Toml).unwrap()), "busway.toml:28:10");
    assert_eq!(at(&Config::parse("busway.json", &json(), Format::Json).unwrap()), "busway.json:9:25");
}

#[test]
fn a_file_is_read_by_its_extension() {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [("a.yaml", YAML), ("a.YML", YAML), ("a.toml", TOML), ("a.json", &json())] {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        let config = Config::load_with(&path, []).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(config, yaml(YAML), "{name}");
    }
    let error = Config::load_with(directory.path().join("a.ini"), []).unwrap_err().to_string();
    assert!(error.contains("its extension says no format"), "{error}");
}

#[test]
fn anchors_and_merges_are_as_if_written_out() {
    let config = yaml(
        "routes:\n  one: &base\n    filter: a.b\n    handler: h\n    limits: { concurrency: 2 }\n  two:\n    <<: *base\n    filter: a.c\n",
    );
    let two = config.routes.get("two").unwrap();
    assert_eq!(two.filter.as_str(), "a.c");
    assert_eq!(two.limits, config.routes.get("one").unwrap().limits);
}
