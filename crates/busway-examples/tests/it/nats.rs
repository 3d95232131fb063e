//! A NATS server of a test.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use busway_testkit::ServerProgram;

/// With `JetStream`. Its name is that of its folder, which is nobody else's.
pub(crate) const NATS: ServerProgram = ServerProgram {
    variable: "BUSWAY_NATS_SERVER",
    arguments: |folder, address| {
        let listen =
            ["-a".into(), address.ip().to_string().into(), "-p".into(), address.port().to_string().into()];
        let stored = ["-js".into(), "-sd".into(), folder.into(), "-n".into(), folder.into()];
        listen.into_iter().chain(stored).collect()
    },
    answers,
};

fn answers(folder: &Path, address: SocketAddr) -> Option<bool> {
    let mut line = String::new();
    BufReader::new(TcpStream::connect(address).ok()?).read_line(&mut line).ok()?;
    (!line.is_empty()).then(|| line.contains(&*folder.to_string_lossy()))
}
