//! `#[derive(EventType)]`: what it writes. What it refuses is in `tests/ui`.

use busway_event::{
    CodecId, DecodeError, Encoded, Event, EventId, EventType, Invalid, Metadata, Stamp, Timestamp,
    check_round_trip,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize, EventType)]
struct HTTPRequestSeen {
    path: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, EventType)]
#[event(name = "order-created")]
struct OrderCreatedV1 {
    id: u32,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, EventType)]
#[event(name = "order-created", version = 2, topic = "orders.created", key = order_id)]
#[event(codec = "bincode", upcast_from = OrderCreatedV1)]
struct OrderCreated {
    order_id: u32,
    currency: String,
}

impl From<OrderCreatedV1> for OrderCreated {
    fn from(old: OrderCreatedV1) -> Self {
        Self { order_id: old.id, currency: "EUR".to_owned() }
    }
}

fn finish<T: EventType>(draft: busway_event::Draft<T>) -> Result<Event<T>, Invalid> {
    let metadata = Metadata::draft("test", 1).build().unwrap();
    let stamp = Stamp::new(EventId::foreign("test", "1"), Timestamp::from_nanos(7), &metadata);
    draft.finish(&stamp).map_err(|(_, reason)| reason)
}

#[test]
fn without_options_the_name_is_the_types_in_kebab_case_and_all_else_is_the_default() {
    assert_eq!((HTTPRequestSeen::NAME, HTTPRequestSeen::VERSION), ("http-request-seen", 1));
    assert_eq!((HTTPRequestSeen::CODEC, HTTPRequestSeen::TOPIC), (CodecId::Json, None));
    assert_eq!(HTTPRequestSeen { path: "/".to_owned() }.key(), None);
}

#[test]
fn each_option_has_its_place_in_the_trait() {
    assert_eq!((OrderCreated::NAME, OrderCreated::VERSION), ("order-created", 2));
    assert_eq!((OrderCreated::CODEC, OrderCreated::TOPIC), (CodecId::Bincode, Some("orders.created")));
    let order = OrderCreated { order_id: 7, currency: "EUR".to_owned() };
    assert_eq!(check_round_trip(&order), Ok(()));
    let event = finish(Event::of(order)).unwrap();
    assert_eq!(
        (event.topic().as_str(), event.key().map(busway_event::Key::as_str)),
        ("orders.created", Some("7"))
    );
}

#[test]
fn an_older_version_is_read_through_the_type_that_upcast_from_names() {
    let older = Encoded::of(&OrderCreatedV1 { id: 7 }, 64).unwrap();
    let read = OrderCreated::read(&older).unwrap();
    assert_eq!(read, OrderCreated { order_id: 7, currency: "EUR".to_owned() });
    let newer = Encoded { version: 3, ..older };
    let error = OrderCreated::read(&newer).unwrap_err();
    assert_eq!(error, DecodeError::TooNew { name: "order-created", expected: 2, found: 3 });
}

#[derive(Debug, PartialEq, Serialize, Deserialize, EventType)]
#[event(key = 1)]
struct Moved(u32, String);

#[derive(Debug, PartialEq, Serialize, Deserialize, EventType)]
#[event(key = "0")]
struct Renamed(u32);

#[derive(Debug, PartialEq, Serialize, Deserialize, EventType)]
#[event(key = "type")]
struct Typed {
    r#type: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, EventType)]
struct Ping;

#[derive(Debug, PartialEq, Serialize, Deserialize, EventType)]
#[event(name = "door", codec = "bincode")]
enum Door {
    Opened { by: String },
    Closed,
}

#[test]
fn a_key_is_named_by_field_text_or_index() {
    assert_eq!(Moved(1, "k".to_owned()).key().as_deref(), Some("k"));
    assert_eq!(Renamed(7).key().as_deref(), Some("7"));
    assert_eq!(Typed { r#type: "a".to_owned() }.key().as_deref(), Some("a"));
}

#[test]
fn units_and_enums_are_payloads() {
    assert_eq!((Ping::NAME, Door::NAME), ("ping", "door"));
    assert_eq!(check_round_trip(&Ping), Ok(()));
    assert_eq!(check_round_trip(&Door::Opened { by: "Ada".to_owned() }), Ok(()));
    assert_eq!(check_round_trip(&Door::Closed), Ok(()));
}

#[derive(Debug, PartialEq, Serialize, Deserialize, EventType)]
#[serde(bound = "")]
#[event(name = "changed")]
struct ChangedV1<T: Serialize + DeserializeOwned + Send + Sync + 'static> {
    now: T,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, EventType)]
#[serde(bound = "")]
#[event(name = "changed", version = 2, key = id, upcast_from = ChangedV1<T>)]
struct Changed<T, const N: usize>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    id: String,
    now: T,
}

impl<T, const N: usize> From<ChangedV1<T>> for Changed<T, N>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    fn from(old: ChangedV1<T>) -> Self {
        Self { id: N.to_string(), now: old.now }
    }
}

#[test]
fn a_generic_type_is_a_payload_and_upcasts_from_a_generic_one() {
    let older = Encoded::of(&ChangedV1 { now: vec![1_u8] }, 64).unwrap();
    let changed = Changed::<Vec<u8>, 4>::read(&older).unwrap();
    assert_eq!(changed, Changed { id: "4".to_owned(), now: vec![1] });
    assert_eq!(changed.key().as_deref(), Some("4"));
    assert_eq!(check_round_trip(&changed), Ok(()));
}

/// What a crate sees that has the trait from somebody else.
mod elsewhere {
    pub(super) mod facade {
        pub(crate) use busway_event::{DecodeError, Encoded, EventType};
    }

    #[derive(serde::Serialize, serde::Deserialize, busway_event::EventType)]
    #[event(crate = facade, name = "moved", version = 2, upcast_from = super::MovedV1)]
    pub(super) struct Moved;

    impl From<super::MovedV1> for Moved {
        fn from(_: super::MovedV1) -> Self {
            Self
        }
    }
}

#[derive(Serialize, Deserialize, EventType)]
#[event(name = "moved", crate = busway_event)]
struct MovedV1;

#[test]
fn the_trait_may_come_from_a_crate_that_re_exports_it() {
    use elsewhere::facade::EventType as _;
    assert!(elsewhere::Moved::read(&Encoded::of(&MovedV1, 64).unwrap()).is_ok());
    assert_eq!(elsewhere::Moved.key(), None);
}

macro_rules! event {
    ($name:ident, $field:ident, $older:ty) => {
        #[derive(Serialize, Deserialize, EventType)]
        #[event(name = "moved", version = 2, key = $field, upcast_from = $older)]
        struct $name {
            $field: u32,
        }

        impl From<$older> for $name {
            fn from(_: $older) -> Self {
                Self { $field: 7 }
            }
        }
    };
}

event!(MovedAgain, place, MovedV1);

#[test]
fn options_may_come_out_of_another_macro() {
    let moved = MovedAgain::read(&Encoded::of(&MovedV1, 64).unwrap()).unwrap();
    assert_eq!(moved.key().as_deref(), Some("7"));
}

#[derive(Serialize, Deserialize, EventType)]
#[event(weight = Image::bytes)]
struct Image(Vec<u8>);

impl Image {
    fn bytes(&self) -> usize {
        size_of_val(self) + self.0.len()
    }
}

#[derive(Serialize, Deserialize, EventType)]
#[serde(bound = "")]
#[event(weight = doubled)]
struct Doubled<T: Serialize + DeserializeOwned + Send + Sync + 'static>(T);

fn doubled<T: Serialize + DeserializeOwned + Send + Sync>(it: &Doubled<T>) -> usize {
    2 * size_of_val(&it.0)
}

#[test]
fn an_event_weighs_what_its_type_declares_and_otherwise_its_size() {
    assert_eq!(Image(vec![0; 1_000]).weight(), 1_000 + size_of::<Image>());
    assert_eq!(Doubled([0_u32; 4]).weight(), 32);
    assert_eq!(Renamed(7).weight(), 4);
    let event = busway_event::AnyEvent::from(finish(Event::new("a", Image(vec![0; 1_000]))).unwrap());
    assert!(event.weight() >= 1_000);
}
