//! Stops a statement whose asker has gone: a dropped future or stream ends the work behind it.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, InterruptHandle};

#[derive(Default)]
enum State {
    #[default]
    Waiting,
    Running(InterruptHandle),
    Cancelled,
}

/// Shared by the side that asks and the thread that answers.
#[derive(Clone, Default)]
pub(super) struct Cancel(Arc<Mutex<State>>);

/// Cancels when it is dropped.
pub(super) struct CancelOnDrop(Cancel);

impl Cancel {
    pub(super) fn on_drop(&self) -> CancelOnDrop {
        CancelOnDrop(self.clone())
    }

    /// Runs `work` so that it can be interrupted, or not at all where nobody waits for it any more. Once it has returned,
    /// a late cancellation cannot reach the connection, which may serve somebody else by then.
    pub(super) fn watch<T>(&self, connection: &Connection, work: impl FnOnce() -> T) -> Option<T> {
        {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*state, State::Cancelled) {
                return None;
            }
            *state = State::Running(connection.get_interrupt_handle());
        }
        let done = work();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*state, State::Running(_)) {
            *state = State::Waiting;
        }
        Some(done)
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Running(handle) = &*state {
            handle.interrupt();
        }
        *state = State::Cancelled;
    }
}
