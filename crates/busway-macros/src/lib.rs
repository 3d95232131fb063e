//! The derive behind `busway_event::EventType`, which re-exports it: depend on that crate, or on the facade `busway`.
//!
//! It is **not** a framework in macros: it writes one impl that a page of the trait's documentation shows how to write
//! by hand, and nothing that it writes returns early, awaits or spawns.
//!
//! # Guarantee
//! What can be wrong with an event type at compile time is an error at compile time, at the place where it was
//! written, all of it at once: an unknown option, version 0, a name or topic that no bus would accept, a key that is no
//! field, an older version that is not older.

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
/// ```
/// use busway_event::EventType;
/// use busway_macros::EventType;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, EventType)]
/// #[event(name = "order-created")]
/// struct OrderCreatedV1 { order_id: String }
///
/// #[derive(Serialize, Deserialize, EventType)]
/// #[event(name = "order-created", version = 2, topic = "orders.created", key = order_id, upcast_from = OrderCreatedV1)]
/// struct OrderCreated { order_id: String, currency: String }
///
/// impl From<OrderCreatedV1> for OrderCreated {
///     fn from(older: OrderCreatedV1) -> Self {
///         Self { order_id: older.order_id, currency: "EUR".to_owned() }
///     }
/// }
///
/// let order = OrderCreated { order_id: "A-1".to_owned(), currency: "SEK".to_owned() };
/// assert_eq!((OrderCreated::NAME, OrderCreated::VERSION), ("order-created", 2));
/// assert_eq!((OrderCreated::TOPIC, order.key().as_deref()), (Some("orders.created"), Some("A-1")));
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
/// | `weight = function` | a `fn(&Self) -> usize`: the bytes that a waiting event counts for in a queue's byte budget | the size of the value, without what it points to |
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
