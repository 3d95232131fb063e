//! `nats-server`: its configuration, and how it says that it is there.

use std::io::{self, BufRead as _, BufReader};
use std::net::TcpStream;

use super::{Place, Spec};

pub(super) fn configuration(spec: &Spec, place: Place<'_>) -> String {
    let Place { folder, address } = place;
    let store = folder.join("jetstream");
    format!(
        "listen: \"{address}\"\nserver_name: \"{}\"\njetstream {{\n  store_dir: \"{}\"\n  {}\n}}\n",
        name(place),
        store.display(),
        spec.syncing
    )
}

/// It greets whoever connects with one line that begins with `INFO` and holds its name.
pub(super) fn answers(connection: TcpStream, place: Place<'_>) -> io::Result<bool> {
    let mut greeting = String::new();
    BufReader::new(connection).read_line(&mut greeting)?;
    Ok(greeting.starts_with("INFO ")
        && greeting.contains(&format!("\"server_name\":\"{}\"", name(place)))
        && greeting.contains("\"jetstream\":true"))
}

/// Another process that took the port would have another name.
fn name(place: Place<'_>) -> String {
    let folder = place.folder.file_name().unwrap_or_default();
    format!("busway-{}", folder.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::Path;

    use super::*;
    use crate::server::running::tests::spoken_to;
    use crate::server::{NATS_ALWAYS, NATS_DEFAULT};

    fn place() -> Place<'static> {
        Place { folder: Path::new("/data/nats-7"), address: SocketAddr::from(([127, 0, 0, 1], 4_222)) }
    }

    #[test]
    fn the_configuration_stays_on_loopback_and_syncs_as_asked() {
        let text = configuration(&NATS_ALWAYS, place());
        assert!(text.contains("listen: \"127.0.0.1:4222\""), "{text}");
        assert!(text.contains("store_dir: \"/data/nats-7/jetstream\"\n  sync_interval: always\n"), "{text}");
        assert!(!configuration(&NATS_DEFAULT, place()).contains("sync_interval"));
    }

    #[test]
    fn only_the_server_that_was_started_is_taken_for_it() {
        let greeting = |name: &str, jetstream: bool| {
            format!("INFO {{\"server_id\":\"X\",\"server_name\":\"{name}\",\"jetstream\":{jetstream}}} \r\n")
        };
        let is_ours = |said: String| {
            let (near, _far) = spoken_to(said.as_bytes());
            answers(near, place()).unwrap()
        };
        assert!(is_ours(greeting("busway-nats-7", true)));
        assert!(!is_ours(greeting("busway-nats-8", true)), "somebody else has the port");
        assert!(!is_ours(greeting("busway-nats-7", false)));
        assert!(!is_ours(String::new()), "the connection was closed");
    }
}
