//! The reference of all settings, made from the schema: a page of the guide that cannot say anything else than what is read.

use std::collections::BTreeSet;
use std::fmt::Write;

use serde_json::{Map, Value};

use crate::model::Config;
use crate::step::BUILTIN;

impl Config {
    /// The page "Configuration reference" of the guide, in Markdown.
    #[must_use]
    pub fn reference() -> String {
        let schema = Self::schema_value();
        let empty = Map::new();
        let defined = schema.get("$defs").and_then(Value::as_object).unwrap_or(&empty);
        let mut page = INTRODUCTION.replace("{BUILTIN}", &BUILTIN.join("`, `"));
        let mut seen = BTreeSet::new();
        let mut to_do = vec![("Config".to_owned(), &schema)];
        while let Some((name, section)) = to_do.pop() {
            write_section(&mut page, &name, section);
            let mut next: Vec<&str> = references(section);
            next.reverse();
            for name in next {
                if let (true, Some(section)) = (seen.insert(name.to_owned()), defined.get(name)) {
                    to_do.push((name.to_owned(), section));
                }
            }
        }
        page
    }
}

fn write_section(page: &mut String, name: &str, section: &Value) {
    let text = section.get("description").and_then(Value::as_str).unwrap_or_default();
    _ = write!(
        page,
        "\n## {}\n\n{}\n\n| field | is | what for |\n|---|---|---|\n",
        heading(name),
        in_a_line(text)
    );
    let required: Vec<&str> = section
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    for (field, schema) in section.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let text = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        let needed =
            if required.contains(&field.as_str()) && !is_list_or_names(schema) { " (needed)" } else { "" };
        _ = writeln!(page, "| `{field}`{needed} | {} | {} |", shape(schema), in_a_line(text));
    }
}

fn is_list_or_names(schema: &Value) -> bool {
    matches!(schema.get("type").and_then(Value::as_str), Some("array" | "object"))
}

/// Names of sections that a section's fields lead to, in order.
fn references(section: &Value) -> Vec<&str> {
    let mut found = Vec::new();
    let mut to_do: Vec<&Value> =
        section.get("properties").and_then(Value::as_object).into_iter().flat_map(Map::values).collect();
    to_do.reverse();
    while let Some(value) = to_do.pop() {
        if let Some(name) = referenced(value) {
            found.push(name);
        }
        for inner in ["items", "additionalProperties"] {
            to_do.extend(value.get(inner));
        }
        to_do.extend(value.get("anyOf").and_then(Value::as_array).into_iter().flatten());
    }
    found
}

fn referenced(schema: &Value) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix("#/$defs/")
}

/// What a field is, in a few words.
fn shape(schema: &Value) -> String {
    if let Some(name) = referenced(schema) {
        return format!("[{}](#{})", heading(name), anchor(name));
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let words: Vec<String> =
            words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return words.join(", ");
    }
    if let Some(any) = schema.get("anyOf").and_then(Value::as_array) {
        let shapes: Vec<String> = any
            .iter()
            .filter(|one| one.get("type").and_then(Value::as_str) != Some("null"))
            .map(shape)
            .collect();
        return shapes.join(" or ");
    }
    if let Some(word) = schema.get("const").and_then(Value::as_str) {
        return format!("`{word}`");
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => {
            kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null").unwrap_or_default()
        }
        Some(kind) => kind.as_str().unwrap_or_default(),
        None => "",
    };
    match kind {
        "array" => format!("list of {}", schema.get("items").map(shape).unwrap_or_default()),
        "object" => match schema.get("additionalProperties").filter(|inner| inner.is_object()) {
            Some(inner) => format!("{} by name", shape(inner)),
            None => "table".to_owned(),
        },
        "integer" => "number".to_owned(),
        "boolean" => "`true`, `false`".to_owned(),
        _ => text_shape(schema),
    }
}

/// Patterns tell texts apart.
fn text_shape(schema: &Value) -> String {
    let pattern = schema.get("pattern").and_then(Value::as_str).unwrap_or_default();
    let shape = match pattern {
        pattern if pattern.contains("us|ms|s") => "time",
        pattern if pattern.contains("KiB") => "size",
        pattern if pattern.contains(r"\+") => "filter",
        pattern if pattern.contains("{1,64}") => "name",
        _ => "text",
    };
    shape.to_owned()
}

/// `RetrySection` is under "retry".
fn heading(name: &str) -> String {
    let name = name.strip_suffix("Section").unwrap_or(name);
    let mut words = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.extend(character.to_lowercase());
    }
    words
}

fn anchor(name: &str) -> String {
    heading(name).replace(' ', "-")
}

fn in_a_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

const INTRODUCTION: &str = "# Configuration reference

<!-- Made from the schema by the tests of busway-config; do not edit. UPDATE=1 cargo test -p busway-config writes it anew. -->

A bus is set by one file, in YAML, TOML or JSON by its extension. Everything in it has a default. What is not known is an error, and all errors
of a file are shown at once, each with its line. The schema for editors is [`config.schema.json`](../config.schema.json).

| kind of value | written as |
|---|---|
| time | a number and its unit, in quotes where the format wants them: `200ms`, `1.5s`, `5m`, `2h`, `7d` (also `us`); 366 days at most |
| size | bytes: `65536`, `\"64KiB\"`, `MiB`, `GiB`, `TiB`; `kB`, `MB`, `GB`, `TB` are powers of ten |
| filter | a topic, in which `+` is any one segment, and `#`, at the end, any more: `orders.+.#` |
| name | 1 to 64 characters of `[A-Za-z0-9_-]` |

**Environment.** `BUSWAY__ROUTES__STOCK__LIMITS__CONCURRENCY=8` sets what `routes: stock: limits: concurrency` says, over the file. Two underscores stand
between names; case does not matter, nor whether a name has `-` or `_`; a list is gone into by number, from 0. A value that begins with `[` or `{`
is YAML.

**Middleware** that comes with busway: `{BUILTIN}`.
";
