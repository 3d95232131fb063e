//! Telling the server what became of deliveries.

use async_nats::Subject;
use async_nats::jetstream::AckKind;
use busway_engine::transport::{DeliveryId, Letter, TransportError, Verdict};
use bytes::Bytes;
use futures_util::future::{join, join_all};

use crate::acks::Heard;
use crate::consumer::Plan;
use crate::receiver::{AGAIN_MIN, NatsReceiver};
use crate::{dead, desk};

/// What is said of verdicts, in their order.
#[derive(Default)]
struct Words {
    said: Vec<(Subject, Bytes)>,
    of: Vec<Of>,
}

/// What a word is about.
#[derive(Clone, Copy)]
struct Of {
    /// The place of its verdict.
    at: usize,
    id: DeliveryId,
    lane: usize,
}

/// What is to be kept before a word is said of it.
struct Dead {
    of: Of,
    letter: Letter,
}

/// What verdicts come to.
struct Sorted {
    words: Words,
    dead: Vec<Dead>,
    /// By the places of the verdicts; `Ok` is what is still to be said.
    answers: Vec<Result<(), TransportError>>,
}

/// By the places of the verdicts: all that is not `Ok`.
type Failed = Vec<(usize, TransportError)>;

impl Words {
    fn push(&mut self, of: Of, reply: Subject, kind: AckKind) {
        self.said.push((reply, kind.into()));
        self.of.push(of);
    }
}

impl NatsReceiver {
    /// Returns when the server has heard of all, or is known not to have.
    pub(crate) async fn settle_all(
        &self,
        verdicts: Vec<(DeliveryId, Verdict)>,
    ) -> Vec<Result<(), TransportError>> {
        if self.is_closed() {
            return verdicts.iter().map(|_| Err(TransportError::Closed)).collect();
        }
        let Sorted { words, dead, mut answers } = self.sorted(verdicts);
        let (told, buried) = match dead.is_empty() {
            true => (self.tell(words).await, Vec::new()),
            false => join(self.tell(words), self.bury(dead)).await,
        };
        for (at, error) in told.into_iter().chain(buried) {
            if let Some(answer) = answers.get_mut(at) {
                *answer = Err(error);
            }
        }
        answers
    }

    fn sorted(&self, verdicts: Vec<(DeliveryId, Verdict)>) -> Sorted {
        let count = verdicts.len();
        let mut words = Words { said: Vec::with_capacity(count), of: Vec::with_capacity(count) };
        let (mut dead, mut look) = (Vec::new(), self.desk.look());
        let sort = |(at, (id, verdict))| {
            let delivery = look.find(id)?;
            let of = Of { at, id, lane: delivery.lane };
            match kind(verdict)? {
                (kind, None) => words.push(of, delivery.reply.clone(), kind),
                (_, Some(letter)) => dead.push(Dead { of, letter }),
            }
            Ok(())
        };
        let answers = verdicts.into_iter().enumerate().map(sort).collect();
        Sorted { words, dead, answers }
    }

    /// Tells the server, which is done with each of them then.
    async fn tell(&self, Words { said, of }: Words) -> Failed {
        let heard = self.acks.say(&self.link, said).await;
        let over = of.iter().zip(&heard).filter(|(_, heard)| !matches!(heard, Heard::Nothing));
        self.desk.close(over.map(|(of, _)| of.id));
        let failed = of.iter().zip(heard).filter_map(|(of, heard)| match heard {
            Heard::Taken => None,
            other => Some((of.at, self.unheard(of.lane, other)?)),
        });
        failed.collect()
    }

    /// Keeps what is given up, and then tells the server.
    async fn bury(&self, dead: Vec<Dead>) -> Failed {
        let keeping = dead.into_iter().map(|Dead { of, letter }| async move {
            // Each for itself: a message is copied with all that it has, and nobody should wait for many of them.
            let delivery = self.desk.look().find(of.id).cloned();
            let kept = match (delivery, self.plans.get(of.lane)) {
                (Ok(delivery), Some(plan)) => {
                    dead::keep(&self.link, plan, &delivery, &letter).await.map(|()| delivery.reply)
                }
                (Err(error), _) => Err(error),
                (_, None) => Err(desk::gone(of.id.0)),
            };
            (of, kept)
        });
        let (mut words, mut failed) = (Words::default(), Vec::new());
        for (of, kept) in join_all(keeping).await {
            match kept {
                Ok(reply) => words.push(of, reply, AckKind::Term),
                Err(error) => failed.push((of.at, error)),
            }
        }
        failed.extend(self.tell(words).await);
        failed
    }

    /// Says a word of each delivery of a lane, and what came of it.
    pub(crate) async fn say(
        &self,
        words: impl Iterator<Item = (Subject, AckKind, usize)>,
    ) -> Vec<Result<(), TransportError>> {
        let (words, lanes): (Vec<_>, Vec<_>) =
            words.map(|(reply, kind, lane)| ((reply, kind.into()), lane)).unzip();
        let heard = self.acks.say(&self.link, words).await;
        let told = lanes.into_iter().zip(heard);
        told.map(|(lane, heard)| self.unheard(lane, heard).map_or(Ok(()), Err)).collect()
    }

    /// Why a word was not taken, if it was not.
    fn unheard(&self, lane: usize, heard: Heard) -> Option<TransportError> {
        match heard {
            Heard::Taken => None,
            Heard::Nobody => Some(TransportError::Gone {
                what: self.plans.get(lane).map_or_else(String::new, Plan::what),
                reason: "the server does not have it any more; what it had not settled is delivered again"
                    .to_owned(),
            }),
            Heard::Nothing if self.is_closed() => Some(TransportError::Closed),
            Heard::Nothing => {
                Some(self.link.unreachable(format!("no answer within {:?}", self.link.timeout)))
            }
        }
    }
}

/// What the server is told, and the letter that has to be kept before.
fn kind(verdict: Verdict) -> Result<(AckKind, Option<Letter>), TransportError> {
    Ok(match verdict {
        Verdict::Done => (AckKind::Ack, None),
        // Without a time the server delivers it at once, and again, and again.
        Verdict::Again(after) => (AckKind::Nak(Some(after.max(AGAIN_MIN))), None),
        Verdict::Back => (AckKind::Nak(None), None),
        Verdict::Dead(letter) => (AckKind::Term, Some(letter)),
        _ => {
            let reason = "this verdict is not known to the NATS transport".to_owned();
            return Err(TransportError::Refused(reason));
        }
    })
}
