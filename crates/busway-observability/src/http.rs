//! The endpoint: metrics and health over HTTP/1.1, for who scrapes and who probes. On a thread of its own, with its own runtime, so that neither a full bus
//! keeps it from answering nor a slow reader the bus from its work.
//!
//! | path | answers |
//! |---|---|
//! | `/metrics` | the [`Metrics`] as Prometheus text |
//! | `/healthz` | 200 while the process answers, with the bus's [`Health`] as text: for who would restart it |
//! | `/readyz` | 200, or 503 when the bus has [failed](crate::Condition::Failed), with the same text: for who would send it work |
//!
//! **What it admits.** It listens on loopback unless another address is given, and answers requests alone whose `Host` is an address, `localhost` or a name that
//! was [given](Endpoint::host): a page in somebody's browser cannot read it under a name of its own (DNS rebinding). `GET` and `HEAD` only; no body is read; 8 KiB
//! of headers, 5 s to send them, 10 s an answer, 32 connections at once. There is no login and no encryption: what faces a network belongs behind something that has.

use std::convert::Infallible;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use std::{fmt, io};

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::sync::{Semaphore, oneshot};

use crate::health::Health;
use crate::metrics::Metrics;

/// An endpoint that is to serve. See the module.
#[derive(Debug, Clone)]
#[must_use = "it serves nothing before .serve()"]
pub struct Endpoint {
    metrics: Metrics,
    address: SocketAddr,
    hosts: Vec<String>,
    behind: Option<Duration>,
}

/// Why an endpoint cannot serve.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: is another process there? Port 0 takes any that is free")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// There is no thread for it.
    #[error("cannot start the thread of the endpoint")]
    Thread(#[source] io::Error),
}

impl Endpoint {
    /// Serves these metrics, and the health of their bus, on 127.0.0.1:9464.
    pub const fn new(metrics: Metrics) -> Self {
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT);
        Self { metrics, address, hosts: Vec::new(), behind: None }
    }

    /// Where it listens. Default 127.0.0.1:9464; port 0 takes any that is free.
    pub const fn address(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// A name under which it may be asked, beside its address and `localhost`; without a port, in any case of letters.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into());
        self
    }

    /// How long an event may wait before its subscription is a concern of the bus's health. Default: however long.
    pub const fn behind(mut self, limit: Duration) -> Self {
        self.behind = Some(limit);
        self
    }

    /// Begins to serve, on a thread of its own. It ends when what is returned is dropped.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn serve(self) -> Result<Serving, EndpointError> {
        let listen = |address| {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        };
        let (address, listener) =
            listen(self.address).map_err(|source| EndpointError::Listen { address: self.address, source })?;
        let (stop, stopped) = oneshot::channel();
        let run = move || {
            if let Err(error) = serve(&Arc::new(self), listener, stopped) {
                tracing::error!(%error, "the endpoint of the metrics has ended");
            }
        };
        let thread = start(run).map_err(EndpointError::Thread)?;
        Ok(Serving { address, stop: Some(stop), thread: Some(thread) })
    }
}

#[expect(clippy::disallowed_methods, reason = "an integration owns its thread; it ends with its `Serving`")]
fn start(run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("busway-endpoint".to_owned()).spawn(run)
}

/// An endpoint that serves. Dropped, it stops: its thread has ended then, and its port is free.
#[must_use = "dropped, the endpoint stops"]
pub struct Serving {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Serving {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of it was told of when it happened.
            _ = thread.join();
        }
    }
}

impl fmt::Debug for Serving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serving").field("address", &self.address).finish_non_exhaustive()
    }
}

fn serve(endpoint: &Arc<Endpoint>, listener: TcpListener, stopped: oneshot::Receiver<()>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let local = tokio::task::LocalSet::new();
    let accept = async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            // Whoever comes now waits in the system's queue.
            let Ok(place) = Arc::clone(&connections).acquire_owned().await else { return Ok(()) };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                // Of the one who came; or no descriptor is free, which passes when another connection ends.
                Err(error) => {
                    tracing::warn!(%error, "a connection to the endpoint failed");
                    drop(place);
                    moment().await;
                    continue;
                }
            };
            let endpoint = Arc::clone(endpoint);
            tokio::task::spawn_local(async move {
                let service = service_fn(move |request| {
                    let response = endpoint.answer(&request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADERS_WITHIN)
                    .max_buf_size(HEADER_BYTES_MAX)
                    .keep_alive(false)
                    .serve_connection(TokioIo::new(stream), service);
                // One that reads too slowly, or goes away, is its own matter.
                _ = tokio::time::timeout(ANSWER_WITHIN, connection).await;
                drop(place);
            });
        }
    };
    runtime.block_on(local.run_until(async {
        tokio::select! {
            ended = accept => ended,
            _ = stopped => Ok(()),
        }
    }))
}

#[expect(clippy::disallowed_methods, reason = "the endpoint knows no bus, and no clock of one")]
async fn moment() {
    tokio::time::sleep(AGAIN_AFTER).await;
}

impl Endpoint {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if !self.knows(request.headers().get(HOST)) {
            return text(
                StatusCode::MISDIRECTED_REQUEST,
                "this is not that host: name it with .host(…)\n".to_owned(),
            );
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut refused = text(StatusCode::METHOD_NOT_ALLOWED, "GET or HEAD\n".to_owned());
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return refused;
        }
        match request.uri().path() {
            "/metrics" => {
                let mut metrics = text(StatusCode::OK, self.metrics.render());
                metrics.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROMETHEUS));
                metrics
            }
            "/healthz" => text(StatusCode::OK, format!("{}\n", self.health())),
            "/readyz" => {
                let health = self.health();
                let status = if health.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
                text(status, format!("{health}\n"))
            }
            _ => text(StatusCode::NOT_FOUND, "/metrics, /healthz or /readyz\n".to_owned()),
        }
    }

    fn health(&self) -> Health {
        Health::of(self.metrics.numbers().as_ref(), self.behind)
    }

    /// Whether it may be asked under this name.
    fn knows(&self, host: Option<&HeaderValue>) -> bool {
        // HTTP/1.1 wants one.
        let Some(host) = host.and_then(|host| host.to_str().ok()) else { return false };
        if host.parse::<SocketAddr>().is_ok() || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() {
            return true;
        }
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.parse::<u16>().is_ok() => name,
            _ => host,
        };
        name.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|known| name.eq_ignore_ascii_case(known))
    }
}

fn text(status: StatusCode, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Of the exposition format that is rendered.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// That of OpenTelemetry's Prometheus exporters.
const PORT: u16 = 9464;
/// When no connection can be taken: who comes waits in the system's queue.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
const CONNECTIONS_MAX: usize = 32;
const HEADER_BYTES_MAX: usize = 8 << 10;
const HEADERS_WITHIN: Duration = Duration::from_secs(5);
/// Of a connection: one request.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
