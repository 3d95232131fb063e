//! Settling: what became of deliveries, by the dozen.

use std::collections::BTreeMap;

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
    ///
    /// Most are done: these are told by the page. Everything else is told one by one, and also what was not found to be this member's, for the reason.
    ///
    /// # Cancel safety
    /// Each was told or was not, and may be told again: what is settled is gone then.
    pub(super) async fn tell(&self, words: &[(Delivery, Word)]) -> Vec<Result<(), TransportError>> {
        let mut answers = Vec::with_capacity(words.len());
        for chunk in words.chunks(AT_ONCE) {
            match self.tell_some(chunk).await {
                Ok(told) => answers.extend(told),
                Err(error) => answers.extend(chunk.iter().map(|_| Err(error.clone()))),
            }
        }
        answers
    }

    async fn tell_some(
        &self,
        words: &[(Delivery, Word)],
    ) -> Result<Vec<Result<(), TransportError>>, TransportError> {
        let mut told: Vec<Option<Result<(), TransportError>>> = words.iter().map(|_| None).collect();
        for at in self.tell_done(words).await? {
            if let Some(slot) = told.get_mut(at) {
                *slot = Some(Ok(()));
            }
        }
        let untold: Vec<_> =
            words.iter().zip(&told).filter(|(_, told)| told.is_none()).map(|(word, _)| word).collect();
        let texts = match untold.is_empty() {
            true => Ok(Vec::new()),
            false => self.tell_each(&untold).await,
        };
        let unsaid = || Err(answered(&self.shared.link.server, "nothing"));
        let mut heard = untold.iter().enumerate().map(|(at, (delivery, _))| match &texts {
            Ok(texts) => texts.get(at).map_or_else(unsaid, |text| self.heard(delivery, text)),
            Err(error) => Err(error.clone()),
        });
        Ok(told.into_iter().map(|told| told.unwrap_or_else(|| heard.next().unwrap_or_else(unsaid))).collect())
    }

    /// Which of these were done and are settled now.
    async fn tell_done(&self, words: &[(Delivery, Word)]) -> Result<Vec<usize>, TransportError> {
        // By partition, and by how often they were delivered: that is asked for all of them at once.
        let mut pages = BTreeMap::<(usize, u32), Vec<(usize, &str)>>::new();
        for (at, (delivery, word)) in words.iter().enumerate() {
            if matches!(word, Word::Verdict(Verdict::Done)) {
                pages.entry((delivery.partition, delivery.count)).or_default().push((at, &delivery.id));
            }
        }
        // One by one is as good for one.
        pages.retain(|_, page| page.len() > 1);
        if pages.is_empty() {
            return Ok(Vec::new());
        }
        let mut script = self.shared.scripts.done.prepare_invoke();
        for (partition, _) in pages.keys() {
            script.key(self.keys.get(*partition).map_or("", |(stream, _)| stream));
        }
        script.arg(&self.group).arg(&self.member);
        for ((_, count), page) in &pages {
            script.arg(*count).arg(page.len());
        }
        let mut all: Vec<_> = pages.into_values().flatten().collect();
        all.iter().for_each(|(_, id)| _ = script.arg(*id));
        let missing: Vec<usize> = self.shared.run(&script).await?;
        // The script counts from 1, upwards.
        for number in missing.into_iter().rev() {
            if (1..=all.len()).contains(&number) {
                all.swap_remove(number - 1);
            }
        }
        Ok(all.into_iter().map(|(at, _)| at).collect())
    }

    async fn tell_each(&self, words: &[&(Delivery, Word)]) -> Result<Vec<String>, TransportError> {
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

    fn heard(&self, delivery: &Delivery, text: &str) -> Result<(), TransportError> {
        match text {
            "" => Ok(()),
            "GONE" => Err(TransportError::Gone {
                what: format!("delivery {} of {}", delivery.id, self.stream),
                reason: "it is settled, or its time was over and it was delivered again".to_owned(),
            }),
            text => Err(answered(&self.shared.link.server, text)),
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
