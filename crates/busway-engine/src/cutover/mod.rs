//! Cutting a stream over to a transport, and back: who handles its events, this process or whoever is subscribed at the broker.
//!
//! | mode | events are | handled by | use |
//! |---|---|---|---|
//! | [`Local`](CutOverMode::Local) | in the log | subscriptions here | as ever |
//! | [`Mirror`](CutOverMode::Mirror) | in the log, and copied to the broker | subscriptions here | is the broker up to it |
//! | [`Compare`](CutOverMode::Compare) | likewise | subscriptions here; what the broker delivers is compared with the log | does everything arrive as it was |
//! | [`Remote`](CutOverMode::Remote) | in the log, and forwarded | subscriptions at the broker, shared by as many processes as there are | one machine is not enough |
//!
//! # Who leads is decided once for each event, at its origin
//! The log of this process says from which offset of each partition on somebody else leads. What is led here is handled here, and its copy at the broker bears a mark
//! ([`LED_BY`]) that every [carried](crate::remote::RemoteBuilder::carried) subscription honours: it settles the copy unattempted. What is led there is skipped here. So nothing is
//! lost or doubled at a switch, in either direction, however many processes there are and in whatever order they switch; and nothing has to be remembered for it but
//! the offsets.
//!
//! # Order
//! When the broker takes the lead, the forwarder holds back what is led there until the subscriptions of this process that were [made local](CutOver::local) have
//! settled all that is led here: keys keep their order. One that does not run stands where the store says; one that will not come back is [let go of](CutOver::retain_local). When this process takes it back, it cannot know what the broker still has; who needs
//! the order of keys then waits until the broker's subscriptions have nothing left before switching.
//!
//! # Crash points
//! - Before the new offsets are stored: the old mode is in force, nothing was forwarded or handled by the new one.
//! - Behind: [`CutOver`] finds them, and goes on. Opening it again in the same mode changes nothing.
//!
//! # By hand, or by configuration
//! A configuration says `carriers: { orders: { transport: …, mode: … } }`, and the durable routes of that stream follow. By hand:
//! [`Bus::cut_over`](crate::Bus::cut_over) says who leads, [`local`](CutOver::local) and [`remote`](CutOver::remote) make the two
//! subscriptions of which one handles each event, [`begin`](CutOver::begin) starts what carries.

mod carrier;
mod compare;
mod comparer;
mod comparing;
mod last;
mod lead;
mod led;
mod open;
mod stamping;

pub use self::carrier::{Carrier, CarrierStats};
pub use self::comparer::{CarriedDifference, Compared};
pub(crate) use self::comparing::COMPARISONS;
pub(crate) use self::lead::LEADS;
pub use self::open::{CutOver, CutOverError, StreamLead};

/// Who handles the events of a stream. See the [module](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CutOverMode {
    /// This process, and nobody else has them.
    #[default]
    Local,
    /// This process; the broker has a copy.
    Mirror,
    /// The same; the copy is compared with the log.
    Compare,
    /// Whoever is subscribed at the broker.
    Remote,
}

/// Metadata of a copy whose original is handled where it was published: the value is [`LED_HERE`].
pub const LED_BY: &str = "buswayled";
/// See [`LED_BY`].
pub const LED_HERE: &str = "origin";
