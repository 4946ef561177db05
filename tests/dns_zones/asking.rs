//! A question to a server, and what can be compared of its answer.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use dht_hunter::wire::dns::{CLASS_IN, Flags, Kind, Message, Name, Rcode, Section, Writer, expand};
use socket2::{Domain, Socket, Type};

/// A question, and from where and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    pub client: Ipv4Addr,
    /// In any case.
    pub name: String,
    pub kind: Kind,
    /// RD.
    pub recursive: bool,
    /// The largest datagram that is taken; 0 without EDNS.
    pub payload: u16,
}

/// What can be compared of an answer: of the one over TCP, if the one over UDP was cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub rcode: String,
    pub authoritative: bool,
    /// It was asked for over TCP, because it had no room in a datagram.
    pub cut: bool,
    pub answers: BTreeSet<String>,
    pub soa: BTreeSet<String>,
    /// That of a policy list.
    pub list_soa: BTreeSet<String>,
    /// NS of a delegation.
    pub referral: BTreeSet<String>,
    /// Addresses of those.
    pub glue: BTreeSet<String>,
}

impl Question {
    /// The answer of the server at an address, or `None` if there is none in time.
    pub fn put(&self, to: SocketAddr) -> Option<Seen> {
        let query = self.write();
        let socket = UdpSocket::bind((self.client, 0)).unwrap();
        socket.connect(to).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket.send(&query).ok()?;
        let mut answer = vec![0; usize::from(u16::MAX)];
        let len = socket.recv(&mut answer).ok()?;
        answer.truncate(len);
        self.check(&answer);
        let most = if self.payload == 0 { 512 } else { usize::from(self.payload.max(512)) };
        assert!(len <= most, "{self:?}: {len} bytes");
        if !Message::parse(&answer).unwrap().header.flags.has(Flags::TC) {
            return Some(see(&answer));
        }
        let whole = self.put_over_tcp(to, &query)?;
        self.check(&whole);
        Some(Seen { cut: true, ..see(&whole) })
    }

    fn put_over_tcp(&self, to: SocketAddr, query: &[u8]) -> Option<Vec<u8>> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((self.client, 0)).into()).unwrap();
        socket.connect(&to.into()).ok()?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE * 4)).unwrap();
        stream.write_all(&[&(query.len() as u16).to_be_bytes(), query].concat()).ok()?;
        let mut len = [0; 2];
        stream.read_exact(&mut len).ok()?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut answer).ok()?;
        Some(answer)
    }

    fn write(&self) -> Vec<u8> {
        let mut query = [0; 512];
        let mut writer = Writer::new(&mut query, ID, Flags(u16::from(self.recursive) * Flags::RD)).unwrap();
        writer.question(&with_case(&self.name), self.kind, CLASS_IN).unwrap();
        if self.payload > 0 {
            writer.edns(self.payload, Rcode::NOERROR, false, &[]).unwrap();
        }
        let len = writer.finish();
        query[..len].to_vec()
    }

    /// It is an answer to this question, in the case in which it was asked.
    fn check(&self, answer: &[u8]) {
        let message = Message::parse(answer).unwrap();
        assert!(message.header.id == ID && message.header.flags.has(Flags::QR), "{self:?}");
        let question = message.question.unwrap();
        assert_eq!((question.name, question.kind), (&*with_case(&self.name), self.kind), "{self:?}");
        assert_eq!(message.edns().unwrap().is_some(), self.payload > 0, "{self:?}");
    }
}

/// The parts of two answers that differ: which, ours, theirs.
pub fn parts(ours: Option<&Seen>, theirs: Option<&Seen>) -> Vec<(&'static str, String, String)> {
    let (Some(ours), Some(theirs)) = (ours, theirs) else {
        let text = |seen: Option<&Seen>| seen.map_or("no answer", |seen| &seen.rcode).to_owned();
        let both = ours.is_none() && theirs.is_none();
        return if both { Vec::new() } else { vec![("any", text(ours), text(theirs))] };
    };
    let shown = |set: &BTreeSet<String>| format!("{set:?}");
    [
        ("rcode", ours.rcode.clone(), theirs.rcode.clone()),
        ("aa", ours.authoritative.to_string(), theirs.authoritative.to_string()),
        ("cut", ours.cut.to_string(), theirs.cut.to_string()),
        ("answers", shown(&ours.answers), shown(&theirs.answers)),
        ("soa", shown(&ours.soa), shown(&theirs.soa)),
        ("list soa", shown(&ours.list_soa), shown(&theirs.list_soa)),
        ("referral", shown(&ours.referral), shown(&theirs.referral)),
        ("glue", shown(&ours.glue), shown(&theirs.glue)),
    ]
    .into_iter()
    .filter(|(_, ours, theirs)| ours != theirs)
    .collect()
}

fn see(answer: &[u8]) -> Seen {
    let message = Message::parse(answer).unwrap();
    let flags = message.header.flags;
    let truncated = if flags.has(Flags::TC) { " TC" } else { "" };
    let mut seen = Seen {
        rcode: format!("{}{truncated}", flags.rcode()),
        authoritative: flags.has(Flags::AA),
        ..Seen::default()
    };
    let mut additional = BTreeSet::new();
    for record in message.records() {
        let record = record.unwrap();
        if record.kind == Kind::OPT {
            continue;
        }
        let mut data = Vec::new();
        expand(&record, &mut data).unwrap();
        let owner = record.owner.read().unwrap();
        let ttl = record.ttl.next_multiple_of(TTL_STEP);
        let text = format!("{owner} {ttl} {} {}", record.kind, show(record.kind, &data));
        let set = match (record.section, record.kind) {
            (Section::Answer, _) => &mut seen.answers,
            (_, Kind::SOA) if data.starts_with(b"\x09localhost") => &mut seen.list_soa,
            (_, Kind::SOA) => &mut seen.soa,
            // Servers of the zone itself beside an answer are a courtesy.
            (Section::Authority, Kind::NS) if owner.labels() == 1 || owner.to_string() == "example.org." => {
                continue;
            }
            (Section::Authority, Kind::NS) => &mut seen.referral,
            (Section::Authority, _) => &mut seen.referral,
            (Section::Additional, _) => &mut additional,
        };
        assert!(!set.contains(&text), "twice: {text}");
        set.insert(text);
    }
    // And so are addresses beside anything but a referral.
    if !seen.referral.is_empty() {
        seen.glue = additional;
    }
    seen
}

fn show(kind: Kind, data: &[u8]) -> String {
    match kind {
        Kind::CNAME | Kind::NS | Kind::DNAME => Name::from_wire(data).unwrap().to_string(),
        _ => data.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// The wire form in the case that was typed.
fn with_case(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.') {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}

const ID: u16 = 7;
/// Seconds to which TTLs are rounded up: what is remembered runs down while more is asked.
const TTL_STEP: u32 = 30;
/// How long an answer may take on loopback; a question that is dropped takes all of it.
const PATIENCE: Duration = Duration::from_millis(500);
