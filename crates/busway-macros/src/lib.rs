//! The derive behind `busway_event::EventType`, which re-exports it: depend on that crate, or on the facade `busway`.
//!
//! It is **not** a framework in macros: it writes one impl that a page of the trait's documentation shows how to write
//! by hand, and nothing that it writes returns early, awaits or spawns.
//!
//! # Guarantee
//! What can be wrong with an event type at compile time is an error at compile time, at the place where it was
//! written, all of it at once: an unknown option, version 0, a topic that no bus would accept, a key that is no field, an
//! older version that is not older.

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

mod attributes;
mod crate_path;
mod errors;
mod expand;
mod name;
mod topic;

/// Implements `EventType` for a struct or enum that is `Serialize + DeserializeOwned + Send + Sync + 'static`.
///
/// ```ignore
/// #[derive(Serialize, Deserialize, EventType)]
/// #[event(name = "order-created", version = 2, topic = "orders.created", key = order_id, upcast_from = OrderCreatedV1)]
/// struct OrderCreated { order_id: String, currency: String }
/// ```
///
/// Options of `#[event(…)]`, all optional:
///
/// | option | meaning | default |
/// |---|---|---|
/// | `name = "…"` | the stable name; 1 to 255 bytes without control characters | the type's name in kebab case |
/// | `version = n` | the schema version, 1 to 65535 | 1 |
/// | `topic = "…"` | the topic of `Event::of`; checked here by the rules of `Topic` | none |
/// | `key = field` | the field whose `ToString` is the key; also `"field"`, or the index of a tuple struct's field | none |
/// | `codec = "…"` | `"json"` or `"bincode"` | `"json"` |
/// | `upcast_from = Old` | reads older versions through `Old`, which must be `Into` this type, older, and of the same name | none |
/// | `crate = path` | where `EventType` lives, for crates that re-export it | `::busway_event` or `::busway`, by the manifest |
///
/// Bounds of type parameters are yours to write, on the type or in its where clause; with serde's derive, `#[serde(bound
/// = "")]` then keeps it from adding the same bounds twice.
#[proc_macro_derive(EventType, attributes(event))]
pub fn derive_event_type(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    expand::event_type(&input).unwrap_or_else(|errors| errors.to_compile_error()).into()
}
