//! What a running crawl shows: one line that renews itself on a terminal, else a log line a minute.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use super::reasons;
use super::units::{human_count, three_digits};
use crate::engine::Engine;
use crate::metadata::Failures;
use crate::reactor::{self, sys};

/// What the line shows, as numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gauges {
    /// Verified nodes in the directory.
    pub nodes_known: u64,
    /// The share of the network that they are, 0 to 1, and its standard error; `None` as long as the
    /// network's size is not known.
    pub coverage: Option<(f64, f64)>,
    /// Packets sent and received since the start.
    pub packets: u64,
    /// Distinct infohashes heard of since the start.
    pub hashes_found: u64,
    /// Torrents acknowledged by the archive since the start.
    pub torrents_stored: u64,
    /// How many there are to be had, where that is known.
    pub torrents_wanted: Option<u64>,
    /// Fetches under way.
    pub fetches_open: u64,
    /// Fetches that ended well since the start.
    pub fetches_succeeded: u64,
    /// Fetches that ended otherwise since the start.
    pub fetches_failed: u64,
    /// Why those failed.
    pub failures: Failures,
    /// What held the engine back last.
    pub limited_by: Option<&'static str>,
}

impl Gauges {
    /// The engine's numbers at this moment.
    pub fn of(engine: &mut Engine, counted: &reactor::Gauges) -> Self {
        let stats = engine.stats();
        Self {
            nodes_known: stats.nodes_verified as u64,
            coverage: stats.coverage.zip(stats.coverage_error),
            packets: counted.datagrams_in + counted.datagrams_out,
            hashes_found: stats.hashes_found,
            torrents_stored: stats.stored,
            torrents_wanted: None,
            fetches_open: stats.fetches_open as u64,
            fetches_succeeded: stats.fetched,
            fetches_failed: stats.fetches_failed,
            failures: stats.fetch_failures,
            limited_by: Some(stats.limited_by.name()),
        }
    }
}

/// Shows [`Gauges`] as they change.
pub struct Live {
    terminal: bool,
    shown_at: Option<Duration>,
    before: Option<(Duration, Gauges)>,
    line_open: bool,
}

impl Live {
    /// For standard error, where the line does not mix with what a command prints.
    pub fn new() -> Self {
        Self::on(io::stderr().is_terminal())
    }

    /// Whether it is time to show something new.
    pub fn is_due(&self, since_start: Duration) -> bool {
        let (first, pause) =
            if self.terminal { (Duration::ZERO, TERMINAL_PAUSE) } else { (LOG_FIRST, LOG_PAUSE) };
        since_start >= self.shown_at.map_or(first, |shown| shown + pause)
    }

    /// Shows these numbers.
    pub fn show(&mut self, since_start: Duration, gauges: &Gauges) {
        let width = if self.terminal { terminal_width().saturating_sub(1) } else { usize::MAX };
        let line = self.line(since_start, gauges, width);
        if self.terminal {
            let shown: String = line.chars().take(width).collect();
            // A terminal that went away is no reason to stop crawling.
            drop(write!(io::stderr(), "\r\x1b[K{shown}"));
            self.line_open = true;
        } else {
            log::info!("{line}");
        }
    }

    /// Leaves the last line standing and goes to the next.
    pub fn end(&mut self) {
        if std::mem::take(&mut self.line_open) {
            drop(writeln!(io::stderr()));
        }
    }

    fn on(terminal: bool) -> Self {
        Self { terminal, shown_at: None, before: None, line_open: false }
    }

    /// The line, in `width` columns if that is possible; its rates are those since the last one.
    fn line(&mut self, now: Duration, gauges: &Gauges, width: usize) -> String {
        let (then, old) = self.before.take().unwrap_or_default();
        let rates = Rates::between(then, &old, now, gauges);
        self.shown_at = Some(now);
        self.before = Some((now, gauges.clone()));
        format_line(gauges, &rates, width)
    }
}

/// Whatever is said next begins on a line of its own.
impl Drop for Live {
    fn drop(&mut self) {
        self.end();
    }
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

struct Rates {
    packets_per_s: f64,
    stored_per_minute: f64,
}

impl Rates {
    fn between(then: Duration, old: &Gauges, now: Duration, new: &Gauges) -> Self {
        let seconds = now.saturating_sub(then).as_secs_f64().max(0.001);
        Self {
            packets_per_s: new.packets.saturating_sub(old.packets) as f64 / seconds,
            stored_per_minute: new.torrents_stored.saturating_sub(old.torrents_stored) as f64 / seconds
                * 60.0,
        }
    }
}

/// The line with all its parts, or without those that matter least until it fits. What limits the
/// crawl always stands there.
fn format_line(gauges: &Gauges, rates: &Rates, width: usize) -> String {
    let done = gauges.fetches_succeeded + gauges.fetches_failed;
    let success = match done {
        0 => "-".to_owned(),
        _ => format!("{:.0} %", gauges.fetches_succeeded as f64 * 100.0 / done as f64),
    };
    let nodes = format!("nodes {}", human_count(gauges.nodes_known));
    let coverage = gauges.coverage.map_or_else(String::new, percent);
    let packets = format!(" | packets {}/s", human_count(rates.packets_per_s.round() as u64));
    let hashes = format!(" | hashes {}", human_count(gauges.hashes_found));
    let stored = format!(" | stored {}", human_count(gauges.torrents_stored));
    let wanted = gauges.torrents_wanted.map_or_else(String::new, |all| format!(" of {}", human_count(all)));
    let (top, rest) = match gauges.failures.total() {
        0 => (String::new(), String::new()),
        _ => {
            let (top, all) =
                (reasons::shares(&gauges.failures, 1), reasons::shares(&gauges.failures, REASONS_MAX));
            let rest = all.strip_prefix(&top).unwrap_or_default().to_owned();
            (format!(" | failed: {top}"), rest)
        }
    };
    let pace = format!(" ({}/min)", human_count(rates.stored_per_minute.round() as u64));
    let fetches = format!(" | fetches {}", human_count(gauges.fetches_open));
    let success = format!(" ({success} ok)");
    let limit = format!(" | limited by {}", gauges.limited_by.unwrap_or("nothing"));
    let parts = [
        &nodes, &coverage, &packets, &hashes, &stored, &wanted, &pace, &fetches, &success, &limit, &top,
        &rest,
    ];
    let mut shown = [true; 12];
    for least in LEAST_FIRST {
        let taken: usize =
            parts.iter().zip(shown).filter(|(_, shown)| *shown).map(|(part, _)| part.chars().count()).sum();
        if taken <= width {
            break;
        }
        shown[least] = false;
    }
    parts.iter().zip(shown).filter(|(_, shown)| *shown).map(|(part, _)| part.as_str()).collect()
}

/// Parts of the line in the order in which they are left out: packets, success, pace, further
/// reasons of failures, coverage, the first reason, fetches, hashes.
const LEAST_FIRST: [usize; 8] = [2, 8, 6, 11, 1, 10, 7, 3];

/// A share of the network and its error, in percent.
fn percent((share, error): (f64, f64)) -> String {
    match error * 100.0 {
        error if error < 0.05 => format!(" ({} %)", three_digits(share * 100.0)),
        error => format!(" ({} % ± {error:.1})", three_digits(share * 100.0)),
    }
}

/// `COLUMNS` if it is set, else what the terminal says, else what fits most.
fn terminal_width() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    told.or_else(sys::terminal::columns).unwrap_or(80)
}

/// Fast enough to look alive, slow enough to read.
const TERMINAL_PAUSE: Duration = Duration::from_millis(500);
/// The most frequent reasons; the rest is for `stats`.
const REASONS_MAX: usize = 3;
/// Soon enough to see that it works.
const LOG_FIRST: Duration = Duration::from_secs(5);
/// A line a minute, as the specification asks.
const LOG_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Step, Why};

    #[test]
    fn the_line_says_what_is_going_on() {
        let mut live = Live::on(true);
        let start = Gauges::default();
        assert!(live.is_due(Duration::ZERO));
        live.line(Duration::ZERO, &start, usize::MAX);
        let mut failures = Failures::default();
        (0..45).for_each(|_| failures.add(Why::Refused.kind()));
        (0..15).for_each(|_| failures.add(Why::Closed(Step::Handshake).kind()));
        let later = Gauges {
            nodes_known: 12_345,
            coverage: Some((0.071, 0.0042)),
            packets: 800,
            hashes_found: 4_000,
            torrents_stored: 20,
            torrents_wanted: None,
            fetches_open: 99,
            fetches_succeeded: 20,
            fetches_failed: 60,
            failures,
            limited_by: Some("flows"),
        };
        assert!(!live.is_due(Duration::from_millis(499)));
        assert_eq!(
            live.line(Duration::from_secs(2), &later, usize::MAX),
            "nodes 12,345 (7.10 % ± 0.4) | packets 400/s | hashes 4,000 | stored 20 (600/min) | fetches 99 (25 % ok) | limited by flows | failed: 75 % refused, 25 % closed at handshake: perhaps encryption required"
        );
    }

    #[test]
    fn what_limits_it_is_seen_in_80_columns() {
        let mut failures = Failures::default();
        (0..45).for_each(|_| failures.add(Why::Refused.kind()));
        (0..15).for_each(|_| failures.add(Why::Closed(Step::Handshake).kind()));
        let gauges = Gauges {
            nodes_known: 12_345_678,
            coverage: Some((0.999, 0.0123)),
            packets: 1_000_000,
            hashes_found: 123_456_789,
            torrents_stored: 12_345_678,
            torrents_wanted: Some(12_345_679),
            fetches_open: 4_000,
            fetches_succeeded: 20,
            fetches_failed: 60,
            limited_by: Some("traffic-month"),
            failures,
        };
        for width in [79, 99, 119, 199] {
            let line = Live::on(true).line(Duration::from_secs(1), &gauges, width);
            assert!(line.chars().count() <= width && line.contains("limited by traffic-month"), "{line}");
            assert!(line.contains("stored 12,345,678 of 12,345,679"), "{line}");
        }
    }

    #[test]
    fn without_a_terminal_it_is_a_line_a_minute() {
        let mut live = Live::on(false);
        let gauges = Gauges::default();
        let mut shown = Vec::new();
        for second in 0..200 {
            let now = Duration::from_secs(second);
            if live.is_due(now) {
                live.line(now, &gauges, usize::MAX);
                shown.push(second);
            }
        }
        assert_eq!(shown, [5, 65, 125, 185]);
    }
}
