//! Every part is reachable through the facade: a re-export that gets lost does not compile here.

/// One type of each area. Nothing runs: that it can be named is all that is asked.
const _: &[fn() -> usize] = &[
    size_of::<busway::Event<busway::Raw>>,
    size_of::<busway::Topic>,
    size_of::<busway::Filter>,
    size_of::<busway::cloudevents::CloudEventError>,
    size_of::<busway::Payload<busway::Raw>>,
    size_of::<busway::Batch<busway::Raw>>,
    size_of::<busway::builtin::ConcurrencyLimit>,
    size_of::<busway::builtin::ValidateMetadata>,
    size_of::<busway::builtin::IsolatePanics>,
    size_of::<busway::builtin::LogOutcome>,
    size_of::<busway::RateLimit>,
    size_of::<busway::Timeout>,
    size_of::<busway::Overflow>,
    size_of::<busway::Order>,
    size_of::<busway::GroupRule>,
    size_of::<busway::Settings>,
    size_of::<busway::BusStats>,
    size_of::<busway::Description>,
    size_of::<busway::ShutdownReport>,
    size_of::<busway::ScopedSubscription>,
    size_of::<busway::Publisher<busway::Raw>>,
    size_of::<busway::Stopping>,
    size_of::<busway::Stream>,
    size_of::<busway::bridge::Forwarder>,
    size_of::<busway::bridge::Ingest>,
    size_of::<busway::cutover::CutOver>,
    size_of::<busway::cutover::Carrier>,
    size_of::<busway::remote::RemoteSubscription>,
    size_of::<busway::transport::LocalTransport>,
    size_of::<busway::transport::Capabilities>,
    size_of::<busway::Retention>,
    size_of::<busway::AtCap>,
    size_of::<busway::StartAt>,
    size_of::<busway::Retry>,
    size_of::<busway::RetryBudget>,
    size_of::<busway::FailureClass>,
    size_of::<busway::DeadLetters>,
    size_of::<busway::DeadLetterPolicy>,
    size_of::<busway::Selection>,
    size_of::<busway::DurableBuilder>,
    size_of::<busway::DurableSubscription>,
    size_of::<busway::Lag>,
    size_of::<busway::Refusal>,
    size_of::<busway::Redact<u8>>,
    size_of::<busway::Redactor>,
    size_of::<busway::Pass>,
    size_of::<busway::observability::Metrics>,
    size_of::<busway::observability::Health>,
    size_of::<busway::observability::Signal<'static>>,
    size_of::<&dyn busway::observability::Collector>,
    size_of::<busway::observability::Tracing>,
    size_of::<busway::observability::audit::Audit>,
    #[cfg(feature = "config")]
    size_of::<busway::config::Config>,
    #[cfg(feature = "config")]
    size_of::<busway::config::Watcher>,
    #[cfg(feature = "config")]
    size_of::<busway::config::Diff>,
    #[cfg(feature = "http")]
    size_of::<busway::observability::Endpoint>,
    #[cfg(feature = "otel")]
    size_of::<busway::observability::Otlp>,
    #[cfg(feature = "redis")]
    size_of::<busway::RedisKeys>,
    #[cfg(feature = "redis")]
    size_of::<busway::RedisTransport>,
    #[cfg(feature = "logs")]
    size_of::<busway::observability::Logs>,
    #[cfg(feature = "prost")]
    size_of::<busway::Proto<()>>,
    #[cfg(feature = "schemars")]
    size_of::<busway::Contract>,
    #[cfg(feature = "tower")]
    size_of::<busway::tower::TowerMiddleware<()>>,
];
