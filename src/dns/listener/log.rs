//! The query log: the last questions of clients and what they came to, in a ring that never grows.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::UnixTime;
use crate::wire::dns::{Kind, Name, Rcode};

/// One question of a client, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// For what.
    pub name: Name,
    /// The rest.
    pub facts: Facts,
}

/// What there is to know of a question but its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// When it was answered.
    pub at: UnixTime,
    /// Who asked.
    pub client: IpAddr,
    /// It came over TCP.
    pub over_stream: bool,
    /// Of what type.
    pub kind: Kind,
    /// What it was told; `None`: nothing.
    pub rcode: Option<Rcode>,
    /// Who knew.
    pub from: From,
    /// How long it took.
    pub elapsed: Duration,
}

/// Who knew what was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// A local zone.
    Zone,
    /// A rule of the policy list of this number.
    Policy(u16),
    /// The hosts file.
    Hosts,
    /// What was remembered.
    Memory,
    /// What was remembered, after its time.
    Stale,
    /// A forwarder, just now.
    Forwarder,
    /// Nobody: it was refused, held back or went wrong.
    Nobody,
}

/// The last [`LOGGED_MAX`] questions.
#[derive(Default)]
pub struct Log {
    ring: Vec<Logged>,
    next: usize,
}

impl Log {
    /// Takes up one, in place of the oldest if there is no room.
    pub fn push(&mut self, name: &Name, facts: Facts) {
        if self.ring.len() < LOGGED_MAX {
            self.ring.push(Logged { name: name.clone(), facts });
            return;
        }
        let oldest = &mut self.ring[self.next];
        oldest.name.clone_from(name);
        oldest.facts = facts;
        self.next = (self.next + 1) % LOGGED_MAX;
    }

    /// All that are remembered, the newest first.
    pub fn iter(&self) -> impl Iterator<Item = &Logged> {
        let (newer, older) = self.ring.split_at(self.next);
        newer.iter().rev().chain(older.iter().rev())
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// True if none is.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }
}

impl From {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zone => "zone",
            Self::Policy(_) => "policy",
            Self::Hosts => "hosts",
            Self::Memory => "memory",
            Self::Stale => "stale",
            Self::Forwarder => "forwarder",
            Self::Nobody => "nobody",
        }
    }
}

/// Some minutes of a busy household; 1.4 MB once it is full.
pub const LOGGED_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_come_first_and_the_oldest_go() {
        let mut log = Log::default();
        let name = |nth: u64| Name::parse(&format!("{}x.test", "a".repeat(nth as usize % 9))).unwrap();
        for nth in 0..LOGGED_MAX as u64 + 10 {
            let facts = Facts {
                at: UnixTime(nth),
                client: IpAddr::from([127, 0, 0, 1]),
                over_stream: false,
                kind: Kind::A,
                rcode: None,
                from: From::Nobody,
                elapsed: Duration::ZERO,
            };
            log.push(&name(nth), facts);
        }
        let at: Vec<_> = log.iter().map(|logged| logged.facts.at.0).collect();
        assert_eq!((log.len(), at[0], at[LOGGED_MAX - 1]), (LOGGED_MAX, LOGGED_MAX as u64 + 9, 10));
        assert!(log.iter().all(|logged| logged.name == name(logged.facts.at.0)));
        assert!(at.is_sorted_by(|a, b| a > b));
    }
}
