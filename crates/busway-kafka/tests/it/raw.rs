//! What rdkafka cannot say, in Kafka's own bytes: names and metadata that are no text.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

/// A header of a record, of any bytes.
pub(crate) type RawHeader<'a> = (&'a [u8], &'a [u8]);

/// Writes a record into the first partition of a topic. It goes to the first broker of a list.
pub(crate) fn produce(brokers: &str, topic: &str, headers: &[RawHeader<'_>], value: &[u8]) {
    let batch = batch(&record(headers, value));
    let mut body = Vec::new();
    body.extend((-1_i16).to_be_bytes()); // No transactional id.
    body.extend((-1_i16).to_be_bytes()); // Acknowledged by all.
    body.extend(10_000_i32.to_be_bytes());
    one_partition(&mut body, topic);
    bytes(&mut body, &batch);
    let answer = ask(brokers, PRODUCE, 3, &body);
    // Topics, one of them with its name, partitions, one of them with its number: then the code.
    let at = 4 + 2 + topic.len() + 4 + 4;
    assert_eq!(answer[at..at + 2], [0, 0], "it was not taken: {answer:?}");
}

/// Commits a position of a group that has no members.
pub(crate) fn commit(brokers: &str, group: &str, topic: &str, position: i64, metadata: &[u8]) {
    let mut body = Vec::new();
    string(&mut body, group.as_bytes());
    body.extend((-1_i32).to_be_bytes()); // Of no generation, and no member.
    string(&mut body, b"");
    body.extend((-1_i64).to_be_bytes());
    one_partition(&mut body, topic);
    body.extend(position.to_be_bytes());
    string(&mut body, metadata);
    let answer = ask(brokers, OFFSET_COMMIT, 2, &body);
    assert_eq!(answer[answer.len() - 2..], [0, 0], "it was not taken: {answer:?}");
}

/// The bytes of all that lies in the first partition of a topic, as the broker gives them out.
pub(crate) fn fetch(brokers: &str, topic: &str) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend((-1_i32).to_be_bytes()); // No replica asks.
    body.extend(1_000_i32.to_be_bytes());
    body.extend(1_i32.to_be_bytes());
    body.extend((1_i32 << 20).to_be_bytes());
    body.push(0);
    one_partition(&mut body, topic);
    body.extend(0_i64.to_be_bytes());
    body.extend((1_i32 << 20).to_be_bytes());
    ask(brokers, FETCH, 4, &body)
}

/// The frame of a request, and the body of its answer.
fn ask(brokers: &str, api: i16, version: i16, body: &[u8]) -> Vec<u8> {
    let mut request = Vec::new();
    request.extend(api.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(7_i32.to_be_bytes());
    string(&mut request, b"raw");
    request.extend(body);
    let mut framed = Vec::new();
    bytes(&mut framed, &request);
    let mut stream = TcpStream::connect(brokers.split(',').next().unwrap()).unwrap();
    stream.write_all(&framed).unwrap();
    let mut len = [0; 4];
    stream.read_exact(&mut len).unwrap();
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(len)).unwrap()];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[..4], 7_i32.to_be_bytes(), "it is another's answer");
    answer[4..].to_vec()
}

fn one_partition(to: &mut Vec<u8>, topic: &str) {
    to.extend(1_i32.to_be_bytes());
    string(to, topic.as_bytes());
    to.extend(1_i32.to_be_bytes());
    to.extend(0_i32.to_be_bytes());
}

/// A batch of one record, in the format of version 2. Its checksum is none: clients do not look at it unless they are told to.
fn batch(record: &[u8]) -> Vec<u8> {
    let mut rest = Vec::new();
    rest.extend((-1_i32).to_be_bytes()); // The leader's epoch.
    rest.push(2);
    rest.extend(0_u32.to_be_bytes());
    rest.extend(0_i16.to_be_bytes());
    rest.extend(0_i32.to_be_bytes());
    rest.extend(1_769_853_600_000_i64.to_be_bytes());
    rest.extend(1_769_853_600_000_i64.to_be_bytes());
    rest.extend((-1_i64).to_be_bytes()); // Of no idempotent producer.
    rest.extend((-1_i16).to_be_bytes());
    rest.extend((-1_i32).to_be_bytes());
    rest.extend(1_i32.to_be_bytes());
    rest.extend(record);
    let mut batch = 0_i64.to_be_bytes().to_vec();
    bytes(&mut batch, &rest);
    batch
}

fn record(headers: &[RawHeader<'_>], value: &[u8]) -> Vec<u8> {
    let mut rest = vec![0, 0, 0];
    varint(&mut rest, -1); // No key.
    counted(&mut rest, value);
    varint(&mut rest, i64::try_from(headers.len()).unwrap());
    for (name, value) in headers {
        counted(&mut rest, name);
        counted(&mut rest, value);
    }
    let mut record = Vec::new();
    counted(&mut record, &rest);
    record
}

fn counted(to: &mut Vec<u8>, bytes: &[u8]) {
    varint(to, i64::try_from(bytes.len()).unwrap());
    to.extend(bytes);
}

/// Zigzag, seven bits at a time.
fn varint(to: &mut Vec<u8>, value: i64) {
    let mut left = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while left >= 0x80 {
        to.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
        left >>= 7;
    }
    to.push(u8::try_from(left).unwrap());
}

fn bytes(to: &mut Vec<u8>, bytes: &[u8]) {
    to.extend(i32::try_from(bytes.len()).unwrap().to_be_bytes());
    to.extend(bytes);
}

fn string(to: &mut Vec<u8>, text: &[u8]) {
    to.extend(i16::try_from(text.len()).unwrap().to_be_bytes());
    to.extend(text);
}

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;
const OFFSET_COMMIT: i16 = 8;
