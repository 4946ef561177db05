//! What the addresses that name hashes have earned. A torrent that was fetched gives credit to the
//! address that named it and to the network around it; what led nowhere takes credit, and time
//! gives it back. Everything that serves fairness is remembered here, for a bounded number of them.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::hash::{self, Map};
use crate::base::{Instant, Network, Rng};

/// How far hashes are believed in that an address names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Belief {
    /// It named a torrent that was fetched, and has credit left.
    Proved,
    /// Nothing is known of it yet.
    Unknown,
    /// What it named of late led nowhere.
    Doubted,
}

/// How credit comes and goes.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// What there is at first, and what time gives back.
    pub start: i32,
    /// What time gives back each minute.
    pub per_minute: i32,
    /// It falls no lower.
    pub least: i32,
    /// It rises no higher.
    pub most: i32,
}

/// One account.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    credit: i32,
    /// Something named by it was fetched.
    earned: bool,
    /// When `credit` was right.
    at: Instant,
    /// The slot time that it had is even with others' by then.
    due: Instant,
}

/// All accounts.
pub struct Credit {
    addresses: Recent<IpAddr>,
    networks: Recent<Network>,
}

/// Accounts of which those that were not used for long are forgotten: two generations, of which the
/// older one is let go when the younger is full.
pub struct Recent<K> {
    young: Map<K, Account>,
    old: Map<K, Account>,
}

impl Account {
    /// A fresh one.
    pub fn new(terms: Terms, now: Instant) -> Self {
        Self { credit: terms.start, earned: false, at: now, due: now }
    }

    /// What is left now.
    pub fn left(&self, terms: Terms, now: Instant) -> i32 {
        self.credit.saturating_add(self.given(terms, now)).min(terms.start.max(self.credit))
    }

    /// Takes or gives credit.
    pub fn change(&mut self, by: i32, terms: Terms, now: Instant) {
        let (left, given) = (self.left(terms, now), self.given(terms, now));
        // Time that has not given a whole unit yet counts on.
        self.at = if left >= terms.start { now } else { self.at + given_in(given, terms) };
        self.credit = left.saturating_add(by).clamp(terms.least, terms.most);
    }

    /// Nothing was left when it was last looked at.
    pub fn is_empty(&self) -> bool {
        self.credit < 1
    }

    /// What time has given since `at`.
    fn given(&self, terms: Terms, now: Instant) -> i32 {
        let given = now.since(self.at).as_millis() * u128::from(terms.per_minute.unsigned_abs()) / 60_000;
        i32::try_from(given).unwrap_or(i32::MAX)
    }

    /// When so much will be left, if nothing changes; at most `start` comes by itself.
    pub fn ready_at(&self, wanted: i32, terms: Terms) -> Instant {
        self.at + given_in((wanted.min(terms.start) - self.credit).max(0), terms)
    }
}

impl Credit {
    /// Nothing is known of any address.
    pub fn new(rng: &mut Rng) -> Self {
        Self { addresses: Recent::new(rng), networks: Recent::new(rng) }
    }

    /// What hashes that `from` names are worth. What nothing is known of (unspecified: restored, or
    /// asked for by command) is never doubted.
    pub fn belief(&self, from: IpAddr, now: Instant) -> Belief {
        let own = self.addresses.get(&from);
        let left = own.map_or(ADDRESS.start, |account| account.left(ADDRESS, now));
        let earned = own.is_some_and(|account| account.earned);
        let around = || {
            let network = self.networks.get(&Network::around(from));
            network.map_or(NETWORK.start, |account| account.left(NETWORK, now))
        };
        match earned {
            true if left >= 1 => Belief::Proved,
            false if left >= 1 && (from.is_unspecified() || around() >= 1) => Belief::Unknown,
            _ => Belief::Doubted,
        }
    }

    /// A torrent that `from` named was fetched.
    pub fn earn(&mut self, from: IpAddr, now: Instant) {
        let own = self.addresses.entry(from, ADDRESS, now);
        own.change(EARNED, ADDRESS, now);
        own.earned = true;
        self.networks.entry(Network::around(from), NETWORK, now).change(EARNED, NETWORK, now);
    }

    /// What `from` named led nowhere.
    pub fn spend(&mut self, from: IpAddr, cost: i32, now: Instant) {
        if !from.is_unspecified() {
            self.addresses.entry(from, ADDRESS, now).change(-cost, ADDRESS, now);
            self.networks.entry(Network::around(from), NETWORK, now).change(-cost, NETWORK, now);
        }
    }

    /// From when on an address may have its next turn, by the slot time that it and the network
    /// around it had.
    pub fn due(&self, from: IpAddr, now: Instant) -> Instant {
        let own = self.addresses.get(&from).map_or(now, |account| account.due);
        let around = self.networks.get(&Network::around(from)).map_or(now, |account| account.due);
        own.max(around).max(now)
    }

    /// An address had a slot for so long.
    pub fn charge(&mut self, from: IpAddr, held: Duration, now: Instant) {
        let own = self.addresses.entry(from, ADDRESS, now);
        own.due = (own.due.max(now) + held).min(now + DUE_MAX);
        // The addresses of a network take turns as if they were a few.
        let around = self.networks.entry(Network::around(from), NETWORK, now);
        around.due = (around.due.max(now) + held / NETWORK_WEIGHT).min(now + DUE_MAX);
    }
}

impl<K: std::hash::Hash + Eq + Copy> Recent<K> {
    /// None yet.
    pub fn new(rng: &mut Rng) -> Self {
        Self { young: hash::map(rng), old: hash::map(rng) }
    }

    /// The account, if it is remembered.
    pub fn get(&self, key: &K) -> Option<&Account> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// The account, a fresh one if need be.
    pub fn entry(&mut self, key: K, terms: Terms, now: Instant) -> &mut Account {
        if self.young.len() >= GENERATION_MAX && !self.young.contains_key(&key) {
            std::mem::swap(&mut self.young, &mut self.old);
            self.young.clear();
        }
        let old = &mut self.old;
        self.young.entry(key).or_insert_with(|| old.remove(&key).unwrap_or_else(|| Account::new(terms, now)))
    }
}

/// How long time takes to give so much.
fn given_in(credit: i32, terms: Terms) -> Duration {
    let millis = u64::from(credit.unsigned_abs()) * 60_000;
    Duration::from_millis(millis.div_ceil(u64::from(terms.per_minute.unsigned_abs().max(1))))
}

/// Four failures are bad luck where one torrent of four can be fetched at all; one that was
/// fetched makes up for eight that could not.
const ADDRESS: Terms = Terms { start: 4, per_minute: 1, least: -12, most: 64 };
/// The same for all addresses of a network together.
const NETWORK: Terms = Terms { start: 32, per_minute: 8, least: -96, most: 512 };
const EARNED: i32 = 8;
/// How many addresses' share one network gets.
const NETWORK_WEIGHT: u32 = 4;
/// Nothing is held against an address for longer than this.
const DUE_MAX: Duration = Duration::from_secs(60);
/// Accounts of each kind: two generations of 32,768, about 64 bytes each: 8 MiB in all.
const GENERATION_MAX: usize = 32_768;

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::from_millis(1_000_000 + secs * 1_000)
    }

    fn ip(n: u32) -> IpAddr {
        (0x0b00_0000 + n).to_be_bytes().into()
    }

    #[test]
    fn what_led_nowhere_lowers_the_next_and_time_gives_back() {
        let mut credit = Credit::new(&mut Rng::seeded(1));
        assert_eq!(credit.belief(ip(1), at(0)), Belief::Unknown);
        (0..4).for_each(|_| credit.spend(ip(1), 1, at(0)));
        assert_eq!(credit.belief(ip(1), at(0)), Belief::Doubted);
        assert_eq!(credit.belief(ip(2), at(0)), Belief::Unknown, "another address of that network");
        assert_eq!(credit.belief(ip(1), at(60)), Belief::Unknown);
        (0..100).for_each(|_| credit.spend(ip(1), 1, at(60)));
        assert_eq!(credit.belief(ip(1), at(60 + 12 * 60)), Belief::Doubted);
        assert_eq!(credit.belief(ip(1), at(60 + 13 * 60)), Belief::Unknown, "and nothing lasts for ever");
    }

    #[test]
    fn changes_in_short_order_do_not_stop_what_time_gives() {
        let mut account = Account::new(ADDRESS, at(0));
        account.change(-16, ADDRESS, at(0));
        for sec in (0..600).step_by(30) {
            account.change(0, ADDRESS, at(sec));
        }
        assert_eq!(account.left(ADDRESS, at(600)), -12 + 10);
        assert_eq!(account.ready_at(1, ADDRESS).max(at(0)), at(13 * 60));
    }

    #[test]
    fn many_addresses_of_one_network_use_up_what_it_has() {
        let mut credit = Credit::new(&mut Rng::seeded(1));
        (0..32).for_each(|n| credit.spend(ip(n), 1, at(0)));
        assert_eq!(credit.belief(ip(77), at(0)), Belief::Doubted);
        assert_eq!(credit.belief(ip(256), at(0)), Belief::Unknown, "the network beside it");
        credit.earn(ip(78), at(0));
        assert_eq!(credit.belief(ip(78), at(0)), Belief::Proved, "whatever its neighbours do");
    }

    #[test]
    fn one_torrent_in_nine_is_enough_to_be_believed() {
        let mut credit = Credit::new(&mut Rng::seeded(1));
        for _ in 0..50 {
            credit.earn(ip(1), at(0));
            (0..8).for_each(|_| credit.spend(ip(1), 1, at(0)));
        }
        assert_eq!(credit.belief(ip(1), at(0)), Belief::Proved);
    }

    #[test]
    fn accounts_are_bounded_and_those_in_use_stay() {
        let mut credit = Credit::new(&mut Rng::seeded(1));
        for n in 0..200_000 {
            credit.spend(ip(n), 1, at(0));
            credit.charge(ip(7), Duration::from_millis(1), at(0));
        }
        assert!(credit.addresses.young.len() + credit.addresses.old.len() <= 2 * GENERATION_MAX);
        assert_eq!(credit.due(ip(7), at(0)), at(60), "nothing lasts for ever");
    }
}
