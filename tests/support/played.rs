//! A DNS server that is played here, on loopback, and misbehaves as told.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use dht_hunter::wire::dns::{CLASS_IN, Flags, Kind, Message, Name, OptionCode, Rcode, Section, Writer};

use crate::servers::free_pair;

/// How a server misbehaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Manner {
    #[default]
    Good,
    /// Every answer comes over TCP only.
    Cut,
    /// Before each good answer come forged ones.
    Forged,
    /// It says nothing.
    Silent,
    /// Aliases without end.
    Endless,
    /// SERVFAIL for a tenth of the names.
    Failing,
    /// It says nothing for the first three seconds.
    Late,
    /// Fifty answers in twenty milliseconds; what else was asked in that time is dropped.
    Slow,
    /// What it says is no DNS.
    Garbage,
    /// Over TCP, 65,535 bytes of nonsense in one frame, and counts that lie.
    HugeNonsense,
    /// The right answer comes from another address, and with another type in the question.
    Elsewhere,
    /// Aliases in a circle.
    Circle,
    /// "Over TCP", and there again "over TCP".
    CutForEver,
    /// Records of `n66.test` in every section, where something else was asked.
    Poisoned,
    /// An alias to `n66.test`, and its address.
    PoisonedAlias,
    /// Records of another type.
    OtherType,
    /// Over TCP, half of the answer, then the end.
    CutStream,
    /// Over TCP, a byte a second.
    Trickle,
    /// Over TCP, frames without end that nobody asked for.
    Flood,
    /// It wants another cookie each time.
    BadCookie,
    /// It knows no EDNS, even where there is none.
    NoEdns,
    /// Good, but all names come back in lower case.
    LosesCase,
}

/// A server on loopback, on UDP and TCP.
pub struct Server {
    pub addr: SocketAddr,
    pub asked: Arc<Mutex<BTreeMap<String, u32>>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    pub fn start(manner: Manner) -> Self {
        let (udp, tcp) = free_pair();
        let addr = udp.local_addr().unwrap();
        let (asked, stop) = (Arc::new(Mutex::new(BTreeMap::new())), Arc::new(AtomicBool::new(false)));
        udp.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        tcp.set_nonblocking(true).unwrap();
        let (count, ends) = (Arc::clone(&asked), Arc::clone(&stop));
        let over_udp = std::thread::spawn(move || serve_udp(&udp, manner, &count, &ends));
        let ends = Arc::clone(&stop);
        let over_tcp = std::thread::spawn(move || serve_tcp(&tcp, manner, &ends));
        Self { addr, asked, stop, threads: vec![over_udp, over_tcp] }
    }

    pub fn at(&self) -> String {
        format!("@{}", self.addr)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

fn serve_udp(udp: &UdpSocket, manner: Manner, asked: &Mutex<BTreeMap<String, u32>>, stop: &AtomicBool) {
    let mut data = [0; 2_048];
    let (began, mut slot, mut answered) = (std::time::Instant::now(), 0, 0);
    while !stop.load(SeqCst) {
        let Ok((len, from)) = udp.recv_from(&mut data) else { continue };
        let now = began.elapsed().as_millis();
        (slot, answered) = if now / 20 == slot { (slot, answered + 1) } else { (now / 20, 1) };
        let query = &data[..len];
        let Some((name, kind)) = question(query) else { continue };
        *asked.lock().unwrap().entry(format!("{name} {kind}")).or_default() += 1;
        let send = |data: &[u8]| drop(udp.send_to(data, from));
        match manner {
            Manner::Silent => {}
            Manner::Late if now < 3_000 => {}
            Manner::Slow if answered > 50 => {}
            Manner::Failing if name.to_string().ends_with("7.test.") => {
                send(&answer(query, Rcode::SERVFAIL.0));
            }
            Manner::Good | Manner::Late | Manner::Slow | Manner::Failing => send(&answer(query, 0)),
            Manner::Cut
            | Manner::HugeNonsense
            | Manner::CutForEver
            | Manner::CutStream
            | Manner::Trickle
            | Manner::Flood => send(&respond(query, Flags::TC, |_| {})),
            Manner::Elsewhere => {
                let port = udp.local_addr().unwrap().port();
                if let Ok(other) = UdpSocket::bind(("127.0.0.2", port)) {
                    drop(other.send_to(&forge(query), from));
                }
                let mut other_type = forge(query);
                let at = 12 + name.wire().len() + 1;
                other_type[at] = other_type[at].wrapping_add(27);
                send(&other_type);
            }
            Manner::Circle => send(&circle(query)),
            Manner::Poisoned => send(&poisoned(query)),
            Manner::PoisonedAlias => send(&poisoned_alias(query)),
            Manner::OtherType => send(&other_type(query)),
            Manner::BadCookie => send(&bad_cookie(query)),
            Manner::NoEdns => send(&respond(query, Rcode::FORMERR.0, |_| {})),
            Manner::LosesCase => {
                let mut lower = answer(query, 0);
                lower[12..12 + name.wire().len()].make_ascii_lowercase();
                send(&lower);
            }
            Manner::Endless => send(&endless(query)),
            Manner::Garbage => {
                send(&[0; 3]);
                send(&[0xff; 512]);
                send(&query[..query.len() / 2]);
                // All counts claim the most, behind a question that is right.
                let mut lies = query.to_vec();
                lies[2] |= 0x80;
                lies[6..12].fill(0xff);
                send(&lies);
            }
            Manner::Forged => {
                let forged = |change: &dyn Fn(&mut Vec<u8>)| {
                    let mut forged = forge(query);
                    change(&mut forged);
                    send(&forged);
                };
                forged(&|data| data[1] ^= 1);
                forged(&|data| data[13] ^= 2);
                forged(&|data| data[2] = 0);
                let elsewhere = UdpSocket::bind("127.0.0.1:0").unwrap();
                drop(elsewhere.send_to(&forge(query), from));
                send(&answer(query, 0));
            }
        }
    }
}

fn serve_tcp(tcp: &TcpListener, manner: Manner, stop: &AtomicBool) {
    let mut threads = Vec::new();
    while !stop.load(SeqCst) {
        match tcp.accept() {
            Ok((stream, _)) => threads.push(std::thread::spawn(move || drop(talk(stream, manner)))),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    threads.into_iter().for_each(|thread| drop(thread.join()));
}

fn talk(mut stream: TcpStream, manner: Manner) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    loop {
        let mut len = [0; 2];
        stream.read_exact(&mut len)?;
        let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
        stream.read_exact(&mut query)?;
        let answer = match manner {
            Manner::HugeNonsense => {
                let mut nonsense = vec![0xc0; 65_535];
                nonsense[..query.len()].copy_from_slice(&query);
                nonsense[2] |= 0x80;
                nonsense[6..12].fill(0xff);
                nonsense
            }
            Manner::Silent => continue,
            Manner::CutForEver => respond(&query, Flags::TC, |_| {}),
            Manner::LosesCase => {
                let mut lower = answer(&query, 0);
                let name_len = question(&query).unwrap().0.wire().len();
                lower[12..12 + name_len].make_ascii_lowercase();
                lower
            }
            Manner::CutStream => {
                let answer = answer(&query, 0);
                stream.write_all(&(answer.len() as u16).to_be_bytes())?;
                return stream.write_all(&answer[..answer.len() / 2]);
            }
            Manner::Trickle => {
                let answer = answer(&query, 0);
                let frame = [&(answer.len() as u16).to_be_bytes()[..], &answer].concat();
                // Bounded: nobody waits longer than ten seconds.
                for byte in frame.iter().take(12) {
                    stream.write_all(&[*byte])?;
                    std::thread::sleep(Duration::from_secs(1));
                }
                return Ok(());
            }
            Manner::Flood => {
                let frame = [&[0, 12][..], &[0xab; 12]].concat().repeat(1_000);
                for _ in 0..1_000 {
                    stream.write_all(&frame)?;
                }
                return Ok(());
            }
            _ => answer(&query, 0),
        };
        stream.write_all(&(answer.len() as u16).to_be_bytes())?;
        // In pieces, so that a frame is put together from them.
        for piece in answer.chunks(7_000) {
            stream.write_all(piece)?;
        }
    }
}

fn question(query: &[u8]) -> Option<(Name, Kind)> {
    let question = Message::parse(query).ok()?.question?;
    Some((Name::from_wire(question.name)?, question.kind))
}

/// `nN.test` has the address 127.0.N/256.N%256; `no.test` is not there; the rest has nothing.
fn answer(query: &[u8], flags: u16) -> Vec<u8> {
    let (name, kind) = question(query).unwrap();
    let text = name.to_string();
    let number = text.strip_prefix('n').and_then(|rest| rest.strip_suffix(".test.")?.parse::<u16>().ok());
    respond(query, if text == "no.test." { Rcode::NXDOMAIN.0 } else { flags }, |writer| {
        let [high, low] = number.unwrap_or(0).to_be_bytes();
        let written = match (kind, number) {
            (Kind::A, Some(_)) => {
                writer.record(Section::Answer, name.wire(), kind, 300, &[127, 0, high, low])
            }
            (Kind::AAAA, Some(9)) => {
                let data = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, high, low];
                writer.record(Section::Answer, name.wire(), kind, 200, &data)
            }
            (Kind::MX, Some(_)) => {
                writer.record(Section::Answer, name.wire(), kind, 100, b"\0\x0a\x04mail\x04test\0")
            }
            _ => {
                let soa =
                    [b"\x02ns\x04test\0\x04root\x04test\0".as_slice(), &[0; 16], &[0, 0, 0, 60]].concat();
                writer.record(Section::Authority, b"\x04test\0", Kind::SOA, 600, &soa)
            }
        };
        written.unwrap();
    })
}

/// An answer with another address, which must never be believed.
fn forge(query: &[u8]) -> Vec<u8> {
    let (name, _) = question(query).unwrap();
    respond(query, 0, |writer| {
        writer.record(Section::Answer, name.wire(), Kind::A, 9_999, &[6, 6, 6, 6]).unwrap();
    })
}

fn endless(query: &[u8]) -> Vec<u8> {
    let (name, _) = question(query).unwrap();
    let next =
        Name::parse(&format!("x{}.test", name.wire().iter().map(|byte| u32::from(*byte)).sum::<u32>()))
            .unwrap();
    let longer = Name::parse(&format!("a.{name}")).unwrap_or(next);
    respond(query, 0, |writer| {
        writer.record(Section::Answer, name.wire(), Kind::CNAME, 60, longer.wire()).unwrap();
    })
}

fn circle(query: &[u8]) -> Vec<u8> {
    let (name, _) = question(query).unwrap();
    respond(query, 0, |writer| {
        writer.record(Section::Answer, name.wire(), Kind::CNAME, 60, OTHER).unwrap();
        writer.record(Section::Answer, OTHER, Kind::CNAME, 60, name.wire()).unwrap();
    })
}

fn poisoned(query: &[u8]) -> Vec<u8> {
    if question(query).unwrap().0.wire() == OTHER {
        return respond(query, Rcode::SERVFAIL.0, |_| {});
    }
    respond(query, 0, |writer| {
        writer.record(Section::Answer, OTHER, Kind::A, 9_999, &[6, 6, 6, 6]).unwrap();
        writer.record(Section::Authority, b"\x04test\0", Kind::NS, 9_999, OTHER).unwrap();
        writer.record(Section::Authority, OTHER, Kind::A, 9_999, &[6, 6, 6, 6]).unwrap();
        writer.record(Section::Additional, OTHER, Kind::A, 9_999, &[6, 6, 6, 6]).unwrap();
    })
}

fn poisoned_alias(query: &[u8]) -> Vec<u8> {
    let (name, _) = question(query).unwrap();
    if name.wire() == OTHER {
        return respond(query, Rcode::SERVFAIL.0, |_| {});
    }
    respond(query, 0, |writer| {
        writer.record(Section::Answer, name.wire(), Kind::CNAME, 9_999, OTHER).unwrap();
        writer.record(Section::Answer, OTHER, Kind::A, 9_999, &[6, 6, 6, 6]).unwrap();
    })
}

/// A referral beside it, so that it is no answer at all.
fn other_type(query: &[u8]) -> Vec<u8> {
    let (name, _) = question(query).unwrap();
    respond(query, 0, |writer| {
        writer.record(Section::Answer, name.wire(), Kind::AAAA, 9_999, &[6; 16]).unwrap();
        writer.record(Section::Authority, b"\x04test\0", Kind::NS, 9_999, OTHER).unwrap();
    })
}

/// BADCOOKIE and a cookie that is another one each time.
fn bad_cookie(query: &[u8]) -> Vec<u8> {
    let message = Message::parse(query).unwrap();
    let Ok(Some(edns)) = message.edns() else { return respond(query, Rcode::SERVFAIL.0, |_| {}) };
    let cookie = [&edns.cookies().unwrap().client[..], &query[..2], &[9; 6]].concat();
    respond(query, Rcode::BADCOOKIE.0 & 15, |writer| {
        writer.edns(1_232, Rcode::BADCOOKIE, false, &[(OptionCode::COOKIE, &cookie)]).unwrap();
    })
}

fn respond(query: &[u8], flags: u16, fill: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let message = Message::parse(query).unwrap();
    let asked = message.question.unwrap();
    let mut out = vec![0; 4_096];
    let flags = Flags(Flags::QR | Flags::RD | Flags::RA | flags);
    let mut writer = Writer::new(&mut out, message.header.id, flags).unwrap();
    writer.question(asked.name, asked.kind, CLASS_IN).unwrap();
    fill(&mut writer);
    let len = writer.finish();
    out.truncate(len);
    out
}

/// `n66.test`: whom the hostile ones speak of, unasked.
const OTHER: &[u8] = b"\x03n66\x04test\0";
