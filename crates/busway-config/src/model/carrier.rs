//! Transports: what is carried to a broker, and what is handled there.

use crate::model::route::DeadLetterKeeping;
use crate::read::{Given, choice, section};
use crate::value::{Level, Name, Time};

section! {
    /// How a stream is cut over to a broker, and back: who handles its events. Durable routes whose filter lies within the stream follow.
    CarrierSection, "a carrier" {
        /// The transport, by the name under which the program has registered it.
        transport: Given<String>,
        /// Who handles the events. Default `local`.
        mode: Option<Given<CarrierMode>>,
        /// For how long one side of a comparison may be behind the other before that is a difference. Default 30s; at least 1ms.
        patience: Option<Given<Time<1>>>,
    }
}

section! {
    /// A subscription at a broker: its events come from there and are settled there. What is published on this bus is not among them.
    AtSection, "a place at a transport" {
        /// The transport, by the name under which the program has registered it.
        transport: Given<String>,
        /// The broker's stream.
        stream: Given<String>,
        /// The name of the subscription at the broker: members of one name share its events, in whatever process. Default: the name of the route.
        subscription: Option<Given<Name>>,
        /// Who this member is, where the broker knows members by name: nobody else's at the same time. Default: made of the producer, the store and the route; without a store another one at each start, so that what a killed process had in hand goes to others when `ack_wait` is over. With `members: one`: of the producer and the route.
        member: Option<Given<String>>,
        /// Whether there are other members. Default `several`.
        members: Option<Given<OtherMembers>>,
        /// How long after the death of a member its events go to others. Default 30s; at least 100ms.
        ack_wait: Option<Given<Time<100>>>,
        /// Deliveries that may be in hand. Default 256; at least 1.
        in_flight_max: Option<Given<Level>>,
        /// Deliveries of one event before it is given up unattempted. Default 16; at least 1.
        deliveries_max: Option<Given<Level>>,
        /// Whether what is given up is kept in the broker's dead letters. Default `keep`.
        dead_letters: Option<Given<DeadLetterKeeping>>,
    }
}

choice! {
    /// Who handles the events of a stream.
    CarrierMode {
        /// This process; nothing is copied.
        Local = "local",
        /// This process; the broker has a copy.
        Mirror = "mirror",
        /// This process; what the broker delivers of the copy is compared with the log.
        Compare = "compare",
        /// Whoever is subscribed at the broker.
        Remote = "remote",
    }
}

choice! {
    /// Whether there are other members of a subscription at a broker.
    OtherMembers {
        /// There may be, in this process or others.
        Several = "several",
        /// Nobody else, the owner sees to that: then a transport need not keep order among several.
        One = "one",
    }
}
