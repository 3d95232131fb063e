//! In process. The fixed terms: a message of 64 bytes, single publishes, the system's allocator, two threads (or a runtime
//! with two workers), every queue 1,024, nothing dropped; the rate is what was handled, divided by the time to the last
//! handled. What does not keep a term bears another name, and its suite's note says which.

pub mod channels;
pub mod on_bus;
pub mod ruststream;
pub mod stage;

pub mod behind_stages;
pub mod fan_out;
pub mod inline;
pub mod one_to_one;
pub mod one_to_one_async;
pub mod two_to_one;
pub mod watched;
