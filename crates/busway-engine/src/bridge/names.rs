//! Forwarders that run, by their names: no two of a bus have the same, for each would send a part of the events.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// See the module. One of each bus.
#[derive(Debug, Default)]
pub(crate) struct Forwarders(Mutex<HashMap<String, Ending>>);

/// How the end of one is seen.
#[derive(Debug, Clone)]
struct Ending {
    /// It was told to end.
    stop: CancellationToken,
    /// It has.
    ended: CancellationToken,
}

/// A name, for as long as this is there.
#[derive(Debug)]
pub(crate) struct Taken {
    all: Arc<Forwarders>,
    name: String,
    ended: CancellationToken,
}

impl Forwarders {
    /// Takes a name, once a forwarder of that name which was told to end has done so; `None` when one runs.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the name as it is.
    pub(crate) async fn take(self: &Arc<Self>, name: &str, stop: &CancellationToken) -> Option<Taken> {
        loop {
            let before = {
                let mut all = self.0.lock();
                match all.get(name) {
                    None => {
                        let ended = CancellationToken::new();
                        let ending = Ending { stop: stop.clone(), ended: ended.clone() };
                        all.insert(name.to_owned(), ending);
                        return Some(Taken { all: Arc::clone(self), name: name.to_owned(), ended });
                    }
                    Some(before) => before.clone(),
                }
            };
            if !before.stop.is_cancelled() {
                return None;
            }
            before.ended.cancelled().await;
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.name);
        self.ended.cancel();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_name_is_one_forwarders_and_the_next_waits_for_one_that_ends() {
        let (all, first) = (Arc::<Forwarders>::default(), CancellationToken::new());
        let taken = all.take("out", &first).await.unwrap();
        let second = CancellationToken::new();
        assert!(all.take("out", &second).await.is_none());
        assert!(all.take("other", &second).await.is_some());
        first.cancel();
        let mut next = Box::pin(all.take("out", &second));
        assert!((&mut next).now_or_never().is_none(), "it was told to end, and has not yet");
        drop(taken);
        assert!(next.now_or_never().unwrap().is_some());
    }
}
