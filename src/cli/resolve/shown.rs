//! What is shown of one name, as lines for people or as one line of JSON. Made for millions: room is
//! kept from one name to the next.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;
use std::time::Duration;

use crate::cli::records;
use crate::cli::units::three_digits;
use crate::dns::{Failure, Given, Looked, Resolved};
use crate::model::dns::Source;
use crate::wire::dns::{Kind, Rcode, Record};

/// What came of a name.
#[derive(Default)]
pub(super) struct Shown {
    /// The name as it was found: with its suffix. Empty if nothing was asked.
    as_name: String,
    /// Type, where in `text` the data stands, TTL in seconds.
    records: Vec<(Kind, Range<usize>, u32)>,
    text: String,
    source: String,
    elapsed: Duration,
    failure: Option<Cow<'static, str>>,
    /// Addresses that are not told.
    left_out: usize,
}

impl Shown {
    /// There are records.
    pub(super) fn is_found(&self) -> bool {
        !self.records.is_empty()
    }

    /// It could not even be asked for.
    pub(super) fn set_failed(&mut self, why: &'static str) {
        self.clear();
        self.failure = Some(why.into());
    }

    /// The addresses of a host.
    pub(super) fn set_host(&mut self, looked: &Looked) {
        self.clear();
        for (ip, ttl) in &looked.addresses {
            self.add_address(*ip, *ttl);
        }
        self.failure = match (&looked.failure, looked.addresses.is_empty()) {
            (Some(failure), true) => Some(why(*failure)),
            (None, true) if looked.exists => Some("it has no address".into()),
            (None, true) => Some(NO_SUCH_NAME.into()),
            (_, false) => None,
        };
        let _ = write!(self.as_name, "{}", looked.name);
        looked.source.iter().for_each(|source| self.set_source(source));
        self.left_out = looked.left_out;
        self.elapsed = looked.elapsed;
    }

    /// The records of one type.
    pub(super) fn set_records(&mut self, resolved: &Resolved) {
        self.clear();
        let _ = write!(self.as_name, "{}", resolved.name);
        self.elapsed = resolved.elapsed;
        let given = match &resolved.result {
            Ok(given) => given,
            Err(failure) => return self.failure = Some(why(*failure)),
        };
        self.add_records(given);
        self.set_source(&given.source);
        let wanted = |(kind, ..): &(Kind, Range<usize>, u32)| *kind == resolved.kind;
        self.failure = match given.answer.rcode {
            _ if resolved.kind == Kind::ANY && self.is_found() || self.records.iter().any(wanted) => None,
            Rcode::NXDOMAIN => Some(NO_SUCH_NAME.into()),
            _ => Some(format!("it has no {} record", resolved.kind).into()),
        };
    }

    /// One line for each record and for a failure.
    pub(super) fn lines(&self, name: &str) -> Vec<String> {
        let ms = three_digits(self.elapsed.as_secs_f64() * 1_000.0);
        let source = if self.source.is_empty() { String::new() } else { format!("  {}", self.source) };
        let line = |(kind, data, ttl): &(Kind, Range<usize>, u32)| {
            let ttl = if *ttl == u32::MAX { String::new() } else { format!("  TTL {ttl}") };
            format!("{name}  {kind}  {}{ttl}{source}  {ms} ms", &self.text[data.clone()])
        };
        let mut lines: Vec<String> = self.records.iter().map(line).collect();
        if self.left_out > 0 {
            lines
                .push(format!("{name}  and {} addresses more; `-t A` or `-t AAAA` shows all", self.left_out));
        }
        lines.extend(self.failure.iter().map(|failure| format!("{name}  {failure}{source}  {ms} ms")));
        lines
    }

    /// Appends one JSON object and the end of its line.
    pub(super) fn write_json(&self, name: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"as\":");
        write_optional(Some(self.as_name.as_str()).filter(|name| !name.is_empty()), out);
        out.extend_from_slice(b",\"error\":");
        write_optional(self.failure.as_deref(), out);
        out.extend_from_slice(b",\"ipv4\":");
        self.write_data(Kind::A, out);
        out.extend_from_slice(b",\"ipv6\":");
        self.write_data(Kind::AAAA, out);
        if self.left_out > 0 {
            out.extend_from_slice(b",\"left_out\":");
            write_number(self.left_out as u64, out);
        }
        out.extend_from_slice(b",\"ms\":");
        write_ms(self.elapsed, out);
        out.extend_from_slice(b",\"name\":");
        write_string(name, out);
        out.extend_from_slice(b",\"records\":[");
        for (index, (kind, data, ttl)) in self.records.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b"{\"data\":" } else { b",{\"data\":" });
            write_string(&self.text[data.clone()], out);
            out.extend_from_slice(b",\"ttl\":");
            write_number(u64::from(*ttl), out);
            out.extend_from_slice(b",\"type\":");
            match *kind {
                Kind::A => out.extend_from_slice(b"\"A\"}"),
                Kind::AAAA => out.extend_from_slice(b"\"AAAA\"}"),
                other => {
                    write_string(&other.to_string(), out);
                    out.push(b'}');
                }
            }
        }
        out.extend_from_slice(b"],\"source\":");
        write_string(&self.source, out);
        out.extend_from_slice(b"}\n");
    }

    /// The data of all records of one type.
    fn write_data(&self, wanted: Kind, out: &mut Vec<u8>) {
        out.push(b'[');
        let data = self.records.iter().filter(|(kind, ..)| *kind == wanted);
        for (index, (_, data, _)) in data.enumerate() {
            if index > 0 {
                out.push(b',');
            }
            write_string(&self.text[data.clone()], out);
        }
        out.push(b']');
    }

    fn clear(&mut self) {
        self.as_name.clear();
        self.records.clear();
        self.text.clear();
        self.source.clear();
        (self.elapsed, self.failure, self.left_out) = (Duration::ZERO, None, 0);
    }

    fn set_source(&mut self, source: &Source) {
        match source {
            Source::Forwarder(name) => self.source.push_str(name),
            other => drop(write!(self.source, "{other}")),
        }
    }

    fn add_records(&mut self, given: &Given) {
        let ttl = given.ttl();
        let mut addresses = given.answer.records().map(|record| address(&record));
        if addresses.all(|ip| ip.map(|ip| self.add_address(ip, ttl)).is_some()) {
            return;
        }
        self.records.clear();
        self.text.clear();
        for (kind, data, ttl) in records::texts(given) {
            let start = self.text.len();
            self.text.push_str(&data);
            self.records.push((kind, start..self.text.len(), ttl));
        }
    }

    fn add_address(&mut self, ip: IpAddr, ttl: u32) {
        let start = self.text.len();
        match ip {
            IpAddr::V4(ip) => {
                for (index, octet) in ip.octets().into_iter().enumerate() {
                    if index > 0 {
                        self.text.push('.');
                    }
                    push_number(octet, &mut self.text);
                }
            }
            IpAddr::V6(ip) => drop(write!(self.text, "{ip}")),
        }
        let kind = if ip.is_ipv4() { Kind::A } else { Kind::AAAA };
        self.records.push((kind, start..self.text.len(), ttl));
    }
}

fn address(record: &Record<'_>) -> Option<IpAddr> {
    match record.kind {
        Kind::A => Some(Ipv4Addr::from(*record.data().first_chunk::<4>()?).into()),
        Kind::AAAA => Some(Ipv6Addr::from(*record.data().first_chunk::<16>()?).into()),
        _ => None,
    }
}

fn push_number(octet: u8, text: &mut String) {
    if octet >= 100 {
        text.push(char::from(b'0' + octet / 100));
    }
    if octet >= 10 {
        text.push(char::from(b'0' + octet / 10 % 10));
    }
    text.push(char::from(b'0' + octet % 10));
}

fn write_optional(text: Option<&str>, out: &mut Vec<u8>) {
    match text {
        Some(text) => write_string(text, out),
        None => out.extend_from_slice(b"null"),
    }
}

/// A JSON string (RFC 8259, section 7).
fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let odd = |byte: u8| (byte < b' ') | (byte == b'"') | (byte == b'\\');
    // To the end in any case, so that many are looked at at once.
    if !text.bytes().fold(false, |found, byte| found | odd(byte)) {
        out.extend_from_slice(text.as_bytes());
    } else {
        for letter in text.chars() {
            match letter {
                '"' | '\\' => out.extend_from_slice(&[b'\\', letter as u8]),
                '\0'..='\x1f' => out.extend_from_slice(format!("\\u{:04x}", letter as u32).as_bytes()),
                other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
    }
    out.push(b'"');
}

fn write_number(mut number: u64, out: &mut Vec<u8>) {
    let (mut digits, mut at) = ([0; 20], 20);
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Milliseconds with up to three decimals.
fn write_ms(elapsed: Duration, out: &mut Vec<u8>) {
    let micros = u64::try_from((elapsed.as_nanos() + 500) / 1_000).unwrap_or(u64::MAX);
    write_number(micros / 1_000, out);
    let rest = (micros % 1_000) as u16;
    let decimals = [rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8);
    let count = decimals.iter().rposition(|digit| *digit != b'0').unwrap_or(0) + 1;
    out.push(b'.');
    out.extend_from_slice(&decimals[..count]);
}

/// A failure in words.
pub fn why(failure: Failure) -> Cow<'static, str> {
    match failure {
        Failure::NoForwarder => "no DNS server is known; give one as @SERVER".into(),
        Failure::Timeout => "no DNS server answered in time".into(),
        Failure::Unreachable => "no DNS server can be reached from here".into(),
        Failure::Refused => "nothing listens where the DNS server should be (port refused)".into(),
        Failure::Rcode(rcode) => format!("the DNS servers answer {rcode}").into(),
        Failure::Referral => "the DNS servers name others instead of asking them".into(),
        Failure::Chain => "its aliases lead in a circle, or too far".into(),
        Failure::Malformed => "the DNS servers' answers cannot be read".into(),
        Failure::BadName => NO_NAME.into(),
        Failure::Overloaded => "too much is asked at once".into(),
        Failure::Stopped => "stopped before there was an answer".into(),
    }
}

/// Of a text that is none.
pub(super) const NO_NAME: &str = "it is no name";
const NO_SUCH_NAME: &str = "there is no such name";

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::Arc;

    use serde_json::{Value, json};

    use crate::dns::Answer;
    use crate::wire::dns::Name;

    fn read(shown: &Shown, name: &str) -> Value {
        let mut out = Vec::new();
        shown.write_json(name, &mut out);
        assert_eq!(out.pop(), Some(b'\n'));
        serde_json::from_slice(&out).unwrap()
    }

    fn looked(addresses: Vec<(IpAddr, u32)>, failure: Option<Failure>) -> Looked {
        let elapsed = Duration::from_micros(1_250);
        let name = Name::parse("a.test").unwrap();
        let source = Some(Source::Hosts);
        Looked { name, addresses, left_out: 0, source, failure, exists: true, elapsed, complete: true }
    }

    #[test]
    fn an_object_says_all_of_it() {
        let mut shown = Shown::default();
        shown.set_host(&looked(
            vec![("10.200.3.45".parse().unwrap(), 7), ("fd00::9".parse().unwrap(), 8)],
            Some(Failure::Timeout),
        ));
        let expected = json!({
            "name": "a", "as": "a.test.", "ipv4": ["10.200.3.45"], "ipv6": ["fd00::9"],
            "records": [{"type": "A", "data": "10.200.3.45", "ttl": 7}, {"type": "AAAA", "data": "fd00::9", "ttl": 8}],
            "source": "hosts", "ms": 1.25, "error": null,
        });
        assert_eq!(read(&shown, "a"), expected);
        shown.set_host(&looked(Vec::new(), Some(Failure::Rcode(Rcode::SERVFAIL))));
        let said = read(&shown, "a");
        assert_eq!((&said["error"], &said["ipv4"]), (&json!("the DNS servers answer SERVFAIL"), &json!([])));
        shown.set_failed(NO_NAME);
        assert_eq!((&read(&shown, "a")["as"], shown.is_found()), (&Value::Null, false));
        assert_eq!(shown.lines("a"), ["a  it is no name  0.00 ms"]);
    }

    #[test]
    fn records_are_shown_whatever_their_type() {
        let name = Name::parse("a.test").unwrap();
        let mut shown = Shown::default();
        for (kind, data, text) in [
            (Kind::A, vec![127, 0, 0, 10], "127.0.0.10"),
            (Kind::AAAA, vec![0; 16], "::"),
            (Kind::TXT, b"\x03a\"b".to_vec(), r#""a\"b""#),
            (Kind::HTTPS, b"\0\x01\0\0\x01\0\x03\x02h2".to_vec(), "1 . alpn=h2"),
            (Kind(65_280), b"\x01".to_vec(), r"\# 1 01"),
        ] {
            let answer = Arc::new(Answer::local((&name, kind), 60, &[data]));
            let result = Ok(Given { answer, age: 1, source: Source::Memory });
            shown.set_records(&Resolved { name: name.clone(), kind, result, elapsed: Duration::ZERO });
            let said = read(&shown, "a.test");
            let record = &said["records"][0];
            assert!(record["data"].as_str().unwrap().contains(text), "{said}");
            assert_eq!(
                (&record["ttl"], &record["type"], &said["error"]),
                (&json!(59), &json!(kind.to_string()), &Value::Null)
            );
        }
    }

    quickcheck::quickcheck! {
        fn every_text_and_time_is_json(text: String, nanos: u64) -> bool {
            let mut shown = Shown::default();
            let elapsed = Duration::from_nanos(nanos % (1 << 50));
            shown.elapsed = elapsed;
            let said = read(&shown, &text);
            let ms = said["ms"].as_f64().unwrap();
            said["name"] == text && (ms - elapsed.as_secs_f64() * 1_000.0).abs() <= 0.000_51 * (1.0 + ms * 1e-9)
        }
    }
}
