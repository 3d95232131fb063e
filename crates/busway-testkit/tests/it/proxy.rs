//! A proxy does to a connection what it is told, and nothing else.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use busway_testkit::Proxy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(20);

/// Sends back what it is sent.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = client.into_split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    address
}

async fn says(client: &mut TcpStream, word: &[u8]) -> Option<Vec<u8>> {
    client.write_all(word).await.ok()?;
    let mut answer = vec![0; word.len()];
    timeout(SOON, client.read_exact(&mut answer)).await.unwrap().ok()?;
    Some(answer)
}

#[tokio::test]
async fn bytes_pass_until_the_network_is_cut_and_again_when_it_is_healed() {
    let proxy = Proxy::to(echo().await).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(says(&mut client, b"here").await.unwrap(), b"here");
    assert_eq!(proxy.connections(), 1);
    proxy.cut();
    assert_eq!(says(&mut client, b"lost").await, None);
    let mut refused = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(says(&mut refused, b"lost").await, None);
    proxy.heal();
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(says(&mut client, b"back").await.unwrap(), b"back");
}

#[tokio::test]
async fn a_silent_network_loses_nothing_when_it_speaks_again_and_a_slow_one_is_slow() {
    let proxy = Proxy::to(echo().await).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(says(&mut client, b"here").await.unwrap(), b"here");
    proxy.silence();
    client.write_all(b"held").await.unwrap();
    let mut answer = [0; 4];
    let nothing = timeout(Duration::from_millis(100), client.read_exact(&mut answer)).await;
    assert!(nothing.is_err(), "{nothing:?}");
    proxy.heal();
    timeout(SOON, client.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(&answer, b"held");
    proxy.delay(Duration::from_millis(50));
    let started = Instant::now();
    assert_eq!(says(&mut client, b"late").await.unwrap(), b"late");
    assert!(started.elapsed() >= Duration::from_millis(100), "once each way");
}

#[tokio::test]
async fn a_half_closed_connection_is_at_its_end_for_who_reads_and_new_ones_are_whole() {
    let proxy = Proxy::to(echo().await).await;
    let mut client = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(says(&mut client, b"here").await.unwrap(), b"here");
    proxy.half_close();
    let read = timeout(SOON, client.read(&mut [0; 4])).await.unwrap().unwrap();
    assert_eq!(read, 0);
    client.write_all(b"still").await.unwrap();
    let mut other = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(says(&mut other, b"whole").await.unwrap(), b"whole");
}
