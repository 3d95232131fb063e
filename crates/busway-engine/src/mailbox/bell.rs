//! What a sleeping worker waits on: a task's notification or a thread's parking.

use std::sync::{Arc, OnceLock};
use std::thread::Thread;

use tokio::sync::Notify;

use crate::handover::Ring;

/// Ringing it before the worker sleeps lets the next sleep end at once, so no ring is lost.
#[derive(Debug)]
pub(crate) enum Bell {
    Task(Notify),
    Thread(OnceLock<Thread>),
}

impl Ring for Arc<Bell> {
    fn ring(&self) {
        match &**self {
            Bell::Task(notify) => notify.notify_one(),
            Bell::Thread(thread) => {
                if let Some(thread) = thread.get() {
                    thread.unpark();
                }
            }
        }
    }
}
