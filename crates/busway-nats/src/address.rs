//! Addresses of servers, which may hold credentials: what is said of them never does.

use async_nats::ServerAddr;
use busway_engine::transport::TransportError;

/// The servers of a list with commas. The text may hold a password: it is not repeated.
pub(crate) fn servers(urls: &str) -> Result<Vec<ServerAddr>, TransportError> {
    let mut servers = Vec::new();
    for (index, url) in urls.split(',').enumerate() {
        let server = url.trim().parse::<ServerAddr>().ok().filter(|server| !server.host().is_empty());
        servers.push(server.ok_or_else(|| {
            let number = index + 1;
            TransportError::Refused(format!(
                "address {number} is none of a NATS server: one looks like nats://127.0.0.1:4222"
            ))
        })?);
    }
    Ok(servers)
}

/// Hosts and ports, without users and passwords.
pub(crate) fn address(servers: &[ServerAddr]) -> String {
    let all: Vec<_> = servers.iter().map(|server| format!("{}:{}", server.host(), server.port())).collect();
    all.join(",")
}

/// A part of an address as it is meant.
pub(crate) fn decoded(part: Option<&str>) -> String {
    let part = part.unwrap_or_default();
    crate::encoding::decoded(part).unwrap_or_default().into_owned()
}
