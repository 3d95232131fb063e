//! Traces that are exported, as a collector receives them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use busway_event::draft::Stamp;
use busway_event::{Event, EventId, Filter, Metadata, Raw, Timestamp};
use busway_middleware::{Delivery, ModeKind, Outcome, Scope, States};
use busway_observability::trace::Publish;
use busway_observability::{Otlp, OtlpError, Tracing};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tracing_subscriber::layer::SubscriberExt as _;

/// What a collector was sent, with the header `x-tenant`.
#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<(ExportTraceServiceRequest, String)>>>);

impl Received {
    /// The spans, of the one service that they are of.
    fn spans(&self) -> Vec<Span> {
        let received = self.0.lock();
        let resources = received.iter().flat_map(|(request, tenant)| {
            assert_eq!(tenant, "acme");
            &request.resource_spans
        });
        let spans = resources.flat_map(|of| {
            let resource = format!("{:?}", of.resource);
            assert!(resource.contains("service.name") && resource.contains("orders"), "{resource}");
            of.scope_spans.iter().flat_map(|of| {
                let scope = of.scope.as_ref().unwrap();
                assert_eq!((&*scope.name, &*scope.version), ("busway", env!("CARGO_PKG_VERSION")));
                assert_eq!(of.schema_url, "https://opentelemetry.io/schemas/1.42.0");
                of.spans.clone()
            })
        });
        spans.collect()
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        let tenant = request.metadata().get("x-tenant").map(|value| value.to_str().unwrap().to_owned());
        self.0.lock().push((request.into_inner(), tenant.unwrap_or_default()));
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Received {
    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        assert_eq!(request.uri().path(), "/v1/traces");
        assert_eq!(request.headers()["content-type"], "application/x-protobuf");
        let tenant = request.headers().get("x-tenant").map(|value| value.to_str().unwrap().to_owned());
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let decoded = ExportTraceServiceRequest::decode(body).unwrap();
        self.0.lock().push((decoded, tenant.unwrap_or_default()));
        let answer = ExportTraceServiceResponse::default().encode_to_vec();
        Ok(Response::new(Full::new(Bytes::from(answer))))
    }
}

/// Publishes and handles an event, in no bus: within a subscriber of its own.
fn trace_one(otlp: Otlp) {
    let exporting = otlp.service("orders").header("x-tenant", "acme").start().unwrap();
    let subscriber = tracing_subscriber::registry().with(exporting.layer());
    crate::another_listens();
    tracing::subscriber::with_default(subscriber, || {
        let tracing = Tracing::otel();
        let metadata = Metadata::draft("test", 1).build().unwrap();
        let stamp = Stamp::new(EventId::foreign("test", "1"), Timestamp::from_nanos(7), &metadata);
        let mut draft = Event::new("orders.created", Raw::from("x"));
        let sending = tracing.publish(draft.head_mut(), stamp.id, Publish::Alone);
        let event = draft.finish(&stamp).map_err(|refused| refused.1).unwrap();
        drop(sending);
        let filter = Filter::new("orders.#").unwrap();
        let scope = Arc::new(Scope::new("stock", filter, ModeKind::Ephemeral, States::new()));
        let place = tracing.process(&Delivery::new(event.into(), scope)).unwrap();
        tracing::info_span!("of the program").in_scope(|| {});
        drop(place.enter());
        place.ended(&Outcome::failed("secret-text"));
        place.retried(1, Duration::from_millis(40));
    });
    assert!(exporting.flush());
}

fn check(spans: &[Span]) {
    let named =
        |name: &str| spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("{spans:?}"));
    let (publish, process) = (named("publish"), named("process orders.#"));
    assert_eq!(spans.len(), 3);
    assert_eq!((publish.kind, process.kind), (4, 5), "PRODUCER and CONSUMER");
    let [link] = &process.links[..] else { panic!("{process:?}") };
    assert_eq!((&link.trace_id, &link.span_id), (&publish.trace_id, &publish.span_id));
    assert_eq!(process.status.as_ref().unwrap().code, 2, "ERROR");
    assert_eq!(process.events.iter().map(|event| &*event.name).collect::<Vec<_>>(), ["busway.retry"]);
    let text = format!("{process:?}");
    assert!(text.contains("messaging.destination.subscription.name") && !text.contains("secret-text"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_are_received_over_http() {
    let received = Received::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let answers = received.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answers = answers.clone();
            let service = service_fn(move |request| answers.clone().answer(request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let otlp = Otlp::http(format!("http://{at}/v1/traces"));
    tokio::task::spawn_blocking(|| trace_one(otlp)).await.unwrap();
    check(&received.spans());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traces_are_received_over_grpc() {
    let received = Received::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let service = TraceServiceServer::new(received.clone());
    let serving =
        tonic::transport::Server::builder().serve_with_incoming(service, TcpIncoming::from(listener));
    tokio::spawn(serving);
    let otlp = Otlp::grpc(format!("http://{at}"));
    // Dropped within a runtime, where nothing may wait: it ends all the same.
    tokio::task::block_in_place(|| trace_one(otlp));
    check(&received.spans());
}

/// Also where programs begin to export: in an async function, where nothing may wait.
#[tokio::test]
async fn what_cannot_be_exported_to_is_said() {
    let error = Otlp::grpc("no address at all").start().unwrap_err();
    assert!(matches!(error, OtlpError::Exporter { .. }), "{error:?}");
    assert!(error.to_string().contains("no address at all"), "{error}");
    let error = Otlp::grpc("http://127.0.0.1:4317").header("a b", "c").start().unwrap_err();
    assert!(matches!(error, OtlpError::Header { .. }), "{error:?}");
    let error = Otlp::http("http://127.0.0.1:4318/v1/traces").header("x", "a\nb").start().unwrap_err();
    assert!(matches!(error, OtlpError::Header { .. }), "{error:?}");
}

#[test]
fn who_prints_an_exporter_or_its_error_sees_no_credentials() {
    let of = |endpoint: &str| Otlp::grpc(endpoint).header("authorization", "s3cr3t");
    let shown = format!("{:?}", of("http://ann:s3cr3t@agent:4317/x?key=s3cr3t"));
    assert!(shown.contains("agent:4317") && shown.contains("authorization"), "{shown}");
    assert!(!shown.contains("s3cr3t") && !shown.contains("ann"), "{shown}");
    for otlp in [of("http://ann:s3cr3t@no host"), Otlp::http("http://ann:s3cr3t@no host")] {
        let error = otlp.start().unwrap_err();
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert!(!format!("{error} {error:?} {cause}").contains("s3cr3t"), "{error:?}");
    }
    let exporting = of("http://ann:s3cr3t@127.0.0.1:4317").start().unwrap();
    assert!(!format!("{exporting:?}").contains("s3cr3t"), "{exporting:?}");
}

#[test]
fn nobody_waits_for_a_collector_that_is_not_there() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let otlp =
        Otlp::http(format!("http://{closed}/v1/traces")).timeout(Duration::from_millis(200)).sample(0.0);
    let exporting = otlp.start().unwrap();
    assert!(exporting.flush(), "there is nothing to be sent");
    drop(exporting);
}
