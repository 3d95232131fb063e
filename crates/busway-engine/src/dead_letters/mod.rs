//! Dead letters: events that durable subscriptions gave up, and what operators do with them.
//!
//! # Guarantee
//! - A letter and the settlement of its event are one commit. It keeps the event's bytes as they were published, where it lay, every attempt's time
//!   and error (the last 16), and who failed. Retention of the stream does not touch it.
//! - *Redriving* gives the event to the same subscription again, and to nobody else: marked as a replay
//!   ([`Delivery::is_replay`](busway_middleware::Delivery::is_replay)), with fresh attempts, behind what runs or waits of its lane. It is durable: a letter
//!   that is on its way is delivered after a restart, at least once. When it is handled the letter is gone; when it is given up again the
//!   letter is there again, with the new attempts behind the old ones.
//! - *Editing* gives other bytes instead. The original stays beside them, also when they were handled, until it is discarded or expires.
//! - Each *operation* is made under a request, carried out once however often it is made, and has a row in the trail that says who did what, when,
//!   with how many letters. One that was cut short goes on behind the last letter that it moved, when its request is made again.
//! - A redrive is paced (100 letters a second by default), waits while as many events of a subscription are parked as
//!   [may be](crate::Settings::parked_max), and stops by itself when the same error keeps coming back.
//!
//! # Bounds
//! A page looks at 65,536 rows of the store at most, whatever a selection finds among them, holds 256 letters or 1 MiB of them at most (one, when that is
//! larger), and says where to go on. Discarding and expiry read no events.
//!
//! Modules: `selection` says which letters, `letter` what one is, `handle` has the verbs, `redrive` carries operations out, `pace` says how fast, `trail` tells of them,
//! `policy` is what a subscription does with what it gives up, `expiry` lets go of old ones.

mod error;
mod expiry;
mod handle;
mod id;
mod letter;
mod names;
mod pace;
mod policy;
mod redrive;
mod selection;
mod trail;

pub use self::error::DeadLetterError;
pub use self::handle::DeadLetters;
pub use self::id::{DeadLetterId, DeadLetterIdError};
pub use self::letter::{DamagedLetter, DeadLetter, DeadLetterPage, DeadLetterState, PageStart};
pub use self::pace::Redrive;
pub use self::policy::DeadLetterPolicy;
pub use self::selection::{Selection, Target};
pub use self::trail::DeadLetterOperation;

pub(crate) use self::expiry::Expiry;
