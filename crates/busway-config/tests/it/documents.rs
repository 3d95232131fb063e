//! What is committed beside the code says what the code reads.

use std::path::Path;

use busway_config::Config;

fn is_current(path: &str, wanted: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(path);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, wanted).unwrap();
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == wanted,
        "{} is not what the settings are: UPDATE=1 cargo test -p busway-config writes it anew",
        path.display()
    );
}

#[test]
fn the_committed_schema_is_current() {
    is_current("config.schema.json", &Config::schema());
}

#[test]
fn the_reference_of_the_guide_is_current() {
    is_current("guide/configuration-reference.md", &Config::reference());
}

#[test]
fn every_field_states_what_it_is_for_and_its_default() {
    let schema: serde_json::Value = serde_json::from_str(&Config::schema()).unwrap();
    let sections =
        schema["$defs"].as_object().unwrap().iter().map(|(name, section)| (name.as_str(), section));
    for (name, section) in sections.chain([("Config", &schema)]) {
        assert_eq!(section["additionalProperties"], false, "{name} takes fields that it does not know");
        for (field, schema) in section["properties"].as_object().unwrap() {
            let text = schema["description"].as_str().unwrap_or_default();
            assert!(text.ends_with('.'), "{name}.{field} says nothing: {text:?}");
        }
    }
}
