//! DNS servers as inhabitants of the world: they say what is true, each by its manners.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::truth::ZONE;
use super::{FORGED, Fact, Manners, Truth};
use crate::base::{Instant, Rng};
use crate::sim::faults::Faults;
use crate::wire::dns::{
    CLASS_IN, Flags, Kind, Message, Name, OptionCode, Rcode, Section, UDP_MIN, UDP_PAYLOAD, Writer, parent,
};

/// All servers.
pub(in crate::sim) struct Servers {
    pub(in crate::sim) truth: Truth,
    all: BTreeMap<SocketAddr, Manners>,
    rng: Rng,
    /// What came on streams and is no whole message yet.
    partial: BTreeMap<u64, Vec<u8>>,
}

/// What a server says, and what others say in its name.
pub(in crate::sim) enum Said {
    /// A datagram, after a while.
    Datagram { after: Duration, from: SocketAddr, to: SocketAddr, data: Vec<u8> },
    /// Bytes on the stream, after a while.
    Bytes { after: Duration, data: Vec<u8> },
    /// It closes the stream, or breaks it.
    Close { resets: bool },
}

/// A question as a server reads it.
struct Asked<'a> {
    message: Message<'a>,
    name: Name,
    written: &'a [u8],
    kind: Kind,
}

/// What a server does about a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sim) enum Knock {
    Accepts,
    Ignores,
    Refuses,
}

impl Servers {
    pub(in crate::sim) fn new(seed: u64, faults: Faults) -> Self {
        let all = (0..super::SERVERS).map(|n| (super::server(n), Manners::drawn(n, seed, faults)));
        Self {
            truth: Truth::new(seed),
            all: all.collect(),
            rng: Rng::seeded(seed ^ SERVERS),
            partial: BTreeMap::new(),
        }
    }

    /// Whether one of them is there.
    pub(in crate::sim) fn has(&self, at: SocketAddr) -> bool {
        self.all.contains_key(&at)
    }

    /// A connection is wanted.
    pub(in crate::sim) fn on_knock(&mut self, now: Instant, at: SocketAddr) -> Knock {
        let Some(manners) = self.all.get(&at) else { return Knock::Refuses };
        if !manners.is_down(now) && !self.rng.percent(manners.breaks_pct / 4) {
            return Knock::Accepts;
        }
        if manners.refuses { Knock::Refuses } else { Knock::Ignores }
    }

    /// A stream is gone.
    pub(in crate::sim) fn on_gone(&mut self, stream: u64) {
        self.partial.remove(&stream);
    }

    /// A datagram came to one of them.
    pub(in crate::sim) fn on_datagram(
        &mut self,
        now: Instant,
        at: SocketAddr,
        from: SocketAddr,
        data: &[u8],
    ) -> Vec<Said> {
        let mut said = Vec::new();
        let Some(manners) = self.all.get(&at).cloned() else { return said };
        let Some(asked) = Asked::read(data).filter(|_| !manners.is_down(now)) else { return said };
        if self.rng.percent(manners.forged_pct) {
            self.forge(&asked, at, from, &mut said);
        }
        let mut after = Duration::ZERO;
        if self.rng.percent(manners.stalls_pct) {
            if self.rng.percent(50) {
                return said;
            }
            after = Duration::from_millis(300 + self.rng.below(12_000));
        }
        if self.rng.percent(manners.lies_pct) {
            self.lie(&asked, &manners, (now, at, from), &mut said);
            if self.rng.percent(50) {
                return said;
            }
        }
        let cut = self.rng.percent(manners.cut_pct);
        let data = self.answer(&asked, &manners, now, Some(cut));
        said.push(Said::Datagram { after, from: at, to: from, data });
        said
    }

    /// Bytes came on a stream: what is said to the whole messages among them.
    pub(in crate::sim) fn on_bytes(
        &mut self,
        now: Instant,
        (at, stream): (SocketAddr, u64),
        data: &[u8],
    ) -> Vec<Said> {
        let mut said = Vec::new();
        let Some(manners) = self.all.get(&at).cloned() else { return said };
        let mut bytes = self.partial.remove(&stream).unwrap_or_default();
        bytes.extend_from_slice(data);
        let mut rest = &bytes[..];
        while let Some((len, after)) = rest.split_first_chunk::<2>()
            && let Some((frame, after)) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))
        {
            rest = after;
            if let Some(asked) = Asked::read(frame) {
                self.on_frame(&asked, &manners, now, &mut said);
            }
        }
        self.partial.insert(stream, rest.to_vec());
        said
    }

    fn on_frame(&mut self, asked: &Asked<'_>, manners: &Manners, now: Instant, said: &mut Vec<Said>) {
        if manners.is_down(now) {
            return;
        }
        if self.rng.percent(manners.breaks_pct) {
            match self.rng.below(4) {
                0 => said.push(Said::Close { resets: false }),
                1 => said.push(Said::Close { resets: true }),
                2 => said.push(Said::Bytes { after: Duration::ZERO, data: vec![0, 5, 1, 2, 3, 4, 5] }),
                _ => {}
            }
            return;
        }
        let stalls = self.rng.percent(manners.stalls_pct);
        let after = Duration::from_millis(if stalls { 300 + self.rng.below(12_000) } else { 0 });
        let data = self.answer(asked, manners, now, None);
        let len = (data.len() as u16).to_be_bytes();
        said.push(Said::Bytes { after, data: [&len[..], &data].concat() });
    }

    /// The truth; over UDP it may have to be cut.
    fn answer(&mut self, asked: &Asked<'_>, manners: &Manners, now: Instant, udp: Option<bool>) -> Vec<u8> {
        let edns = asked.message.edns().ok().flatten();
        if edns.is_some() && !manners.edns {
            return asked.refusal(Rcode::FORMERR, self.rng.percent(50));
        }
        let room = match (udp, edns) {
            (None, _) => 16 << 10,
            (Some(_), Some(edns)) => usize::from(edns.payload.clamp(512, UDP_PAYLOAD)),
            (Some(_), None) => UDP_MIN,
        };
        let mut out = vec![0; room];
        let written = if manners.keeps_case { asked.written } else { asked.name.wire() };
        let cookie = edns.and_then(|edns| edns.cookies()).filter(|_| manners.cookies);
        let cookie = cookie.map(|cookies| [&cookies.client[..], b"a server's cookie!"].concat());
        let mut write = |cut: bool| {
            let flags = Flags(Flags::QR | Flags::RD | Flags::RA | if cut { Flags::TC } else { 0 });
            let mut writer = Writer::new(&mut out, asked.message.header.id, flags).ok()?;
            writer.question(written, asked.kind, CLASS_IN).ok()?;
            if !cut {
                self.truth.tell(&mut writer, asked, manners.follows, now)?;
            }
            if edns.is_some() {
                let options = cookie.iter().map(|cookie| (OptionCode::COOKIE, &cookie[..]));
                let options: Vec<_> = options.collect();
                writer.edns(UDP_PAYLOAD, Rcode::NOERROR, false, &options).ok()?;
            }
            Some(writer.finish())
        };
        let whole = if udp == Some(true) { None } else { write(false) };
        let len = whole.or_else(|| write(true)).expect("a question has room");
        out.truncate(len);
        out
    }

    /// What a stranger sends who knows what is asked, and whom, and when, but not every number.
    fn forge(&mut self, asked: &Asked<'_>, at: SocketAddr, to: SocketAddr, said: &mut Vec<Said>) {
        for _ in 0..1 + self.rng.below(3) {
            let (mut id, mut from, mut to) = (asked.message.header.id, at, to);
            let (mut name, mut kind) = (asked.written.to_vec(), asked.kind);
            match self.rng.below(6) {
                0 => id ^= 1 << self.rng.below(16),
                1 => id = id.wrapping_add(1 + self.rng.below(9) as u16),
                2 => from.set_port(from.port() + 1 + self.rng.below(9) as u16),
                3 => from = SocketAddr::from(([STRANGERS, 1, 1, 1], at.port())),
                4 => to.set_port(to.port() ^ (1 << self.rng.below(8))),
                _ if self.rng.percent(50) => {
                    let another = if asked.name == super::truth::named("other", 7) { 9 } else { 7 };
                    name = super::truth::named("other", another).wire().to_vec();
                }
                _ => kind = if kind == Kind::A { Kind::AAAA } else { Kind::A },
            }
            let data = forged(id, &name, kind);
            said.push(Said::Datagram { after: Duration::ZERO, from, to, data });
        }
    }

    /// What the server itself says that is wrong.
    fn lie(
        &mut self,
        asked: &Asked<'_>,
        manners: &Manners,
        (now, at, to): (Instant, SocketAddr, SocketAddr),
        said: &mut Vec<Said>,
    ) {
        let id = asked.message.header.id;
        let (mut from, mut data) = (at, self.answer(asked, manners, now, Some(false)));
        match self.rng.below(12) {
            0 => data = forged(id ^ 0x1000, asked.written, asked.kind),
            1 => data = forged(id, b"\x03not\x04test\x00", asked.kind),
            2 => {
                from = SocketAddr::from(([15, 1, 1, 1], at.port()));
                data = forged(id, asked.written, asked.kind);
            }
            3 => data.truncate(self.rng.index(data.len())),
            4 => self.rng.fill(&mut data[12..]),
            5 => data[6..12].fill(0xff),
            6 => data = asked.refusal(Rcode::SERVFAIL, true),
            7 => data = asked.refusal(Rcode::REFUSED, true),
            8 => data = asked.refusal(Rcode::NOTIMP, true),
            9 => data = self.referral(asked),
            _ => data = self.poisoned(asked, now),
        }
        said.push(Said::Datagram { after: Duration::ZERO, from, to, data });
    }

    /// Other servers are named instead of asked.
    fn referral(&self, asked: &Asked<'_>) -> Vec<u8> {
        let mut out = vec![0; UDP_MIN];
        let flags = Flags(Flags::QR | Flags::RD);
        let mut writer = Writer::new(&mut out, asked.message.header.id, flags).expect("there is room");
        let ns = b"\x04evil\x04test\x00";
        let written = writer.question(asked.written, asked.kind, CLASS_IN);
        let written = written.and_then(|()| writer.record(Section::Authority, ZONE, Kind::NS, 3_600, ns));
        written
            .and_then(|()| writer.record(Section::Additional, ns, Kind::A, 3_600, &EVIL))
            .expect("there is room");
        let len = writer.finish();
        out.truncate(len);
        out
    }

    /// The truth, with much that nobody asked for.
    fn poisoned(&self, asked: &Asked<'_>, now: Instant) -> Vec<u8> {
        let mut out = vec![0; 4_096];
        let flags = Flags(Flags::QR | Flags::RD | Flags::RA);
        let mut writer = Writer::new(&mut out, asked.message.header.id, flags).expect("there is room");
        writer.question(asked.written, asked.kind, CLASS_IN).expect("there is room");
        let others = ["hot0.test", "hot1.test", "host1.test"].map(|name| Name::parse(name).expect("a name"));
        for name in others.iter().filter(|name| **name != asked.name) {
            _ = writer.record(Section::Answer, name.wire(), Kind::A, 86_400, &EVIL);
        }
        if self.truth.tell(&mut writer, asked, true, now).is_some() {
            for name in &others {
                _ = writer.record(Section::Additional, name.wire(), Kind::A, 86_400, &EVIL);
            }
        }
        let len = writer.finish();
        out.truncate(len);
        out
    }
}

impl Truth {
    /// Writes what is true now; with `follows` to the end of the aliases. `None`: there is no room.
    fn tell(&self, writer: &mut Writer<'_>, asked: &Asked<'_>, follows: bool, now: Instant) -> Option<()> {
        let mut at = asked.name.clone();
        for _ in 0..ALIASES_MAX {
            let ttl = self.ttl(&at);
            let rcode = match self.fact(&at, asked.kind, self.version(&at, now)) {
                Fact::Alias(target) => {
                    writer.record(Section::Answer, at.wire(), Kind::CNAME, ttl, target.wire()).ok()?;
                    if !follows {
                        return Some(());
                    }
                    at = *target;
                    continue;
                }
                Fact::Records(records) => {
                    for data in records {
                        writer.record(Section::Answer, at.wire(), asked.kind, ttl, &data).ok()?;
                    }
                    return Some(());
                }
                Fact::NoData => Rcode::NOERROR,
                Fact::NoName => Rcode::NXDOMAIN,
            };
            writer.set_flags(rcode.0);
            let inside = std::iter::successors(Some(at.wire()), |name| parent(name)).any(|name| name == ZONE);
            let zone: &[u8] = if inside { ZONE } else { &[0] };
            let numbers = [1u32, 2, 3, 4, ttl].map(u32::to_be_bytes).concat();
            let soa = [b"\x02ns\x04test\x00\x04root\x04test\x00".as_slice(), &numbers].concat();
            return writer.record(Section::Authority, zone, Kind::SOA, 86_400, &soa).ok();
        }
        Some(())
    }
}

impl<'a> Asked<'a> {
    fn read(data: &'a [u8]) -> Option<Self> {
        let message = Message::parse(data).ok().filter(|message| !message.header.flags.has(Flags::QR))?;
        let question = message.question?;
        let name = Name::from_wire(question.name)?;
        Some(Self { message, name, written: question.name, kind: question.kind })
    }

    /// No answer, and why; some do not even repeat the question.
    fn refusal(&self, rcode: Rcode, repeats: bool) -> Vec<u8> {
        let mut out = vec![0; UDP_MIN];
        let flags = Flags(Flags::QR | Flags::RD | rcode.0);
        let mut writer = Writer::new(&mut out, self.message.header.id, flags).expect("there is room");
        if repeats {
            writer.question(self.written, self.kind, CLASS_IN).expect("there is room");
        }
        let len = writer.finish();
        out.truncate(len);
        out
    }
}

/// An answer that nobody gave.
fn forged(id: u16, name: &[u8], kind: Kind) -> Vec<u8> {
    let mut out = vec![0; 2 * UDP_MIN];
    let flags = Flags(Flags::QR | Flags::RD | Flags::RA);
    let mut writer = Writer::new(&mut out, id, flags).expect("there is room");
    writer.question(name, kind, CLASS_IN).expect("there is room");
    let data = match kind {
        Kind::AAAA => vec![FORGED; 16],
        Kind::TXT => vec![3, FORGED, FORGED, FORGED],
        Kind::MX => [b"\x00\x01", &b"\x04evil\x04test\x00"[..]].concat(),
        _ => EVIL.to_vec(),
    };
    let owner = name.to_ascii_lowercase();
    writer.record(Section::Answer, &owner, kind, 86_400, &data).expect("there is room");
    let len = writer.finish();
    out.truncate(len);
    out
}

/// What only forgers say.
const EVIL: [u8; 4] = [FORGED; 4];
/// First byte of the addresses of those who forge from elsewhere.
const STRANGERS: u8 = 67;
/// A server follows aliases for a while, like everybody.
const ALIASES_MAX: usize = 24;
const SERVERS: u64 = 0x0005_e12e;
