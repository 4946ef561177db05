//! How much memory info dictionaries may take before they are verified: all together, from one
//! address, and from one network.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::base::Network;

/// Bytes that all fetches together may hold; clones share one count.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Mutex<Ledger>>);

#[derive(Debug)]
struct Ledger {
    bytes: u64,
    left: u64,
    by_address: BTreeMap<IpAddr, u64>,
    by_network: BTreeMap<Network, u64>,
}

/// A share of a [`Budget`]; dropping it gives it back.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    from: IpAddr,
    bytes: u64,
}

/// Why there is no more memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// All of it is reserved.
    All,
    /// The address or its network has its share.
    Share,
}

impl Budget {
    /// A budget of so many bytes.
    pub fn new(bytes: u64) -> Self {
        let (by_address, by_network) = (BTreeMap::new(), BTreeMap::new());
        Self(Arc::new(Mutex::new(Ledger { bytes, left: bytes, by_address, by_network })))
    }

    /// A share for what comes from this address, of nothing yet.
    pub fn empty_share(&self, from: IpAddr) -> Reservation {
        Reservation { budget: self.clone(), from: from.to_canonical(), bytes: 0 }
    }

    /// Bytes that are not reserved.
    pub fn left(&self) -> u64 {
        self.with(|ledger| ledger.left)
    }

    /// So little is left that the slowest should make room.
    pub fn is_short(&self) -> bool {
        self.with(|ledger| ledger.left < ledger.bytes / SHORT_SHARE)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Ledger) -> T) -> T {
        // Sums are whole at every point where a panic could strike.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Ledger {
    fn take(&mut self, from: IpAddr, bytes: u64) -> Result<(), Exhausted> {
        let network = Network::around(from);
        let held = |sum: Option<&u64>| sum.copied().unwrap_or(0) + bytes;
        if held(self.by_address.get(&from)) > share(self.bytes, ADDRESS_SHARE)
            || held(self.by_network.get(&network)) > share(self.bytes, NETWORK_SHARE)
        {
            return Err(Exhausted::Share);
        }
        self.left = self.left.checked_sub(bytes).ok_or(Exhausted::All)?;
        *self.by_address.entry(from).or_default() += bytes;
        *self.by_network.entry(network).or_default() += bytes;
        Ok(())
    }

    fn give_back(&mut self, from: IpAddr, bytes: u64) {
        self.left += bytes;
        reduce(&mut self.by_address, from, bytes);
        reduce(&mut self.by_network, Network::around(from), bytes);
    }
}

impl Reservation {
    /// Takes as much more as `bytes` in all need.
    pub fn grow_to(&mut self, bytes: u64) -> Result<(), Exhausted> {
        let more = bytes.saturating_sub(self.bytes);
        self.budget.with(|ledger| ledger.take(self.from, more))?;
        self.bytes += more;
        Ok(())
    }

    /// How much it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.with(|ledger| ledger.give_back(self.from, self.bytes));
        }
    }
}

fn reduce<K: Ord>(sums: &mut BTreeMap<K, u64>, key: K, bytes: u64) {
    if let Some(sum) = sums.get_mut(&key) {
        *sum = sum.saturating_sub(bytes);
        if *sum == 0 {
            sums.remove(&key);
        }
    }
}

/// Never less than the largest dictionary needs.
fn share(bytes: u64, (part, of): (u64, u64)) -> u64 {
    (bytes / of * part).max(METADATA_MAX as u64).min(bytes)
}

/// The largest dictionary that is fetched: 16 MiB, as anacrolix/torrent; libtorrent makes 4.
pub const METADATA_MAX: usize = 16 << 20;
/// What one address may have: of the usual 64 MiB, one of the largest dictionaries.
const ADDRESS_SHARE: (u64, u64) = (1, 4);
/// What a /24 or /48 may have.
const NETWORK_SHARE: (u64, u64) = (3, 8);
/// When less than one in so many is left, there is contention.
const SHORT_SHARE: u64 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn an_address_and_a_network_have_their_share_and_all_comes_back() {
        let total = 64 << 20;
        let budget = Budget::new(total);
        let (mut one, mut other, mut third) =
            (budget.empty_share(ip(1)), budget.empty_share(ip(2)), budget.empty_share(ip(3)));
        assert_eq!(one.grow_to(16 << 20), Ok(()));
        assert_eq!(budget.empty_share(ip(1)).grow_to(1), Err(Exhausted::Share));
        assert_eq!(other.grow_to(8 << 20), Ok(()));
        assert_eq!(third.grow_to(1), Err(Exhausted::Share), "their network has its share");
        let mut far = budget.empty_share(IpAddr::from([198, 51, 100, 1]));
        assert_eq!(far.grow_to(16 << 20), Ok(()));
        assert_eq!((budget.left(), budget.is_short()), (24 << 20, false));
        let mut farther = budget.empty_share(IpAddr::from([203, 0, 113, 1]));
        assert_eq!(farther.grow_to(16 << 20), Ok(()));
        assert!(budget.is_short());
        let mut last = budget.empty_share("2001:db8::1".parse().unwrap());
        assert_eq!(last.grow_to(9 << 20), Err(Exhausted::All));
        assert_eq!(last.grow_to(8 << 20), Ok(()));
        drop((one, other, third, far, farther, last));
        assert_eq!(budget.left(), total);
        assert!(budget.with(|ledger| ledger.by_address.is_empty() && ledger.by_network.is_empty()));
    }

    #[test]
    fn a_small_budget_is_one_share() {
        let budget = Budget::new(40_000);
        let mut share = budget.empty_share(ip(1));
        assert_eq!(share.grow_to(40_000), Ok(()));
        assert_eq!(share.grow_to(20_000), Ok(()), "it has that");
        assert_eq!((budget.left(), share.bytes()), (0, 40_000));
    }
}
