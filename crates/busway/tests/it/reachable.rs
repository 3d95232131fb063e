//! Every part is reachable through the facade: a re-export that gets lost is found here.

use std::any::type_name;

#[test]
fn each_area_is_reachable_from_the_facade() {
    let names = [
        type_name::<busway::Event<busway::Raw>>(),
        type_name::<busway::Topic>(),
        type_name::<busway::Filter>(),
        type_name::<busway::cloudevents::CloudEventError>(),
        type_name::<busway::Payload<busway::Raw>>(),
        type_name::<busway::Batch<busway::Raw>>(),
        type_name::<busway::builtin::ConcurrencyLimit>(),
        type_name::<busway::builtin::ValidateMetadata>(),
        type_name::<busway::builtin::IsolatePanics>(),
        type_name::<busway::builtin::LogOutcome>(),
        type_name::<busway::RateLimit>(),
        type_name::<busway::Timeout>(),
        type_name::<busway::Overflow>(),
        type_name::<busway::Order>(),
        type_name::<busway::GroupRule>(),
        type_name::<busway::Settings>(),
        type_name::<busway::BusStats>(),
        type_name::<busway::Description>(),
        type_name::<busway::ShutdownReport>(),
        type_name::<busway::ScopedSubscription>(),
        type_name::<busway::Publisher<busway::Raw>>(),
        type_name::<busway::Stopping>(),
    ];
    assert!(names.iter().all(|name| name.starts_with("busway")), "{names:?}");
}

#[cfg(feature = "prost")]
#[test]
fn protobuf_payloads_are_reachable_with_their_feature() {
    assert!(type_name::<busway::Proto<()>>().starts_with("busway_event"));
}

#[cfg(feature = "schemars")]
#[test]
fn contracts_are_reachable_with_their_feature() {
    assert!(type_name::<busway::Contract>().starts_with("busway_event"));
}

#[cfg(feature = "tower")]
#[test]
fn tower_layers_are_reachable_with_their_feature() {
    assert!(type_name::<busway::tower::TowerMiddleware<()>>().starts_with("busway_middleware"));
}
