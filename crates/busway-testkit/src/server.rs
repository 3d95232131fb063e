//! Servers of other projects, as processes of a test.

use std::ffi::OsString;
use std::fs::File;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// How a server is started and found out about.
#[derive(Debug, Clone, Copy)]
pub struct ServerProgram {
    /// The environment variable that names its program.
    pub variable: &'static str,
    /// Its arguments: for a folder of its own, where it may also find what is written here before, and the address to listen at.
    pub arguments: fn(&Path, SocketAddr) -> Vec<OsString>,
    /// Whether a server answers at the address, and whether it is the one with this folder: another one may have taken the port.
    pub answers: fn(&Path, SocketAddr) -> Option<bool>,
}

/// A server that runs on a free port of the loopback address with a folder of its own, until it is dropped: then it is ended by its id, and its folder removed.
#[derive(Debug)]
pub struct ServerProcess {
    program: ServerProgram,
    file: PathBuf,
    folder: TempDir,
    address: SocketAddr,
    child: Option<Child>,
}

impl ServerProcess {
    /// Starts one, and waits until it answers.
    ///
    /// # Panics
    /// When its program is not named, or ends.
    #[must_use]
    pub fn start(program: ServerProgram) -> Self {
        let variable = program.variable;
        let Some(file) = std::env::var_os(variable) else { panic!("{variable} names no program") };
        loop {
            let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no folder: {error}"));
            let address = free_address();
            let mut server = Self { program, file: file.clone().into(), folder, address, child: None };
            // The port was free a moment ago.
            if server.begin() {
                return server;
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it outright, as a crash does. Nothing happens when it does not run.
    ///
    /// # Panics
    /// When the system does not let this process end it.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let ended = child.kill().and_then(|()| child.wait());
            assert!(ended.is_ok(), "the server cannot be ended: {ended:?}");
        }
    }

    /// Starts it again, with the data of before, and waits until it answers.
    ///
    /// # Panics
    /// When it runs, or somebody else has taken its port.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        assert!(self.begin(), "another server has taken the port {}", self.address);
    }

    /// Starts it; returns whether it is the one that answers.
    fn begin(&mut self) -> bool {
        let (folder, log) = (self.folder.path(), self.folder.path().join("server.log"));
        #[expect(
            clippy::disallowed_methods,
            reason = "the server's own log, which this module reads when it ends badly"
        )]
        let output = || File::create(&log).map_or_else(|_| Stdio::null(), Stdio::from);
        let spawned = Command::new(&self.file)
            .args((self.program.arguments)(folder, self.address))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output())
            .spawn();
        let mut child = spawned.unwrap_or_else(|error| panic!("{}: {error}", self.file.display()));
        loop {
            if let Some(is_ours) = (self.program.answers)(folder, self.address) {
                self.child = Some(child);
                return is_ours;
            }
            if let Ok(Some(status)) = child.try_wait() {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                let is_taken = said.contains("in use");
                assert!(is_taken, "{} has ended: {status}: {said}", self.file.display());
                return false;
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// An address of the loopback at which nobody listens, for a server that is ended there and begun again. Its port is below those that systems give to connections by themselves, so that none of
/// these takes it in between; that another test takes it is as likely as two of some 20,000 numbers being the same.
///
/// # Panics
/// When no port is free.
#[must_use]
pub fn free_address() -> SocketAddr {
    let random = || RandomState::new().build_hasher().finish();
    let ports = std::iter::repeat_with(|| {
        PORTS.start + u16::try_from(random() % u64::from(PORTS_COUNT)).unwrap_or(0)
    });
    let addresses = ports.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let free = addresses.take(TRIES).find(|address| TcpListener::bind(address).is_ok());
    free.unwrap_or_else(|| panic!("no port of {PORTS:?} is free"))
}

const PORTS: Range<u16> = 12_000..32_000;
const PORTS_COUNT: u16 = PORTS.end - PORTS.start;
const TRIES: usize = 1_000;
