//! Who has which connections and look-ups under way, and who may have more: what is named by
//! addresses of which nothing good is known shares a part of them all.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::Source;
use super::credit::Belief;
use super::turns::Line;
use crate::base::hash::{self, Map};
use crate::base::{InfoHash, Instant, Rng};

/// What the engine may have at once; 0 is no limit.
#[derive(Clone, Copy, Debug)]
pub struct Caps {
    /// Connections that are not established yet.
    pub half_open: usize,
    /// Fetches.
    pub fetches: usize,
}

/// The books.
pub struct Shares {
    caps: Caps,
    connections: Map<(InfoHash, SocketAddr), UnderWay>,
    lookups: Map<InfoHash, UnderWay>,
    connecting: Counts,
    fetching: Counts,
    looking: Counts,
    /// Fetches and look-ups of each address.
    by_address: Map<IpAddr, (u32, u32)>,
    /// When something that is not doubted was last begun or had to wait.
    wanted_at: Option<Instant>,
}

/// One connection or look-up.
#[derive(Clone, Copy)]
struct UnderWay {
    line: Line,
    belief: Belief,
    since: Instant,
    /// A connection that is not open yet.
    connecting: bool,
}

/// By source and belief.
#[derive(Clone, Copy, Default)]
struct Counts([[u32; 3]; Source::COUNT]);

impl Shares {
    /// Nothing is under way.
    pub fn new(rng: &mut Rng) -> Self {
        Self {
            caps: Caps { half_open: 0, fetches: 0 },
            connections: hash::map(rng),
            lookups: hash::map(rng),
            connecting: Counts::default(),
            fetching: Counts::default(),
            looking: Counts::default(),
            by_address: hash::map(rng),
            wanted_at: None,
        }
    }

    /// Changes the limits that shares are of.
    pub fn set_caps(&mut self, caps: Caps) {
        self.caps = caps;
    }

    /// Hashes of one belief that may have peers at hand: those of more than can soon be fetched
    /// grow old.
    pub fn ahead(&self, belief: Belief) -> usize {
        let most = capped(self.caps.fetches).clamp(1, READY_MAX / 2) * 2;
        if belief == Belief::Doubted { part(most, DOUBTED_PART) } else { most }
    }

    /// Whether one more connection may be made for hashes of such source and belief.
    pub fn may_connect(&self, source: Source, belief: Belief, now: Instant) -> bool {
        if source == Source::Command {
            return true;
        }
        let within = |counts: &Counts, cap: usize| {
            let most = match belief {
                Belief::Proved => cap,
                Belief::Unknown if source == Source::Sampled => part(cap, UNKNOWN_PART),
                Belief::Unknown => part(cap, RESERVED_PART),
                Belief::Doubted if self.is_contended(now) => part(cap, DOUBTED_PART),
                Belief::Doubted => part(cap, UNKNOWN_PART),
            };
            let alike = match belief {
                Belief::Doubted => counts.doubted(),
                _ => counts.of(source, belief),
            };
            let of_source = if source == Source::Sampled { cap } else { cap - cap / RESERVED_PART };
            alike < most && counts.of_source(source) < of_source.max(1)
        };
        within(&self.connecting, capped(self.caps.half_open))
            && within(&self.fetching, capped(self.caps.fetches))
    }

    /// Whether one more look-up may be made for hashes of such source and belief.
    pub fn may_look_up(&self, source: Source, belief: Belief) -> bool {
        if source == Source::Command {
            return true;
        }
        let of_source = if source == Source::Wanted { LOOKUPS_WANTED } else { usize::MAX };
        let within = match belief {
            Belief::Proved => true,
            Belief::Unknown => self.looking.of(source, belief) < LOOKUPS_UNKNOWN,
            Belief::Doubted => self.looking.doubted() < LOOKUPS_DOUBTED,
        };
        within && self.looking.of_source(source) < of_source
    }

    /// Whether one more connection may be made for what this address named.
    pub fn has_room(&self, (source, from): Line, belief: Belief) -> bool {
        let fetches = self.by_address.get(&from).map_or(0, |(fetches, _)| *fetches as usize);
        let most = match belief {
            _ if source == Source::Command || from.is_unspecified() => return true,
            Belief::Proved => part(capped(self.caps.fetches), PROVED_ADDRESS_PART).max(AT_ONCE),
            Belief::Unknown if source == Source::Announced => 1,
            Belief::Unknown => AT_ONCE,
            Belief::Doubted => 1,
        };
        fetches < most
    }

    /// Whether one more look-up may be made for what this address named.
    pub fn has_lookup_room(&self, (source, from): Line, belief: Belief) -> bool {
        let lookups = self.by_address.get(&from).map_or(0, |(_, lookups)| *lookups as usize);
        let most = match belief {
            _ if source == Source::Command || from.is_unspecified() => return true,
            Belief::Proved => LOOKUPS_PROVED_ADDRESS,
            Belief::Unknown => AT_ONCE,
            Belief::Doubted => 1,
        };
        lookups < most
    }

    /// A connection is made.
    pub fn connect(&mut self, hash: InfoHash, to: SocketAddr, (line, belief): (Line, Belief), now: Instant) {
        self.note_wanted(belief, now);
        let under_way = UnderWay { line, belief, since: now, connecting: true };
        if self.connections.insert((hash, to), under_way).is_none() {
            self.connecting.add(line.0, belief);
            self.fetching.add(line.0, belief);
            self.by_address.entry(line.1).or_default().0 += 1;
        }
    }

    /// It is open.
    pub fn opened(&mut self, hash: InfoHash, to: SocketAddr) {
        if let Some(connection) = self.connections.get_mut(&(hash, to))
            && std::mem::take(&mut connection.connecting)
        {
            self.connecting.take(connection.line.0, connection.belief);
        }
    }

    /// It is over: where it was counted, and how long it took.
    pub fn disconnect(&mut self, hash: InfoHash, to: SocketAddr, now: Instant) -> Option<(Line, Duration)> {
        let ended = self.connections.remove(&(hash, to))?;
        if ended.connecting {
            self.connecting.take(ended.line.0, ended.belief);
        }
        self.fetching.take(ended.line.0, ended.belief);
        self.leave(ended.line.1, |(fetches, _)| *fetches -= 1);
        Some((ended.line, now.since(ended.since)))
    }

    /// Where a connection is counted.
    pub fn line_of(&self, hash: InfoHash, to: SocketAddr) -> Option<Line> {
        self.connections.get(&(hash, to)).map(|connection| connection.line)
    }

    /// When a connection was made.
    pub fn begun_at(&self, hash: InfoHash, to: SocketAddr) -> Option<Instant> {
        self.connections.get(&(hash, to)).map(|connection| connection.since)
    }

    /// A look-up begins.
    pub fn look_up(&mut self, hash: InfoHash, (line, belief): (Line, Belief), now: Instant) {
        let under_way = UnderWay { line, belief, since: now, connecting: false };
        if self.lookups.insert(hash, under_way).is_none() {
            self.looking.add(line.0, belief);
            self.by_address.entry(line.1).or_default().1 += 1;
        }
    }

    /// It is over: where it was counted.
    pub fn looked_up(&mut self, hash: InfoHash) -> Option<Line> {
        let ended = self.lookups.remove(&hash)?;
        self.looking.take(ended.line.0, ended.belief);
        self.leave(ended.line.1, |(_, lookups)| *lookups -= 1);
        Some(ended.line)
    }

    /// Something of this belief is begun, or waits.
    pub fn note_wanted(&mut self, belief: Belief, now: Instant) {
        if belief != Belief::Doubted {
            self.wanted_at = Some(now);
        }
    }

    /// Panics if it contradicts itself: `trying` connections and `looking` look-ups are under way.
    pub fn check_invariants(&self, trying: usize, looking: usize) {
        assert_eq!((self.connections.len(), self.lookups.len()), (trying, looking));
        assert_eq!((self.fetching.sum(), self.looking.sum()), (trying, looking));
        let connecting = self.connections.values().filter(|connection| connection.connecting).count();
        assert_eq!(self.connecting.sum(), connecting);
        let sum = |all: (usize, usize), one: &(u32, u32)| (all.0 + one.0 as usize, all.1 + one.1 as usize);
        assert_eq!(self.by_address.values().fold((0, 0), sum), (trying, looking));
    }

    fn leave(&mut self, from: IpAddr, change: impl FnOnce(&mut (u32, u32))) {
        if let Some(counts) = self.by_address.get_mut(&from) {
            change(counts);
            if *counts == (0, 0) {
                self.by_address.remove(&from);
            }
        }
    }

    /// Somebody else had use for what doubted ones would take.
    fn is_contended(&self, now: Instant) -> bool {
        self.wanted_at.is_some_and(|at| now.since(at) < CONTENDED_FOR)
    }
}

impl Counts {
    fn add(&mut self, source: Source, belief: Belief) {
        self.0[source as usize][belief as usize] += 1;
    }

    fn take(&mut self, source: Source, belief: Belief) {
        self.0[source as usize][belief as usize] -= 1;
    }

    fn of(&self, source: Source, belief: Belief) -> usize {
        self.0[source as usize][belief as usize] as usize
    }

    fn of_source(&self, source: Source) -> usize {
        self.0[source as usize].iter().sum::<u32>() as usize
    }

    fn doubted(&self) -> usize {
        self.0.iter().map(|of_source| of_source[Belief::Doubted as usize]).sum::<u32>() as usize
    }

    fn sum(&self) -> usize {
        self.0.iter().flatten().sum::<u32>() as usize
    }
}

fn capped(cap: usize) -> usize {
    if cap == 0 { UNLIMITED } else { cap }
}

fn part(cap: usize, part: usize) -> usize {
    (cap / part).max(1)
}

/// Shares without a limit are shares of this.
const UNLIMITED: usize = 4_000;
/// What is sampled from unknown nodes has half of everything.
const UNKNOWN_PART: usize = 2;
/// What is doubted has an eighth in all, while anything else has use for the rest.
const DOUBTED_PART: usize = 8;
/// Announces by unknown addresses have a quarter, and all announces leave a quarter to what is
/// sampled; `get_peers` likewise.
const RESERVED_PART: usize = 4;
/// One address that has proved itself has an eighth.
const PROVED_ADDRESS_PART: usize = 8;
/// Under way for one unknown address, of connections and of look-ups.
const AT_ONCE: usize = 4;
/// Look-ups, of the 512 that the engine has under way at most.
const LOOKUPS_UNKNOWN: usize = 256;
const LOOKUPS_DOUBTED: usize = 32;
const LOOKUPS_WANTED: usize = 128;
const LOOKUPS_PROVED_ADDRESS: usize = 64;
/// Hashes with peers that wait for a connection.
const READY_MAX: usize = 8_000;
/// About as long as a connection that is not answered takes.
const CONTENDED_FOR: Duration = Duration::from_secs(5);
