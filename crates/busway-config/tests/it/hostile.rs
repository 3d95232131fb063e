//! Files that are meant to hurt: a clear error, in bounded time and memory.

use std::fmt::Write;

use busway_config::{Config, Format};

fn refused(text: &str, format: Format) -> String {
    let error = Config::parse("hostile", text, format).expect_err("it is hostile").to_string();
    assert!(error.len() < 400_000, "{} bytes are said of it", error.len());
    error
}

#[test]
fn deep_nesting_is_refused_in_every_format() {
    let lists = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let tables = format!("{}1{}", "{\"a\": ".repeat(50_000), "}".repeat(50_000));
    for deep in [&lists, &tables] {
        refused(deep, Format::Json);
        refused(deep, Format::Yaml);
        refused(&format!("a = {deep}"), Format::Toml);
    }
    let blocks: String = (0..3_000).fold(String::new(), |mut text, depth| {
        _ = writeln!(text, "{}a:", " ".repeat(depth.min(600)));
        text
    });
    refused(&blocks, Format::Yaml);
    let message = refused(&format!("{{\"a\": {}{}}}", "[".repeat(30), "]".repeat(30)), Format::Json);
    assert!(message.contains("more than 24 deep"), "{message}");
}

#[test]
fn values_are_bounded_in_every_format_also_in_one_line() {
    let numbers = vec!["0"; 500_000].join(",");
    let cases =
        [(format!("{{\"x\":[{numbers}]}}"), Format::Json), (format!("x = [{numbers}]"), Format::Toml)];
    for (text, format) in cases {
        let message = refused(&text, format);
        assert!(message.contains("there are more than 200000 values"), "{format:?}: {message}");
        assert!(message.lines().count() < 6, "it is said once: {message}");
    }
    let inner = format!("{}0{}", "[".repeat(30), "]".repeat(30));
    let message = refused(&format!("x = {inner}"), Format::Toml);
    assert!(message.contains("more than 24 deep"), "{message}");
}

#[test]
fn an_honest_file_of_one_line_is_read_and_what_is_wrong_with_it_shown() {
    let text = |field: &str| {
        let route = |at| format!("\"route-{at}\":{{\"filter\":\"a.{at}\",\"{field}\":\"one\"}}");
        format!("{{\"routes\":{{{}}}}}", (0..10_000).map(route).collect::<Vec<_>>().join(","))
    };
    for format in [Format::Json, Format::Yaml] {
        let config = Config::parse("one-line", &text("handler"), format).unwrap();
        assert_eq!(config.routes.iter().count(), 10_000);
        let error = Config::parse("one-line", &text("handles"), format).unwrap_err();
        assert_eq!(error.problems().len(), 1_000);
        let shown = error.problems().last().unwrap().to_string();
        assert!(shown.contains("did you mean") || shown.contains("missing"), "{shown}");
        assert!(error.to_string().len() < 1_000_000);
    }
}

#[test]
fn aliases_do_not_multiply() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..20 {
        let inner = vec![format!("*a{}", level - 1); 10].join(", ");
        _ = writeln!(bomb, "a{level}: &a{level} [{inner}]");
    }
    refused(&bomb, Format::Yaml);
    refused("a: &a [*a]\n", Format::Yaml);
}

#[test]
fn huge_numbers_are_out_of_bounds_and_nothing_worse() {
    for number in ["1e999", "99999999999999999999999999999999999999999999", "-1", "0x7fffffffffffffff"] {
        refused(&format!("limits: {{ concurrency: {number} }}"), Format::Yaml);
    }
    let digits = "9".repeat(1_000_000);
    refused(&format!("limits: {{ concurrency: {digits} }}"), Format::Yaml);
    refused(&format!("{{\"limits\": {{\"concurrency\": {digits}}}}}"), Format::Json);
    refused(&format!("[limits]\nconcurrency = {digits}"), Format::Toml);
    refused(
        &format!("routes: {{ a: {{ filter: x, handler: y, durable: z, deadline: {digits}d }} }}"),
        Format::Yaml,
    );
}

#[test]
fn duplicate_keys_are_refused_in_every_format() {
    refused("limits: {}\nlimits: {}\n", Format::Yaml);
    refused("[limits]\n[limits]\n", Format::Toml);
    refused("{\"limits\": {}, \"limits\": {}}", Format::Json);
}

#[test]
fn many_unknown_fields_are_counted_and_not_all_shown() {
    let text: String = (0..20_000).fold(String::new(), |mut text, number| {
        _ = writeln!(text, "x{number}: 1");
        text
    });
    let error = Config::parse("hostile", &text, Format::Yaml).unwrap_err();
    assert_eq!(error.problems().len(), 1_000);
    assert!(error.left_out() > 0);
    assert!(error.to_string().ends_with("more"));
}

#[test]
fn filters_that_are_compared_with_each_other_are_bounded() {
    let alike: String = (0..100_000).fold("streams:\n  s:\n    capture:\n".to_owned(), |mut text, number| {
        _ = writeln!(text, "    - a{number}.#");
        text
    });
    let message = refused(&alike, Format::Yaml);
    assert!(message.contains("streams capture more than 4096 filters"), "{message}");
    let common = (0..4_000).fold("streams:\n".to_owned(), |mut text, number| {
        _ = writeln!(text, "  s{number}: {{ capture: [a.#] }}");
        text
    });
    let message = refused(&common, Format::Yaml);
    assert!(message.contains("have topics in common"), "{message}");
}

#[test]
fn a_large_file_is_refused_before_it_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("large.yaml");
    std::fs::write(&path, vec![b'#'; 10 << 20]).unwrap();
    let error = Config::load_with(&path, []).unwrap_err().to_string();
    assert!(error.contains("has 10485760 bytes; a configuration has at most 4194304"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_pipe_into_which_nobody_writes_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pipe.yaml");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    let (tell, told) = std::sync::mpsc::channel();
    #[expect(
        clippy::disallowed_methods,
        reason = "who waits for a pipe waits for ever, and cannot be cut short"
    )]
    std::thread::spawn(move || tell.send(Config::load_with(&path, []).unwrap_err().to_string()));
    let error = told.recv_timeout(std::time::Duration::from_secs(30)).unwrap();
    assert!(error.contains("no regular file"), "{error}");
}

#[test]
fn what_is_no_text_no_file_or_empty_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let load = |name: &str, bytes: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        Config::load_with(&path, []).unwrap_err().to_string()
    };
    let error = load("latin.yaml", b"bus:\n  producer: caf\xe9\n");
    assert!(error.contains("line 2 is not UTF-8"), "{error}");
    assert!(load("empty.yaml", b"").contains("it is empty"));
    assert!(load("comment.yaml", b"# nothing\n").contains("it is empty"));
    load("empty.json", b"");
    let error = Config::load_with(directory.path().join("missing.yaml"), []).unwrap_err().to_string();
    assert!(error.contains("cannot be read"), "{error}");
    let path = directory.path().join("directory.yaml");
    std::fs::create_dir(&path).unwrap();
    assert!(Config::load_with(&path, []).unwrap_err().to_string().contains("no regular file"));
    // A TOML file without a word is a table without entries.
    let path = directory.path().join("empty.toml");
    std::fs::write(&path, b"").unwrap();
    Config::load_with(&path, []).unwrap();
}

#[test]
fn what_a_file_says_cannot_write_into_a_terminal() {
    let shown = refused("\"\\e[2J\\u202Eevil\": 1\n", Format::Yaml);
    assert!(!shown.contains('\u{1b}') && !shown.contains('\u{202e}'), "{shown:?}");
    let shown = refused(
        "{\"routes\": {\"\\u001b[31m\": {\"filter\": \"a\\u001b\", \"handler\": \"h\"}}}",
        Format::Json,
    );
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn no_prefix_of_a_good_file_panics() {
    let good = crate::loading::YAML;
    for end in (0..good.len()).step_by(7).filter(|end| good.is_char_boundary(*end)) {
        for format in [Format::Yaml, Format::Toml, Format::Json] {
            _ = Config::parse("prefix", &good[..end], format).map_err(|error| error.to_string());
        }
    }
}
