//! What can go wrong in a run. Each kind is on or off for a seed, and how bad it is is drawn from
//! the seed too (swarm testing), so that no kind is always hidden behind another.

use crate::base::Rng;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Disks that stall for seconds before they commit.
    SlowDisk,
    /// Disks that are full for a while.
    FullDisk,
    /// Hosts that die and come back with what they had on disk.
    Crash,
    /// Datagrams that arrive twice.
    Duplicates,
    /// Copies of datagrams that come from somewhere else.
    Echoes,
    /// Jitter of half a second, and datagrams that come seconds late.
    Late,
    /// Rates, flows and caps so small that they hold everything back.
    Limits,
    /// Lost datagrams.
    Loss,
    /// Large datagrams that vanish.
    Mtu,
    /// Hosts behind NAT boxes, some of which choke.
    Nat,
    /// Groups of hosts that cannot reach each other for a while.
    Partition,
    /// Nodes that lie, forge, flood and announce what they may not.
    Pests,
    /// Streams that break in the middle.
    Resets,
    /// Hosts that do nothing for a while, with or without their clocks.
    Sleep,
    /// Streams that stall for seconds.
    Stalls,
    /// Wall clocks that jump forwards and back.
    WallClock,
    /// DNS answers cut to TCP, where connections break, stall and talk nonsense.
    CutNames,
    /// DNS servers that go down and come up again.
    FlappingNames,
    /// Strangers who race in forged DNS answers, without having seen the question's numbers.
    ForgedNames,
    /// DNS servers that answer nonsense, the wrong question, from the wrong place, or that they fail.
    LyingNames,
    /// DNS servers that answer after the time-out or never.
    StallingNames,
    /// Peers that take one handshake at a time, or hang up on who says more before theirs.
    Manners,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 22] = [
        Self::SlowDisk,
        Self::FullDisk,
        Self::Crash,
        Self::Duplicates,
        Self::Echoes,
        Self::Late,
        Self::Limits,
        Self::Loss,
        Self::Mtu,
        Self::Nat,
        Self::Partition,
        Self::Pests,
        Self::Resets,
        Self::Sleep,
        Self::Stalls,
        Self::WallClock,
        Self::CutNames,
        Self::FlappingNames,
        Self::ForgedNames,
        Self::LyingNames,
        Self::StallingNames,
        Self::Manners,
    ];

    /// In one word, as it stands in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::SlowDisk => "slow-disk",
            Self::FullDisk => "full-disk",
            Self::Crash => "crash",
            Self::Duplicates => "duplicates",
            Self::Echoes => "echoes",
            Self::Late => "late",
            Self::Limits => "limits",
            Self::Loss => "loss",
            Self::Mtu => "mtu",
            Self::Nat => "nat",
            Self::Partition => "partition",
            Self::Pests => "pests",
            Self::Resets => "resets",
            Self::Sleep => "sleep",
            Self::Stalls => "stalls",
            Self::WallClock => "wall-clock",
            Self::CutNames => "cut-names",
            Self::FlappingNames => "flapping-names",
            Self::ForgedNames => "forged-names",
            Self::LyingNames => "lying-names",
            Self::StallingNames => "stalling-names",
            Self::Manners => "manners",
        }
    }

    /// The randomness that decides all about this kind, and about no other.
    pub(super) fn rng(self, seed: u64) -> Rng {
        Rng::seeded(seed.wrapping_mul(SPREAD).wrapping_add(self as u64 + 1))
    }
}

/// Which kinds are on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults(u32);

impl Faults {
    /// None.
    pub const NONE: Self = Self(0);

    /// Those of a seed: each is on in two seeds of five, but some seeds have none of the heavy ones.
    pub fn drawn(seed: u64) -> Self {
        let mut rng = Rng::seeded(seed);
        let on = |rng: &mut Rng| rng.percent(ON_PCT);
        let drawn = Fault::ALL
            .into_iter()
            .fold(Self::NONE, |all, fault| if on(&mut rng) { all.with(fault) } else { all });
        // Without any that weighs, it can be told whether things go as well as they should.
        if rng.percent(LIGHT_PCT) { HEAVY.into_iter().fold(drawn, Self::without) } else { drawn }
    }

    /// Is this kind on?
    pub fn has(self, fault: Fault) -> bool {
        self.0 >> fault as u32 & 1 == 1
    }

    /// And this kind too.
    pub fn with(self, fault: Fault) -> Self {
        Self(self.0 | 1 << fault as u32)
    }

    /// But for this kind.
    pub fn without(self, fault: Fault) -> Self {
        Self(self.0 & !(1 << fault as u32))
    }

    /// Nothing is on that delays a question about a name or its answer, or keeps it from coming: but
    /// for servers that flap.
    pub fn leave_names_alone(self) -> bool {
        !self.iter().any(|fault| !HARMLESS_TO_NAMES.contains(&fault))
    }

    /// Those that are on.
    pub fn iter(self) -> impl Iterator<Item = Fault> {
        Fault::ALL.into_iter().filter(move |fault| self.has(*fault))
    }

    /// None is on that keeps a network from working as it should.
    pub fn are_light(self) -> bool {
        !HEAVY.into_iter().any(|fault| self.has(fault))
    }
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.iter().map(Fault::name).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(","))
    }
}

/// With these a run may get little done, and that is no fault of the engines.
const HEAVY: [Fault; 6] =
    [Fault::FullDisk, Fault::Late, Fault::Limits, Fault::Mtu, Fault::Nat, Fault::Partition];
/// What a question about a name does not notice, unless its own host is hit.
const HARMLESS_TO_NAMES: [Fault; 8] = [
    Fault::Manners,
    Fault::SlowDisk,
    Fault::FullDisk,
    Fault::Crash,
    Fault::Pests,
    Fault::WallClock,
    Fault::FlappingNames,
    Fault::ForgedNames,
];
const ON_PCT: u8 = 40;
/// Of all seeds; some are light by chance as well.
const LIGHT_PCT: u8 = 15;
/// Odd, so that no two seeds share what they draw.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_on_in_some_seeds_and_off_in_others_beside_every_other() {
        let drawn: Vec<_> = (0..300).map(Faults::drawn).collect();
        for one in Fault::ALL {
            for other in Fault::ALL.into_iter().filter(|other| *other != one) {
                let both = drawn.iter().filter(|faults| faults.has(one) && faults.has(other)).count();
                let only = drawn.iter().filter(|faults| faults.has(one) && !faults.has(other)).count();
                assert!(both > 15 && only > 30, "{one:?} {other:?} {both} {only}");
            }
        }
        assert!(drawn.iter().filter(|faults| faults.are_light()).count() >= 30);
    }

    #[test]
    fn kinds_come_and_go_one_by_one() {
        let faults = Faults::NONE.with(Fault::Nat).with(Fault::Loss);
        assert_eq!(faults.to_string(), "loss,nat");
        assert_eq!(faults.without(Fault::Nat).to_string(), "loss");
        assert_eq!(Faults::NONE.to_string(), "none");
        assert!(!faults.are_light() && faults.without(Fault::Nat).are_light());
    }
}
