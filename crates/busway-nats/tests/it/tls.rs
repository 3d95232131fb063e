//! Encrypted connections, with certificates on both sides. Those beside this file are for tests alone, and run out in a hundred years.

use std::path::Path;
use std::time::Duration;

use busway_engine::transport::{Transport, TransportError};
use busway_nats::NatsBuilder;
use busway_persistence::Stream;

use crate::server::{PATIENCE, Server, event};

const CA: &str = include_str!("tls/ca.pem");
const SERVER: [&str; 2] = [include_str!("tls/server.pem"), include_str!("tls/server.key")];
const ONE: [&str; 2] = [include_str!("tls/one.pem"), include_str!("tls/one.key")];
const TWO: [&str; 2] = [include_str!("tls/two.pem"), include_str!("tls/two.key")];

fn write(folder: &Path, name: &str, [certificate, key]: [&str; 2]) {
    std::fs::write(folder.join(format!("{name}.pem")), certificate).unwrap();
    std::fs::write(folder.join(format!("{name}.key")), key).unwrap();
}

/// A server that asks for certificates, and a folder with that of one client.
fn start() -> (Server, tempfile::TempDir) {
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("ca.pem"), CA).unwrap();
    write(files.path(), "server", SERVER);
    write(files.path(), "client", ONE);
    let folder = files.path().to_str().unwrap();
    let tls = format!(
        "tls {{ cert_file: \"{folder}/server.pem\", key_file: \"{folder}/server.key\", ca_file: \"{folder}/ca.pem\", verify: true }}\n"
    );
    (Server::with(&format!("jetstream {{ store_dir: \"{{folder}}\" }}\n{tls}")), files)
}

fn trusting(server: &Server, files: &Path) -> NatsBuilder {
    server.builder().ca_file(files.join("ca.pem"))
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_who_is_not_trusted_is_denied_access_and_bad_files_are_said() {
    let (server, files) = start();
    let files = files.path();
    // The authorities of the system do not know this server.
    let error = server.builder().connect().await.unwrap_err();
    assert!(matches!(error, TransportError::AccessDenied { .. }), "{error}");
    let error = trusting(&server, files).connect().await.unwrap_err();
    assert!(matches!(error, TransportError::AccessDenied { .. }), "{error}");
    let nowhere = trusting(&server, files).certificate_files("/nowhere/a.pem", "/nowhere/a.key");
    let error = nowhere.connect().await.unwrap_err();
    assert!(matches!(error, TransportError::Refused(_)) && !error.is_transient(), "{error}");
    let with = trusting(&server, files).certificate_files(files.join("client.pem"), files.join("client.key"));
    with.connect().await.unwrap();
}

#[tokio::test]
#[ignore = "needs nats-server"]
async fn on_nats_certificates_are_read_anew_at_each_reconnect() {
    let (server, files) = start();
    let files = files.path();
    let with = trusting(&server, files).certificate_files(files.join("client.pem"), files.join("client.key"));
    let transport = with.timeout(Duration::from_millis(500)).connect().await.unwrap();
    transport.prepare(&[Stream::new("orders").capture("orders.#")]).await.unwrap();
    let sender = transport.sender().await.unwrap();
    let send = |number| sender.send(vec![event("orders.created", number)]);
    // What lies there is not looked at while the connection stands.
    write(files, "client", ["no certificate", "no key"]);
    assert!(send(1).await[0].is_ok());
    transport.reconnect().await.unwrap();
    let breaking = async { while send(2).await[0].is_ok() {} };
    tokio::time::timeout(PATIENCE, breaking).await.unwrap();
    // The connection tries again and again, and comes back with what lies there then.
    write(files, "client", TWO);
    let coming_back = async { while send(3).await[0].is_err() {} };
    tokio::time::timeout(PATIENCE, coming_back).await.unwrap();
}
