//! What `docs/observability` holds is what it says: rules that promtool accepts and has tested, metrics that a real Prometheus scrapes from a running
//! `pipeline`, and panels that show something of it.
//!
//! `cargo xtask test` names the two programs; without them these tests cannot run, so each is ignored unless asked for.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use busway_testkit::free_address;
use serde_json::Value;

use crate::example_process::command;

#[test]
#[ignore = "needs promtool; `cargo xtask test` runs it"]
fn on_prometheus_rules_and_configurations_are_accepted_and_each_alert_is_tested() {
    let folder = observability().join("prometheus");
    for file in ["prometheus.yml", "federation.yml", "remote-write.yml"] {
        promtool(&folder, &["check", "config", file], "");
    }
    promtool(&folder, &["check", "rules", "recording.yml", "alerts.yml"], "");
    promtool(&folder, &["test", "rules", "rules_test.yml", "budgets_test.yml"], "");
    let text = |file: &str| fs::read_to_string(folder.join(file)).unwrap();
    let tests = text("rules_test.yml") + &text("budgets_test.yml");
    for alert in text("alerts.yml").lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        let raised = format!("alertname: {alert}\n        exp_alerts:\n          - exp_labels");
        assert!(tests.contains(&raised), "no test raises {alert}");
    }
}

#[test]
#[ignore = "needs prometheus and promtool; `cargo xtask test` runs it"]
fn on_prometheus_each_panel_shows_something_of_a_running_pipeline_and_its_dead_letters_raise_an_alert() {
    let folder = tempfile::tempdir().unwrap();
    let mut pipeline = Pipeline::start(folder.path());
    let prometheus = Prometheus::start(folder.path(), pipeline.address);

    let mut waiting = panels();
    waiting.insert("ALERTS{alertname=\"BuswayDeadLetters\",alertstate=\"firing\"}".to_owned());
    assert!(waiting.len() > 40, "{waiting:?}");
    let mut scraped = String::new();
    while !waiting.is_empty() {
        waiting.retain(|query| !prometheus.shows(query));
        let ended = pipeline.child.0.try_wait().unwrap();
        assert!(ended.is_none(), "the pipeline ended, and these showed nothing: {waiting:#?}");
        scraped = get(pipeline.address, "/metrics").unwrap();
    }

    promtool(folder.path(), &["check", "metrics"], &scraped);
    for file in ["prometheus/recording.yml", "prometheus/alerts.yml", "prometheus/federation.yml"] {
        for name in names_in(&fs::read_to_string(observability().join(file)).unwrap()) {
            assert!(scraped.contains(&name), "{file} speaks of {name}, which nobody serves");
        }
    }
}

fn observability() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/observability").canonicalize().unwrap()
}

fn program(variable: &str) -> PathBuf {
    let named = std::env::var_os(variable);
    named.unwrap_or_else(|| panic!("{variable} names no program; `cargo xtask test` sets it")).into()
}

/// Must succeed, with `input` as its standard input.
fn promtool(folder: &Path, arguments: &[&str], input: &str) {
    let mut child = Command::new(program("BUSWAY_PROMTOOL"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    assert!(output.status.success(), "promtool {arguments:?}: {}", said.join("\n"));
}

/// The queries of the dashboard, with its variables as they are when somebody opens it.
fn panels() -> BTreeSet<String> {
    let text = fs::read_to_string(observability().join("grafana/busway.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let variables = ["instance", "subscription", "tenant"];
    let panels = dashboard.get("panels").and_then(Value::as_array).unwrap().iter();
    let targets = panels.filter_map(|panel| panel.get("targets").and_then(Value::as_array)).flatten();
    targets
        .map(|target| {
            let query =
                target.get("expr").and_then(Value::as_str).unwrap().replace("$__rate_interval", "10s");
            let query = variables.iter().fold(query, |query, name| query.replace(&format!("${name}"), ".*"));
            assert!(!query.contains('$'), "a variable that the dashboard does not have: {query}");
            query
        })
        .collect()
}

/// Metrics of busway that a file speaks of, without the suffixes that a histogram adds. Recorded names have a colon before.
fn names_in(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (start, _) in text.match_indices("busway_") {
        if text[..start].ends_with(|before: char| before == ':' || before.is_alphanumeric()) {
            continue;
        }
        let rest = &text[start..];
        let end = rest.find(|c: char| c != '_' && !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
        // `busway_(one|other)`: a pattern, and no name.
        if end > "busway_".len() {
            names.insert(rest[..end].trim_end_matches("_bucket").trim_end_matches("_count").to_owned());
        }
    }
    names
}

/// A process that ends when this is dropped, by its id.
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// The example, for a minute at most; its store lies in the folder.
struct Pipeline {
    child: Ending,
    address: SocketAddr,
}

impl Pipeline {
    fn start(folder: &Path) -> Self {
        let mut command = command("pipeline", &["--plain", "--seconds", "60"]);
        let child = command.env("TMPDIR", folder).stdout(Stdio::piped()).spawn().unwrap();
        let mut child = Ending(child);
        let mut said = BufReader::new(child.0.stdout.take().unwrap());
        let mut first = String::new();
        said.read_line(&mut first).unwrap();
        // Read to its end, or the pipeline waits for room in the pipe.
        #[expect(
            clippy::disallowed_methods,
            reason = "a reader of a child's output; it ends with the child"
        )]
        std::thread::spawn(move || std::io::copy(&mut said, &mut std::io::sink()));
        let address = first.trim().trim_start_matches("metrics at http://").trim_end_matches("/metrics");
        Self { child, address: address.parse().unwrap() }
    }
}

struct Prometheus {
    child: Ending,
    address: SocketAddr,
}

impl Prometheus {
    /// Scrapes and evaluates the rules once a second. Its data lies in the folder.
    fn start(folder: &Path, target: SocketAddr) -> Self {
        let address = free_address();
        let rules = observability().join("prometheus");
        let configuration = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\n\
             rule_files: [\"{0}/recording.yml\", \"{0}/alerts.yml\"]\n\
             scrape_configs: [{{ job_name: busway, static_configs: [{{ targets: [\"{target}\"] }}] }}]\n",
            rules.display()
        );
        let file = folder.join("prometheus.yml");
        fs::write(&file, configuration).unwrap();
        let child = Command::new(program("BUSWAY_PROMETHEUS"))
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--log.level=error")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut prometheus = Self { child: Ending(child), address };
        while get(address, "/-/ready").is_none() {
            if let Some(ended) = prometheus.child.0.try_wait().unwrap() {
                let said = std::io::read_to_string(prometheus.child.0.stderr.take().unwrap()).unwrap();
                panic!("{ended}: {said}");
            }
            std::thread::yield_now();
        }
        prometheus
    }

    /// Whether a query gives a number.
    fn shows(&self, query: &str) -> bool {
        let mut encoded = String::new();
        query.bytes().for_each(|byte| write!(encoded, "%{byte:02X}").unwrap());
        let body = get(self.address, &format!("/api/v1/query?query={encoded}"));
        let body: Value = serde_json::from_str(&body.unwrap_or_else(|| panic!("refused: {query}"))).unwrap();
        let results = body.pointer("/data/result").and_then(Value::as_array).unwrap();
        results.iter().any(|result| result.pointer("/value/1").is_some_and(|value| value != "NaN"))
    }
}

/// The body of an answer; `None` while nobody answers, or it is not 200.
fn get(at: SocketAddr, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(at).ok()?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {at}\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next()?.contains(" 200 ").then(|| body.to_owned())
}
