//! Words to the server that it confirms: what became of deliveries, and that they are still worked on.
//!
//! As requests of the client each would have a place in a table, a channel and a timer of its own. Here the words of a batch go out one after the other, each with a reply subject of its
//! own below one inbox; a task notes the answers, and a batch is waited for once.
//!
//! # Bounds
//! No more answers are on their way than deliveries are under way. The client keeps 64 Ki messages for a subscription that are not read yet, and reading one is all that the task does.
//!
//! # What may happen
//! - The connection breaks: words that were sent may have been heard or not, and no answer comes. They are said to be unheard when the time is over; the server delivers again what it did not hear of.
//! - Whoever waits stops waiting: the batch is forgotten, and its answers mean nothing when they come.
//! - The client ends: nothing is heard any more, and nobody waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_nats::{StatusCode, Subject, Subscriber};
use busway_engine::transport::TransportError;
use bytes::Bytes;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::link::Link;

/// See the module.
#[derive(Debug)]
pub(crate) struct Acks {
    /// Of all replies, with the dot behind it.
    inbox: String,
    batches: Arc<Mutex<Batches>>,
    /// Notes answers until the client ends, or this is dropped.
    hearing: JoinHandle<()>,
}

/// What is known of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// No answer has come.
    Nothing,
    /// The server has taken it.
    Taken,
    /// Nobody at the server is there for it: what it is about is gone.
    Nobody,
}

#[derive(Debug, Default)]
struct Batches {
    next: u64,
    open: BTreeMap<u64, Batch>,
    /// Nothing will be heard any more.
    has_ended: bool,
}

#[derive(Debug)]
struct Batch {
    heard: Vec<Heard>,
    /// Words without an answer.
    left: usize,
    /// Told when there are none.
    waiting: oneshot::Sender<Vec<Heard>>,
}

impl Acks {
    /// Listens for answers.
    pub(crate) async fn begin(link: &Link) -> Result<Self, TransportError> {
        let inbox = format!("{}.", link.client.new_inbox());
        let subscriber = link.client.subscribe(format!("{inbox}>")).await;
        let subscriber = subscriber.map_err(|_| TransportError::Closed)?;
        let batches = Arc::default();
        #[expect(clippy::disallowed_methods, reason = "the client's own work: it ends with the receiver")]
        let hearing = tokio::spawn(hear(subscriber, inbox.len(), Arc::clone(&batches)));
        Ok(Self { inbox, batches, hearing })
    }

    /// Says all words in their order, and returns when each has its answer or the time for that is over.
    pub(crate) async fn say(&self, link: &Link, words: Vec<(Subject, Bytes)>) -> Vec<Heard> {
        let count = words.len();
        if count == 0 {
            return Vec::new();
        }
        let (waiting, mut heard) = oneshot::channel();
        let open = Open { number: self.batches.lock().begin(count, waiting), batches: &self.batches };
        let batch = format!("{}{}.", self.inbox, open.number);
        let said = async {
            for (index, (subject, body)) in words.into_iter().enumerate() {
                let reply = numbered(&batch, index);
                // An error is the end of the client: no more will be heard.
                link.client.publish_with_reply(subject, reply, body).await.ok()?;
            }
            (&mut heard).await.ok()
        };
        match tokio::time::timeout(link.timeout, said).await {
            Ok(Some(all)) => all,
            // The last answer may just have come.
            _ => open.end().or_else(|| heard.try_recv().ok()).unwrap_or_else(|| vec![Heard::Nothing; count]),
        }
    }
}

/// A text with a number behind it, in as many bytes as it has: what has more costs the client an allocation more.
fn numbered(text: &str, number: usize) -> String {
    let (mut digits, mut left) = (1, number / 10);
    while left > 0 {
        (digits, left) = (digits + 1, left / 10);
    }
    let mut numbered = String::with_capacity(text.len() + digits);
    numbered.push_str(text);
    let mut unit = (1..digits).fold(1, |unit, _| unit * 10);
    while unit > 0 {
        let digit = u8::try_from(number / unit % 10).unwrap_or_default();
        numbered.push(char::from(b'0' + digit));
        unit /= 10;
    }
    numbered
}

impl Drop for Acks {
    fn drop(&mut self) {
        self.hearing.abort();
    }
}

/// A batch for as long as it is waited for.
struct Open<'a> {
    number: u64,
    batches: &'a Mutex<Batches>,
}

impl Open<'_> {
    /// What is heard so far, if not all of it is.
    fn end(&self) -> Option<Vec<Heard>> {
        let batch = self.batches.lock().open.remove(&self.number)?;
        Some(batch.heard)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.end();
    }
}

async fn hear(mut subscriber: Subscriber, prefix: usize, batches: Arc<Mutex<Batches>>) {
    while let Some(message) = subscriber.next().await {
        let heard = match message.status {
            Some(StatusCode::NO_RESPONDERS) => Heard::Nobody,
            _ => Heard::Taken,
        };
        batches.lock().note(message.subject.get(prefix..).unwrap_or_default(), heard);
    }
    batches.lock().end();
}

impl Batches {
    fn begin(&mut self, count: usize, waiting: oneshot::Sender<Vec<Heard>>) -> u64 {
        let number = self.next;
        self.next += 1;
        if !self.has_ended {
            self.open.insert(number, Batch { heard: vec![Heard::Nothing; count], left: count, waiting });
        }
        number
    }

    /// An answer to `<batch>.<index>`, if that is still waited for.
    fn note(&mut self, word: &str, answer: Heard) -> Option<()> {
        let (number, index) = word.split_once('.')?;
        let (number, index) = (number.parse().ok()?, index.parse::<usize>().ok()?);
        let batch = self.open.get_mut(&number)?;
        let heard = batch.heard.get_mut(index)?;
        if *heard == Heard::Nothing {
            *heard = answer;
            batch.left -= 1;
        }
        if batch.left == 0 {
            let batch = self.open.remove(&number)?;
            // Whoever waited may have gone.
            _ = batch.waiting.send(batch.heard);
        }
        Some(())
    }

    /// Whoever waits learns that nothing comes any more.
    fn end(&mut self) {
        self.has_ended = true;
        self.open.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_stands_behind_its_text_in_as_many_bytes_as_it_has() {
        for number in [0, 1, 9, 10, 99, 100, 4_095, 1_000_000, usize::MAX] {
            let text = numbered("inbox.7.", number);
            assert_eq!((text.capacity(), &*text), (text.len(), &*format!("inbox.7.{number}")));
        }
    }

    #[test]
    fn a_batch_is_told_when_each_word_has_one_answer() {
        let mut batches = Batches::default();
        let (waiting, mut heard) = oneshot::channel();
        let first = batches.begin(2, waiting);
        let (other, mut not_heard) = oneshot::channel();
        assert_eq!((first, batches.begin(1, other)), (0, 1));
        for word in ["0.1", "0.1", "0.2", "7.0", "0", "", "x.0", "0.x"] {
            batches.note(word, Heard::Taken);
            assert!(heard.try_recv().is_err(), "{word}");
        }
        batches.note("0.0", Heard::Nobody);
        assert_eq!(heard.try_recv().unwrap(), [Heard::Nobody, Heard::Taken]);
        assert!(not_heard.try_recv().is_err() && batches.open.len() == 1);
    }

    #[test]
    fn nobody_waits_for_what_will_not_be_heard() {
        let mut batches = Batches::default();
        let (waiting, mut heard) = oneshot::channel();
        batches.begin(1, waiting);
        batches.end();
        assert!(matches!(heard.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        let (late, mut heard) = oneshot::channel();
        batches.begin(1, late);
        assert!(matches!(heard.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    }

    #[test]
    fn what_is_not_waited_for_any_more_is_forgotten() {
        let batches = Mutex::new(Batches::default());
        let (waiting, _heard) = oneshot::channel();
        let open = Open { number: batches.lock().begin(2, waiting), batches: &batches };
        batches.lock().note("0.1", Heard::Taken);
        assert_eq!(open.end(), Some(vec![Heard::Nothing, Heard::Taken]));
        assert_eq!((open.end(), batches.lock().open.len()), (None, 0));
    }
}
