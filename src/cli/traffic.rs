//! `--traffic-month`: the crawl is paced so that a month's bytes are never passed.

use std::time::Duration;

use crate::base::{Instant, TokenBucket, UnixTime};
use crate::engine::config::Rates;
use crate::reactor::Gauges;

/// What may be used this month (UTC), and what was. Counts go on where an earlier run stopped.
#[derive(Debug)]
pub struct Traffic {
    quota_bytes: u64,
    month: u32,
    used_bytes: u64,
    /// What the even pace allows now, at most a day's share at once.
    pace: TokenBucket,
    /// What is owed to it: bytes that came in cannot be refused.
    owed_bytes: u64,
    counted_bytes: u64,
}

impl Traffic {
    /// `kept` is what [`Traffic::kept`] gave in an earlier run.
    pub fn new(quota_bytes: u64, kept: Option<&str>, now: UnixTime) -> Self {
        let month = month_of(now);
        let before =
            kept.and_then(|text| text.split_once(' ')).filter(|(then, _)| *then == month.to_string());
        let used_bytes = before.and_then(|(_, used)| used.parse().ok()).unwrap_or(0);
        // A new start has an hour in hand, not a day: many short runs must not add up.
        let (rate, burst) = (quota_bytes / MONTH_SECS, quota_bytes / DAYS);
        let mut pace = TokenBucket::new(rate.max(1), burst.max(1));
        pace.take_up_to(at(now), burst - burst / 24);
        Self { quota_bytes, month, used_bytes, pace, owed_bytes: 0, counted_bytes: 0 }
    }

    /// Takes the reactor's counts since the start; true if the crawl has to wait.
    pub fn is_used_up(&mut self, gauges: &Gauges, now: UnixTime) -> bool {
        let counted = bytes_on_the_wire(gauges);
        let fresh = counted.saturating_sub(self.counted_bytes);
        self.counted_bytes = counted;
        if month_of(now) != self.month {
            (self.month, self.used_bytes) = (month_of(now), 0);
        }
        self.used_bytes += fresh;
        self.owed_bytes += fresh;
        let paid = self.pace.take_up_to(at(now), self.owed_bytes);
        self.owed_bytes -= paid;
        // The last hundredth is for those who ask us.
        self.owed_bytes > 0 || self.used_bytes >= self.quota_bytes - self.quota_bytes / 100
    }

    /// Rates to go by while the crawl waits: serving is kept to a tenth of the pace.
    pub fn while_waiting(&self, rates: Rates) -> Rates {
        let least = |rate: u64, most: u64| if rate == 0 { most } else { rate.min(most) };
        let bytes = (self.quota_bytes / MONTH_SECS / 10).max(1);
        let packets = (bytes / ANSWER_BYTES).max(1);
        Rates {
            packets_out: least(rates.packets_out, packets),
            bytes_out: least(rates.bytes_out, bytes),
            ..rates
        }
    }

    /// For the next run: the month and the bytes.
    pub fn kept(&self) -> String {
        format!("{} {}", self.month, self.used_bytes)
    }

    /// Bytes used this month.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes
    }
}

/// With headers: IPv6 and UDP have 48 bytes, IPv6 and TCP 60 for every 1,400 or so, and opening
/// and closing a connection takes seven empty segments.
fn bytes_on_the_wire(gauges: &Gauges) -> u64 {
    let datagrams = gauges.datagrams_in + gauges.datagrams_out;
    let streams = gauges.stream_bytes_in + gauges.stream_bytes_out;
    gauges.datagram_bytes + datagrams * 48 + streams + streams / 20 + gauges.connects * 7 * 60
}

/// Months since 1970 began, by the Gregorian calendar (Howard Hinnant's days algorithm).
fn month_of(now: UnixTime) -> u32 {
    // Years begin in March here, so that the leap day is the last.
    let day = now.0 / 86_400 + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march_month = (5 * of_year + 2) / 153;
    let months = (era * 400 + year) * 12 + march_month + 2;
    u32::try_from(months - 1_970 * 12).unwrap_or(u32::MAX)
}

/// The bucket runs by the calendar, so that sleep counts too.
fn at(now: UnixTime) -> Instant {
    Instant(0) + Duration::from_secs(now.0)
}

/// Where the count is kept in the archive.
pub const KEPT_NAME: &str = "traffic.month";
/// The longest month, so that the pace holds in every one.
const DAYS: u64 = 31;
const MONTH_SECS: u64 = DAYS * 86_400;
/// A reply with eight nodes and a token, and its headers.
const ANSWER_BYTES: u64 = 400;

#[cfg(test)]
mod tests {
    use super::*;

    const NOV_20: u64 = 1_795_212_000;

    fn wire(bytes: u64) -> Gauges {
        Gauges { datagram_bytes: bytes, ..Gauges::default() }
    }

    #[test]
    fn months_follow_the_calendar() {
        let month = |days: u64| month_of(UnixTime(days * 86_400));
        assert_eq!((month(0), month(30), month(31), month(59)), (0, 0, 1, 2));
        // 2024-02-29 and the day after.
        assert_eq!((month(19_782), month(19_783)), (54 * 12 + 1, 54 * 12 + 2));
        assert_eq!(month_of(UnixTime(NOV_20)), 56 * 12 + 10);
    }

    #[test]
    fn the_pace_holds_and_a_restart_goes_on() {
        // 1,000 bytes a second.
        let quota = MONTH_SECS * 1_000;
        let mut traffic = Traffic::new(quota, None, UnixTime(NOV_20));
        assert!(!traffic.is_used_up(&wire(3_000_000), UnixTime(NOV_20)), "an hour in hand");
        assert!(traffic.is_used_up(&wire(4_600_000), UnixTime(NOV_20)));
        assert!(traffic.is_used_up(&wire(4_600_000), UnixTime(NOV_20 + 60)));
        assert!(!traffic.is_used_up(&wire(4_600_000), UnixTime(NOV_20 + 1_800)));
        let again = Traffic::new(quota, Some(&traffic.kept()), UnixTime(NOV_20 + 3_600));
        assert_eq!(again.used_bytes(), 4_600_000);
        let next = Traffic::new(quota, Some(&traffic.kept()), UnixTime(NOV_20 + 20 * 86_400));
        assert_eq!(next.used_bytes(), 0, "another month");
        assert_eq!(Traffic::new(quota, Some("nonsense"), UnixTime(NOV_20)).used_bytes(), 0);
    }

    #[test]
    fn the_quota_is_the_end_whatever_the_pace_allows() {
        let mut traffic = Traffic::new(100_000, Some(&format!("682 {}", 98_990)), UnixTime(NOV_20));
        assert!(!traffic.is_used_up(&wire(0), UnixTime(NOV_20)));
        assert!(traffic.is_used_up(&wire(20), UnixTime(NOV_20)));
        assert_eq!(traffic.while_waiting(Rates::MAX).packets_out, 1);
    }
}
