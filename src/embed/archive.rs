//! The writer thread as the reactor's archive.

use crate::model::{StoreOp, StoreResult};
use crate::reactor::{Archive, KeepNothing};
use crate::store::Store;

impl Archive for Store {
    fn submit(&mut self, op: StoreOp) -> Result<(), StoreOp> {
        Self::submit(self, op)
    }

    fn poll(&mut self) -> Option<StoreResult> {
        Self::poll(self)
    }
}

/// An archive that is there or not.
pub(super) enum Keep {
    Nothing(KeepNothing),
    Store(Store),
}

impl Archive for Keep {
    fn submit(&mut self, op: StoreOp) -> Result<(), StoreOp> {
        match self {
            Self::Nothing(nothing) => nothing.submit(op),
            Self::Store(store) => store.submit(op),
        }
    }

    fn poll(&mut self) -> Option<StoreResult> {
        match self {
            Self::Nothing(nothing) => nothing.poll(),
            Self::Store(store) => store.poll(),
        }
    }
}
