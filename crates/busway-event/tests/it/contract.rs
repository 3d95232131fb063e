//! `Contract`: what others are told about an event type.

use busway_event::{CodecId, Contract, EventType};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Serialize, Deserialize, JsonSchema)]
struct OrderCreated {
    /// Who ordered.
    order_id: String,
    lines: Vec<Line>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Line {
    amount: u32,
}

impl EventType for OrderCreated {
    const NAME: &'static str = "order-created";
    const VERSION: u16 = 2;
    const CODEC: CodecId = CodecId::Bincode;
    const TOPIC: Option<&'static str> = Some("orders.created");
}

#[test]
fn a_contract_says_what_the_type_says() {
    let contract = Contract::of::<OrderCreated>();
    assert_eq!((contract.name(), contract.version()), ("order-created", 2));
    assert_eq!((contract.codec(), contract.topic()), (CodecId::Bincode, Some("orders.created")));
    assert_eq!(contract.id(), "urn:busway:event:order-created:2");
}

#[test]
fn its_json_holds_the_schema_under_the_name_of_the_version() {
    let value: Value = serde_json::from_str(&Contract::of::<OrderCreated>().to_json()).unwrap();
    assert_eq!(value["name"], "order-created");
    assert_eq!(value["version"], 2);
    assert_eq!(
        (&value["codec"], &value["content_type"]),
        (&json!("bincode"), &json!("application/x-bincode"))
    );
    assert_eq!(value["topic"], "orders.created");
    let schema = &value["schema"];
    assert_eq!(schema["$id"], "urn:busway:event:order-created:2");
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["required"], json!(["order_id", "lines"]));
    assert_eq!(schema["properties"]["order_id"]["description"], "Who ordered.");
    // A reference inside of the schema is relative to its `$id`: it must lead to a definition that is there.
    assert_eq!(schema["properties"]["lines"]["items"]["$ref"], "#/$defs/Line");
    assert_eq!(schema["$defs"]["Line"]["required"], json!(["amount"]));
}

#[test]
fn a_type_without_a_topic_has_none_in_its_contract() {
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Ping;
    impl EventType for Ping {
        const NAME: &'static str = "ping";
    }
    let value = serde_json::to_value(Contract::of::<Ping>()).unwrap();
    assert_eq!((&value["topic"], &value["codec"]), (&Value::Null, &json!("json")));
}
