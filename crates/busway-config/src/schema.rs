//! The JSON Schema of a configuration, for editors and for checks before a program is there to do them.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::model::Config;

impl Config {
    /// The JSON Schema (draft 2020-12) of a configuration, as text. An editor completes and checks a file with it:
    ///
    /// ```yaml
    /// # yaml-language-server: $schema=./config.schema.json
    /// ```
    ///
    /// It says what single fields may be. What fields mean together, and which names of handlers there are, only [`load`](Self::load) and
    /// [`check`](Self::check) know.
    #[must_use]
    pub fn schema() -> String {
        let mut text = format!("{:#}", Self::schema_value());
        text.push('\n');
        text
    }

    pub(crate) fn schema_value() -> Value {
        let mut schema =
            SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Self>().to_value();
        if let Value::Object(root) = &mut schema {
            root.insert("title".to_owned(), "busway configuration".into());
        }
        schema
    }
}
