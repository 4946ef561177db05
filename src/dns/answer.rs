//! From a forwarder's response to what is kept and handed on: only what belongs to the question,
//! in an order that can be followed, written anew in one form.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Given;
use super::signatures::{Set, Signatures};
use crate::wire::dns::{
    CLASS_IN, Fault, Flags, HEADER_LEN, Kind, Message, Name, Rcode, Record, Section, Writer, expand,
    is_opaque, parent,
};

/// Everything that is known about one question: a response without id and EDNS.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The message, and behind it where its TTLs stand: two bytes each.
    bytes: Box<[u8]>,
    message_len: u16,
    /// What the question came to: NOERROR or NXDOMAIN.
    pub rcode: Rcode,
    /// How long all of it holds, in seconds.
    pub ttl: u32,
    /// There is no such record or no such name (RFC 2308).
    pub negative: bool,
    /// There are aliases in it, though none was asked for.
    pub aliased: bool,
}

/// What is taken of a response.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// No TTL is taken for longer, in seconds.
    pub ttl_max: u32,
    /// Private addresses are left out, but for those of names within these (DNS rebinding).
    pub public: Option<&'a [Name]>,
}

/// What a response says about the question that was asked.
#[derive(Debug)]
pub enum Reading {
    /// All of it, and whether it may be kept.
    Whole(Answer),
    /// A chain of aliases that ends at this name, which is to be asked for as well.
    Follow(Chain, Box<Name>),
    /// The server is of no use for this question.
    Useless(Useless),
}

/// Why a response is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Useless {
    /// It says that it failed, refuses, or does not know how.
    Rcode(Rcode),
    /// It names other servers instead of asking them: it is no recursive resolver.
    Referral,
    /// Its aliases lead in a circle, or there are more of them than [`CHAIN_MAX`].
    Chain,
    /// Its records cannot be read.
    Malformed(Fault),
}

/// Aliases that were followed so far, in their order.
#[derive(Clone, Debug, Default)]
pub struct Chain {
    records: Vec<Kept>,
    /// `None` if nobody wants them.
    signatures: Option<Signatures>,
}

/// A record as it is kept: its names written out and in lower case.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) owner: Name,
    pub(super) kind: Kind,
    pub(super) ttl: u32,
    pub(super) data: Vec<u8>,
}

impl Kept {
    /// A record whose data is kept as it stands.
    pub(super) fn opaque(owner: Name, record: &Record<'_>, ttl_max: u32) -> Self {
        let ttl = record.lifetime().min(ttl_max);
        Self { owner, kind: record.kind, ttl, data: record.data().to_vec() }
    }

    /// The set that it belongs to.
    pub(super) fn set(&self) -> Set<'_> {
        (&self.owner, self.kind)
    }
}

impl Chain {
    /// No alias yet; signatures are gathered for who wants DNSSEC's records too (RFC 3225).
    pub fn new(dnssec_ok: bool) -> Self {
        Self { records: Vec::new(), signatures: dnssec_ok.then(Signatures::default) }
    }

    /// How many aliases it has.
    pub fn len(&self) -> usize {
        self.records.iter().filter(|record| record.kind == Kind::CNAME).count()
    }

    /// True if nothing was followed.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn contains(&self, name: &Name) -> bool {
        self.records.iter().any(|record| record.kind == Kind::CNAME && record.owner == *name)
    }
}

impl Answer {
    /// Reads a response to `kind` of `name`; `asked` is what the client asked for, and `chain` how
    /// it came from there to `name`. The response's header and question have been compared already.
    pub fn read(
        message: &Message<'_>,
        asked: (&Name, Kind),
        chain: Chain,
        name: &Name,
        terms: Terms<'_>,
    ) -> Reading {
        let rcode = message.header.flags.rcode();
        if rcode != Rcode::NOERROR && rcode != Rcode::NXDOMAIN {
            return Reading::Useless(Useless::Rcode(rcode));
        }
        let (at, begun) = (name.clone(), chain.records.len());
        let mut gathered = Gathered { chain, begun, at, last: Vec::new(), soa: None, referral: false, terms };
        for record in message.records() {
            let taken = record.and_then(|record| gathered.take(&record, asked.1));
            match taken {
                Ok(true) => {}
                Ok(false) => return Reading::Useless(Useless::Chain),
                Err(fault) => return Reading::Useless(Useless::Malformed(fault)),
            }
        }
        if let Err(fault) = gathered.take_signatures(message, asked.1) {
            return Reading::Useless(Useless::Malformed(fault));
        }
        gathered.conclude(asked, rcode, name)
    }

    /// What [`Answer::read`] makes of the plainest response, without taking it apart: nothing but
    /// records of the type and the name that was asked for, in wire form, that have no names in them.
    /// `None` for all others.
    pub fn plain(message: &Message<'_>, asked: (&[u8], Kind), ttl_max: u32) -> Option<Self> {
        let (name, kind) = asked;
        let [count, authority, _] = message.header.counts;
        let rcode = message.header.flags.rcode();
        let few = (1..=PLAIN_MAX).contains(&count) && authority == 0;
        // The root is never a pointer.
        if rcode != Rcode::NOERROR || !few || !is_opaque(kind) || name.len() < 2 {
            return None;
        }
        let (start, count) = (HEADER_LEN + name.len() + 4, usize::from(count));
        if message.records_at() != start {
            return None;
        }
        let (mut records, mut ttl) = (message.records(), ttl_max);
        let (mut end, mut ttls) = (start, [0; PLAIN_MAX as usize]);
        for at in &mut ttls[..count] {
            let record = records.next()?.ok()?;
            let fits = record.kind == kind && record.class == CLASS_IN && record.has_sound_length();
            if !fits || !record.owner.points_to(HEADER_LEN) {
                return None;
            }
            (*at, end, ttl) = (record.range.0 - 6, record.range.1, ttl.min(record.lifetime()));
        }
        let data = message.data();
        if records.any(|record| record.is_err()) {
            return None;
        }
        let mut bytes = Vec::with_capacity(end + 2 * count);
        bytes.extend_from_slice(&data[..end]);
        let flags = Flags::QR | Flags::RD | Flags::RA;
        bytes[..4].copy_from_slice(&u32::from(flags).to_be_bytes());
        bytes[8..HEADER_LEN].fill(0);
        bytes[HEADER_LEN..start - 4].copy_from_slice(name);
        for at in &ttls[..count] {
            bytes[*at..*at + 4].copy_from_slice(&ttl.to_be_bytes());
            bytes.extend_from_slice(&(*at as u16).to_be_bytes());
        }
        Some(Self {
            bytes: bytes.into(),
            message_len: end as u16,
            rcode,
            ttl,
            negative: false,
            aliased: false,
        })
    }

    /// The records of local data, addresses and names, for the same treatment as what came from a
    /// forwarder.
    pub fn local(asked: (&Name, Kind), ttl: u32, records: &[Vec<u8>]) -> Self {
        let kept = |data: &Vec<u8>| Kept { owner: asked.0.clone(), kind: asked.1, ttl, data: data.clone() };
        let records: Vec<_> = records.iter().take(LOCAL_MAX).map(kept).collect();
        Self::write(asked, Rcode::NOERROR, &records, &[]).expect("a few small records have room")
    }

    /// What is known here of a question: a record, else that there is none, with the zone's SOA record.
    pub(super) fn of_records(
        asked: (&Name, Kind),
        rcode: Rcode,
        found: Option<Kept>,
        soa: impl FnOnce() -> Kept,
    ) -> Option<Self> {
        let authority = if found.is_none() { vec![soa()] } else { Vec::new() };
        Self::write(asked, rcode, &Vec::from_iter(found), &authority)
    }

    /// Aliases whose end is looked for somewhere else.
    pub(super) fn of_aliases(asked: (&Name, Kind), chain: Chain) -> Option<Self> {
        let Chain { records, signatures } = chain;
        let records = match signatures {
            Some(signatures) => signatures.answer(&records, Vec::new()),
            None => records,
        };
        Self::write(asked, Rcode::NOERROR, &records, &[])
    }

    /// The aliases up to the first that leads to a name of which `is_here`, or that leads nowhere here
    /// or in the rest of the answer; and the name that it leads to. `None` if there is none.
    pub(super) fn cut_at_alias(
        given: &Given,
        kind: Kind,
        is_here: impl Fn(&Name) -> bool,
    ) -> Option<(Self, Box<Name>)> {
        if !given.answer.aliased {
            return None;
        }
        let mut message = vec![0; given.answer.message().len()];
        given.copy_to(&mut message)?;
        let mut cut: Option<(Name, bool, usize, u16)> = None;
        let (mut count, mut has_end) = (0, given.answer.negative);
        let records = Message::parse(&message).ok()?.records().flatten();
        for record in records.take_while(|record| record.section == Section::Answer) {
            if cut.as_ref().is_some_and(|cut| cut.1) && record.kind != Kind::RRSIG {
                break;
            }
            count += 1;
            if record.kind == Kind::CNAME {
                let target = record.name_in_data(0).read().ok()?;
                cut = Some((target, false, 0, 0));
            } else {
                has_end |= record.kind == kind;
            }
            if let Some((target, here, end, records)) = &mut cut {
                *here = *here || is_here(target);
                (*end, *records) = (record.range.1, count);
            }
        }
        let (target, here, end, count) = cut?;
        if !here && (has_end || given.answer.rcode != Rcode::NOERROR) {
            return None;
        }
        message.truncate(end);
        message[6..8].copy_from_slice(&count.to_be_bytes());
        message[8..HEADER_LEN].fill(0);
        message[3] &= 0xf0;
        let begun = Self::restore(message.into())?;
        Some((begun, Box::new(target)))
    }

    /// What a zone of ours says, as a message of one question; `None` if that is none.
    pub fn of_zone(message: Box<[u8]>, kind: Kind) -> Option<Self> {
        let answer = Self::restore(message)?;
        let negative = !answer.records().any(|record| record.kind == kind || kind == Kind::ANY);
        Some(Self { negative, ..answer })
    }

    /// There is no such name, and nobody need be asked for it.
    pub fn no_such_name(asked: (&Name, Kind)) -> Self {
        let nothing = Self::write(asked, Rcode::NXDOMAIN, &[], &[]).expect("a question has room");
        Self { negative: true, ttl: 0, ..nothing }
    }

    /// Aliases, and then what is known of where they lead, `age` seconds after it was said. `None`
    /// if both together have no room in a message.
    pub fn join(asked: (&Name, Kind), aliases: &Self, rest: &Self, age: u32) -> Option<Self> {
        let kept = |record: Record<'_>, age: u32| {
            let mut data = Vec::with_capacity(record.data().len());
            expand(&record, &mut data).ok()?;
            let owner = record.owner.read().ok()?;
            Some(Kept { owner, kind: record.kind, ttl: record.lifetime().saturating_sub(age), data })
        };
        let mut records: Vec<_> = aliases.records().filter_map(|record| kept(record, 0)).collect();
        let (mut authority, message) = (Vec::new(), Message::parse(rest.message()).ok()?);
        for record in message.records().flatten() {
            match record.section {
                Section::Answer => records.extend(kept(record, age)),
                Section::Authority if says_what_is_not(record.kind) => authority.extend(kept(record, age)),
                _ => {}
            }
        }
        let joined = Self::write(asked, rest.rcode, &records, &authority)?;
        Some(Self { negative: rest.negative, ..joined })
    }

    /// The same as it lay in the archive; `None` if that is no message of ours.
    pub fn restore(message: Box<[u8]>) -> Option<Self> {
        let read = Message::parse(&message).ok()?;
        let (rcode, mut ttls, mut ttl, mut negative) =
            (read.header.flags.rcode(), Vec::new(), u32::MAX, false);
        let message_len = u16::try_from(message.len()).ok()?;
        let (asked, mut aliased) = (read.question?.kind, false);
        for record in read.records() {
            let record = record.ok()?;
            record.owner.read().ok()?;
            ttls.extend_from_slice(&(record.range.0 as u16 - 6).to_be_bytes());
            ttl = ttl.min(record.lifetime());
            aliased |= is_alias(record.kind, asked);
            // What is kept of an answer without says that there is something.
            negative |= record.section == Section::Authority && record.kind == Kind::SOA;
        }
        let bytes = [&*message, &ttls].concat().into();
        Some(Self { bytes, message_len, rcode, ttl, negative, aliased })
    }

    /// The message: id 0, flags, question, records with the TTLs of the beginning.
    pub fn message(&self) -> &[u8] {
        &self.bytes[..usize::from(self.message_len)]
    }

    /// Bytes that it takes up.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Copies the message to `out`, with TTLs that are `age` seconds less, but at least `floor`.
    /// `None` if there is no room.
    pub fn copy_to(&self, out: &mut [u8], age: u32, floor: u32) -> Option<usize> {
        let (message, ttls) = self.bytes.split_at(usize::from(self.message_len));
        let room = out.get_mut(..message.len())?;
        room.copy_from_slice(message);
        for at in ttls.chunks_exact(2) {
            let at = usize::from(u16::from_be_bytes([at[0], at[1]]));
            let Some(ttl) = room[at..].first_chunk_mut::<4>() else { continue };
            *ttl = u32::from_be_bytes(*ttl).saturating_sub(age).max(floor).to_be_bytes();
        }
        Some(message.len())
    }

    /// The records of the answer section, read.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        let read = Message::parse(self.message());
        read.into_iter()
            .flat_map(|message| message.records().flatten())
            .filter(|record| record.section == Section::Answer)
    }

    /// `None` if it has no room in a message: names take more of it here than where they came from.
    fn write(asked: (&Name, Kind), rcode: Rcode, answer: &[Kept], authority: &[Kept]) -> Option<Self> {
        let len = |kept: &Kept| kept.owner.wire().len() + 10 + kept.data.len();
        let all = || answer.iter().chain(authority);
        let size = HEADER_LEN + asked.0.wire().len() + 4 + all().map(len).sum::<usize>();
        let mut message = vec![0; size.min(usize::from(u16::MAX))];
        let flags = Flags(Flags::QR | Flags::RD | Flags::RA | rcode.0);
        let mut writer = Writer::new(&mut message, 0, flags).ok()?;
        writer.question(asked.0.wire(), asked.1, CLASS_IN).ok()?;
        for (section, records) in [(Section::Answer, answer), (Section::Authority, authority)] {
            for kept in records {
                writer.record(section, kept.owner.wire(), kept.kind, kept.ttl, &kept.data).ok()?;
            }
        }
        let len = writer.finish();
        message.truncate(len);
        let written = Message::parse(&message).ok()?.records().flatten();
        let ttls: Vec<u8> = written.flat_map(|record| (record.range.0 as u16 - 6).to_be_bytes()).collect();
        let ttl = all().map(|kept| kept.ttl).min().unwrap_or(0);
        message.extend_from_slice(&ttls);
        let negative = authority.iter().any(|kept| kept.kind == Kind::SOA);
        let aliased = answer.iter().any(|kept| is_alias(kept.kind, asked.1));
        Some(Self { bytes: message.into(), message_len: len as u16, rcode, ttl, negative, aliased })
    }
}

/// What was found so far while a response is read.
struct Gathered<'a> {
    chain: Chain,
    /// So many aliases came from other responses.
    begun: usize,
    /// The name that the chain has led to.
    at: Name,
    /// Records of the type that was asked for, at that name.
    last: Vec<Kept>,
    soa: Option<Kept>,
    referral: bool,
    terms: Terms<'a>,
}

impl Gathered<'_> {
    /// False if the chain is too long or closes.
    fn take(&mut self, record: &Record<'_>, wanted: Kind) -> Result<bool, Fault> {
        if record.kind == Kind::OPT || record.class != CLASS_IN || record.section == Section::Additional {
            return Ok(true);
        }
        let owner = record.owner.read()?;
        let mut data = Vec::with_capacity(record.data().len());
        expand(record, &mut data)?;
        let kept = Kept { owner, kind: record.kind, ttl: record.lifetime().min(self.terms.ttl_max), data };
        if self.terms.public.is_some_and(|allowed| leads_inside(&kept.owner, record, allowed)) {
            return Ok(true);
        }
        if record.section == Section::Authority {
            match record.kind {
                Kind::SOA if self.at.is_within(kept.owner.wire()) => self.soa = Some(kept),
                Kind::NS => self.referral = true,
                _ => {}
            }
            return Ok(true);
        }
        let is_wanted = kept.kind == wanted || wanted == Kind::ANY;
        if kept.owner == self.at && is_wanted {
            self.last.push(kept);
        } else if kept.kind == Kind::DNAME && self.at.is_within(kept.owner.wire()) && self.last.is_empty() {
            // Each is of use for the alias behind it; more of them are there to be many.
            if self.chain.records.len() > 2 * CHAIN_MAX {
                return Ok(false);
            }
            self.chain.records.push(kept);
        } else if kept.kind == Kind::CNAME && kept.owner == self.at && self.last.is_empty() {
            let target = Name::from_wire(&kept.data).ok_or(Fault::Data)?;
            if self.chain.len() >= CHAIN_MAX || self.chain.contains(&target) || target == self.at {
                return Ok(false);
            }
            self.chain.records.push(kept);
            self.at = target;
        }
        Ok(self.last.len() <= RECORDS_MAX)
    }

    /// What who validates for himself wants of it as well.
    fn take_signatures(&mut self, message: &Message<'_>, wanted: Kind) -> Result<(), Fault> {
        let Some(signatures) = &mut self.chain.signatures else { return Ok(()) };
        // Who asks for signatures themselves, or for everything, is given those of the name anyway.
        let beside = wanted != Kind::RRSIG && wanted != Kind::ANY;
        let records = self.chain.records[self.begun..].iter().chain(self.last.first());
        let sets: Vec<_> = records.filter(|_| beside).map(Kept::set).collect();
        let soa = self.soa.as_ref().filter(|_| self.last.is_empty()).map(|soa| &soa.owner);
        signatures.gather(message, &sets, soa, self.terms.ttl_max)
    }

    fn conclude(mut self, asked: (&Name, Kind), rcode: Rcode, name: &Name) -> Reading {
        if !self.last.is_empty() {
            // One set of records has one TTL (RFC 2181, section 5.2).
            let ttl = self.last.iter().map(|kept| kept.ttl).min().unwrap_or(0);
            self.last.iter_mut().filter(|_| asked.1 != Kind::ANY).for_each(|kept| kept.ttl = ttl);
            return self.whole(asked, Rcode::NOERROR, None);
        }
        if let Some(mut soa) = self.soa.take() {
            // RFC 2308, section 5: the lesser of the record's TTL and its MINIMUM field.
            let minimum = soa.data.last_chunk::<4>().map_or(0, |minimum| u32::from_be_bytes(*minimum));
            soa.ttl = soa.ttl.min(minimum).min(NEGATIVE_TTL_MAX);
            return self.whole(asked, rcode, Some(soa));
        }
        if rcode == Rcode::NOERROR && self.at != *name {
            return Reading::Follow(self.chain, Box::new(self.at));
        }
        if rcode == Rcode::NOERROR && self.referral {
            return Reading::Useless(Useless::Referral);
        }
        // Without an SOA nobody knows for how long: not kept (RFC 2308, section 5).
        match self.whole(asked, rcode, None) {
            Reading::Whole(nothing) => Reading::Whole(Answer { ttl: 0, negative: true, ..nothing }),
            other => other,
        }
    }

    fn whole(self, asked: (&Name, Kind), rcode: Rcode, soa: Option<Kept>) -> Reading {
        let Chain { mut records, signatures } = self.chain;
        let (answer, authority) = match signatures {
            Some(signatures) => (signatures.answer(&records, self.last), signatures.authority(soa)),
            None => {
                records.extend(self.last);
                (records, Vec::from_iter(soa))
            }
        };
        let written = Answer::write(asked, rcode, &answer, &authority);
        written.map_or(Reading::Useless(Useless::Malformed(Fault::Data)), Reading::Whole)
    }
}

fn is_alias(kind: Kind, asked: Kind) -> bool {
    kind == Kind::CNAME && asked != Kind::CNAME && asked != Kind::ANY
}

/// Whether a record leads into one's own network, though its owner is not among those that may.
pub(super) fn leads_inside(owner: &Name, record: &Record<'_>, allowed: &[Name]) -> bool {
    is_private_data(record.kind, record.data())
        && !allowed.iter().any(|suffix| owner.is_within(suffix.wire()))
}

/// Addresses of private networks and of this machine, also as hints (RFC 9460, section 7.3).
fn is_private_data(kind: Kind, data: &[u8]) -> bool {
    let four = |ip: &[u8]| ip.first_chunk::<4>().is_some_and(|ip| is_private(Ipv4Addr::from(*ip).into()));
    let six = |ip: &[u8]| ip.first_chunk::<16>().is_some_and(|ip| is_private(Ipv6Addr::from(*ip).into()));
    match kind {
        Kind::A => four(data),
        Kind::AAAA => six(data),
        Kind::SVCB | Kind::HTTPS => {
            let target = data.get(2..).unwrap_or_default();
            let end = std::iter::successors(Some(target), |name| parent(name)).last();
            let mut rest = end.and_then(|end| end.get(1..)).unwrap_or_default();
            while let Some((head, after)) = rest.split_first_chunk::<4>() {
                let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
                let Some((value, after)) = after.split_at_checked(len) else { return false };
                let private = match u16::from_be_bytes([head[0], head[1]]) {
                    IPV4_HINT => value.chunks_exact(4).any(four),
                    IPV6_HINT => value.chunks_exact(16).any(six),
                    _ => false,
                };
                if private {
                    return true;
                }
                rest = after;
            }
            false
        }
        _ => false,
    }
}

/// What unbound's `private-address` and dnsmasq's `stop-dns-rebind` are for: RFC 1918, RFC 6598, link
/// and host, unique local.
fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            a == 0 || ip.is_loopback() || ip.is_private() || ip.is_link_local() || a == 100 && b & 0xc0 == 64
        }
        IpAddr::V6(ip) => {
            let mapped = ip.to_ipv4_mapped().or_else(|| translated(ip));
            mapped.is_some_and(|ip| is_private(ip.into()))
                || ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
        }
    }
}

/// An IPv4 address behind the well-known prefix of translators (RFC 6052).
fn translated(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let bits = ip.to_bits();
    (bits >> 32 == 0x0064_ff9b_0000_0000_0000_0000).then(|| Ipv4Addr::from_bits(bits as u32))
}

/// Types of the authority section that are kept.
fn says_what_is_not(kind: Kind) -> bool {
    matches!(kind, Kind::SOA | Kind::NSEC | Kind::NSEC3 | Kind::RRSIG)
}

/// Keys of SVCB and HTTPS records (RFC 9460, section 14.3.2).
const IPV4_HINT: u16 = 4;
const IPV6_HINT: u16 = 6;
/// Aliases followed for one question; resolvers in the field follow 8 to 16.
pub const CHAIN_MAX: usize = 16;
/// Records of one answer: more does not fit into 64 KiB anyway, except of the emptiest.
const RECORDS_MAX: usize = 4_096;
/// More than answers about addresses have.
const PLAIN_MAX: u16 = 32;
/// Addresses of a host in a file.
const LOCAL_MAX: usize = 64;
/// Three hours: the most that RFC 2308, section 5 finds sensible.
const NEGATIVE_TTL_MAX: u32 = 10_800;

#[cfg(test)]
mod tests {
    use super::*;

    use crate::wire::dns::OptionCode;

    /// A response to A of `www.test`, of records that are right or wrong in one way.
    fn response(records: &[(u8, u32)], authority: bool, edns: bool) -> Vec<u8> {
        let www = Name::parse("www.test").unwrap();
        let mut out = vec![0; 2_048];
        let mut writer = Writer::new(&mut out, 7, Flags(Flags::QR | Flags::AA)).unwrap();
        writer.question(b"\x03wWw\x04tEst\0", Kind::A, CLASS_IN).unwrap();
        for (manner, ttl) in records {
            let address = [127, 0, 0, *manner];
            match manner % 16 {
                0 => writer.record(Section::Answer, b"\x01a\x04test\0", Kind::A, *ttl, &address),
                1 => writer.record(Section::Answer, www.wire(), Kind::TXT, *ttl, b"\x01a"),
                2 => writer.record(Section::Answer, www.wire(), Kind::A, *ttl, b"\x01"),
                3 => writer.record(Section::Answer, www.wire(), Kind::CNAME, *ttl, b"\x01a\x04test\0"),
                _ => writer.record(Section::Answer, www.wire(), Kind::A, *ttl, &address),
            }
            .unwrap();
        }
        if authority {
            writer.record(Section::Authority, b"\x04test\0", Kind::NS, 9, b"\x02ns\x04test\0").unwrap();
        }
        writer.record(Section::Additional, b"\x02ns\x04test\0", Kind::A, 9, &[127, 0, 0, 1]).unwrap();
        if edns {
            writer.edns(1_232, Rcode::NOERROR, false, &[(OptionCode::COOKIE, &[7; 16])]).unwrap();
        }
        let len = writer.finish();
        out.truncate(len);
        out
    }

    fn both(data: &[u8]) -> (Option<Answer>, Reading) {
        let (message, www) = (Message::parse(data).unwrap(), Name::parse("www.test").unwrap());
        let plain = Answer::plain(&message, (www.wire(), Kind::A), 1_000);
        let terms = Terms { ttl_max: 1_000, public: None };
        (plain, Answer::read(&message, (&www, Kind::A), Chain::default(), &www, terms))
    }

    #[test]
    fn the_plain_way_takes_what_most_servers_say() {
        let (plain, _) = both(&response(&[(9, 300), (8, 200)], false, true));
        let plain = plain.expect("two addresses are plain");
        assert_eq!((plain.ttl, plain.negative, plain.records().count()), (200, false, 2));
        for other in [&[(0, 9)], &[(1, 9)], &[(2, 9)], &[(3, 9)]] {
            assert!(both(&response(other, false, true)).0.is_none());
        }
        assert!(
            both(&response(&[(9, 300)], true, true)).0.is_none()
                && both(&response(&[], false, true)).0.is_none()
        );
    }

    quickcheck::quickcheck! {
        /// Whatever it takes, it makes the same of it.
        fn the_plain_way_leads_to_the_same(records: Vec<(u8, u32)>, authority: bool, edns: bool, cut: u16) -> bool {
            let mut data = response(&records[..records.len().min(40)], authority && cut.is_multiple_of(4), edns);
            if cut.is_multiple_of(8) {
                data.truncate(27.max(data.len() - usize::from(cut / 8) % 32));
            }
            match both(&data) {
                (None, _) => true,
                (Some(plain), Reading::Whole(whole)) => {
                    (plain.bytes, plain.message_len, plain.rcode, plain.ttl, plain.negative)
                        == (whole.bytes, whole.message_len, whole.rcode, whole.ttl, whole.negative)
                }
                (Some(_), _) => false,
            }
        }
    }
}
