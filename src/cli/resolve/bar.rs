//! How far it is, on a terminal.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::base::Instant;
use crate::cli::units::human_count;

/// One line on standard error that renews itself.
pub(super) struct Bar {
    bar: ProgressBar,
    before: Option<(Instant, u64)>,
    per_second: f64,
}

impl Bar {
    /// `None` if standard error is no terminal. `whole`: what the position goes up to, if it is known.
    pub(super) fn new(whole: Option<u64>) -> Option<Self> {
        if !std::io::stderr().is_terminal() {
            return None;
        }
        let (bar, template) = match whole {
            Some(whole) => (ProgressBar::new(whole), "{msg} {wide_bar} {percent}% {eta}"),
            None => (ProgressBar::new_spinner(), "{msg} {elapsed}"),
        };
        let style = ProgressStyle::with_template(template);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Some(Self { bar, before: None, per_second: 0.0 })
    }

    /// Names that are done, and how many of those were found; `waits`: no server answers.
    pub(super) fn show(&mut self, position: u64, names: (u64, u64), waits: bool, now: Instant) {
        let (done, found) = names;
        let (at, before) = *self.before.get_or_insert((now, done));
        let seconds = now.since(at).as_secs_f64();
        if seconds >= RATE_OVER_S {
            (self.before, self.per_second) = (Some((now, done)), (done - before) as f64 / seconds);
        }
        let (done, found) = (human_count(done), human_count(found));
        let rate = human_count(self.per_second.round() as u64);
        let state = if waits { ", waiting for a server".to_owned() } else { format!(", {rate}/s") };
        self.bar.set_position(position);
        self.bar.set_message(format!("{done} names, {found} found{state}"));
    }

    /// Takes it away.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// The rate that is shown is that of the last second.
const RATE_OVER_S: f64 = 1.0;
