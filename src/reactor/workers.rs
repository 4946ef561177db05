//! Threads for what takes too long for the loop. They are started with the first such work.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use super::handle::Wake;
use crate::engine::io::{Job, Worked};

/// The threads, what waits for them, and what they have done.
pub(super) struct Workers {
    /// The engine bounds what is in here: by the budget of all fetches.
    jobs: Sender<Job>,
    waiting: Arc<Mutex<Receiver<Job>>>,
    done: Receiver<Worked>,
    report: Sender<Worked>,
    wake: Wake,
    threads: usize,
}

impl Workers {
    /// No threads yet. They call `wake` when something is done.
    pub(super) fn new(wake: Wake) -> Self {
        let (jobs, waiting) = mpsc::channel();
        let (report, done) = mpsc::channel();
        Self { jobs, waiting: Arc::new(Mutex::new(waiting)), done, report, wake, threads: 0 }
    }

    /// Has a thread do it; without threads it is done here and now.
    pub(super) fn submit(&mut self, job: Job) {
        while self.threads < THREADS && self.spawn() {}
        let unsent =
            if self.threads > 0 { self.jobs.send(job).err().map(|fault| fault.0) } else { Some(job) };
        if let Some(job) = unsent {
            let _ = self.report.send(job.run());
            self.wake.wake();
        }
    }

    /// What was done, in no order.
    pub(super) fn poll(&mut self) -> Option<Worked> {
        self.done.try_recv().ok()
    }

    fn spawn(&mut self) -> bool {
        let (waiting, report, wake) = (Arc::clone(&self.waiting), self.report.clone(), self.wake.clone());
        let work = move || {
            loop {
                let next = match waiting.lock() {
                    Ok(waiting) => waiting.recv(),
                    Err(_) => return,
                };
                let Ok(job) = next else { return };
                if report.send(job.run()).is_err() {
                    return;
                }
                wake.wake();
            }
        };
        let spawned = thread::Builder::new().name("worker".to_owned()).spawn(work);
        self.threads += usize::from(spawned.is_ok());
        spawned.inspect_err(|fault| log::warn!("no thread for long work: {fault}")).is_ok()
    }
}

/// One may be busy with the largest dictionary while the other does the rest.
const THREADS: usize = 2;
