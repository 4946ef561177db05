//! An archive for those who keep nothing.

use std::collections::VecDeque;

use super::{Archive, Wake};
use crate::model::{StoreOp, StoreResult};

/// Acknowledges everything at once and keeps none of it.
pub struct KeepNothing {
    results: VecDeque<StoreResult>,
    wake: Wake,
}

impl KeepNothing {
    /// Answers wake the reactor that `wake` is of.
    pub fn new(wake: Wake) -> Self {
        Self { results: VecDeque::new(), wake }
    }
}

impl Archive for KeepNothing {
    fn submit(&mut self, op: StoreOp) -> Result<(), StoreOp> {
        self.results.push_back(match op {
            StoreOp::Shutdown => StoreResult::Closed,
            _ => StoreResult::Committed(1),
        });
        self.wake.wake();
        Ok(())
    }

    fn poll(&mut self) -> Option<StoreResult> {
        self.results.pop_front()
    }
}
