//! Everything that can be measured. A new suite is a file with one such function, and a line here.

use anyhow::Result;

use crate::report::Suite;
use crate::terms::Terms;
use crate::{brokers, consume, durable, inproc, instructions, latency, memory, operate, reliability, route};

/// Answers one question; suites that come out of the same runs come together.
pub type Measure = fn(&Terms) -> Result<Vec<Suite>>;

/// The suites by name, in the order in which they run.
pub const SUITES: &[(&str, Measure)] = &[
    ("inproc/1p1c", inproc::one_to_one::measure),
    ("inproc/1p1c-async", inproc::one_to_one_async::measure),
    ("inproc/2p1c", inproc::two_to_one::measure),
    ("inproc/fanout-4", inproc::fan_out::measure_4),
    ("inproc/fanout-16", inproc::fan_out::measure_16),
    ("inproc/inline", inproc::inline::measure),
    ("inproc/stage", inproc::inline::measure_stage),
    ("inproc/middleware-1", inproc::behind_stages::measure_1),
    ("inproc/middleware-4", inproc::behind_stages::measure_4),
    ("inproc/1p1c-metrics", inproc::watched::measure_metrics),
    ("inproc/1p1c-traced", inproc::watched::measure_traced),
    ("inproc/1p1c-unsampled", inproc::watched::measure_unsampled),
    ("inproc/allocs", memory::measure_allocations),
    ("route/four-warm", route::four_tokens::measure_warm),
    ("route/four-cold", route::four_tokens::measure_cold),
    ("route/mixed-100k", route::mixed::measure_100k),
    ("route/mixed-1m", route::mixed::measure_1m),
    ("route/subscribe-100k", route::subscribe::measure),
    ("durable/synced-1", durable::measure_1),
    ("durable/synced-64", durable::measure_64),
    ("durable/synced-4096", durable::measure_4096),
    ("durable/synced-batch-4096", durable::measure_batch_4096),
    ("consume/settle", consume::settle::measure),
    ("consume/replay", consume::replay::measure),
    ("consume/open-10m", consume::opening::measure),
    ("consume/retention-10m", consume::window::measure),
    ("brokers/publish-1", brokers::measure_1),
    ("brokers/publish-4096", brokers::measure_4096),
    ("brokers/consume", brokers::measure_consume),
    ("brokers/forward", brokers::carried::forward::measure),
    ("brokers/kafka", brokers::carried::kafka::measure),
    ("brokers/instructions", brokers::carried::instructions::measure),
    ("reliability/idempotency-local-hit", reliability::idempotency::measure_local_hit),
    ("reliability/idempotency-miss", reliability::idempotency::measure_miss),
    ("reliability/breaker-closed", reliability::breaker::measure_closed),
    ("reliability/failing-keys", reliability::failing::measure),
    ("reliability/open-breaker", reliability::breaker::measure_open),
    ("reliability/dead-letters", reliability::letters::measure_moves),
    ("reliability/dead-letters-page", reliability::letters::measure_page),
    ("reliability/redis-idempotency", reliability::redis::measure),
    ("operate/reload", operate::reload::measure),
    ("operate/traced-publish", operate::traced_publish::measure),
    ("operate/beside-1000", operate::beside::measure),
    ("operate/scrape", operate::scrape::measure),
    ("operate/scrape-delivery", operate::scrape::measure_deliveries),
    ("latency/half", latency::measure_half),
    ("latency/eighty", latency::measure_eighty),
    ("memory/idle", memory::measure_idle),
    ("memory/subscription", memory::measure_subscription),
    ("memory/behind-5m", memory::behind::measure),
    ("memory/reloads-10k", memory::reloads::measure),
    ("instructions", instructions::measure),
];
