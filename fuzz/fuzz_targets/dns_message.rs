//! DNS messages: our borrowed reader beside hickory-proto on the same bytes, and what our writer
//! writes read back by both.
//!
//! What both accept must read the same. Differences that are meant:
//! - hickory raises an OPT record's payload below 512 to 512 (RFC 6891, section 6.2.3, says to treat
//!   it so); ours tells what stands there.
//! - hickory takes more than one question and questions whose name is a pointer into the header;
//!   ours refuses both: nobody sends them (RFC 9619), and nothing stands before the question.
//! - hickory takes an OPT record whose options are cut off, without them; ours refuses it.
//! - hickory knows less types: of those that it does not know (MINFO, RP, DNAME ...) it keeps the data
//!   as it is, compressed or broken; ours writes their names out, or refuses them.
//! - hickory writes out a compressed target of SVCB and HTTPS, which RFC 9460, section 2.2 forbids;
//!   ours takes the data as it is.
//! - hickory writes out the name of an ANAME, a type of private use; to ours that is any data.
//! - hickory takes records without data as those of a dynamic update (RFC 2136), which ours does not
//!   read: empty data of a type that must have some is a fault.
#![no_main]

use dht_hunter::wire::dns::{
    CLASS_IN, Edns, Fault, Flags, Kind, Message, Name, OptionCode, Question, Rcode, Record, Section, Writer,
    expand,
};
use dht_hunter_fuzz::{Feed, dns, heap};
use hickory_proto::op;
use hickory_proto::rr;
use hickory_proto::serialize::binary::{BinEncodable, BinEncoder};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (_, held) = heap::held_by(|| walk(input));
    assert_eq!(held.peak, 0, "reading allocates nothing");
    compare(input);
    write(&mut Feed::new(input));
});

/// Looks at everything; how many records there are.
fn walk(input: &[u8]) -> Result<usize, Fault> {
    let message = Message::parse(input)?;
    let mut records = message.records();
    let mut count = 0;
    while let Some(record) = records.next() {
        let record = record?;
        record.owner.read()?;
        assert!(record.range.1 <= input.len() && records.position() == record.range.1);
        let ttl_at = record.range.0 - 6;
        assert_eq!(input[ttl_at..ttl_at + 4], record.ttl.to_be_bytes(), "where the TTL stands");
        assert!(record.lifetime() == record.ttl || record.ttl >> 31 == 1 && record.lifetime() == 0);
        count += 1;
    }
    message.edns()?;
    Ok(count)
}

fn compare(input: &[u8]) {
    let theirs = op::Message::from_vec(input);
    let ours = Message::parse(input);
    let (theirs, ours) = match (theirs, ours) {
        (Ok(theirs), Ok(ours)) => (theirs, ours),
        (Ok(theirs), Err(fault)) => {
            let questions = fault == Fault::Questions && theirs.queries.len() > 1;
            let pointer = fault == Fault::Name && points(input, 12);
            return assert!(questions || pointer, "only ours refuses it: {fault:?}");
        }
        (Err(_), _) => return,
    };
    let header = theirs.metadata;
    assert_eq!(header.id, ours.header.id);
    let flags = ours.header.flags;
    assert_eq!(u8::from(header.op_code), flags.opcode());
    for (theirs, ours) in [
        (header.message_type == op::MessageType::Response, Flags::QR),
        (header.authoritative, Flags::AA),
        (header.truncation, Flags::TC),
        (header.recursion_desired, Flags::RD),
        (header.recursion_available, Flags::RA),
        (header.authentic_data, Flags::AD),
        (header.checking_disabled, Flags::CD),
    ] {
        assert_eq!(theirs, flags.has(ours));
    }
    assert_eq!(theirs.queries.len(), usize::from(ours.question.is_some()));
    if let (Some(theirs), Some(ours)) = (theirs.queries.first(), ours.question) {
        same_question(theirs, ours);
    }
    let records = match ours.records().collect::<Result<Vec<_>, _>>() {
        Ok(records) => records,
        Err(fault) => panic!("only ours refuses a record: {fault:?}"),
    };
    let edns = match ours.edns() {
        Ok(edns) => edns,
        Err(fault) => {
            let options = theirs.edns.as_ref().map(|edns| edns.options().as_ref().len());
            return assert!(fault == Fault::Edns && options == Some(0), "only ours refuses its EDNS");
        }
    };
    let high = edns.map_or(0, |edns| edns.rcode_high);
    assert_eq!(u16::from(header.response_code), u16::from(high) << 4 | flags.rcode().0);
    assert_eq!(edns.is_some(), theirs.edns.is_some());
    if let (Some(theirs), Some(ours)) = (&theirs.edns, edns) {
        same_edns(theirs, ours);
    }
    let sections = [&theirs.answers, &theirs.authorities, &theirs.additionals];
    for (section, theirs) in [Section::Answer, Section::Authority, Section::Additional].iter().zip(sections) {
        let ours = records.iter().filter(|record| record.section == *section && record.kind != Kind::OPT);
        assert_eq!(theirs.len(), ours.clone().count(), "{section:?}");
        theirs.iter().zip(ours).for_each(|(theirs, ours)| same_record(theirs, ours, flags.opcode()));
    }
}

/// Whether the name that starts there comes to a pointer.
fn points(input: &[u8], mut at: usize) -> bool {
    while let Some(len) = input.get(at).filter(|len| **len != 0) {
        if len >> 6 == 3 {
            return true;
        }
        at += 1 + usize::from(*len);
    }
    false
}

fn same_question(theirs: &op::Query, ours: Question<'_>) {
    // hickory keeps the case as well.
    assert_eq!(encoded(theirs.name(), false), ours.name);
    assert_eq!(u16::from(theirs.query_type()), ours.kind.0);
    assert_eq!(u16::from(theirs.query_class()), ours.class);
}

fn same_edns(theirs: &op::Edns, ours: Edns<'_>) {
    assert_eq!((theirs.rcode_high(), theirs.version()), (ours.rcode_high, ours.version));
    assert_eq!(theirs.flags().dnssec_ok, ours.dnssec_ok);
    assert_eq!(theirs.max_payload(), ours.payload.max(512));
    let mut rest = ours.options;
    let mut first = Vec::new();
    for (code, option) in theirs.options().as_ref() {
        let (head, after) = rest.split_at(4);
        let (value, after) = after.split_at(usize::from(u16::from_be_bytes([head[2], head[3]])));
        assert_eq!(u16::from(*code), u16::from_be_bytes([head[0], head[1]]));
        if let rr::rdata::opt::EdnsOption::Unknown(_, bytes) = option {
            assert_eq!(bytes, value);
        }
        if !first.contains(&u16::from(*code)) {
            first.push(u16::from(*code));
            assert_eq!(ours.option(OptionCode(u16::from(*code))), Some(value));
        }
        rest = after;
    }
    assert!(rest.is_empty(), "options that only ours sees");
}

fn same_record(theirs: &rr::Record, ours: &Record<'_>, opcode: u8) {
    let owner = ours.owner.read().expect("hickory has read it");
    assert_eq!(encoded(&theirs.name, true), owner.wire());
    assert_eq!(u16::from(theirs.record_type()), ours.kind.0);
    assert_eq!(u16::from(theirs.dns_class), ours.class);
    assert_eq!(theirs.ttl, ours.ttl);
    let mut data = Vec::new();
    if let rr::RData::ANAME(_) = theirs.data {
        return;
    }
    if let rr::RData::Unknown { .. } = theirs.data {
        assert_eq!(encoded(&theirs.data, false), ours.data());
        return;
    }
    if let Err(fault) = expand(ours, &mut data) {
        let empty = ours.data().is_empty() && opcode == 5;
        return assert!(empty, "only ours refuses the data of {theirs:?}: {fault:?}");
    }
    let is_service = matches!(ours.kind, Kind::SVCB | Kind::HTTPS);
    if is_service && points(data.get(2..).unwrap_or_default(), 0) {
        return;
    }
    let theirs_data = encoded(&theirs.data, true);
    // hickory forgets what stands behind a parameter of fixed length, as a third byte of a port.
    if is_service && theirs_data.len() < data.len() {
        return;
    }
    assert!(theirs_data.eq_ignore_ascii_case(&data), "{theirs:?} {theirs_data:02x?} {data:02x?}");
}

fn encoded(what: &impl BinEncodable, canonical: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = BinEncoder::new(&mut out);
    encoder.set_canonical_form(canonical);
    what.emit(&mut encoder).expect("what was read can be written");
    if canonical { out.to_ascii_lowercase() } else { out }
}

/// Writes a message of records that are sound, and reads it again.
fn write(feed: &mut Feed<'_>) {
    let mut room = vec![0; 12 + feed.below(2_000)];
    let (id, flags) = (feed.u16(), Flags(feed.u16() & !0x0040));
    let mut writer = Writer::new(&mut room, id, flags).expect("there is room for the header");
    let (asked, mut mixed) = (dns::name(feed), Vec::new());
    mixed.extend(
        asked.wire().iter().map(|byte| if byte % 2 == 1 { byte.to_ascii_uppercase() } else { *byte }),
    );
    let kind = dns::kind(feed);
    let question = writer.question(&mixed, kind, CLASS_IN).is_ok();
    let mut written = Vec::new();
    let mut section = Section::Answer;
    for _ in 0..feed.below(30) {
        if section == Section::Answer && feed.one_in(8) {
            section = Section::Authority;
        } else if feed.one_in(8) {
            section = Section::Additional;
        }
        let (owner, kind, ttl) = (dns::name(feed), dns::kind(feed), feed.u32());
        let kind = if kind == Kind::ANY { Kind::A } else { kind };
        let mut data = dns::data(feed, kind);
        if data.is_empty() {
            data.push(0);
        }
        let before = writer.len();
        match writer.record(section, owner.wire(), kind, ttl, &data) {
            Ok(()) => written.push((section, owner, kind, ttl, data)),
            Err(_) => assert_eq!(writer.len(), before, "half of a record is none"),
        }
    }
    let cookie = feed.bytes(40);
    let edns = feed.one_in(2).then(|| {
        let options = [(OptionCode::COOKIE, cookie), (OptionCode(65_001), &b"x"[..])];
        writer.edns(700, Rcode(0x10), true, &options)
    });
    let len = writer.finish();
    let bytes = &room[..len];
    let message = Message::parse(bytes).expect("what was written can be read");
    assert_eq!((message.header.id, message.header.flags), (id, flags));
    assert_eq!(message.question.map(|it| (it.name, it.kind)), question.then_some((&mixed[..], kind)));
    let found = message.edns().expect("as it was written");
    assert_eq!(found.is_some(), edns == Some(Ok(())));
    assert!(found.is_none_or(|found| found.option(OptionCode::COOKIE) == Some(cookie)));
    let records: Vec<_> = message.records().map(|record| record.expect("as it was written")).collect();
    let records = records.iter().filter(|record| record.kind != Kind::OPT);
    assert_eq!(records.clone().count(), written.len());
    for (record, (section, owner, kind, ttl, data)) in records.zip(&written) {
        assert_eq!((record.section, record.kind, record.ttl), (*section, *kind, *ttl));
        let read: Name = record.owner.read().expect("as it was written");
        assert_eq!(&read, owner);
        let mut again = Vec::new();
        expand(record, &mut again).expect("as it was written");
        assert!(again.eq_ignore_ascii_case(data));
    }
    if let Err(error) = op::Message::from_vec(bytes) {
        panic!("only hickory refuses what was written: {error}");
    }
    compare(bytes);
}
