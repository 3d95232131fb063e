//! The test kit of the busway event bus: a manual clock, handlers that record or follow a script, and a bus that remembers
//! what happened.
//!
//! It is for tests, yours and busway's own, and **not** for anything else: put it into `[dev-dependencies]`. Tests with it need no
//! sleeps: time moves when the test says so, [`Gate`]s hold handlers at known points, [`TestBus::settle`] waits until
//! everything has come to rest.
//!
//! ```
//! use busway_event::{Event, EventType};
//! use busway_middleware::Payload;
//! use busway_testkit::{Recorder, TestBus};
//!
//! #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, EventType)]
//! #[event(name = "paid")]
//! struct Paid { cents: u64 }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), busway_engine::Error> {
//! let bus = TestBus::start().await;
//! let recorder = Recorder::<Paid>::new();
//! bus.subscribe("receipts.#").to(recorder.handler()).await?;
//! // What is tested: a handler that sends a receipt for each payment.
//! let send_receipt = async |paid: Payload<Paid>| Event::new("receipts.sent", Paid { cents: paid.cents });
//! bus.subscribe("payments.#").to(send_receipt).await?;
//!
//! bus.publish(Event::new("payments.made", Paid { cents: 4200 })).await?;
//! bus.settle().await;
//!
//! recorder.assert_payloads(&[Paid { cents: 4200 }]);
//! bus.assert_published_only(&["payments.made", "receipts.sent"]);
//! bus.finish().await; // shuts down, checks the accounts, finds timers that were left
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantee
//! Nothing here waits for real time, but for servers and networks of other programs: handlers that ask the bus for its clock and the timeouts and rate limits that a service
//! adds to it go by the manual one. No assertion passes because it looked too early: call it after
//! [`settle`](TestBus::settle).
//!
//! # Modules
//! [`conformance`] is for transports, [`ServerProcess`] runs their servers, and [`Proxy`] is the network between. [`TestBus`] first, then [`Recorder`], [`Script`] with its [`Step`]s and [`Gate`]s, [`ManualClock`], [`SharedKeys`].

mod bus;
mod clock;
pub mod conformance;
mod keys;
mod proxy;
mod recorder;
mod script;
mod server;
mod spy;

pub use crate::bus::TestBus;
pub use crate::clock::ManualClock;
pub use crate::keys::SharedKeys;
pub use crate::proxy::Proxy;
pub use crate::recorder::Recorder;
pub use crate::script::{Emission, Gate, Script, Step};
pub use crate::server::{ServerProcess, ServerProgram, free_address};
pub use crate::spy::{BreakerMove, FellBack, Handled};

/// The README's code compiles and runs.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
