//! `redis-server`: its configuration, and how it says that it is there.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use super::{Place, Spec};

/// No snapshots, and the append-only file is never rewritten: both would write beside what is measured.
pub(super) fn configuration(spec: &Spec, place: Place<'_>) -> String {
    let Place { folder, address } = place;
    format!(
        "bind {}\nport {}\ndir \"{}\"\nsave \"\"\nappendonly yes\nauto-aof-rewrite-percentage 0\n{}\n",
        address.ip(),
        address.port(),
        folder.display(),
        spec.syncing
    )
}

/// Asked about itself, it says its process id. While it loads its file, it refuses the question.
pub(super) fn answers(mut connection: TcpStream, pid: u32) -> io::Result<bool> {
    connection.write_all(b"INFO server\r\n")?;
    let own = format!("process_id:{pid}");
    let mut lines = BufReader::new(connection).lines();
    // `$LENGTH` of the answer comes first; anything else is a refusal.
    let Some(first) = lines.next().transpose()? else { return Ok(false) };
    if !first.starts_with('$') {
        return Ok(false);
    }
    for line in lines {
        let line = line?;
        if line.starts_with("process_id:") {
            return Ok(line.trim_end() == own);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::path::Path;

    use super::*;
    use crate::server::REDIS_EVERYSEC;
    use crate::server::running::tests::spoken_to;

    #[test]
    fn the_configuration_stays_on_loopback_and_syncs_as_asked() {
        let address = SocketAddr::from(([127, 0, 0, 1], 6_379));
        let text = configuration(&REDIS_EVERYSEC, Place { folder: Path::new("/data/redis"), address });
        assert!(text.starts_with("bind 127.0.0.1\nport 6379\ndir \"/data/redis\"\n"), "{text}");
        assert!(text.ends_with("appendfsync everysec\n"), "{text}");
    }

    #[test]
    fn only_the_process_that_was_started_is_taken_for_it() {
        let is = |said: &[u8], pid: u32| {
            let (near, _far) = spoken_to(said);
            answers(near, pid).unwrap()
        };
        let answer = b"$55\r\n# Server\r\nredis_version:7.0.15\r\nprocess_id:77\r\nport:1\r\n";
        assert!(is(answer, 77));
        assert!(!is(answer, 7), "somebody else has the port");
        assert!(!is(b"-LOADING Redis is loading the dataset\r\n", 77));
        assert!(!is(b"", 77), "the connection was closed");
    }
}
