//! Reading: the header and the question at once, records one by one as they are asked for.

use super::kind::{Kind, Rcode};
use super::name::{LABEL_MAX, Name};
use super::{Fault, HEADER_LEN};

/// The two bytes of flags in a header (RFC 1035, section 4.1.1; RFC 4035 for AD and CD).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u16);

/// The first twelve bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Echoed by the answer.
    pub id: u16,
    /// What kind of message it is.
    pub flags: Flags,
    /// Records in answer, authority and additional section, as claimed.
    pub counts: [u16; 3],
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// The name in wire form and in the case it came in, uncompressed.
    pub name: &'a [u8],
    /// Its type.
    pub kind: Kind,
    /// Its class.
    pub class: u16,
}

/// A message, borrowed: the header and the question are sound, records are not looked at yet.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    data: &'a [u8],
    /// What comes first.
    pub header: Header,
    /// What it asks or answers, if anything.
    pub question: Option<Question<'a>>,
    records_at: usize,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// What was asked for.
    Answer,
    /// Who says so, or that there is nothing.
    Authority,
    /// What else is of use.
    Additional,
}

/// One record (RFC 1035, section 4.1.3).
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Where it stands.
    pub section: Section,
    /// Whose it is.
    pub owner: NameAt<'a>,
    /// Its type.
    pub kind: Kind,
    /// Its class; of OPT the sender's largest datagram.
    pub class: u16,
    /// How long it holds, in seconds; 0 if the highest bit is set (RFC 2181, section 8).
    pub ttl: u32,
    /// The message, for names in the data that point into it.
    pub message: &'a [u8],
    /// Where its data starts and ends in the message.
    pub range: (usize, usize),
}

/// A name somewhere in a message, perhaps compressed, not read yet.
#[derive(Clone, Copy, Debug)]
pub struct NameAt<'a> {
    message: &'a [u8],
    at: usize,
}

/// The records of a message in their order. After a fault nothing follows.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    data: &'a [u8],
    at: usize,
    left: [u16; 3],
}

/// The OPT record (RFC 6891, section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edns<'a> {
    /// The largest datagram that the sender takes, in bytes.
    pub payload: u16,
    /// The upper eight of the twelve bits of a response code.
    pub rcode_high: u8,
    /// Only 0 is known.
    pub version: u8,
    /// The sender wants DNSSEC's records too (RFC 3225).
    pub dnssec_ok: bool,
    /// Code, length and value, one after the other.
    pub options: &'a [u8],
}

/// The options that are read or written here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionCode(pub u16);

/// A client's cookie of 8 bytes, and behind it the server's of 8 to 32, if any (RFC 7873).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cookies<'a> {
    /// Made by the client.
    pub client: [u8; 8],
    /// Made by the server; empty if none is known.
    pub server: &'a [u8],
}

impl Flags {
    /// Recursion is desired.
    pub const RD: u16 = 1 << 8;
    /// Recursion is available.
    pub const RA: u16 = 1 << 7;
    /// It is a response.
    pub const QR: u16 = 1 << 15;
    /// The server is an authority for the name.
    pub const AA: u16 = 1 << 10;
    /// It was cut to fit.
    pub const TC: u16 = 1 << 9;
    /// All of it was validated (RFC 4035).
    pub const AD: u16 = 1 << 5;
    /// Do not validate (RFC 4035).
    pub const CD: u16 = 1 << 4;

    /// Whether all bits of `mask` are set.
    pub fn has(self, mask: u16) -> bool {
        self.0 & mask == mask
    }

    /// 0 is a query (RFC 1035).
    pub fn opcode(self) -> u8 {
        (self.0 >> 11) as u8 & 15
    }

    /// The lower four bits of the response code.
    pub fn rcode(self) -> Rcode {
        Rcode(self.0 & 15)
    }
}

impl OptionCode {
    /// RFC 7873.
    pub const COOKIE: Self = Self(10);
    /// RFC 8914.
    pub const EXTENDED_ERROR: Self = Self(15);
}

impl<'a> Message<'a> {
    /// Reads the header and the question.
    pub fn parse(data: &'a [u8]) -> Result<Self, Fault> {
        let head = data.first_chunk::<HEADER_LEN>().ok_or(Fault::Short)?;
        let number = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let counts = [number(6), number(8), number(10)];
        let header = Header { id: number(0), flags: Flags(number(2)), counts };
        let (question, records_at) = match number(4) {
            0 => (None, HEADER_LEN),
            1 => {
                let (question, end) = Question::parse(data)?;
                (Some(question), end)
            }
            _ => return Err(Fault::Questions),
        };
        Ok(Self { data, header, question, records_at })
    }

    /// The records of all sections.
    pub fn records(&self) -> Records<'a> {
        Records { data: self.data, at: self.records_at, left: self.header.counts }
    }

    /// The OPT record, if there is one; every record is looked at.
    pub fn edns(&self) -> Result<Option<Edns<'a>>, Fault> {
        let mut found = None;
        for record in self.records() {
            let record = record?;
            if record.kind != Kind::OPT {
                continue;
            }
            let edns = record.edns()?;
            if record.section != Section::Additional || found.replace(edns).is_some() {
                return Err(Fault::Edns);
            }
        }
        Ok(found)
    }

    /// All of it.
    pub fn data(&self) -> &'a [u8] {
        self.data
    }

    /// Where the records start: how many bytes header and question take.
    pub fn records_at(&self) -> usize {
        self.records_at
    }
}

impl<'a> Question<'a> {
    fn parse(data: &'a [u8]) -> Result<(Self, usize), Fault> {
        let mut end = HEADER_LEN;
        loop {
            match usize::from(*data.get(end).ok_or(Fault::Short)?) {
                0 => break,
                // Nothing stands before the question that a pointer could lead to.
                len if len > LABEL_MAX => return Err(Fault::Name),
                len => end += 1 + len,
            }
            if end >= HEADER_LEN + super::NAME_MAX {
                return Err(Fault::Name);
            }
        }
        let name = &data[HEADER_LEN..=end];
        let rest = data.get(end + 1..end + 5).ok_or(Fault::Short)?;
        let kind = Kind(u16::from_be_bytes([rest[0], rest[1]]));
        let class = u16::from_be_bytes([rest[2], rest[3]]);
        Ok((Self { name, kind, class }, end + 5))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        let section = self.left.iter().position(|left| *left > 0)?;
        self.left[section] -= 1;
        let record = self.read([Section::Answer, Section::Authority, Section::Additional][section]);
        if record.is_err() {
            self.left = [0; 3];
        }
        Some(record)
    }
}

impl<'a> Records<'a> {
    /// Where the next record starts.
    pub fn position(&self) -> usize {
        self.at
    }

    fn read(&mut self, section: Section) -> Result<Record<'a>, Fault> {
        let owner = NameAt { message: self.data, at: self.at };
        let at = skip_name(self.data, self.at)?;
        let fixed = self.data.get(at..).and_then(|rest| rest.first_chunk::<10>()).ok_or(Fault::Short)?;
        let number = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let start = at + fixed.len();
        let end = start + usize::from(number(8));
        if end > self.data.len() {
            return Err(Fault::Short);
        }
        self.at = end;
        let ttl = u32::from(number(4)) << 16 | u32::from(number(6));
        Ok(Record {
            section,
            owner,
            kind: Kind(number(0)),
            class: number(2),
            ttl,
            message: self.data,
            range: (start, end),
        })
    }
}

impl<'a> Record<'a> {
    /// The data as it stands in the message.
    pub fn data(&self) -> &'a [u8] {
        &self.message[self.range.0..self.range.1]
    }

    /// How long it holds, in seconds: a TTL with the highest bit set is none (RFC 2181, section 8).
    pub fn lifetime(&self) -> u32 {
        if self.ttl >> 31 == 0 { self.ttl } else { 0 }
    }

    /// False if data of this type cannot be of this length.
    pub fn has_sound_length(&self) -> bool {
        super::rdata::fixed_len(self.kind).is_none_or(|len| len == self.range.1 - self.range.0)
    }

    /// The name that starts `offset` bytes into the data.
    pub fn name_in_data(&self, offset: usize) -> NameAt<'a> {
        NameAt { message: self.message, at: self.range.0 + offset }
    }

    /// An OPT record's content.
    pub fn edns(&self) -> Result<Edns<'a>, Fault> {
        if self.message[self.owner.at] != 0 {
            return Err(Fault::Edns);
        }
        let [rcode_high, version, high, _] = self.ttl.to_be_bytes();
        let options = self.data();
        let edns = Edns { payload: self.class, rcode_high, version, dnssec_ok: high & 0x80 != 0, options };
        let mut rest = options;
        while !rest.is_empty() {
            (_, _, rest) = split_option(rest).ok_or(Fault::Edns)?;
        }
        Ok(edns)
    }
}

impl<'a> Edns<'a> {
    /// The value of the first option with this code.
    pub fn option(&self, code: OptionCode) -> Option<&'a [u8]> {
        let mut rest = self.options;
        loop {
            let (found, value, after) = split_option(rest)?;
            if found == code {
                return Some(value);
            }
            rest = after;
        }
    }

    /// The cookies, if they are of the right lengths (RFC 7873, section 5.2.2).
    pub fn cookies(&self) -> Option<Cookies<'a>> {
        let value = self.option(OptionCode::COOKIE)?;
        let (client, server) = value.split_first_chunk::<8>()?;
        (server.is_empty() || (8..=32).contains(&server.len())).then_some(Cookies { client: *client, server })
    }
}

impl NameAt<'_> {
    /// It is nothing but a pointer to this place in the message.
    pub fn points_to(&self, target: usize) -> bool {
        matches!(label(self.message, self.at), Ok(Label::Pointer(at)) if at == target)
    }

    /// Reads it, following pointers backwards only.
    pub fn read(&self) -> Result<Name, Fault> {
        self.read_to_end().map(|(name, _)| name)
    }

    /// The name, and where in the message what follows it starts.
    pub fn read_to_end(&self) -> Result<(Name, usize), Fault> {
        let mut name = Name::unfinished();
        let (mut at, mut floor, mut end) = (self.at, self.at, None);
        loop {
            match label(self.message, at)? {
                Label::Text(label) => {
                    name.push_label(label).map_err(|_| Fault::Name)?;
                    at += 1 + label.len();
                }
                Label::End => {
                    name.push_label(&[]).map_err(|_| Fault::Name)?;
                    return Ok((name, end.unwrap_or(at + 1)));
                }
                Label::Pointer(target) => {
                    // Each leads further back than the one before, so that this comes to an end.
                    if target >= floor {
                        return Err(Fault::Pointer);
                    }
                    end = end.or(Some(at + 2));
                    (at, floor) = (target, target);
                }
            }
        }
    }
}

enum Label<'a> {
    Text(&'a [u8]),
    End,
    Pointer(usize),
}

fn label(message: &[u8], at: usize) -> Result<Label<'_>, Fault> {
    let first = *message.get(at).ok_or(Fault::Short)?;
    match first >> 6 {
        0 if first == 0 => Ok(Label::End),
        0 => message.get(at + 1..at + 1 + usize::from(first)).map(Label::Text).ok_or(Fault::Short),
        3 => {
            let second = *message.get(at + 1).ok_or(Fault::Short)?;
            Ok(Label::Pointer(usize::from(u16::from_be_bytes([first & 0x3f, second]))))
        }
        _ => Err(Fault::Name),
    }
}

/// Where what follows a name starts.
fn skip_name(message: &[u8], mut at: usize) -> Result<usize, Fault> {
    let start = at;
    loop {
        match label(message, at)? {
            Label::Text(label) => at += 1 + label.len(),
            Label::End => return Ok(at + 1),
            Label::Pointer(_) => return Ok(at + 2),
        }
        if at - start >= super::NAME_MAX {
            return Err(Fault::Name);
        }
    }
}

/// The first option's code and value, and what follows it.
fn split_option(options: &[u8]) -> Option<(OptionCode, &[u8], &[u8])> {
    let (head, rest) = options.split_first_chunk::<4>()?;
    let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let (value, rest) = rest.split_at_checked(len)?;
    Some((OptionCode(u16::from_be_bytes([head[0], head[1]])), value, rest))
}

#[cfg(test)]
mod tests {
    use super::super::{CLASS_IN, UDP_PAYLOAD, Writer, expand};
    use super::*;

    const NAME: &[u8] = b"\x03wWw\x04test\x00";

    /// A response of a server: a chain of two, an SOA, a cookie.
    fn response() -> Vec<u8> {
        let mut out = vec![0; 512];
        let mut writer = Writer::new(&mut out, 0x1234, Flags(Flags::QR | Flags::RD | Flags::RA)).unwrap();
        writer.question(NAME, Kind::A, CLASS_IN).unwrap();
        writer
            .record(Section::Answer, b"\x03www\x04test\x00", Kind::CNAME, 60, b"\x01a\x04test\x00")
            .unwrap();
        writer.record(Section::Answer, b"\x01a\x04test\x00", Kind::A, 1 << 31, &[127, 0, 0, 1]).unwrap();
        let soa = [b"\x02ns\x04test\x00\x04root\x04test\x00".as_slice(), &[7; 20]].concat();
        writer.record(Section::Authority, b"\x04test\x00", Kind::SOA, 3600, &soa).unwrap();
        let cookie = [[1; 8].as_slice(), &[2; 16]].concat();
        writer
            .edns(UDP_PAYLOAD, Rcode::BADVERS, true, &[(OptionCode(3), b"x"), (OptionCode::COOKIE, &cookie)])
            .unwrap();
        let len = writer.finish();
        out.truncate(len);
        out
    }

    #[test]
    fn what_was_written_is_read_back() {
        let data = response();
        let message = Message::parse(&data).unwrap();
        assert_eq!(message.question, Some(Question { name: NAME, kind: Kind::A, class: CLASS_IN }));
        assert!(message.header.flags.has(Flags::QR | Flags::RD) && message.header.counts == [2, 1, 1]);
        let records: Vec<_> = message.records().map(Result::unwrap).collect();
        let owners: Vec<_> = records.iter().map(|record| record.owner.read().unwrap().to_string()).collect();
        assert_eq!(owners, ["www.test.", "a.test.", "test.", "."]);
        assert_eq!((records[0].lifetime(), records[1].lifetime()), (60, 0));
        assert_eq!(records[0].name_in_data(0).read().unwrap().to_string(), "a.test.");
        let mut soa = Vec::new();
        expand(&records[2], &mut soa).unwrap();
        assert_eq!(soa, [b"\x02ns\x04test\x00\x04root\x04test\x00".as_slice(), &[7; 20]].concat());
        let edns = message.edns().unwrap().unwrap();
        assert_eq!((edns.payload, edns.rcode_high, edns.dnssec_ok), (UDP_PAYLOAD, 1, true));
        let cookies = edns.cookies().unwrap();
        assert_eq!((cookies.client, cookies.server), ([1; 8], [2; 16].as_slice()));
    }

    #[test]
    fn repeated_names_are_pointers() {
        // 12 of header, 14 of question; then 2 of owner, 10 and 4 of data: "a" and a pointer.
        assert_eq!(&response()[26..42], b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x04\x01a\xc0\x10");
    }

    #[test]
    fn every_cut_of_a_message_is_refused_without_a_panic() {
        let data = response();
        for len in 0..data.len() {
            let whole =
                Message::parse(&data[..len]).map(|message| message.records().all(|record| record.is_ok()));
            assert_ne!(whole, Ok(true), "{len}");
        }
    }

    #[test]
    fn pointers_lead_backwards_or_nowhere() {
        let mut data = response();
        let answers = 26;
        for (pointer, fault) in
            [(0xc01a_u16, Fault::Pointer), (0xc0ff, Fault::Pointer), (0xffff, Fault::Pointer)]
        {
            data[answers..answers + 2].copy_from_slice(&pointer.to_be_bytes());
            let message = Message::parse(&data).unwrap();
            let first = message.records().next().unwrap().unwrap();
            assert_eq!(first.owner.read().err(), Some(fault), "{pointer:04x}");
        }
        // Labels of the forms 01 and 10 are of the past.
        data[answers] = 0x41;
        assert!(matches!(Message::parse(&data).unwrap().records().next(), Some(Err(Fault::Name))));
    }

    #[test]
    fn a_name_may_not_grow_by_pointers() {
        // Six times the same 63 letters, each followed by a pointer to the one before.
        let mut data = [[0; 4].as_slice(), &[0, 0, 0, 6, 0, 0, 0, 0]].concat();
        let mut above = None;
        for _ in 0..6 {
            let start = data.len() as u16;
            data.push(63);
            data.extend_from_slice(&[b'a'; 63]);
            match above.replace(start) {
                None => data.push(0),
                Some(above) => data.extend_from_slice(&(0xc000_u16 | above).to_be_bytes()),
            }
            data.extend_from_slice(&[0, 1, 0, 1, 0, 0, 0, 0, 0, 0]);
        }
        let message = Message::parse(&data).unwrap();
        let names: Vec<_> =
            message.records().map(|record| record.unwrap().owner.read().map(|name| name.labels())).collect();
        assert_eq!(names[..3], [Ok(1), Ok(2), Ok(3)]);
        assert_eq!(names[3..], [Err(Fault::Name); 3]);
    }

    #[test]
    fn a_second_question_or_opt_is_refused() {
        let mut data = response();
        data[5] = 2;
        assert_eq!(Message::parse(&data).err(), Some(Fault::Questions));
        let mut out = [0; 64];
        let mut writer = Writer::new(&mut out, 1, Flags::default()).unwrap();
        writer.edns(512, Rcode::NOERROR, false, &[]).unwrap();
        writer.edns(512, Rcode::NOERROR, false, &[]).unwrap();
        let len = writer.finish();
        assert_eq!(Message::parse(&out[..len]).unwrap().edns(), Err(Fault::Edns));
    }

    quickcheck::quickcheck! {
        fn no_bytes_make_it_panic_or_run_on(bytes: Vec<u8>, counts: (u8, u8, u8)) -> bool {
            let mut data = response();
            let at = usize::from(counts.0) % data.len();
            let end = data.len().min(at + bytes.len());
            data[at..end].copy_from_slice(&bytes[..end - at]);
            let Ok(message) = Message::parse(&data) else { return true };
            let _ = message.edns();
            let mut out = Vec::new();
            message.records().flatten().all(|record| {
                let _ = (record.owner.read(), expand(&record, &mut out));
                record.range.1 <= data.len()
            })
        }

        fn a_message_that_does_not_fit_is_cut_at_a_record(room: usize) -> bool {
            let mut out = vec![0; room % 512];
            let Ok(mut writer) = Writer::new(&mut out, 1, Flags::default()) else { return room % 512 < HEADER_LEN };
            let asked = writer.question(NAME, Kind::TXT, CLASS_IN).is_ok();
            let count = (0..9).take_while(|_| writer.record(Section::Answer, NAME, Kind::TXT, 1, b"\x03abc").is_ok()).count();
            let len = writer.finish();
            let message = Message::parse(&out[..len]).unwrap();
            message.question.is_some() == asked && message.records().filter(|record| record.is_ok()).count() == count
        }
    }
}
