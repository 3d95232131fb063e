//! A Redis server of a test: started on a free port with an empty folder, ended by its id when it is dropped.

use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use busway_redis::RedisKeys;
use busway_testkit::free_address;
use tempfile::TempDir;

/// Names the program.
const PROGRAM: &str = "BUSWAY_REDIS_SERVER";

pub(crate) struct Server {
    child: Option<Child>,
    folder: TempDir,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Syncs before it answers: a kill loses nothing.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let mut server = Self { child: None, folder, address };
        server.start_again().await;
        server
    }

    /// With the data of before.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let program = std::env::var_os(PROGRAM)
            .unwrap_or_else(|| panic!("{PROGRAM} names no redis-server; `cargo xtask test` sets it"));
        let log = File::create(self.folder.path().join("server.log")).unwrap();
        let child = Command::new(program)
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", "always"])
            .arg("--port")
            .arg(self.address.port().to_string())
            .arg("--dir")
            .arg(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        while self.keys("probe").await.is_none() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the server has ended: {ended:?}");
            tokio::task::yield_now().await;
        }
    }

    /// Outright, by its id.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// A connection of its own; `None` while it does not answer.
    pub(crate) async fn keys(&self, prefix: &str) -> Option<RedisKeys> {
        RedisKeys::builder(&self.url()).prefix(prefix).connect().await.ok()
    }

    /// A command of the test's own.
    pub(crate) async fn command(&self, words: &[&str]) {
        let (): () = self.ask(words).await;
    }

    /// The same with its answer.
    pub(crate) async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_multiplexed_async_connection().await.unwrap();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        command.query_async(&mut connection).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}
