//! What happens to packets on their way: delay, jitter, loss, copies, overtaking, packets that
//! are too large, and what a stranger makes of a copy.

use std::time::Duration;

use super::pipe::Pipe;
use crate::base::{Instant, Rng};

/// The network between all hosts.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// One way.
    pub delay: Duration,
    /// Up to this much is added to each packet, so that packets overtake each other.
    pub jitter: Duration,
    /// Datagrams lost, in a hundred.
    pub loss_pct: u8,
    /// Datagrams that arrive twice, in a hundred.
    pub duplicate_pct: u8,
    /// Datagrams that arrive up to ten seconds late, in a hundred: most replies among them find
    /// nobody who still waits.
    pub late_pct: u8,
    /// Datagrams of which a copy also comes from an address that never sent it, in a hundred.
    pub echo_pct: u8,
    /// Datagrams with more bytes than this vanish.
    pub mtu: usize,
    /// What happens to streams.
    pub pipe: Pipe,
}

/// Two groups of hosts that cannot reach each other for a while.
#[derive(Clone, Copy, Debug)]
pub struct Partition {
    /// From then on.
    pub from: Instant,
    /// Until then.
    pub until: Instant,
    /// The hosts whose number leaves this rest when divided by `groups` stand apart.
    pub apart: usize,
    /// At least 2.
    pub groups: usize,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(20),
            jitter: Duration::from_millis(5),
            loss_pct: 0,
            duplicate_pct: 0,
            late_pct: 0,
            echo_pct: 0,
            mtu: usize::MAX,
            pipe: Pipe::default(),
        }
    }
}

impl Link {
    /// When the copies of a datagram of `len` bytes arrive: none, one or two.
    pub(super) fn arrivals(&self, len: usize, rng: &mut Rng) -> impl Iterator<Item = Duration> + use<> {
        let lost = rng.percent(self.loss_pct) || len > self.mtu;
        let twice = !lost && rng.percent(self.duplicate_pct);
        let first = (!lost).then(|| self.passage_of_datagram(rng));
        let second = twice.then(|| self.passage_of_datagram(rng));
        [first, second].into_iter().flatten()
    }

    /// Whether a copy of this datagram also comes from elsewhere.
    pub(super) fn echoes(&self, rng: &mut Rng) -> bool {
        self.echo_pct > 0 && rng.percent(self.echo_pct)
    }

    pub(super) fn passage(&self, rng: &mut Rng) -> Duration {
        self.delay + Duration::from_nanos(rng.below(self.jitter.as_nanos() as u64 + 1))
    }

    fn passage_of_datagram(&self, rng: &mut Rng) -> Duration {
        let late = self.late_pct > 0 && rng.percent(self.late_pct);
        let extra = if late { rng.below(LATE_MAX.as_nanos() as u64) } else { 0 };
        self.passage(rng) + Duration::from_nanos(extra)
    }
}

impl Partition {
    /// Until when nothing passes between these two hosts, if that is so at `now`.
    pub(super) fn parts(&self, now: Instant, one: usize, other: usize) -> Option<Instant> {
        let groups = self.groups.max(2);
        let apart = |host: usize| host % groups == self.apart;
        (self.from <= now && now < self.until && apart(one) != apart(other)).then_some(self.until)
    }
}

/// Twice what a query waits at most.
const LATE_MAX: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_link_delivers_everything_once() {
        let (link, mut rng) = (Link::default(), Rng::seeded(1));
        for _ in 0..200 {
            let arrivals: Vec<_> = link.arrivals(1_500, &mut rng).collect();
            assert_eq!(arrivals.len(), 1);
            assert!(arrivals[0] >= link.delay && arrivals[0] <= link.delay + link.jitter);
        }
    }

    #[test]
    fn loss_copies_and_lateness_come_as_often_as_asked_and_large_ones_never_arrive() {
        let link = Link { loss_pct: 20, duplicate_pct: 30, late_pct: 10, mtu: 600, ..Link::default() };
        let mut rng = Rng::seeded(2);
        let (mut lost, mut twice, mut late) = (0, 0, 0);
        for _ in 0..10_000 {
            let arrivals: Vec<_> = link.arrivals(600, &mut rng).collect();
            lost += u32::from(arrivals.is_empty());
            twice += u32::from(arrivals.len() == 2);
            late += u32::from(arrivals.first().is_some_and(|after| *after > Duration::from_millis(100)));
        }
        assert!((1_800..2_200).contains(&lost), "{lost}");
        assert!((2_200..2_600).contains(&twice), "{twice}");
        assert!((650..950).contains(&late), "{late}");
        assert_eq!(link.arrivals(601, &mut rng).count(), 0);
    }

    #[test]
    fn a_partition_parts_two_groups_for_its_time_only() {
        let at = Instant::from_millis;
        let partition = Partition { from: at(10), until: at(20), apart: 1, groups: 3 };
        assert_eq!(partition.parts(at(10), 0, 1), Some(at(20)));
        assert_eq!(partition.parts(at(19), 4, 2), Some(at(20)));
        assert_eq!(partition.parts(at(15), 1, 4), None);
        assert_eq!(partition.parts(at(9), 0, 1), None);
        assert_eq!(partition.parts(at(20), 0, 1), None);
    }
}
