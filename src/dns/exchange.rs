//! One question to one forwarder: how it is written, and whether a datagram is the answer to it.

use super::cache::Variant;
use super::forwarders::Forwarder;
use crate::base::{Instant, Rng};
use crate::wire::dns::{
    CLASS_IN, Flags, Kind, Message, NAME_MAX, Name, OptionCode, Rcode, UDP_PAYLOAD, Writer,
};

/// How a question was sent.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// Random, and no other one's on the same socket.
    pub id: u16,
    /// Which letters of the name were written in upper case, one bit each from the lowest on, again
    /// and again: random if the forwarder keeps the case, else none.
    pub case: u64,
    /// It had an OPT record with our cookie.
    pub edns: bool,
    /// The forwarder refused the same query with EDNS.
    pub edns_refused: bool,
}

/// What one query goes without, whatever its forwarder knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Without {
    /// EDNS: it was refused with it.
    pub edns: bool,
    /// Random case: it was lost, and there is no TCP to compare with.
    pub case: bool,
}

/// What is asked: the name in wire form and lower case, the type, what else changes the answer.
pub type Question<'a> = (&'a [u8], Kind, Variant);

/// What a message is to a question.
#[derive(Clone, Copy, Debug)]
pub enum Verdict<'a> {
    /// The answer, with its whole response code.
    Fits(Message<'a>, Rcode),
    /// The answer, but cut: it is to be asked for over TCP.
    Truncated,
    /// It fits but for the case of the name or a cookie that is missing: forged, or of a forwarder
    /// that does not keep them.
    Doubtful(Doubt),
    /// The forwarder does not know EDNS: to be asked again without.
    NoEdns,
    /// The forwarder wants its new cookie, which it has sent: to be asked again.
    BadCookie,
    /// Cut even over a stream, where everything has room: of no use.
    Cut,
    /// Not an answer to this question: the wait goes on.
    Foreign,
}

/// What is wrong with an answer that fits otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The name is in another case than it was asked in.
    Case,
    /// The cookie that the forwarder sent before is missing (RFC 7873, section 5.3).
    Cookie,
}

impl Asked {
    /// With random case and EDNS, unless the forwarder or this query goes without.
    pub fn new(id: u16, forwarder: &Forwarder, without: Without, now: Instant, rng: &mut Rng) -> Self {
        let case = if forwarder.mixes_case(now) && !without.case { rng.u64() } else { 0 };
        let edns = forwarder.uses_edns(now) && !without.edns;
        Self { id, case, edns, edns_refused: without.edns }
    }

    /// Writes the question; how many bytes it takes. `out` holds at least 512.
    pub fn write(&self, question: Question<'_>, forwarder: &Forwarder, out: &mut [u8]) -> usize {
        self.try_write(question, forwarder, out).unwrap_or(0)
    }

    fn try_write(&self, question: Question<'_>, forwarder: &Forwarder, out: &mut [u8]) -> Option<usize> {
        let (name, kind, variant) = question;
        let checking = if variant.checking_disabled { Flags::CD } else { 0 };
        let mut writer = Writer::new(out, self.id, Flags(Flags::RD | checking)).ok()?;
        let mut buffer = [0; NAME_MAX];
        writer.question(mixed(name, self.case, &mut buffer)?, kind, CLASS_IN).ok()?;
        if self.edns {
            let mut cookie = [0; 40];
            let len = 8 + forwarder.server_cookie.len();
            cookie[..8].copy_from_slice(&forwarder.cookie);
            cookie[8..len].copy_from_slice(&forwarder.server_cookie);
            let options = [(OptionCode::COOKIE, &cookie[..len])];
            writer.edns(UDP_PAYLOAD, Rcode::NOERROR, variant.dnssec_ok, &options).ok()?;
        }
        Some(writer.finish())
    }

    /// Is `data`, which came from the right address to the right socket, the answer? Learns the
    /// forwarder's cookie, and over a stream that it loses the case.
    pub fn judge<'a>(
        &self,
        asked: Question<'_>,
        forwarder: &mut Forwarder,
        (data, over_stream): (&'a [u8], bool),
        now: Instant,
    ) -> Verdict<'a> {
        let Ok(message) = Message::parse(data) else { return Verdict::Foreign };
        let flags = message.header.flags;
        if message.header.id != self.id || !flags.has(Flags::QR) || flags.opcode() != 0 {
            return Verdict::Foreign;
        }
        let Some(question) = message.question else {
            // Some that know no EDNS do not even repeat the question.
            let refuses = matches!(flags.rcode(), Rcode::FORMERR | Rcode::NOTIMP);
            let may_be = self.edns && (forwarder.server_cookie.is_empty() || over_stream);
            return if refuses && may_be { Verdict::NoEdns } else { Verdict::Foreign };
        };
        if question.kind != asked.1 || question.class != CLASS_IN {
            return Verdict::Foreign;
        }
        let mut buffer = [0; NAME_MAX];
        if mixed(asked.0, self.case, &mut buffer) != Some(question.name) {
            if !question.name.eq_ignore_ascii_case(asked.0) {
                return Verdict::Foreign;
            }
            if !over_stream {
                return Verdict::Doubtful(Doubt::Case);
            }
            forwarder.on_case_lost(now);
        }
        if flags.has(Flags::TC) {
            // What is left of it is not looked at: it comes again, over TCP.
            return if over_stream { Verdict::Cut } else { Verdict::Truncated };
        }
        self.judge_edns(forwarder, message, over_stream)
    }

    fn judge_edns<'a>(
        &self,
        forwarder: &mut Forwarder,
        message: Message<'a>,
        over_stream: bool,
    ) -> Verdict<'a> {
        let rcode = message.header.flags.rcode();
        // Records that cannot be read are found when the answer is taken apart.
        let edns = message.edns().unwrap_or(None);
        let Some(edns) = edns else {
            // A server that has sent a cookie knows EDNS: this is forged, or of another one by now.
            if !forwarder.server_cookie.is_empty() && self.edns {
                if !over_stream {
                    return Verdict::Doubtful(Doubt::Cookie);
                }
                forwarder.server_cookie.clear();
            }
            let refuses = matches!(rcode, Rcode::FORMERR | Rcode::NOTIMP) && self.edns;
            return if refuses { Verdict::NoEdns } else { Verdict::Fits(message, rcode) };
        };
        forwarder.on_edns();
        let whole = Rcode(u16::from(edns.rcode_high) << 4 | rcode.0);
        match edns.cookies() {
            Some(cookies) if cookies.client != forwarder.cookie => return Verdict::Foreign,
            Some(cookies) if *cookies.server == *forwarder.server_cookie => {}
            Some(cookies) => forwarder.server_cookie = cookies.server.to_vec(),
            // A server that has sent a cookie sends it always (RFC 7873, section 5.3).
            None if forwarder.server_cookie.is_empty() || !self.edns => {}
            None if !over_stream => return Verdict::Doubtful(Doubt::Cookie),
            None => forwarder.server_cookie.clear(),
        }
        match whole {
            Rcode::BADCOOKIE => Verdict::BadCookie,
            Rcode::BADVERS if self.edns => Verdict::NoEdns,
            _ => Verdict::Fits(message, whole),
        }
    }
}

impl Forwarder {
    /// What the answer to a query shows about EDNS.
    pub(super) fn learn_edns(&mut self, asked: Asked, rcode: Rcode, now: Instant) {
        let good = matches!(rcode, Rcode::NOERROR | Rcode::NXDOMAIN);
        if asked.edns_refused && !asked.edns && good {
            self.on_edns_refused(now);
        }
    }
}

/// The name with letters in upper case where `case` has a bit (draft-vixie-dnsext-dns0x20): one more
/// bit to guess for each. `None` if it is too long to be one.
fn mixed<'a>(name: &[u8], mut case: u64, buffer: &'a mut [u8; NAME_MAX]) -> Option<&'a [u8]> {
    let out = buffer.get_mut(..name.len())?;
    for (to, byte) in out.iter_mut().zip(name) {
        // Lengths of labels are below all letters.
        let letter = byte.is_ascii_lowercase();
        *to = byte ^ ((case & u64::from(letter)) as u8) << 5;
        case = case.rotate_right(u32::from(letter));
    }
    Some(out)
}

/// A name in text for messages, whatever case it was in.
pub fn readable(wire: &[u8]) -> String {
    Name::from_wire(wire).map_or_else(|| "?".to_owned(), |name| name.to_string())
}
