//! One zone: its records by owner, in the wire form in which they are answered, and what may stand
//! beside what.

use super::master::{Reader, Reason, ZoneFault};
use super::{generate, rdata};
use crate::base::Rng;
use crate::base::hash::{self, Map};
use crate::base::text::bytes_without_bom;
use crate::wire::dns::{Kind, Name, parent};

/// A zone that we are the authority for.
#[derive(Clone, Debug)]
pub struct Zone {
    pub(super) origin: Name,
    /// By owner in wire form; names between the apex and an owner are here too, without records.
    pub(super) nodes: Map<Box<[u8]>, Node>,
    records: usize,
    bytes: usize,
    /// RRsets that take away what is below them: NS of delegations, DNAME.
    pub(super) cuts: usize,
}

/// A record as people read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordFacts {
    /// Names it for as long as it is there: the same after a restart, unless it was changed one by
    /// one meanwhile. Below 2^53, so that JSON can hold it.
    pub id: u64,
    /// Whose it is.
    pub name: Name,
    /// Its type.
    pub kind: Kind,
    /// In seconds.
    pub ttl: u32,
    /// Its data in the form of master files.
    pub data: String,
}

/// What an owner has, by type.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Node {
    pub(super) sets: Vec<RrSet>,
    /// Names one label below that are there.
    children: u32,
}

/// Records of one owner and type (RFC 2181, section 5).
#[derive(Clone, Debug, PartialEq)]
pub(in crate::dns) struct RrSet {
    pub(in crate::dns) kind: Kind,
    pub(in crate::dns) ttl: u32,
    /// In the order of their data.
    pub(in crate::dns) records: Vec<Entry>,
}

/// One record's data.
#[derive(Clone, Debug)]
pub(in crate::dns) struct Entry {
    pub(in crate::dns) id: u64,
    pub(in crate::dns) data: Box<[u8]>,
}

impl Zone {
    /// Reads a master file. Without `origin` the SOA comes first and its owner is the zone's.
    ///
    /// An RRset with several TTLs has the least of them (RFC 2181, section 5.2); a record that
    /// stands there twice counts once.
    pub fn parse(text: impl AsRef<[u8]>, origin: Option<&Name>) -> Result<Self, ZoneFault> {
        let text = bytes_without_bom(text.as_ref());
        if text.len() > TEXT_MAX {
            return Err(ZoneFault { line: 0, reason: Reason::TooLarge });
        }
        match generate::expand(text, TEXT_MAX)? {
            Some(expanded) => Self::read(Reader::of_expanded(&expanded, origin), origin),
            None => Self::read(Reader::new(text, origin), origin),
        }
    }

    fn read(mut reader: Reader<'_>, origin: Option<&Name>) -> Result<Self, ZoneFault> {
        let mut zone = origin.map(Self::empty);
        while let Some(line) = reader.next_line() {
            let line = line?;
            let fault = |reason| ZoneFault { line: line.line, reason };
            let data = rdata::parse(line.kind, line.data, line.origin).map_err(fault)?;
            // Where nothing else says it, the SOA's own TTL is how long its absence holds.
            let negative = (line.kind == Kind::SOA).then(|| soa_minimum(&data));
            let is_alone = line.ttl.is_none();
            let ttl = line.ttl.or(negative).ok_or_else(|| fault(Reason::NoTtl))?;
            if zone.is_none() && line.kind != Kind::SOA {
                return Err(fault(Reason::NoSoa));
            }
            let zone = zone.get_or_insert_with(|| Self::empty(line.owner));
            zone.insert(line.owner, line.kind, ttl, data).map_err(fault)?;
            // And for how long all is there that says nothing else.
            negative.filter(|_| is_alone).into_iter().for_each(|ttl| reader.set_ttl(ttl));
        }
        let whole = |reason| ZoneFault { line: 0, reason };
        let zone = zone.ok_or_else(|| whole(Reason::NoSoa))?;
        let apex = zone.apex();
        apex.set(Kind::SOA).ok_or_else(|| whole(Reason::NoSoa))?;
        apex.set(Kind::NS).ok_or_else(|| whole(Reason::NoNs))?;
        Ok(zone)
    }

    /// Its name.
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// The number of its version (RFC 1982).
    pub fn serial(&self) -> u32 {
        soa_serial(&self.soa().records[0].data)
    }

    /// How many records it has.
    pub fn records_count(&self) -> usize {
        self.records
    }

    /// Every record, the SOA first, then in canonical order (RFC 4034, section 6.1).
    pub fn records(&self) -> impl Iterator<Item = RecordFacts> {
        self.names().into_iter().flat_map(|wire| {
            let name = Name::from_wire(wire).expect("owners are names");
            let sets = &self.nodes[wire].sets;
            let soa_first = sets.iter().filter(|set| set.kind == Kind::SOA);
            let sets = soa_first.chain(sets.iter().filter(|set| set.kind != Kind::SOA));
            sets.flat_map(move |set| {
                let name = name.clone();
                set.records.iter().map(move |entry| set.facts(&name, entry))
            })
        })
    }

    /// A master file that reads back to the same zone.
    pub fn to_master_file(&self) -> String {
        let mut out = String::new();
        for record in self.records() {
            let RecordFacts { name, kind, ttl, data, .. } = record;
            out.push_str(&format!("{name} {ttl} IN {kind} {data}\n"));
        }
        out
    }

    /// The record with this id: its owner and type. Looks at all of them.
    pub(in crate::dns) fn find(&self, id: u64) -> Option<(Name, Kind)> {
        self.nodes.iter().find_map(|(wire, node)| {
            let set = node.sets.iter().find(|set| set.records.iter().any(|entry| entry.id == id))?;
            Some((Name::from_wire(wire)?, set.kind))
        })
    }

    pub(super) fn node(&self, wire: &[u8]) -> Option<&Node> {
        self.nodes.get(wire)
    }

    pub(super) fn soa(&self) -> &RrSet {
        self.apex().set(Kind::SOA).expect("a zone has a SOA")
    }

    /// How long a negative answer holds, in seconds (RFC 2308, section 3).
    pub(super) fn negative_ttl(&self) -> u32 {
        let soa = self.soa();
        soa.ttl.min(soa_minimum(&soa.records[0].data))
    }

    pub(in crate::dns) fn set_serial(&mut self, serial: u32) {
        let node = self.nodes.get_mut(self.origin.wire()).expect("a zone has an apex");
        let set = node.sets.iter_mut().find(|set| set.kind == Kind::SOA).expect("a zone has a SOA");
        let data = &mut set.records[0].data;
        let at = data.len() - SOA_NUMBERS + SOA_SERIAL;
        data[at..at + 4].copy_from_slice(&serial.to_be_bytes());
    }

    /// Takes up a record; its id, or `None` if it is there already.
    pub(super) fn insert(
        &mut self,
        owner: &Name,
        kind: Kind,
        ttl: u32,
        data: Box<[u8]>,
    ) -> Result<Option<u64>, Reason> {
        let is_apex = *owner == self.origin;
        if !owner.is_within(self.origin.wire()) {
            return Err(Reason::OutOfZone);
        }
        if kind == Kind::SOA && !is_apex {
            return Err(Reason::TwoSoas);
        }
        let cost = data.len() + RECORD_BYTES + owner.wire().len();
        if self.records >= RECORDS_MAX || self.bytes + cost > BYTES_MAX {
            return Err(Reason::TooLarge);
        }
        if let Some(node) = self.nodes.get(owner.wire()) {
            node.admits(kind, &data, is_apex)?;
        }
        let id = record_id(&self.origin, owner, kind, &data);
        let node = self.node_mut(owner.wire());
        let at = node.sets.iter().position(|set| set.kind >= kind).unwrap_or(node.sets.len());
        let fresh = node.sets.get(at).is_none_or(|set| set.kind != kind);
        if fresh {
            node.sets.insert(at, RrSet { kind, ttl, records: Vec::new() });
        }
        let set = &mut node.sets[at];
        set.ttl = set.ttl.min(ttl);
        let Err(at) = set.records.binary_search_by(|entry| (*entry.data).cmp(&*data)) else {
            return Ok(None);
        };
        set.records.insert(at, Entry { id, data });
        self.records += 1;
        self.bytes += cost;
        self.cuts += usize::from(fresh && takes_away(kind, is_apex));
        Ok(Some(id))
    }

    /// Takes out a record.
    pub(super) fn remove(&mut self, owner: &Name, kind: Kind, id: u64) -> Option<()> {
        let node = self.nodes.get_mut(owner.wire())?;
        let nth = node.sets.iter().position(|set| set.kind == kind)?;
        let set = &mut node.sets[nth];
        let at = set.records.iter().position(|entry| entry.id == id)?;
        let entry = set.records.remove(at);
        self.records -= 1;
        self.bytes -= entry.data.len() + RECORD_BYTES + owner.wire().len();
        if set.records.is_empty() {
            node.sets.remove(nth);
            self.cuts -= usize::from(takes_away(kind, *owner == self.origin));
        }
        self.prune(owner.wire());
        Some(())
    }

    pub(super) fn empty(origin: &Name) -> Self {
        // Whoever writes a zone is trusted, so that its order need not be a secret.
        let mut nodes = hash::map(&mut Rng::seeded(0));
        nodes.insert(origin.wire().into(), Node::default());
        Self { origin: origin.clone(), nodes, records: 0, bytes: 0, cuts: 0 }
    }

    pub(super) fn apex(&self) -> &Node {
        self.nodes.get(self.origin.wire()).expect("a zone has an apex")
    }

    /// An owner, made with all names between it and the apex if it is new.
    fn node_mut(&mut self, wire: &[u8]) -> &mut Node {
        if !self.nodes.contains_key(wire) {
            self.nodes.insert(wire.into(), Node::default());
            let mut at = wire;
            while let Some(above) = parent(at) {
                if let Some(node) = self.nodes.get_mut(above) {
                    node.children += 1;
                    break;
                }
                self.nodes.insert(above.into(), Node { sets: Vec::new(), children: 1 });
                at = above;
            }
        }
        self.nodes.get_mut(wire).expect("it was just put there")
    }

    /// Drops an owner that has nothing left, and names above it that were there for it alone.
    fn prune(&mut self, wire: &[u8]) {
        let mut at = wire;
        while at != self.origin.wire() {
            let Some(node) = self.nodes.get(at) else { return };
            if !node.sets.is_empty() || node.children > 0 {
                return;
            }
            self.nodes.remove(at);
            let Some(above) = parent(at) else { return };
            if let Some(node) = self.nodes.get_mut(above) {
                node.children -= 1;
            }
            at = above;
        }
    }

    /// All owners in canonical order.
    fn names(&self) -> Vec<&[u8]> {
        let mut names: Vec<&[u8]> =
            self.nodes.iter().filter(|(_, node)| !node.sets.is_empty()).map(|(wire, _)| &**wire).collect();
        names.sort_by_cached_key(|wire| canonical_key(wire));
        names
    }
}

impl PartialEq for Zone {
    /// The same records; ids do not matter.
    fn eq(&self, other: &Self) -> bool {
        self.origin == other.origin && self.records == other.records && self.nodes == other.nodes
    }
}

impl Node {
    pub(super) fn set(&self, kind: Kind) -> Option<&RrSet> {
        self.sets.iter().find(|set| set.kind == kind)
    }

    /// Whether one more record may stand here.
    fn admits(&self, kind: Kind, data: &[u8], is_apex: bool) -> Result<(), Reason> {
        if self.sets.len() >= SETS_MAX || self.set(kind).is_some_and(|set| set.records.len() >= SET_MAX) {
            return Err(Reason::TooLarge);
        }
        let another = || self.set(kind).is_some_and(|set| *set.records[0].data != *data);
        if kind == Kind::CNAME && (another() || self.sets.iter().any(|set| !beside_cname(set.kind)))
            || !beside_cname(kind) && self.set(Kind::CNAME).is_some()
        {
            return Err(Reason::CnameAndOther);
        }
        match kind {
            Kind::SOA if another() => Err(Reason::TwoSoas),
            Kind::DNAME if another() || !is_apex && self.set(Kind::NS).is_some() => Err(Reason::Dname),
            Kind::NS if !is_apex && self.set(Kind::DNAME).is_some() => Err(Reason::Dname),
            _ => Ok(()),
        }
    }
}

impl RrSet {
    pub(super) fn facts(&self, name: &Name, entry: &Entry) -> RecordFacts {
        let data = rdata::print(self.kind, &entry.data);
        RecordFacts { id: entry.id, name: name.clone(), kind: self.kind, ttl: self.ttl, data }
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.data == other.data
    }
}

/// What may stand beside a CNAME (RFC 4034, section 3; RFC 4035, section 2.5).
fn beside_cname(kind: Kind) -> bool {
    matches!(kind, Kind::CNAME | Kind::RRSIG | Kind::NSEC)
}

fn takes_away(kind: Kind, is_apex: bool) -> bool {
    kind == Kind::DNAME || kind == Kind::NS && !is_apex
}

/// The serial in a SOA's data.
pub(super) fn soa_serial(data: &[u8]) -> u32 {
    soa_number(data, SOA_SERIAL)
}

/// The least TTL in a SOA's data, which is how long what is not there is not (RFC 2308, section 4).
pub(in crate::dns) fn soa_minimum(data: &[u8]) -> u32 {
    soa_number(data, SOA_MINIMUM)
}

/// One of the five numbers at the end of a SOA's data.
fn soa_number(data: &[u8], at: usize) -> u32 {
    let number = data.len().checked_sub(SOA_NUMBERS).and_then(|start| data[start + at..].first_chunk::<4>());
    number.map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// Labels from the last to the first, each with its end marked, so that bytes compare as names do.
pub(super) fn canonical_key(wire: &[u8]) -> Vec<u8> {
    let mut labels: Vec<&[u8]> = std::iter::successors(Some(wire), |name| parent(name))
        .filter(|name| name.len() > 1)
        .map(|name| &name[1..=usize::from(name[0])])
        .collect();
    labels.reverse();
    let mut key = Vec::with_capacity(wire.len() + labels.len());
    for label in labels {
        // The end sorts before every byte, a zero in a label after it.
        for byte in label {
            if *byte <= 1 {
                key.push(1);
            }
            key.push(*byte);
        }
        key.push(0);
    }
    key
}

/// 53 bits of a hash of what the record is.
fn record_id(origin: &Name, owner: &Name, kind: Kind, data: &[u8]) -> u64 {
    let content = [origin.wire(), owner.wire(), &kind.0.to_be_bytes(), data].concat();
    let digest = hash::sha256(&content);
    let number = digest.iter().take(8).fold(0, |sum: u64, byte| sum << 8 | u64::from(*byte));
    number >> 11
}

/// Bytes of the numbers in a SOA's data: serial, refresh, retry, expire, minimum.
const SOA_NUMBERS: usize = 20;
const SOA_SERIAL: usize = 0;
const SOA_MINIMUM: usize = 16;
/// Characters of a master file: 128 for each of the most records.
const TEXT_MAX: usize = 128 * RECORDS_MAX;
/// Records of one zone: fifteen times what a box with 65,536 addresses has names for.
const RECORDS_MAX: usize = 1_000_000;
/// Names and data of one zone: 128 bytes for each of the most records.
const BYTES_MAX: usize = 128 * RECORDS_MAX;
/// What a record costs beside its name and data: the boxes that hold it.
const RECORD_BYTES: usize = 40;
/// Records of one owner and type: more do not fit into an answer of 65,535 bytes, since each takes
/// 16 (a pointer, ten bytes, an address).
const SET_MAX: usize = 65_535 / 16;
/// Types of one owner: there are not as many in use, and each costs a look.
const SETS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (u32, Reason) {
        let origin = Name::parse("test").unwrap();
        let text = format!("$TTL 60\n@ SOA ns root 1 2 3 4 5\n@ NS ns\n{text}");
        Zone::parse(&text, Some(&origin)).map(|zone| panic!("{}", zone.to_master_file())).unwrap_err().pair()
    }

    impl ZoneFault {
        fn pair(self) -> (u32, Reason) {
            (self.line, self.reason)
        }
    }

    #[test]
    fn a_file_is_read_as_bind_reads_it() {
        let lines = |text: &[u8]| Zone::parse(text, None).unwrap().to_master_file();
        // Without any TTL that of the SOA's last number, with one that of the record before, and `$TTL`
        // goes before both.
        let ttls = |text: &str| -> Vec<u32> {
            let zone = Zone::parse(text, None).unwrap();
            zone.records().map(|record| record.ttl).collect()
        };
        let zone = "SOA . . 1 2 3 4 5\n NS .\na. A 192.0.2.1\n";
        assert_eq!(ttls(&format!("a. {zone}")), [5, 5, 5]);
        assert_eq!(ttls(&format!("a. 9 {zone}")), [9, 9, 9]);
        assert_eq!(ttls(&format!("$TTL 7\na. {zone}")), [7, 7, 7]);
        assert_eq!(ttls(&format!("a. {zone}b.a. 8 A 192.0.2.1\nc.a. A 192.0.2.1\n")), [5, 5, 5, 8, 5]);
        // In any encoding; a byte order mark is no name.
        let latin = b"; f\xfcr uns\r\n$TTL 5\na. SOA . . 1 2 3 4 5 ; gr\xfc\xdfe\n NS .\nm\xfcller.a. TXT \"gr\xfc\xdfe\"\n";
        assert!(lines(latin).ends_with("m\\252ller.a. 5 IN TXT \"gr\\252\\223e\"\n"), "{}", lines(latin));
        assert_eq!(lines(&[b"\xef\xbb\xbf", &latin[..]].concat()), lines(latin));
        let generated = "$TTL 5\na. SOA . . 1 2 3 4 5\n NS .\n$GENERATE 1-20 h$.a. A 192.0.2.$\n";
        assert_eq!(Zone::parse(generated, None).unwrap().records_count(), 22);
        let fault = Zone::parse(format!("{generated}$GENERATE 250-260 h$.a. A 192.0.2.$\n\n"), None);
        assert_eq!(fault.unwrap_err().pair(), (5, Reason::Data));
        let fault = Zone::parse(format!("{generated}$GENERATE (1-2\nx$.a.\n) A 192.0.2.1\nz.a. A 1\n"), None);
        assert_eq!(fault.unwrap_err().pair(), (8, Reason::Data), "later lines keep their numbers");
    }

    #[test]
    fn a_zone_that_is_none_says_the_line_and_why() {
        assert_eq!(fault("a CNAME b\na A 1.1.1.1"), (5, Reason::CnameAndOther));
        assert_eq!(fault("a A 1.1.1.1\n\na CNAME b"), (6, Reason::CnameAndOther));
        assert_eq!(fault("a CNAME b\na CNAME c"), (5, Reason::CnameAndOther));
        assert_eq!(fault("@ CNAME b"), (4, Reason::CnameAndOther));
        assert_eq!(fault("a.else. A 1.1.1.1"), (4, Reason::OutOfZone));
        assert_eq!(fault("@ SOA ns root 2 2 3 4 5"), (4, Reason::TwoSoas));
        assert_eq!(fault("a SOA ns root 2 2 3 4 5"), (4, Reason::TwoSoas));
        assert_eq!(fault("a DNAME b\na DNAME c"), (5, Reason::Dname));
        assert_eq!(fault("a DNAME b\na NS c"), (5, Reason::Dname));
        assert_eq!(fault("a A 1.1.1"), (4, Reason::Data));
        assert_eq!(fault("a A (1.1.1.1"), (4, Reason::Parenthesis));
        let parse = |text: &str| Zone::parse(text, None).unwrap_err().pair();
        assert_eq!(parse(""), (0, Reason::NoSoa));
        assert_eq!(parse("a. 5 NS b."), (1, Reason::NoSoa));
        assert_eq!(parse("a. SOA . . 1 2 3 4 5\na. A 1.1.1.1"), (0, Reason::NoNs));
        let origin = Name::parse("a").unwrap();
        assert_eq!(Zone::parse("b A 1.1.1.1", Some(&origin)).unwrap_err().pair(), (1, Reason::NoTtl));
        assert_eq!(parse("a. 5 SOA . . 1 2 3 4 5"), (0, Reason::NoNs));
    }

    #[test]
    fn one_ttl_for_each_set_and_doubles_count_once() {
        let zone = Zone::parse(
            "a. SOA . . 1 2 3 4 5\n 9 NS b.\n 5 A 1.1.1.2\n 4 A 1.1.1.1\n A 1.1.1.2\nx.y.a. A 1.1.1.1",
            None,
        );
        let zone = zone.unwrap();
        let lines: Vec<_> = zone.to_master_file().lines().map(str::to_owned).collect();
        let expected = [
            "a. 5 IN SOA . . 1 2 3 4 5",
            "a. 4 IN A 1.1.1.1",
            "a. 4 IN A 1.1.1.2",
            "a. 9 IN NS b.",
            "x.y.a. 5 IN A 1.1.1.1",
        ];
        assert_eq!(
            (lines, zone.records_count(), zone.serial()),
            (expected.map(str::to_owned).to_vec(), 5, 1)
        );
        assert!(zone.node(b"\x01y\x01a\0").is_some_and(|node| node.sets.is_empty()));
    }

    #[test]
    fn names_between_go_with_the_last_record_below_them() {
        let text = "a. 5 SOA . . 1 2 3 4 5\n NS b.\nx.y.a. A 1.1.1.1\nz.y.a. NS .";
        let mut zone = Zone::parse(text, None).unwrap();
        let before = zone.clone();
        assert_eq!(zone.cuts, 1);
        for name in ["x.y.a", "z.y.a"] {
            assert!(zone.node(b"\x01y\x01a\0").is_some());
            let name = Name::parse(name).unwrap();
            let record = zone.records().find(|record| record.name == name).unwrap();
            assert_eq!(zone.find(record.id), Some((name.clone(), record.kind)));
            assert_eq!(zone.remove(&name, record.kind, record.id), Some(()));
        }
        assert_eq!((zone.nodes.len(), zone.cuts, zone.records_count()), (1, 0, 2));
        zone.insert(&Name::parse("x.y.a").unwrap(), Kind::A, 5, [1; 4].into()).unwrap();
        zone.insert(&Name::parse("z.y.a").unwrap(), Kind::NS, 5, [0].into()).unwrap();
        assert!(zone == before && zone.bytes == before.bytes && zone.cuts == 1);
    }

    /// Zones of few names, so that they get into each other's way.
    fn some_zone(seed: u64) -> Zone {
        let mut rng = Rng::seeded(seed);
        let origin = Name::parse("test").unwrap();
        let mut text = "$TTL 5m\n@ SOA ns root 1 2 3 4 5\n@ NS ns\n".to_owned();
        let names = ["a", "b", "*.a", "x.a", "c.b", "@", r"\000\;\.\1652", r"q\ q", "*"];
        let data = [
            "A 192.0.2.1",
            "A 192.0.2.2",
            "5 AAAA ::1",
            "MX 5 a",
            "TXT \"a b\" \\200;",
            "SRV 1 2 3 x.a",
            "CAA 0 issue \"\"",
            "HTTPS 1 . alpn=h2",
            "TYPE700 \\# 2 0001",
            "NS ns.b",
            "CNAME b",
            "DNAME c",
        ];
        for _ in 0..rng.index(20) {
            let line = format!("{} {}\n", names[rng.index(names.len())], data[rng.index(data.len())]);
            let longer = text.clone() + &line;
            if Zone::parse(&longer, Some(&origin)).is_ok() {
                text = longer;
            }
        }
        Zone::parse(&text, Some(&origin)).unwrap()
    }

    #[test]
    fn a_zone_survives_its_master_file() {
        for seed in 0..300 {
            let zone = some_zone(seed);
            let text = zone.to_master_file();
            let again =
                Zone::parse(&text, None).unwrap_or_else(|fault| panic!("seed {seed}: {fault}\n{text}"));
            assert!(again == zone, "seed {seed}:\n{text}\n{}", again.to_master_file());
            assert!(again.records().eq(zone.records()), "seed {seed}");
        }
    }
}
