//! Answers by question, in memory: bounded in entries and bytes, kept a while after they expire
//! (RFC 8767), and told when they are asked for often enough to be renewed before they do.

use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;

use super::answer::Answer;
use crate::base::{Instant, Rng, hash};
use crate::wire::dns::{Kind, NAME_MAX, Name};

/// What is asked: a name, a type, and what changes the answer. Equal questions are equal bytes.
#[derive(Clone, Copy)]
pub struct Key {
    len: u16,
    bytes: [u8; NAME_MAX + 3],
}

/// The two flags of a query that change what is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Variant {
    /// DNSSEC's records are wanted too (RFC 3225).
    pub dnssec_ok: bool,
    /// Whoever asks validates for himself (RFC 4035, section 3.2.2).
    pub checking_disabled: bool,
}

/// Bounds and lifetimes.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Entries at most.
    pub entries_max: usize,
    /// Bytes at most, of keys and messages.
    pub bytes_max: usize,
    /// No TTL is taken for longer, in seconds.
    pub ttl_max: u32,
    /// How long after its expiry an answer may still be given if no better is to be had.
    pub stale_max: Duration,
}

/// One remembered answer.
pub struct Entry {
    key: Box<[u8]>,
    hash: u64,
    /// What is answered.
    pub answer: Arc<Answer>,
    /// When it is no longer fresh.
    pub expires: Instant,
    /// When it may not even be given for want of better any more.
    usable_until: Instant,
    /// After its expiry it could not be renewed: nobody is asked again before this.
    pub retry_at: Instant,
    /// Where it came from: the archive, not a forwarder, since the start.
    pub from_archive: bool,
    hits: u32,
    /// Asked for since the hand came by.
    used: bool,
    /// It is being renewed before its time.
    renewing: bool,
}

/// How good a remembered answer is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// It holds for so many seconds more.
    Fresh(u32),
    /// The same, and it is wanted often enough to be renewed now. Said once.
    Renew(u32),
    /// It expired, but may be given if there is no better.
    Stale,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Fresh answers given.
    pub hits: u64,
    /// Questions for which nothing fresh was there.
    pub misses: u64,
    /// Answers given after their time.
    pub stale: u64,
    /// Answers renewed before their time.
    pub renewals: u64,
    /// Entries that had to go to make room.
    pub evicted: u64,
}

/// The memory of a resolver.
pub struct Cache {
    config: Config,
    state: hash::State,
    index: HashTable<u32>,
    /// Without gaps: the last takes the place of one that is taken out.
    slots: Vec<Entry>,
    hand: usize,
    bytes: usize,
    /// Answers about IPv4 addresses: one for each host, since both families are asked for at once.
    hosts: usize,
    /// What was counted.
    pub stats: Stats,
}

/// What people want to know of the memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Host names that are remembered.
    pub hosts: usize,
    /// Some of them, at most [`SUMMARY_NAMES_MAX`], in alphabetical order.
    pub names: Vec<String>,
    /// Answers of all types.
    pub answers: usize,
    /// Bytes of keys and messages.
    pub bytes: usize,
    /// What was counted.
    pub stats: Stats,
}

impl Key {
    /// The key of a question.
    pub fn new(name: &Name, kind: Kind, variant: Variant) -> Self {
        let wire = name.wire();
        let mut key = Self { len: wire.len() as u16 + 3, bytes: [0; NAME_MAX + 3] };
        key.bytes[..wire.len()].copy_from_slice(wire);
        key.bytes[wire.len()..wire.len() + 2].copy_from_slice(&kind.0.to_be_bytes());
        key.bytes[wire.len() + 2] = u8::from(variant.dnssec_ok) | u8::from(variant.checking_disabled) << 1;
        key
    }

    /// As bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// What is asked: the name in wire form, the type, what changes the answer.
    pub fn question(&self) -> (&[u8], Kind, Variant) {
        let [.., high, low, flags] = *self.bytes() else { return (&[], Kind(0), Variant::default()) };
        (name_of(self.bytes()), Kind(u16::from_be_bytes([high, low])), variant(flags))
    }
}

/// The name of a [`Key`]'s bytes, in wire form.
pub fn name_of(key: &[u8]) -> &[u8] {
    key.split_last_chunk::<3>().map_or(&[], |(name, _)| name)
}

fn variant(flags: u8) -> Variant {
    Variant { dnssec_ok: flags & 1 != 0, checking_disabled: flags & 2 != 0 }
}

/// The question of a [`Key`]'s bytes; `None` if they are none.
pub fn split_key(bytes: &[u8]) -> Option<(Name, Kind, Variant)> {
    let (name, [high, low, flags]) = bytes.split_last_chunk::<3>()?;
    Some((Name::from_wire(name)?, Kind(u16::from_be_bytes([*high, *low])), variant(*flags)))
}

impl Config {
    /// What suits a crawler box: the seed's hour, a day of stale answers, 32 MiB.
    pub const DEFAULT: Self = Self {
        entries_max: 100_000,
        bytes_max: 32 << 20,
        ttl_max: 3_600,
        stale_max: Duration::from_secs(86_400),
    };
}

impl Cache {
    /// An empty cache.
    pub fn new(config: Config, rng: &mut Rng) -> Self {
        Self {
            config,
            state: hash::state(rng),
            index: HashTable::new(),
            slots: Vec::new(),
            hand: 0,
            bytes: 0,
            hosts: 0,
            stats: Stats::default(),
        }
    }

    /// How many answers are remembered.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// True if nothing is.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Bytes that keys and messages take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What people want to know, in a bounded time.
    pub fn summary(&self) -> Summary {
        let looked_at = self.slots.iter().take(SUMMARY_SLOTS_MAX);
        let hosts = looked_at.filter(|entry| is_host(&entry.key)).take(SUMMARY_NAMES_MAX);
        let name = |entry: &Entry| split_key(&entry.key).map(|(name, ..)| name.to_string());
        let mut names: Vec<String> = hosts.filter_map(name).collect();
        for name in names.iter_mut().filter(|name| name.len() > 1 && name.ends_with('.')) {
            name.pop();
        }
        names.sort_unstable();
        let (answers, bytes) = (self.len(), self.bytes);
        Summary { hosts: self.hosts, names, answers, bytes, stats: self.stats }
    }

    /// What is remembered of a question, and how good it is.
    pub fn find(&mut self, key: &Key, now: Instant) -> Option<(&Entry, Freshness)> {
        let Some(slot) = self.slot(key.bytes()) else {
            self.stats.misses += 1;
            return None;
        };
        let entry = &mut self.slots[slot];
        entry.used = true;
        if entry.expires <= now {
            self.stats.misses += 1;
            return (now < entry.usable_until).then_some((&*entry, Freshness::Stale));
        }
        self.stats.hits += 1;
        entry.hits = entry.hits.saturating_add(1);
        let left = entry.expires.since(now).as_secs() as u32;
        let due = left < entry.answer.ttl / RENEW_SHARE && entry.hits >= RENEW_HITS;
        if due && !std::mem::replace(&mut entry.renewing, true) {
            self.stats.renewals += 1;
            return Some((entry, Freshness::Renew(left)));
        }
        Some((entry, Freshness::Fresh(left)))
    }

    /// Remembers an answer in place of what was known. What must not be kept (a TTL of 0) is not,
    /// and leaves what was known.
    pub fn insert(&mut self, key: &Key, answer: Arc<Answer>, now: Instant) {
        self.insert_owned(key.bytes().into(), answer, now);
    }

    /// [`Cache::insert`] for who has a key to give away.
    pub(super) fn insert_owned(&mut self, key: Box<[u8]>, answer: Arc<Answer>, now: Instant) {
        if answer.ttl > 0 {
            let expires = now + Duration::from_secs(u64::from(answer.ttl));
            self.put(key, answer, (expires, expires + self.config.stale_max), false, now);
        }
    }

    /// Takes up what the archive had: `left` is how long it is still fresh, `stale` for how long it
    /// has not been.
    pub fn restore(&mut self, key: &[u8], answer: Answer, left: Duration, stale: Duration, now: Instant) {
        // The clock may have begun after it expired.
        let usable_for = left + self.config.stale_max.saturating_sub(stale);
        if split_key(key).is_some() && !usable_for.is_zero() {
            self.put(key.into(), Arc::new(answer), (now + left, now + usable_for), true, now);
        }
    }

    /// An answer could not be renewed (RFC 8767, section 5): it stays, and is given without asking
    /// for a while. It may be too old even for that: then `None`.
    pub fn not_renewed(&mut self, key: &[u8], now: Instant) -> Option<&Entry> {
        let slot = self.slot(key)?;
        let entry = &mut self.slots[slot];
        (entry.renewing, entry.retry_at) = (false, now + RETRY_PAUSE);
        (now < entry.usable_until).then_some(&*entry)
    }

    /// Whoever is asked now may know what others did not: nothing waits before it is asked again.
    pub fn retry_all(&mut self, now: Instant) {
        self.slots.iter_mut().for_each(|entry| entry.retry_at = entry.retry_at.min(now));
    }

    /// What is remembered of a question, fresh or not, without counting it as asked for.
    pub fn usable(&self, key: &[u8], now: Instant) -> Option<&Entry> {
        let entry = &self.slots[self.slot(key)?];
        (now < entry.usable_until).then_some(entry)
    }

    /// Forgets a question; true if it was known.
    pub fn remove(&mut self, key: &Key) -> bool {
        let slot = self.slot(key.bytes());
        slot.is_some_and(|slot| self.take(slot).is_some())
    }

    /// Forgets everything; how much it was.
    pub fn clear(&mut self) -> usize {
        let before = self.len();
        self.index.clear();
        self.slots.clear();
        (self.hand, self.bytes, self.hosts) = (0, 0, 0);
        before
    }

    /// Everything that is remembered: name, type, flags and the rest. In no order that means anything.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Entry)> {
        self.slots.iter().map(|entry| (&*entry.key, entry))
    }

    /// Panics if the bounds or the sums are wrong. For tests and the simulator.
    pub fn check_invariants(&self) {
        let live = &self.slots;
        assert_eq!(live.len(), self.index.len(), "entries");
        assert_eq!(live.iter().map(|entry| entry.size()).sum::<usize>(), self.bytes, "bytes");
        assert!(self.bytes <= self.config.bytes_max && live.len() <= self.config.entries_max, "bounds");
        assert!(live.iter().all(|entry| self.slot(&entry.key).is_some()), "every entry is found");
        assert_eq!(live.iter().filter(|entry| is_host(&entry.key)).count(), self.hosts, "hosts");
    }

    fn put(
        &mut self,
        key: Box<[u8]>,
        answer: Arc<Answer>,
        (expires, usable_until): (Instant, Instant),
        from_archive: bool,
        now: Instant,
    ) {
        let known = self.slot(&key).and_then(|slot| self.take(slot));
        let hits = known.map_or(0, |entry| entry.hits);
        let hash = self.hash(&key);
        let entry = Entry {
            key,
            hash,
            answer,
            expires,
            usable_until,
            retry_at: now,
            from_archive,
            hits,
            used: true,
            renewing: false,
        };
        if entry.size() > self.config.bytes_max || self.config.entries_max == 0 {
            return;
        }
        while self.bytes + entry.size() > self.config.bytes_max || self.len() >= self.config.entries_max {
            self.evict(now);
        }
        self.bytes += entry.size();
        self.hosts += usize::from(is_host(&entry.key));
        let slot = self.slots.len() as u32;
        self.slots.push(entry);
        let slots = &self.slots;
        let hash_of = |slot: &u32| slots[*slot as usize].hash;
        self.index.insert_unique(hash, slot, hash_of);
    }

    /// Takes out the first entry from the hand on that has expired or was not used since the hand
    /// came by last (the "clock" of paging systems); after [`CHANCES_MAX`] others any, since whoever asks
    /// could have all of them used.
    fn evict(&mut self, now: Instant) {
        for _ in 0..CHANCES_MAX {
            self.hand %= self.slots.len().max(1);
            let Some(entry) = self.slots.get_mut(self.hand) else { return };
            if entry.expires <= now || !std::mem::replace(&mut entry.used, false) {
                break;
            }
            self.hand += 1;
        }
        self.hand %= self.slots.len().max(1);
        if self.take(self.hand).is_some() {
            self.stats.evicted += 1;
        }
    }

    fn take(&mut self, slot: usize) -> Option<Entry> {
        let hash = self.slots.get(slot)?.hash;
        if let Ok(found) = self.index.find_entry(hash, |other| *other as usize == slot) {
            found.remove();
        }
        let entry = self.slots.swap_remove(slot);
        if let Some(moved) = self.slots.get(slot) {
            let from = self.slots.len() as u32;
            if let Some(place) = self.index.find_mut(moved.hash, |other| *other == from) {
                *place = slot as u32;
            }
        }
        self.bytes -= entry.size();
        self.hosts -= usize::from(is_host(&entry.key));
        Some(entry)
    }

    fn slot(&self, key: &[u8]) -> Option<usize> {
        let fits = |slot: &u32| *self.slots[*slot as usize].key == *key;
        self.index.find(self.hash(key), fits).map(|slot| *slot as usize)
    }

    /// Of a key's bytes; nobody outside can choose it.
    pub(super) fn hash(&self, key: &[u8]) -> u64 {
        use std::hash::BuildHasher as _;
        self.state.hash_one(key)
    }
}

impl Entry {
    /// Seconds since the answer was given.
    pub fn age(&self, now: Instant) -> u32 {
        let left = self.expires.since(now).as_secs().min(u64::from(self.answer.ttl));
        self.answer.ttl - left as u32
    }

    fn size(&self) -> usize {
        self.key.len() + self.answer.size() + size_of::<Self>()
    }
}

/// The key of a plain question for IPv4 addresses.
fn is_host(key: &[u8]) -> bool {
    let [high, low] = Kind::A.0.to_be_bytes();
    key.ends_with(&[high, low, 0])
}

/// Entries that are passed over for one that is to go: some microseconds.
const CHANCES_MAX: usize = 64;
/// Names that somebody may still read.
pub const SUMMARY_NAMES_MAX: usize = 1_000;
/// Some hundred microseconds' worth.
const SUMMARY_SLOTS_MAX: usize = 16_384;
/// In the last tenth of its life an answer is renewed if it is wanted, as unbound does.
const RENEW_SHARE: u32 = 10;
/// So often at least since the start.
const RENEW_HITS: u32 = 3;
/// The "failure recheck timer" of RFC 8767, section 5.
const RETRY_PAUSE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Config =
        Config { entries_max: 8, bytes_max: 4_096, ttl_max: 3_600, stale_max: Duration::from_secs(100) };

    fn key(text: &str) -> Key {
        Key::new(&Name::parse(text).unwrap(), Kind::A, Variant::default())
    }

    fn answer(text: &str, ttl: u32) -> Arc<Answer> {
        Arc::new(Answer::local((&Name::parse(text).unwrap(), Kind::A), ttl, &[vec![127, 0, 0, 1]]))
    }

    fn at(secs: u64) -> Instant {
        Instant::from_millis(1_000_000 + secs * 1_000)
    }

    fn freshness(cache: &mut Cache, name: &str, secs: u64) -> Option<Freshness> {
        cache.find(&key(name), at(secs)).map(|(_, freshness)| freshness)
    }

    #[test]
    fn an_answer_is_fresh_then_stale_then_gone() {
        let mut cache = Cache::new(SMALL, &mut Rng::seeded(1));
        cache.insert(&key("a.test"), answer("a.test", 60), at(0));
        assert_eq!(freshness(&mut cache, "A.TEST", 0), Some(Freshness::Fresh(60)));
        assert_eq!(freshness(&mut cache, "a.test", 59), Some(Freshness::Fresh(1)));
        assert_eq!(freshness(&mut cache, "a.test", 60), Some(Freshness::Stale));
        assert_eq!(freshness(&mut cache, "a.test", 159), Some(Freshness::Stale));
        assert_eq!(freshness(&mut cache, "a.test", 160), None);
        assert_eq!((cache.stats.hits, cache.stats.misses), (2, 3));
        cache.insert(&key("a.test"), answer("a.test", 0), at(70));
        assert_eq!(freshness(&mut cache, "a.test", 80), Some(Freshness::Stale), "a TTL of 0 is not kept");
    }

    #[test]
    fn what_expired_before_the_start_is_no_younger_after_it() {
        let config = Config { stale_max: Duration::from_secs(40), ..Config::DEFAULT };
        let mut cache = Cache::new(config, &mut Rng::seeded(1));
        let mut restore = |name: &str, stale| {
            let answer = Answer::clone(&answer(name, 60));
            cache.restore(key(name).bytes(), answer, Duration::ZERO, Duration::from_secs(stale), at(1));
        };
        restore("a.test", 30);
        restore("b.test", 40);
        assert_eq!(freshness(&mut cache, "a.test", 10), Some(Freshness::Stale));
        assert_eq!((freshness(&mut cache, "a.test", 11), freshness(&mut cache, "b.test", 1)), (None, None));
    }

    #[test]
    fn what_is_wanted_often_is_renewed_once_before_its_end() {
        let mut cache = Cache::new(SMALL, &mut Rng::seeded(1));
        cache.insert(&key("a.test"), answer("a.test", 100), at(0));
        assert_eq!(freshness(&mut cache, "a.test", 1), Some(Freshness::Fresh(99)));
        assert_eq!(freshness(&mut cache, "a.test", 95), Some(Freshness::Fresh(5)), "seldom wanted");
        assert_eq!(freshness(&mut cache, "a.test", 96), Some(Freshness::Renew(4)));
        assert_eq!(freshness(&mut cache, "a.test", 97), Some(Freshness::Fresh(3)));
        let kept = cache.not_renewed(key("a.test").bytes(), at(97)).unwrap();
        assert_eq!(kept.retry_at, at(97) + RETRY_PAUSE);
        assert_eq!(freshness(&mut cache, "a.test", 98), Some(Freshness::Renew(2)));
        assert!(cache.not_renewed(key("a.test").bytes(), at(200)).is_none(), "too old");
    }

    #[test]
    fn room_is_made_in_few_steps_whatever_is_used() {
        let config = Config { entries_max: 2_000, bytes_max: 1 << 20, ..Config::DEFAULT };
        let mut cache = Cache::new(config, &mut Rng::seeded(1));
        for nth in 0..2_000 {
            cache.insert(&key(&format!("n{nth}.test")), answer("a.test", 60), at(0));
        }
        // All are used again and again, so that the hand has none to take at once.
        for round in 0..100 {
            (0..2_000).for_each(|nth| _ = cache.find(&key(&format!("n{nth}.test")), at(1)));
            let before = cache.hand;
            cache.insert(&key(&format!("new{round}.test")), answer("a.test", 60), at(1));
            assert!((cache.hand + 2_000 - before) % 2_000 <= CHANCES_MAX, "{before} to {}", cache.hand);
            cache.check_invariants();
        }
        // A large one takes the place of many.
        let long = Name::parse("large.test").unwrap();
        let records = vec![vec![7; 60_000 / 64]; 64];
        let large = Arc::new(Answer::local((&long, Kind::TXT), 60, &records));
        (0..30).for_each(|nth| cache.insert(&key(&format!("l{nth}.test")), large.clone(), at(2)));
        cache.check_invariants();
        assert_eq!(cache.slots.len(), cache.len());
    }

    #[test]
    fn variants_of_a_question_are_kept_apart() {
        let mut cache = Cache::new(SMALL, &mut Rng::seeded(1));
        let name = Name::parse("a.test").unwrap();
        cache.insert(&key("a.test"), answer("a.test", 60), at(0));
        let signed = Variant { dnssec_ok: true, ..Variant::default() };
        assert!(cache.find(&Key::new(&name, Kind::A, signed), at(1)).is_none());
        assert!(cache.find(&Key::new(&name, Kind::AAAA, Variant::default()), at(1)).is_none());
        assert!(cache.remove(&key("a.test")) && !cache.remove(&key("a.test")) && cache.is_empty());
    }

    #[test]
    fn the_summary_counts_hosts_and_names_them() {
        let mut cache = Cache::new(SMALL, &mut Rng::seeded(1));
        let name = Name::parse("a.test").unwrap();
        for text in ["b.test", "a.test", "b.test"] {
            cache.insert(&key(text), answer(text, 60), at(0));
        }
        cache.insert(&Key::new(&name, Kind::AAAA, Variant::default()), answer("a.test", 60), at(0));
        let summary = cache.summary();
        assert_eq!((summary.hosts, summary.answers), (2, 3));
        assert_eq!(summary.names, ["a.test", "b.test"]);
        assert!(cache.remove(&key("b.test")));
        assert_eq!((cache.summary().hosts, cache.summary().names), (1, vec!["a.test".to_owned()]));
        cache.clear();
        assert_eq!(cache.summary(), Summary::default());
    }

    #[test]
    fn ttls_count_down_in_what_is_handed_out() {
        let mut cache = Cache::new(SMALL, &mut Rng::seeded(1));
        cache.insert(&key("a.test"), answer("a.test", 60), at(0));
        let (entry, _) = cache.find(&key("a.test"), at(25)).unwrap();
        let mut out = [0; 512];
        let len = entry.answer.copy_to(&mut out, entry.age(at(25)), 0).unwrap();
        let read = Answer::restore(out[..len].into()).unwrap();
        assert_eq!((read.ttl, read.records().count()), (35, 1));
        let len = entry.answer.copy_to(&mut out, 90, 30).unwrap();
        assert_eq!(Answer::restore(out[..len].into()).unwrap().ttl, 30);
        assert_eq!(entry.answer.copy_to(&mut out[..20], 0, 0), None);
    }

    quickcheck::quickcheck! {
        fn bounds_hold_and_the_newest_is_found(ops: Vec<(u8, u8, u16)>) -> bool {
            let mut cache = Cache::new(SMALL, &mut Rng::seeded(7));
            for (step, (name, op, ttl)) in ops.into_iter().enumerate() {
                let (text, now) = (format!("{}.test", name % 32), at(step as u64));
                match op % 8 {
                    0 => drop(cache.remove(&key(&text))),
                    1 => drop(cache.find(&key(&text), now)),
                    2 if op == 250 => drop(cache.clear()),
                    _ => {
                        cache.insert(&key(&text), answer(&text, u32::from(ttl)), now);
                        assert!(ttl == 0 || cache.find(&key(&text), now).is_some());
                    }
                }
                cache.check_invariants();
            }
            true
        }
    }
}
