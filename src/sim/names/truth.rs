//! What is true of every name at every time. It follows from the seed and the name alone, so that
//! servers can say it and the oracle can judge it for any moment.

use std::ops::RangeInclusive;
use std::time::Duration;

use crate::base::Instant;
use crate::base::hash::sha1;
use crate::wire::dns::{Kind, Name};

/// The truth of one seed.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::sim) struct Truth {
    seed: u64,
}

/// What is true of a name and a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Fact {
    /// It is another name for this one.
    Alias(Box<Name>),
    /// The data of its records, sorted.
    Records(Vec<Vec<u8>>),
    /// The name has no such record.
    NoData,
    /// There is no such name.
    NoName,
}

impl Truth {
    pub(in crate::sim) fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// What was true in a version of the name.
    pub(in crate::sim) fn fact(&self, name: &Name, kind: Kind, version: u64) -> Fact {
        let Some((word, n)) = parts(name) else {
            return if name.labels() == 0 { Fact::NoData } else { Fact::NoName };
        };
        let alias = |word: &str, n: u64| Fact::Alias(Box::new(named(word, n)));
        match word.as_str() {
            "hot" | "host" | "end" => self.host(name, n, kind, version),
            "flicker" if version.is_multiple_of(2) => self.host(name, n, kind, version),
            "big" if kind == Kind::TXT => {
                let strings = (0..8).map(|at| self.text(name, version, at, 250));
                Fact::Records(strings.collect::<std::collections::BTreeSet<_>>().into_iter().collect())
            }
            "door" if kind == Kind::A => Fact::Records(vec![vec![11, (n / 250) as u8, (n % 250) as u8, 1]]),
            "big" | "door" => Fact::NoData,
            "alias" if n % 2 == 0 => alias("end", n),
            "alias" => alias("other", n),
            "other" => alias("end", n),
            "ring" => alias("ring", n / 3 * 3 + (n + 1) % 3),
            "long" if n < LONG => alias("long", n + 1),
            "long" => alias("end", n),
            _ => Fact::NoName,
        }
    }

    /// How long servers say that it holds, in seconds.
    pub(in crate::sim) fn ttl(&self, name: &Name) -> u32 {
        [0, 1, 5, 20, 60, 86_400][usize::from(self.noise(name, Kind(0), 0)[0] % 6)]
    }

    /// The versions that held at some time between these two.
    pub(in crate::sim) fn versions(&self, name: &Name, from: Instant, to: Instant) -> RangeInclusive<u64> {
        self.version(name, from)..=self.version(name, to)
    }

    /// The version that holds.
    pub(in crate::sim) fn version(&self, name: &Name, at: Instant) -> u64 {
        self.pace(name).map_or(0, |(phase, period)| (at.0 + phase) / period)
    }

    /// When a version has ceased to hold.
    pub(in crate::sim) fn end(&self, name: &Name, version: u64) -> Instant {
        self.pace(name)
            .map_or(Instant::FAR, |(phase, period)| Instant(((version + 1) * period).saturating_sub(phase)))
    }

    /// Aliases lead from here to nowhere.
    pub(in crate::sim) fn is_endless(name: &Name) -> bool {
        parts(name).is_some_and(|(word, _)| word == "ring" || word == "long")
    }

    fn host(&self, name: &Name, n: u64, kind: Kind, version: u64) -> Fact {
        let noise = self.noise(name, kind, version);
        let mut records: Vec<Vec<u8>> = match kind {
            Kind::A => (0..1 + usize::from(noise[0] % 3))
                .map(|at| vec![20, noise[at + 1], noise[at + 2], 1 + at as u8])
                .collect(),
            Kind::AAAA if n.is_multiple_of(3) => return Fact::NoData,
            Kind::AAAA => {
                vec![[&[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0][..], &noise[..8]].concat()]
            }
            Kind::TXT => vec![self.text(name, version, 0, 30)],
            Kind::MX => vec![[&noise[..2], named("host", n).wire()].concat()],
            _ => return Fact::NoData,
        };
        records.sort();
        Fact::Records(records)
    }

    fn text(&self, name: &Name, version: u64, at: u16, len: u8) -> Vec<u8> {
        let noise = self.noise(name, Kind(1_000 + at), version);
        let text = noise.iter().cycle().take(usize::from(len)).map(|byte| b'a' + byte % 26);
        std::iter::once(len).chain(text).collect()
    }

    /// By how much and how often it changes; `None` for what never does.
    fn pace(&self, name: &Name) -> Option<(u64, u64)> {
        let (word, _) = parts(name)?;
        if !["hot", "host", "end", "flicker", "big"].contains(&word.as_str()) {
            return None;
        }
        let noise = self.noise(name, Kind(1), 0);
        let period = PERIOD_MIN + Duration::from_secs(u64::from(noise[0]) / 4);
        Some((u64::from(noise[1]) * 100_000_000, period.as_nanos() as u64))
    }

    fn noise(&self, name: &Name, kind: Kind, version: u64) -> [u8; 20] {
        let (seed, version) = (self.seed.to_be_bytes(), version.to_be_bytes());
        sha1(&[&seed[..], &kind.0.to_be_bytes(), &version, name.wire()].concat())
    }
}

/// `word12.test.` is `word` and 12.
fn parts(name: &Name) -> Option<(String, u64)> {
    let (len, rest) = name.wire().split_first()?;
    let (label, zone) = rest.split_at_checked(usize::from(*len))?;
    if zone != ZONE {
        return None;
    }
    let text = std::str::from_utf8(label).ok()?;
    let digits = text.find(|c: char| c.is_ascii_digit())?;
    Some((text[..digits].to_owned(), text[digits..].parse().ok()?))
}

/// `word12.test.`
pub(in crate::sim) fn named(word: &str, n: u64) -> Name {
    Name::parse(&format!("{word}{n}.test")).expect("a name")
}

/// The zone in which all names are.
pub(in crate::sim) const ZONE: &[u8] = b"\x04test\x00";
/// More aliases than anybody follows.
const LONG: u64 = 20;
const PERIOD_MIN: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_follow_each_other_and_end_when_the_next_begins() {
        let (truth, name) = (Truth::new(3), named("host", 4));
        let mut last = truth.version(&name, Instant(0));
        for ms in (0..400_000).step_by(50) {
            let at = Instant::from_millis(ms);
            let version = truth.version(&name, at);
            assert!(at < truth.end(&name, version) && (version == last || version == last + 1));
            assert!(version == last || truth.end(&name, last) <= at);
            last = version;
        }
        assert!(last > 4 && truth.version(&named("alias", 1), Instant::from_millis(400_000)) == 0);
    }

    #[test]
    fn what_is_true_is_the_same_every_time_and_other_for_others() {
        let (truth, name) = (Truth::new(3), named("host", 4));
        let first = truth.fact(&name, Kind::A, 1);
        assert!(matches!(&first, Fact::Records(records) if !records.is_empty()));
        assert_eq!(truth.fact(&name, Kind::A, 1), first);
        assert_ne!(truth.fact(&name, Kind::A, 2), first);
        assert_ne!(truth.fact(&named("host", 5), Kind::A, 1), first);
        assert_eq!(truth.fact(&named("host", 6), Kind::AAAA, 1), Fact::NoData);
        assert_eq!(truth.fact(&named("alias", 1), Kind::A, 0), Fact::Alias(Box::new(named("other", 1))));
        assert_eq!(truth.fact(&named("flicker", 1), Kind::A, 3), Fact::NoName);
        assert!(Truth::is_endless(&named("ring", 1)) && !Truth::is_endless(&name));
    }
}
