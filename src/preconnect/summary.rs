//! What many measured durations come to.

use std::time::Duration;

use super::report::Report;

/// Statistics of durations in the order in which they were measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many there are.
    pub count: usize,
    /// The shortest.
    pub min: Duration,
    /// The arithmetic mean.
    pub average: Duration,
    /// Half of them are not longer (nearest rank).
    pub p50: Duration,
    /// 95 of 100 are not longer (nearest rank).
    pub p95: Duration,
    /// The longest.
    pub max: Duration,
    /// The mean difference of one to the next (the absolute value of RFC 3393's ipdv).
    pub jitter: Duration,
}

/// What reports come to, of one target or of many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// All reports.
    pub total: usize,
    /// Those with a connection that stayed.
    pub connected: usize,
    /// The others.
    pub failed: usize,
    /// Of the names that were found.
    pub dns: Option<Summary>,
    /// Of the connections that were opened.
    pub tcp: Option<Summary>,
    /// Of the handshakes that ended well.
    pub tls: Option<Summary>,
    /// Of all three together ([`Report::latency`]).
    pub latency: Option<Summary>,
}

impl Stats {
    /// Of reports in the order in which they were made.
    pub fn of<'a>(reports: impl IntoIterator<Item = &'a Report>) -> Self {
        let reports: Vec<&Report> = reports.into_iter().collect();
        let summary = |of: fn(&Report) -> Option<Duration>| {
            Summary::of(&reports.iter().copied().filter_map(of).collect::<Vec<_>>())
        };
        let connected = reports.iter().filter(|report| report.is_good()).count();
        Self {
            total: reports.len(),
            connected,
            failed: reports.len() - connected,
            dns: summary(|report| report.dns),
            tcp: summary(|report| report.tcp),
            tls: summary(|report| report.tls),
            latency: summary(Report::latency),
        }
    }
}

impl Summary {
    /// `None` of nothing.
    pub fn of(measured: &[Duration]) -> Option<Self> {
        let count = u32::try_from(measured.len()).ok().filter(|count| *count > 0)?;
        let mut sorted = measured.to_vec();
        sorted.sort_unstable();
        let differences: Duration = measured.windows(2).map(|pair| pair[1].abs_diff(pair[0])).sum();
        Some(Self {
            count: measured.len(),
            min: sorted[0],
            average: measured.iter().sum::<Duration>() / count,
            p50: rank(&sorted, 50),
            p95: rank(&sorted, 95),
            max: sorted[sorted.len() - 1],
            jitter: differences / (count - 1).max(1),
        })
    }
}

/// The smallest that `percent` of them do not exceed.
fn rank(sorted: &[Duration], percent: usize) -> Duration {
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(ms: &[u64]) -> Option<Summary> {
        Summary::of(&ms.iter().map(|ms| Duration::from_millis(*ms)).collect::<Vec<_>>())
    }

    #[test]
    fn numbers_are_those_of_the_definitions() {
        assert_eq!(of(&[]), None);
        let one = of(&[7]).unwrap();
        assert_eq!((one.min, one.average, one.p95, one.jitter.as_millis()), (one.max, one.p50, one.max, 0));
        let some = of(&[30, 10, 20, 40]).unwrap();
        let ms = |it: Duration| it.as_millis();
        assert_eq!((some.count, ms(some.min), ms(some.average), ms(some.max)), (4, 10, 25, 40));
        assert_eq!((ms(some.p50), ms(some.p95), some.jitter.as_micros()), (20, 40, 16_666));
        let hundred = of(&(1..=100).collect::<Vec<_>>()).unwrap();
        assert_eq!((ms(hundred.p50), ms(hundred.p95), ms(hundred.jitter)), (50, 95, 1));
    }

    quickcheck::quickcheck! {
        fn order_of_the_numbers_holds(ms: Vec<u16>) -> bool {
            let all: Vec<u64> = ms.iter().map(|ms| u64::from(*ms)).collect();
            of(&all).is_none_or(|it| {
                it.min <= it.p50 && it.p50 <= it.p95 && it.p95 <= it.max && it.min <= it.average
                    && it.average <= it.max && it.jitter <= it.max - it.min
            })
        }
    }
}
