//! How other threads reach the loop: commands through a bounded channel, and a wake-up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use crate::engine::io::Command;

/// Sends commands into a running reactor, from any thread.
#[derive(Clone)]
pub struct Handle {
    commands: SyncSender<Command>,
    wake: Wake,
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// [`COMMANDS_MAX`] commands wait already.
    Full,
    /// The reactor is gone.
    Gone,
}

impl Handle {
    /// A handle, and the end that the reactor reads.
    pub(super) fn new(wake: Wake) -> (Self, Receiver<Command>) {
        let (commands, receiver) = sync_channel(COMMANDS_MAX);
        (Self { commands, wake }, receiver)
    }

    /// Hands over one command, without waiting.
    pub fn send(&self, command: Command) -> Result<(), SendError> {
        self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => SendError::Full,
            TrySendError::Disconnected(_) => SendError::Gone,
        })?;
        self.wake.wake();
        Ok(())
    }
}

/// Ends the reactor's sleep, from any thread. Many calls between two turns cost one system call.
#[derive(Clone)]
pub struct Wake(Arc<Inner>);

struct Inner {
    pending: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Wake {
    /// Around what really wakes.
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner { pending: AtomicBool::new(false), wake: Box::new(wake) }))
    }

    /// The reactor's next sleep ends at once.
    pub fn wake(&self) {
        if !self.0.pending.swap(true, SeqCst) {
            (self.0.wake)();
        }
    }

    /// To be called before looking at what the others left: from here on they wake again.
    pub(super) fn clear(&self) {
        self.0.pending.store(false, SeqCst);
    }
}

/// The most commands that wait: far more than people type between two turns.
pub const COMMANDS_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::atomic::AtomicUsize;

    #[test]
    fn wake_ups_between_two_turns_are_one() {
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let wake = Wake::new(move || {
            counted.fetch_add(1, SeqCst);
        });
        wake.wake();
        wake.clone().wake();
        assert_eq!(count.load(SeqCst), 1);
        wake.clear();
        wake.wake();
        assert_eq!(count.load(SeqCst), 2);
    }

    #[test]
    fn a_full_channel_and_a_gone_reactor_say_so() {
        let (handle, receiver) = Handle::new(Wake::new(|| {}));
        for _ in 0..COMMANDS_MAX {
            assert_eq!(handle.send(Command::Stop), Ok(()));
        }
        assert_eq!(handle.send(Command::Stop), Err(SendError::Full));
        drop(receiver);
        assert_eq!(handle.send(Command::Stop), Err(SendError::Gone));
    }
}
