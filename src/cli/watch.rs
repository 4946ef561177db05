//! What `run` does beside the engine: shows how it goes, pauses it by the clock and by the month's
//! traffic, says when the network is silent, reloads.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::flags::RunFlags;
use super::live::{self, Live};
use super::reload;
use super::settings::RunSettings;
use super::traffic::{KEPT_NAME, Traffic};
use super::units::{human_duration, human_size};
use super::zones::Reading;
use crate::base::UnixTime;
use crate::engine::Engine;
use crate::engine::config::Rates;
use crate::engine::io::Command;
use crate::reactor::{Gauges, Handle, Observer, sys};

/// Looks on while `run` runs.
pub struct Watch {
    /// The line that is shown.
    pub live: Live,
    started: Instant,
    handle: Handle,
    reload: RunFlags,
    reading: Reading,
    /// As configured; another thread changes them at a reload.
    rates: Arc<Mutex<Rates>>,
    pause_between: Option<(u16, u16)>,
    traffic: Option<Traffic>,
    pause: Option<Pause>,
    checked: Option<Duration>,
    kept: (Duration, u64),
    silence: Silence,
}

/// Why the crawl waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pause {
    Clock,
    Traffic,
}

impl Watch {
    /// `kept` is what the archive keeps of settings.
    pub fn new(
        settings: &RunSettings,
        (flags, reading): (RunFlags, Reading),
        handle: Handle,
        kept: &[(String, String)],
    ) -> Self {
        let month = kept.iter().find(|(name, _)| name == KEPT_NAME).map(|(_, value)| value.as_str());
        let quota = Some(settings.month_bytes_max).filter(|bytes| *bytes > 0);
        Self {
            live: Live::new(),
            started: Instant::now(),
            handle,
            reload: flags,
            reading,
            rates: Arc::new(Mutex::new(settings.rates)),
            pause_between: settings.pause_between,
            traffic: quota.map(|quota| Traffic::new(quota, month, unix_now())),
            pause: None,
            checked: None,
            kept: (Duration::ZERO, 0),
            silence: Silence::default(),
        }
    }

    /// What the clock and the month's traffic ask for now.
    fn wanted_pause(&mut self, counted: &Gauges) -> Option<Pause> {
        let now = unix_now();
        let used_up = self.traffic.as_mut().is_some_and(|traffic| traffic.is_used_up(counted, now));
        let minute = sys::local_time::minute_of_day(now);
        match self.pause_between {
            Some(span) if is_within(span, minute) => Some(Pause::Clock),
            _ if used_up => Some(Pause::Traffic),
            _ => None,
        }
    }

    fn keep_traffic(&mut self, engine: &mut Engine, since: Duration) {
        let Some(traffic) = &self.traffic else { return };
        let (at, bytes) = self.kept;
        if since >= at + KEEP_EVERY || traffic.used_bytes().abs_diff(bytes) >= KEEP_BYTES {
            self.kept = (since, traffic.used_bytes());
            engine.keep_setting(KEPT_NAME, traffic.kept());
        }
    }

    fn set_pause(&mut self, pause: Option<Pause>) {
        let configured = *self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let rates = match (pause, &self.traffic) {
            (Some(Pause::Traffic), Some(traffic)) => traffic.while_waiting(configured),
            _ => configured,
        };
        let sent = self
            .handle
            .send(Command::SetRates(rates))
            .and_then(|()| self.handle.send(Command::Pause(pause.is_some())));
        if sent.is_err() {
            // Too busy: the next look tries again.
            return;
        }
        self.pause = pause;
        match (pause, &self.traffic) {
            (Some(Pause::Clock), _) => log::info!("the crawl pauses now, by --pause-between"),
            (Some(Pause::Traffic), Some(traffic)) => log::info!(
                "the crawl waits: {} of this month's traffic are used, more than --traffic-month allows by now",
                human_size(traffic.used_bytes())
            ),
            _ => log::info!("the crawl goes on"),
        }
    }
}

impl Observer<Engine> for Watch {
    fn on_gauges(&mut self, engine: &mut Engine, counted: &Gauges) {
        let since = self.started.elapsed();
        if self.checked.is_none_or(|checked| since >= checked + CHECK_EVERY) {
            self.checked = Some(since);
            self.keep_traffic(engine, since);
            let wanted = self.wanted_pause(counted);
            if wanted != self.pause {
                self.set_pause(wanted);
            }
        }
        if self.pause.is_none() {
            let dht = engine.stats().dht;
            self.silence.heard(since, dht.asked, dht.replies);
        }
        if self.live.is_due(since) {
            let mut gauges = live::Gauges::of(engine, counted);
            match self.pause {
                Some(Pause::Clock) => gauges.limited_by = Some("pause-between"),
                Some(Pause::Traffic) => gauges.limited_by = Some("traffic-month"),
                None => {}
            }
            self.live.show(since, &gauges);
            let dropped = engine.stats().dht;
            log::debug!(
                "dropped since the start: {} beyond what may be answered, {} unreadable, {} that nobody asked for, {} beyond --flows, {} that came too fast",
                dropped.dropped_limited,
                dropped.dropped_malformed,
                dropped.dropped_stray,
                dropped.dropped_flows,
                counted.datagrams_lost,
            );
            engine.reset_limited_by();
        }
    }

    fn on_reload(&mut self) {
        let (flags, handle, rates) = (self.reload.clone(), self.handle.clone(), Arc::clone(&self.rates));
        let reading = self.reading.clone();
        let waits = self.pause == Some(Pause::Traffic);
        // Reading files must not hold up the loop.
        let work = move || {
            if let Some(fresh) = reload::reload(&flags, &handle, &reading, !waits) {
                *rates.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
            }
        };
        let started = std::thread::Builder::new().name("reload".to_owned()).spawn(work);
        drop(started.inspect_err(|fault| log::error!("not reloaded: {fault}")));
    }
}

/// Notices that nobody answers any more.
#[derive(Debug, Default)]
struct Silence {
    /// Queries sent and replies received when it was looked last.
    asked: u64,
    replies: u64,
    /// When the last reply came, or the first query went out that was not answered.
    heard_at: Duration,
    told_at: Option<Duration>,
    /// Something was asked since the last reply.
    waits: bool,
}

impl Silence {
    fn heard(&mut self, since: Duration, asked: u64, replies: u64) {
        if std::mem::replace(&mut self.asked, asked) == asked && self.told_at.is_none() && !self.waits {
            // Nothing was asked: silence means nothing.
            self.heard_at = since;
            return;
        }
        self.waits = true;
        if replies > self.replies {
            (self.replies, self.heard_at, self.waits) = (replies, since, false);
            if self.told_at.take().is_some() {
                log::info!("DHT nodes answer now");
            }
            return;
        }
        let quiet = since.saturating_sub(self.heard_at);
        let patience = if self.replies == 0 { QUIET_FIRST } else { QUIET_LATER };
        if quiet < patience || self.told_at.is_some_and(|told| since < told + TELL_EVERY) {
            return;
        }
        self.told_at = Some(since);
        log::warn!(
            "no DHT node has answered for {}; check the network, whether UDP gets out and --bootstrap; the crawl goes on by itself once somebody answers",
            human_duration(quiet)
        );
    }
}

/// Whether a minute of the day lies in a span, which may reach over midnight.
fn is_within((from, to): (u16, u16), minute: u16) -> bool {
    if from < to { (from..to).contains(&minute) } else { minute >= from || minute < to }
}

fn unix_now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

/// Clock and quota are looked at this often.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The count of traffic is kept this often, and sooner if more has come together than may be
/// forgotten at an end.
const KEEP_EVERY: Duration = Duration::from_secs(10);
const KEEP_BYTES: u64 = 256 << 10;
/// Names are resolved and the first queries answered well within this.
const QUIET_FIRST: Duration = Duration::from_secs(15);
/// The routing table's own pings come every few seconds.
const QUIET_LATER: Duration = Duration::from_secs(120);
/// Often enough for a log that somebody looks at.
const TELL_EVERY: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_may_reach_over_midnight() {
        assert!(is_within((60, 120), 60) && !is_within((60, 120), 120) && !is_within((60, 120), 59));
        assert!(is_within((1_350, 360), 1_439) && is_within((1_350, 360), 0));
        assert!(!is_within((1_350, 360), 360) && !is_within((1_350, 360), 1_349));
    }

    #[test]
    fn silence_is_told_once_and_again_rarely() {
        let mut silence = Silence::default();
        let mut told = Vec::new();
        for second in 0..1_300 {
            let before = silence.told_at;
            silence.heard(Duration::from_secs(second), second + 1, 0);
            if silence.told_at != before {
                told.push(second);
            }
        }
        assert_eq!(told, [15, 615, 1_215]);
        silence.heard(Duration::from_secs(1_300), 1_301, 1);
        assert_eq!(silence.told_at, None);
        silence.heard(Duration::from_secs(1_301), 1_302, 1);
        silence.heard(Duration::from_secs(1_419), 1_302, 1);
        assert_eq!(silence.told_at, None);
        silence.heard(Duration::from_secs(1_420), 1_302, 1);
        assert!(silence.told_at.is_some());
    }

    #[test]
    fn silence_means_nothing_while_nothing_is_asked() {
        let mut silence = Silence::default();
        (0..10_000).for_each(|second| silence.heard(Duration::from_secs(second), 0, 0));
        assert_eq!(silence.told_at, None);
        silence.heard(Duration::from_secs(10_000), 1, 0);
        silence.heard(Duration::from_secs(10_013), 1, 0);
        assert_eq!(silence.told_at, None, "it has just been asked");
        silence.heard(Duration::from_secs(10_015), 1, 0);
        assert!(silence.told_at.is_some());
    }
}
