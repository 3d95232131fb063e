//! Telling the server what became of deliveries.

use async_nats::jetstream::AckKind;
use busway_engine::transport::{DeliveryId, Letter, TransportError, Verdict};
use futures_util::future::{join, join_all};

use crate::acks::Heard;
use crate::consumer::Plan;
use crate::desk::Delivery;
use crate::receiver::{AGAIN_MIN, NatsReceiver};
use crate::{dead, desk};

/// What is said of one of the verdicts.
struct Word {
    /// Its place among the verdicts.
    at: usize,
    id: DeliveryId,
    delivery: Delivery,
    kind: AckKind,
}

/// By the places of the verdicts.
type Answers = Vec<(usize, Result<(), TransportError>)>;

impl NatsReceiver {
    /// Returns when the server has heard of all, or is known not to have.
    pub(crate) async fn settle_all(
        &self,
        verdicts: Vec<(DeliveryId, Verdict)>,
    ) -> Vec<Result<(), TransportError>> {
        if self.is_closed() {
            return verdicts.iter().map(|_| Err(TransportError::Closed)).collect();
        }
        let mut answers = Vec::with_capacity(verdicts.len());
        let (mut words, mut dead) = (Vec::with_capacity(verdicts.len()), Vec::new());
        for (at, (id, verdict)) in verdicts.into_iter().enumerate() {
            answers.push(self.desk.find(id).and_then(|delivery| {
                let (kind, letter) = kind(verdict)?;
                let word = Word { at, id, delivery, kind };
                match letter {
                    None => words.push(word),
                    Some(letter) => dead.push((word, letter)),
                }
                Ok(())
            }));
        }
        let told = match dead.is_empty() {
            true => self.tell(words).await,
            false => {
                let (told, buried) = join(self.tell(words), self.bury(dead)).await;
                told.into_iter().chain(buried).collect()
            }
        };
        for (at, told) in told {
            if let Some(answer) = answers.get_mut(at) {
                *answer = told;
            }
        }
        answers
    }

    /// Tells the server, which is done with each of them then.
    async fn tell(&self, words: Vec<Word>) -> Answers {
        let (said, of): (Vec<_>, Vec<_>) =
            words.into_iter().map(|word| ((word.delivery, word.kind), (word.at, word.id))).unzip();
        let told = self.say(said).await;
        let is_over = |told: &Result<_, _>| matches!(told, Ok(()) | Err(TransportError::Gone { .. }));
        self.desk.close(of.iter().zip(&told).filter(|(_, told)| is_over(told)).map(|((_, id), _)| *id));
        of.into_iter().map(|(at, _)| at).zip(told).collect()
    }

    /// Keeps what is given up, and then tells the server.
    async fn bury(&self, dead: Vec<(Word, Letter)>) -> Answers {
        let keeping = dead.into_iter().map(|(word, letter)| async move {
            let kept = match self.plans.get(word.delivery.lane) {
                Some(plan) => dead::keep(&self.link, plan, &word.delivery, &letter).await,
                None => Err(desk::gone(word.id.0)),
            };
            (word, kept)
        });
        let (mut words, mut answers) = (Vec::new(), Vec::new());
        for (word, kept) in join_all(keeping).await {
            match kept {
                Ok(()) => words.push(word),
                Err(error) => answers.push((word.at, Err(error))),
            }
        }
        answers.extend(self.tell(words).await);
        answers
    }

    /// Says a word of each delivery, and what came of it.
    pub(crate) async fn say(&self, words: Vec<(Delivery, AckKind)>) -> Vec<Result<(), TransportError>> {
        let (words, lanes): (Vec<_>, Vec<_>) =
            words.into_iter().map(|(delivery, kind)| ((delivery.reply, kind.into()), delivery.lane)).unzip();
        let heard = self.acks.say(&self.link, words).await;
        let told = lanes.into_iter().zip(heard).map(|(lane, heard)| match heard {
            Heard::Taken => Ok(()),
            Heard::Nobody => Err(TransportError::Gone {
                what: self.plans.get(lane).map_or_else(String::new, Plan::what),
                reason: "the server does not have it any more; what it had not settled is delivered again"
                    .to_owned(),
            }),
            Heard::Nothing if self.is_closed() => Err(TransportError::Closed),
            Heard::Nothing => Err(self.link.unreachable(format!("no answer within {:?}", self.link.timeout))),
        });
        told.collect()
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
