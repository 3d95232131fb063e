//! The endpoint, asked by a client that knows no library.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use busway_observability::{Endpoint, EndpointError, Metrics, Serving};

use crate::{Told, busy, told};

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn serving(source: std::sync::Arc<Told>) -> Serving {
    let metrics = Metrics::new();
    assert!(metrics.attach(source));
    Endpoint::new(metrics).address(ANY).host("metrics.shop.example").serve().unwrap()
}

/// What is answered to these bytes.
fn raw(at: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // One that has said no already need not read on.
    _ = stream.write_all(request);
    let mut answer = Vec::new();
    _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

fn get(at: SocketAddr, path: &str, host: &str) -> String {
    raw(at, format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes())
}

#[test]
fn metrics_and_health_are_read_over_http() {
    let source = told(busy());
    let serving = serving(std::sync::Arc::clone(&source));
    let at = serving.address();
    assert!(at.ip().is_loopback());
    let metrics = get(at, "/metrics", &at.to_string());
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(metrics.contains("busway_events_published_total 12\n"));
    assert!(get(at, "/healthz", "localhost").contains("degraded\n2 circuits of stock are open\n"));
    assert!(get(at, "/readyz", "localhost:1").starts_with("HTTP/1.1 200 OK\r\n"));
    source.0.lock().as_mut().unwrap().store.as_mut().unwrap().is_faulted = true;
    let not_ready = get(at, "/readyz", "localhost");
    assert!(not_ready.starts_with("HTTP/1.1 503 "), "{not_ready}");
    assert!(get(at, "/healthz", "localhost").starts_with("HTTP/1.1 200 OK\r\n"), "the process answers");
    *source.0.lock() = None;
    assert!(get(at, "/readyz", "localhost").contains("the bus is gone"));
    assert!(get(at, "/", "localhost").starts_with("HTTP/1.1 404 "));
}

#[test]
fn a_page_under_a_name_of_its_own_reads_nothing() {
    let serving = serving(told(busy()));
    let at = serving.address();
    for host in ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "x:y"] {
        let answer = get(at, "/metrics", host);
        assert!(answer.starts_with("HTTP/1.1 421 "), "{host}: {answer}");
        assert!(!answer.contains("busway_"));
    }
    assert!(raw(at, b"GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 421 "), "without a host");
    for host in ["127.0.0.1", "[::1]:9464", "LocalHost", "Metrics.Shop.Example:80"] {
        assert!(get(at, "/metrics", host).starts_with("HTTP/1.1 200 "), "{host}");
    }
}

#[test]
fn what_is_no_get_or_too_long_is_refused_and_the_next_one_is_answered() {
    let serving = serving(told(busy()));
    let at = serving.address();
    let post = raw(at, b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nabcd");
    assert!(post.starts_with("HTTP/1.1 405 ") && post.contains("allow: GET, HEAD\r\n"), "{post}");
    let head = raw(at, b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    let long =
        format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Long: {}\r\n\r\n", "a".repeat(64 << 10));
    let long = raw(at, long.as_bytes());
    assert!(long.is_empty() || long.starts_with("HTTP/1.1 431 "), "{long}");
    assert!(!raw(at, b"\x16\x03\x01\x00 not http\r\n\r\n").contains("busway_"));
    assert!(get(at, "/metrics", "localhost").starts_with("HTTP/1.1 200 "));
}

#[test]
fn its_port_is_free_when_it_is_dropped_and_a_taken_one_is_an_error_that_names_it() {
    let taken = TcpListener::bind(ANY).unwrap();
    let at = taken.local_addr().unwrap();
    let error = Endpoint::new(Metrics::new()).address(at).serve().unwrap_err();
    assert!(matches!(error, EndpointError::Listen { address, .. } if address == at));
    assert!(error.to_string().contains(&at.to_string()));
    let serving = serving(told(busy()));
    let at = serving.address();
    // One that says nothing keeps nobody from ending.
    let _silent = TcpStream::connect(at).unwrap();
    drop(serving);
    assert!(TcpStream::connect(at).is_err());
}
