//! DNS by choice: names, records, questions, and what a server says to a question, well or badly.

use dht_hunter::wire::dns::{
    CLASS_IN, Flags, Kind, Message, Name, OptionCode, Rcode, Section, UDP_PAYLOAD, Writer, parent,
};

use crate::Feed;

/// One of few names, so that they meet again; some of them long.
pub fn name(feed: &mut Feed<'_>) -> Name {
    let mut wire = Vec::new();
    for _ in 0..feed.below(5) {
        let label: &[u8] = match feed.u8() % 16 {
            0..=5 => b"a",
            6..=9 => b"b",
            10..=11 => b"test",
            12 => b"*",
            13 => &[b'x'; 63],
            14 => b"\x00.\\",
            _ => b"_tcp",
        };
        wire.push(label.len() as u8);
        wire.extend_from_slice(label);
    }
    wire.push(0);
    Name::from_wire(&wire).unwrap_or(Name::ROOT)
}

/// One of the types that are treated in some way of their own.
pub fn kind(feed: &mut Feed<'_>) -> Kind {
    match feed.u8() % 16 {
        0..=3 => Kind::A,
        4..=5 => Kind::AAAA,
        6 => Kind::TXT,
        7 => Kind::MX,
        8 => Kind::NS,
        9 => Kind::SOA,
        10 => Kind::SRV,
        11 => Kind::CNAME,
        12 => Kind::PTR,
        13 => Kind::ANY,
        14 => Kind(65_280),
        _ => Kind::HTTPS,
    }
}

/// Sound data of a type, names written out; a few bytes of nothing for a type of no known form.
pub fn data(feed: &mut Feed<'_>, kind: Kind) -> Vec<u8> {
    let name = name(feed);
    let name = name.wire();
    match kind {
        Kind::A => feed.array::<4>().to_vec(),
        Kind::AAAA => feed.array::<16>().to_vec(),
        Kind::NS | Kind::CNAME | Kind::PTR | Kind::DNAME => name.to_vec(),
        Kind::MX => [&feed.array::<2>(), name].concat(),
        Kind::SRV => [&feed.array::<6>(), name].concat(),
        Kind::SOA => [name, name, &feed.array::<20>()].concat(),
        Kind::TXT => {
            let text = feed.bytes(20);
            [&[text.len() as u8], text].concat()
        }
        Kind::HTTPS => [&[0, 1], name].concat(),
        _ => feed.bytes(20).to_vec(),
    }
}

/// What a server says to `query`: mostly something that fits it, with choices to be wrong in every
/// field. `None` if it is no query that can be answered.
pub fn reply(feed: &mut Feed<'_>, query: &[u8], room: usize) -> Option<Vec<u8>> {
    let asked = Message::parse(query).ok()?;
    let question = asked.question?;
    let flaw = feed.u8();
    let (mut id, mut name, mut kind) = (asked.header.id, question.name.to_vec(), question.kind);
    match flaw {
        200..=203 => id ^= 1 << (flaw & 15),
        204..=207 => name.make_ascii_lowercase(),
        208..=211 => name = parent(&name).unwrap_or(&[0]).to_vec(),
        212..=215 => kind.0 ^= 1,
        _ => {}
    }
    let rcode = match feed.u8() {
        0..=190 => Rcode::NOERROR,
        191..=220 => Rcode::NXDOMAIN,
        221..=230 => Rcode::SERVFAIL,
        231..=235 => Rcode::FORMERR,
        236..=240 => Rcode::BADCOOKIE,
        241..=243 => Rcode::BADVERS,
        other => Rcode(u16::from(other)),
    };
    let mut out = vec![0; room];
    let mut flags = Flags::QR | Flags::RD | Flags::RA | rcode.0 & 15;
    match flaw {
        216..=223 => flags |= Flags::TC,
        224..=225 => flags &= !Flags::QR,
        226 => flags |= 1 << 11,
        _ => {}
    }
    let mut writer = Writer::new(&mut out, id, Flags(flags)).ok()?;
    if !(227..=229).contains(&flaw) {
        writer.question(&name, kind, CLASS_IN).ok()?;
    }
    records(feed, &mut writer, &question.name.to_ascii_lowercase(), question.kind);
    if let Ok(Some(edns)) = asked.edns()
        && flaw % 8 != 7
    {
        let mut cookie = edns.cookies().map_or([0; 8], |cookies| cookies.client).to_vec();
        cookie.extend_from_slice(&[feed.u8(); 8]);
        if (230..=232).contains(&flaw) {
            cookie[0] ^= 1;
        }
        let options: &[(OptionCode, &[u8])] =
            if flaw % 8 < 4 { &[(OptionCode::COOKIE, &cookie)] } else { &[] };
        _ = writer.edns(UDP_PAYLOAD, rcode, false, options);
    }
    let len = writer.finish();
    out.truncate(len);
    match flaw {
        233..=238 => out.truncate(feed.below(len)),
        239..=244 => {
            let at = feed.below(len);
            out[at] = feed.u8();
        }
        _ => {}
    }
    Some(out)
}

/// A chain of aliases, what was asked for, what says that there is nothing, and what does not
/// belong there.
fn records(feed: &mut Feed<'_>, writer: &mut Writer<'_>, asked: &[u8], kind: Kind) {
    let mut at = asked.to_vec();
    for _ in 0..feed.below(12) {
        let ttl = [0, 1, 5, 60, 3_600, u32::MAX, 1 << 31, 86_400][feed.below(8)];
        let (section, owner, kind, data) = match feed.u8() % 16 {
            0..=5 => (Section::Answer, at.clone(), kind, data(feed, kind)),
            6..=8 => {
                let target = name(feed).wire().to_vec();
                let owner = std::mem::replace(&mut at, target.clone());
                (Section::Answer, owner, Kind::CNAME, target)
            }
            9..=11 => {
                let mut zone = at.clone();
                for _ in 0..feed.below(3) {
                    zone = parent(&zone).unwrap_or(&[0]).to_vec();
                }
                (Section::Authority, zone, Kind::SOA, data(feed, Kind::SOA))
            }
            12 => (Section::Authority, at.clone(), Kind::NS, data(feed, Kind::NS)),
            13 if feed.one_in(2) => signature(feed, &at, kind),
            13 => (Section::Additional, name(feed).wire().to_vec(), Kind::A, data(feed, Kind::A)),
            _ => {
                let other = self::kind(feed);
                (Section::Answer, name(feed).wire().to_vec(), other, data(feed, other))
            }
        };
        if writer.record(section, &owner, kind, ttl, &data).is_err() {
            return;
        }
    }
}

/// A signature, or a proof that something is not there, of a name that matters or its zone.
fn signature(feed: &mut Feed<'_>, at: &[u8], kind: Kind) -> (Section, Vec<u8>, Kind, Vec<u8>) {
    let choice = feed.u8();
    let zone = parent(at).unwrap_or(&[0]);
    let covered = [kind, Kind::CNAME, Kind::SOA, Kind::NSEC][usize::from(choice & 3)];
    let section = if choice & 2 == 0 { Section::Answer } else { Section::Authority };
    let owner = if choice & 4 == 0 { at } else { zone };
    if choice & 8 != 0 {
        return (Section::Authority, owner.to_vec(), Kind::NSEC, [zone, &[0, 1, 0x40]].concat());
    }
    let fixed = [&covered.0.to_be_bytes(), &[13, choice >> 5], &[0; 14][..]].concat();
    (section, owner.to_vec(), Kind::RRSIG, [&fixed, zone, feed.bytes(8)].concat())
}
