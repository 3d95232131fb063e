//! Export of traces over OTLP.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::time::Duration;

use busway_middleware::chain::attempt::TARGET;
use opentelemetry::InstrumentationScope;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::tonic_types::metadata::MetadataMap;
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
    WithTonicConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use thiserror::Error;
use tokio::runtime::Runtime;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use super::address;
use super::exporter::Within;
use super::sampler::HeadSampler;
use crate::trace::SCHEMA_URL;

/// An export of traces over OTLP that is to begin: to a collector or to whatever else takes it, in the clear (an agent beside the program, usually, which has the
/// encryption and the credentials).
///
/// Spans that end are queued, at most 2,048, and exported up to 512 at a time, every second or when so many wait, by a thread of its own; what finds the queue full is
/// dropped and counted by the SDK's log. A handler or a publisher never waits for it.
///
/// Its `Debug` says no value of a header, and of the address neither user nor password nor query.
#[derive(Clone)]
#[must_use = "it exports nothing before .start()"]
pub struct Otlp {
    transport: Transport,
    endpoint: String,
    service: Option<String>,
    share: f64,
    timeout: Duration,
    every: Duration,
    headers: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Grpc,
    Http,
}

/// Why traces cannot be exported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum OtlpError {
    /// There is no exporter to be had for these settings.
    #[error("no exporter to {endpoint}")]
    Exporter {
        /// Where to: without user, password and query.
        endpoint: String,
        /// What is wrong.
        source: ExporterCause,
    },
    /// A header that is none.
    #[error("\"{}\" is no header that can be sent", name.escape_debug())]
    Header {
        /// Its name.
        name: String,
    },
    /// There is no thread for it.
    #[error("cannot start the runtime of the exporter")]
    Runtime(#[source] io::Error),
}

/// What is wrong with an exporter's settings.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct ExporterCause(String);

impl ExporterCause {
    /// The texts of some of them quote the address.
    fn new(error: &ExporterBuildError, endpoint: &str) -> Self {
        let text = error.to_string();
        Self(if endpoint.is_empty() { text } else { text.replace(endpoint, &address::shown(endpoint)) })
    }
}

impl Otlp {
    /// Over gRPC, to an address as `http://127.0.0.1:4317`.
    pub fn grpc(endpoint: impl Into<String>) -> Self {
        Self::new(Transport::Grpc, endpoint.into())
    }

    /// Over HTTP with Protobuf, to an address with its path, as `http://127.0.0.1:4318/v1/traces`.
    pub fn http(endpoint: impl Into<String>) -> Self {
        Self::new(Transport::Http, endpoint.into())
    }

    const fn new(transport: Transport, endpoint: String) -> Self {
        let (timeout, every) = (TIMEOUT, EVERY);
        Self { transport, endpoint, service: None, share: 1.0, timeout, every, headers: BTreeMap::new() }
    }

    /// The name of the service, `service.name`. Default: what `OTEL_SERVICE_NAME` says, else `unknown_service`.
    pub fn service(mut self, name: impl Into<String>) -> Self {
        self.service = Some(name.into());
        self
    }

    /// The share of traces that are recorded, of those that begin in this process: see [`HeadSampler`]. Default 1.
    pub const fn sample(mut self, share: f64) -> Self {
        self.share = share;
        self
    }

    /// How long an export may take. Default 10 s.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long a span waits for others to be exported with. Default 1 s.
    pub const fn every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// A header that is sent with each export, or of gRPC its metadata.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Begins to export, with a thread of its own that ends with what is returned. Nobody is connected to yet: who cannot be reached is tried again with the next batch.
    ///
    /// # Errors
    /// [`OtlpError`].
    pub fn start(self) -> Result<Exporting, OtlpError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("busway-otlp")
            .enable_all()
            .build()
            .map_err(OtlpError::Runtime)?;
        let exporter = {
            let _entered = runtime.enter();
            self.exporter()
        };
        let exporter = match exporter {
            Ok(exporter) => exporter,
            Err(error) => {
                // A runtime that is dropped waits for its threads, and where this is called nothing may wait.
                runtime.shutdown_background();
                return Err(error);
            }
        };
        let exporter = Within { exporter, runtime: runtime.handle().clone() };
        let batches = BatchConfigBuilder::default().with_scheduled_delay(self.every).build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let mut resource = Resource::builder();
        if let Some(service) = &self.service {
            resource = resource.with_service_name(service.clone());
        }
        let provider = SdkTracerProvider::builder()
            .with_span_processor(processor)
            .with_sampler(HeadSampler::new(self.share))
            .with_resource(resource.build())
            .build();
        Ok(Exporting { provider, runtime: Some(runtime) })
    }

    fn metadata(&self) -> Result<MetadataMap, OtlpError> {
        let mut metadata = MetadataMap::new();
        for (name, value) in &self.headers {
            let wrong = || OtlpError::Header { name: name.clone() };
            let value = value.parse().map_err(|_| wrong())?;
            metadata.entry(name.as_str()).map_err(|_| wrong())?.or_insert(value);
        }
        Ok(metadata)
    }

    fn exporter(&self) -> Result<SpanExporter, OtlpError> {
        let metadata = self.metadata()?;
        let built = match self.transport {
            Transport::Grpc => SpanExporter::builder()
                .with_tonic()
                .with_endpoint(self.endpoint.clone())
                .with_timeout(self.timeout)
                .with_metadata(metadata)
                .build(),
            Transport::Http => SpanExporter::builder()
                .with_http()
                .with_protocol(Protocol::HttpBinary)
                .with_endpoint(self.endpoint.clone())
                .with_timeout(self.timeout)
                // Its values are taken as they stand in an environment variable, percent-encoded.
                .with_headers(self.headers.iter().map(|(k, v)| (k.clone(), v.replace('%', "%25"))).collect())
                .build(),
        };
        built.map_err(|error| OtlpError::Exporter {
            endpoint: address::shown(&self.endpoint),
            source: ExporterCause::new(&error, &self.endpoint),
        })
    }
}

/// Names headers, whose values may be keys, and shows the address without what is secret in it.
impl fmt::Debug for Otlp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<&String> = self.headers.keys().collect();
        f.debug_struct("Otlp")
            .field("transport", &self.transport)
            .field("endpoint", &address::shown(&self.endpoint))
            .field("service", &self.service)
            .field("share", &self.share)
            .field("timeout", &self.timeout)
            .field("every", &self.every)
            .field("headers", &headers)
            .finish()
    }
}

/// An export of traces. Dropped, it exports what is left, for up to 5 s, and ends: the last thing that a program does, after its buses.
#[must_use = "dropped, the export ends"]
pub struct Exporting {
    provider: SdkTracerProvider,
    runtime: Option<Runtime>,
}

impl Exporting {
    /// The layer that makes OpenTelemetry spans of `tracing` spans, for the program's subscriber. Their instrumentation scope is `busway`, with its version and [`SCHEMA_URL`]. Those of the exporter's own connections are left out: they would be
    /// exported, and make more. So are those of the target `busway`, which say in logs which event an attempt is of.
    #[must_use]
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let scope = InstrumentationScope::builder("busway")
            .with_version(env!("CARGO_PKG_VERSION"))
            .with_schema_url(SCHEMA_URL)
            .build();
        let layer = tracing_opentelemetry::layer().with_tracer(self.provider.tracer_with_scope(scope));
        layer.with_filter(filter_fn(is_of_others))
    }

    /// Exports what has ended, and waits for it: for a thread that may wait. `false`: some of it could not be exported.
    pub fn flush(&self) -> bool {
        self.provider.force_flush().is_ok()
    }
}

impl Drop for Exporting {
    fn drop(&mut self) {
        if let Err(error) = self.provider.shutdown() {
            tracing::warn!(%error, "not all traces were exported");
        }
        if let Some(runtime) = self.runtime.take() {
            // It may be dropped where nothing may wait.
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Exporting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporting").finish_non_exhaustive()
    }
}

/// Not of what carries spans away, and not a span that is there for logs: a traced attempt has one of its own, and an untraced one is to have none.
fn is_of_others(metadata: &Metadata<'_>) -> bool {
    if metadata.is_span() && metadata.target() == TARGET {
        return false;
    }
    let part_of = |name: &&str| metadata.target().split("::").next() == Some(*name);
    ![
        "h2",
        "hyper",
        "hyper_util",
        "opentelemetry",
        "opentelemetry_sdk",
        "opentelemetry_otlp",
        "tonic",
        "tower",
    ]
    .iter()
    .any(part_of)
}

const TIMEOUT: Duration = Duration::from_secs(10);
const EVERY: Duration = Duration::from_secs(1);
