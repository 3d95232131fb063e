//! One server: started, waited for, and ended.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::{Place, Spec};
use crate::process::find_program;

/// A server that answers. It ends, and its data goes, when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    process: Process,
    address: SocketAddr,
}

impl Running {
    /// Starts the program with an empty folder inside of `parent`, and waits until it answers.
    ///
    /// # Errors
    ///
    /// It cannot be started, ends by itself, or does not answer within [`PATIENCE`]: with the end of what it said.
    pub(crate) fn start(spec: &Spec, program: &Path, parent: &Path) -> Result<Self> {
        Self::start_within(spec, program, parent, PATIENCE)
    }

    fn start_within(spec: &Spec, program: &Path, parent: &Path, patience: Duration) -> Result<Self> {
        let mut attempt = 1;
        loop {
            // Between finding a port free and taking it, somebody else may have taken it: then the server ends at once.
            match Self::try_start(spec, program, parent, patience) {
                Err(Failure::Ended(_)) if attempt < ATTEMPTS_MAX => attempt += 1,
                Err(Failure::Ended(why) | Failure::Other(why)) => return Err(why),
                Ok(running) => return Ok(running),
            }
        }
    }

    fn try_start(spec: &Spec, program: &Path, parent: &Path, patience: Duration) -> Result<Self, Failure> {
        let address = free_address()?;
        let mut process = Process::spawn(spec, program, parent, address)?;
        let (pid, started) = (process.child.0.id(), Instant::now());
        loop {
            let answered = TcpStream::connect_timeout(&address, ANSWER_MAX).and_then(|connection| {
                connection.set_read_timeout(Some(ANSWER_MAX))?;
                connection.set_write_timeout(Some(ANSWER_MAX))?;
                spec.kind.answers(connection, pid, Place { folder: &process.data.folder, address })
            });
            if let Some(status) = process.child.0.try_wait().context("a child can be asked")? {
                return Err(Failure::Ended(process.failed(spec, &format!("ended with {status}"))));
            }
            if matches!(answered, Ok(true)) {
                break;
            }
            if started.elapsed() >= patience {
                let what = format!("did not answer at {address} within {} s", patience.as_secs());
                return Err(Failure::Other(process.failed(spec, &what)));
            }
            thread::sleep(BETWEEN_QUESTIONS);
        }
        Ok(Self { process, address })
    }

    /// For the variable of [`Spec::handed_on_in`].
    pub(crate) fn handed_on(&self) -> String {
        format!("{} {}", self.address, self.process.child.0.id())
    }
}

enum Failure {
    /// The process ended by itself: on another port it may not.
    Ended(anyhow::Error),
    Other(anyhow::Error),
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

/// The process and its folder: both go when this is dropped, in this order.
#[derive(Debug)]
struct Process {
    child: Ending,
    data: Data,
}

impl Process {
    fn spawn(spec: &Spec, program: &Path, parent: &Path, address: SocketAddr) -> Result<Self> {
        static STARTS: AtomicU32 = AtomicU32::new(0);
        let start = STARTS.fetch_add(1, Ordering::Relaxed);
        let data = Data::fresh(parent.join(format!("{}-{}-{start}", spec.name, std::process::id())))?;
        let folder = data.folder.as_path();
        let configuration = folder.join("server.conf");
        let text = spec.configuration(Place { folder, address });
        fs::write(&configuration, text)
            .with_context(|| format!("cannot write {}", configuration.display()))?;
        let log = File::create(folder.join(LOG)).context("cannot make the server's log")?;
        let errors = log.try_clone().context("cannot share the server's log")?;
        let child = bound_to_us(program)
            .args(spec.kind.arguments(&configuration))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        Ok(Self { child: Ending(child), data })
    }

    fn failed(&self, spec: &Spec, what: &str) -> anyhow::Error {
        let log = fs::read(self.data.folder.join(LOG)).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<_> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(LOG_LINES)..).unwrap_or_default().join("\n  ");
        anyhow::anyhow!("{} {what}; the end of what it said:\n  {last}", spec.name)
    }
}

/// A process that ends when this is dropped.
#[derive(Debug)]
struct Ending(Child);

impl Drop for Ending {
    fn drop(&mut self) {
        // Its data is not wanted any more, so it need not end in order. One that has ended already is as good.
        let ended = self.0.kill().and_then(|()| self.0.wait());
        if let Err(error) = ended {
            eprintln!("cannot end process {}: {error}", self.0.id());
        }
    }
}

/// A folder that goes, with all that is in it, when this is dropped.
#[derive(Debug)]
struct Data {
    folder: PathBuf,
}

impl Data {
    fn fresh(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { folder })
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("cannot remove {}: {error}", self.folder.display());
        }
    }
}

/// A command that the kernel kills when the thread that spawned it is gone, however that happened, where there is a tool for that. It becomes the
/// program itself, so the child's process id is the server's.
fn bound_to_us(program: &Path) -> Command {
    let Some(setpriv) = find_program("setpriv") else { return Command::new(program) };
    let mut command = Command::new(setpriv);
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// A port that nobody has right now.
fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no port of 127.0.0.1 is free")?;
    listener.local_addr().context("a listener has an address")
}

/// Ready in a fraction of a second on an idle machine.
const PATIENCE: Duration = Duration::from_secs(20);
/// A server that listens answers at once; one that does not yet is asked again.
const ANSWER_MAX: Duration = Duration::from_secs(1);
const BETWEEN_QUESTIONS: Duration = Duration::from_millis(20);
/// Ports that are tried.
const ATTEMPTS_MAX: u32 = 3;
const LOG: &str = "server.log";
/// What an error repeats of the log.
const LOG_LINES: usize = 12;

#[cfg(test)]
pub(super) mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::Shutdown;

    use super::*;
    use crate::server::{NATS_DEFAULT, REDIS_ALWAYS};

    /// Both ends of a connection. The far one has said something, and no more; it must not be dropped before the near one is read.
    pub(in crate::server) fn spoken_to(said: &[u8]) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut far, _) = listener.accept().unwrap();
        far.write_all(said).unwrap();
        far.shutdown(Shutdown::Write).unwrap();
        (near, far)
    }

    /// An empty folder, and in it a script that takes the place of a server.
    struct Stage {
        folder: PathBuf,
        program: PathBuf,
    }

    impl Stage {
        fn with(name: &str, script: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("busway-{name}-{}", std::process::id()));
            fs::create_dir_all(&folder).unwrap();
            let program = folder.join("program");
            // Written by another process: what this one has open for writing, children of other tests would have open too while
            // they start, and nobody can start such a program.
            let mut write = Command::new("sh");
            write.args(["-c", "printf '%s\\n' '#!/bin/sh' \"$1\" > \"$0\" && chmod +x \"$0\""]);
            assert!(write.arg(&program).arg(script).status().unwrap().success());
            Self { folder, program }
        }

        /// Folders of servers that are still there.
        fn left(&self) -> usize {
            fs::read_dir(&self.folder)
                .unwrap()
                .filter(|entry| entry.as_ref().unwrap().path().is_dir())
                .count()
        }
    }

    impl Drop for Stage {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.folder).unwrap();
        }
    }

    #[test]
    fn one_that_ends_is_tried_on_other_ports_and_then_its_last_words_are_told() {
        let stage = Stage::with(
            "ends",
            "echo \"started with $1\" >> \"$(dirname \"$0\")/starts\"; echo 'no such option'; exit 3",
        );
        let error = Running::start(&REDIS_ALWAYS, &stage.program, &stage.folder).unwrap_err().to_string();
        assert!(error.starts_with("redis-always ended with exit status: 3"), "{error}");
        assert!(error.ends_with("no such option"), "{error}");
        let starts = fs::read_to_string(stage.folder.join("starts")).unwrap();
        assert_eq!(starts.lines().count(), 3, "{starts}");
        assert!(starts.lines().all(|line| line.ends_with("server.conf")), "{starts}");
        assert_eq!(stage.left(), 0);
    }

    #[test]
    fn one_that_never_answers_is_ended_and_its_folder_goes() {
        let stage =
            Stage::with("silent", "echo $$ > \"$(dirname \"$0\")/pid\"; exec cat /dev/zero > /dev/null");
        let patience = Duration::from_millis(200);
        let started = Running::start_within(&NATS_DEFAULT, &stage.program, &stage.folder, patience);
        let error = started.unwrap_err().to_string();
        assert!(error.starts_with("nats-default did not answer at 127.0.0.1:"), "{error}");
        let pid = fs::read_to_string(stage.folder.join("pid")).unwrap();
        assert!(!Path::new("/proc").join(pid.trim()).exists(), "process {pid} goes on");
        assert_eq!(stage.left(), 0);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_that_names_it() {
        let stage = Stage::with("absent", "exit 0");
        let error = Running::start(&NATS_DEFAULT, &stage.folder.join("nothing"), &stage.folder).unwrap_err();
        assert!(format!("{error:#}").contains("nothing"), "{error:#}");
        assert_eq!(stage.left(), 0);
    }

    #[test]
    fn a_port_that_is_given_out_is_free_and_on_loopback() {
        let address = free_address().unwrap();
        assert!(address.ip().is_loopback());
        let listener = TcpListener::bind(address).unwrap();
        let mut connection = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        drop(listener.accept().unwrap());
        assert_eq!(connection.read(&mut [0; 1]).unwrap(), 0);
    }
}
