//! Settling: what became of deliveries, by the dozen.

use busway_engine::transport::{DeliveryId, TransportError, Verdict};

use super::error::answered;
use super::fetch::{Membership, millis};
use super::held::Delivery;

/// What the server is told of a delivery.
#[derive(Debug)]
pub(super) enum Word {
    Verdict(Verdict),
    Renew,
}

impl Membership {
    /// Tells the server, and gives what it has heard of each, in their order.
    pub(super) async fn tell(&self, words: &[(Delivery, Word)]) -> Vec<Result<(), TransportError>> {
        let mut answers = Vec::with_capacity(words.len());
        for chunk in words.chunks(AT_ONCE) {
            match self.tell_some(chunk).await {
                Ok(texts) => {
                    let mut texts = texts.iter().map(String::as_str);
                    answers.extend(chunk.iter().map(|(delivery, _)| self.heard(delivery, texts.next())));
                }
                Err(error) => answers.extend(chunk.iter().map(|_| Err(error.clone()))),
            }
        }
        answers
    }

    async fn tell_some(&self, words: &[(Delivery, Word)]) -> Result<Vec<String>, TransportError> {
        let shared = &self.shared;
        let mut script = shared.scripts.settle.prepare_invoke();
        for (stream, again) in &self.keys {
            script.key(stream).key(again);
        }
        script.key(shared.names.dead(&self.stream)).arg(&self.group).arg(&self.member);
        for (delivery, word) in words {
            script.arg(delivery.partition).arg(&delivery.id).arg(delivery.count);
            match word {
                Word::Verdict(Verdict::Done) => script.arg(&["done", "", "", ""]),
                Word::Verdict(Verdict::Again(after)) => {
                    script.arg("again").arg(millis(*after).min(AGAIN_MS_MAX)).arg(&["", ""])
                }
                Word::Verdict(Verdict::Dead(letter)) => {
                    script.arg("dead").arg(&letter.reason).arg(letter.attempts).arg(&letter.handler)
                }
                // Given back is also what nobody knows a word for yet.
                Word::Verdict(_) => script.arg(&["back", "", "", ""]),
                Word::Renew => script.arg(&["renew", "", "", ""]),
            };
        }
        shared.run(&script).await
    }

    fn heard(&self, delivery: &Delivery, text: Option<&str>) -> Result<(), TransportError> {
        match text {
            Some("") => Ok(()),
            Some("GONE") => Err(TransportError::Gone {
                what: format!("delivery {} of {}", delivery.id, self.stream),
                reason: "it is settled, or its time was over and it was delivered again".to_owned(),
            }),
            Some(text) => Err(answered(&self.shared.link.server, text)),
            None => Err(answered(&self.shared.link.server, "nothing")),
        }
    }

    /// Gives back all that the server knows this member to have.
    pub(super) async fn leave(&self) -> Result<(), TransportError> {
        for (stream, again) in &self.keys {
            let mut script = self.shared.scripts.leave.key(stream);
            script.key(again).arg(&self.group).arg(&self.member).arg(AT_ONCE);
            while self.shared.run::<u8>(&script).await? == 1 {}
        }
        Ok(())
    }
}

/// A delivery that this member has not, or has no longer.
pub(super) fn gone(DeliveryId(id): DeliveryId) -> TransportError {
    TransportError::Gone {
        what: format!("delivery {id}"),
        reason: "it is settled, or its time was over and it is delivered again".to_owned(),
    }
}

const AT_ONCE: usize = 256;
/// A century: numbers of a script are exact up to there.
const AGAIN_MS_MAX: u64 = 100 * 365 * 86_400_000;
