//! How an answer to a client is written: cut to what the client takes, in the case it asked in, with
//! OPT if it had one.

use super::asked::Asked;
use super::explain::Explained;
use crate::dns::Given;
use crate::dns::zones::Outcome;
use crate::wire::dns::{
    Flags, HEADER_LEN, Kind, Message, Opt, OptionCode, Rcode, Section, UDP_MIN, UDP_PAYLOAD, Writer, expand,
};

/// Everything about an answer but what it says.
pub(super) struct Reply<'r> {
    pub(super) asked: &'r Asked<'r>,
    pub(super) over_stream: bool,
    /// The client's cookie and ours, if it sent one.
    pub(super) cookie: Option<[u8; 24]>,
    pub(super) explained: Explained,
}

/// An answer that was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    pub(super) len: usize,
    pub(super) rcode: Rcode,
}

/// A message whose question cannot be repeated: the header alone.
pub(super) fn bare(data: &[u8], rcode: Rcode, out: &mut [u8]) -> usize {
    let (Some(head), Some(out)) = (data.first_chunk::<4>(), out.first_chunk_mut::<HEADER_LEN>()) else {
        return 0;
    };
    *out = [0; HEADER_LEN];
    out[..2].copy_from_slice(&head[..2]);
    let asked = u16::from_be_bytes([head[2], head[3]]);
    let flags = Flags::QR | asked & (OPCODE | Flags::RD) | rcode.0 & 15;
    out[2..4].copy_from_slice(&flags.to_be_bytes());
    HEADER_LEN
}

impl Reply<'_> {
    /// No records: `rcode` and the question.
    pub(super) fn empty(&self, rcode: Rcode, flags: u16, out: &mut [u8]) -> Written {
        self.write(out, |_| (flags, rcode))
    }

    /// What did not fit: to be asked for over TCP.
    pub(super) fn cut(&self, rcode: Rcode, out: &mut [u8]) -> Written {
        self.empty(rcode, Flags::TC, out)
    }

    /// That all types are not told at once (RFC 8482, section 4.2).
    pub(super) fn any(&self, out: &mut [u8]) -> Written {
        self.write(out, |writer| {
            let put = writer.record(Section::Answer, self.asked.name.wire(), Kind::HINFO, ANY_TTL, ANY_HINFO);
            (if put.is_ok() { 0 } else { Flags::TC }, Rcode::NOERROR)
        })
    }

    /// A remembered answer, as it stands in memory.
    pub(super) fn given(&self, given: &Given, out: &mut [u8]) -> Written {
        let rcode = given.answer.rcode;
        let room = self.room(out);
        let len = self.with_opt(rcode, |opt| {
            let len = given.copy_to(out.get_mut(..room)?)?;
            let extra = match opt {
                Some(opt) => {
                    out[10..HEADER_LEN].copy_from_slice(&1_u16.to_be_bytes());
                    opt.write(&mut out[len..room])?
                }
                None => 0,
            };
            let flags = self.asked.reply_flags() | rcode.0 & 15;
            out[..2].copy_from_slice(&self.asked.id.to_be_bytes());
            out[2..4].copy_from_slice(&flags.to_be_bytes());
            let name = self.asked.question.name;
            out[HEADER_LEN..HEADER_LEN + name.len()].copy_from_slice(name);
            Some(len + extra)
        });
        len.map_or_else(|| self.cut(rcode, out), |len| Written { len, rcode })
    }

    /// The records of `head`, which lead to another name, and what is given for that one.
    pub(super) fn joined(&self, head: &Message<'_>, flags: u16, given: &Given, out: &mut [u8]) -> Written {
        let mut rest = vec![0; given.answer.message().len()];
        let rest = given.copy_to(&mut rest).and_then(|_| Message::parse(&rest).ok());
        self.write(out, |writer| {
            let put = put_records(writer, head).and_then(|()| put_records(writer, &rest?));
            (if put.is_some() { flags } else { flags | Flags::TC }, given.answer.rcode)
        })
    }

    /// Whatever `put` writes, which gives flags and response code. What does not fit into a datagram is
    /// left out whole: the client comes again over TCP, and who made its address up gains nothing.
    pub(super) fn write(&self, out: &mut [u8], put: impl FnOnce(&mut Writer<'_>) -> (u16, Rcode)) -> Written {
        let mut said = (0, Rcode::NOERROR);
        let written = self.try_write(out, |writer| {
            said = put(writer);
            said
        });
        let is_cut = said.0 & Flags::TC != 0 && !self.over_stream;
        if is_cut { self.try_write(out, |_| said) } else { written }
    }

    fn try_write(&self, out: &mut [u8], put: impl FnOnce(&mut Writer<'_>) -> (u16, Rcode)) -> Written {
        let room = self.room(out);
        let (question, flags) = (&self.asked.question, Flags(self.asked.reply_flags()));
        let Ok(mut writer) = Writer::new(&mut out[..room], self.asked.id, flags) else {
            return Written { len: 0, rcode: Rcode::SERVFAIL };
        };
        // A question takes 271 bytes at most: there is always room for it.
        let _ = writer.question(question.name, question.kind, question.class);
        writer.keep_room(self.with_opt(Rcode::NOERROR, |opt| opt.map_or(0, Opt::len)));
        let (flags, rcode) = put(&mut writer);
        writer.set_flags(flags | rcode.0 & 15);
        self.with_opt(rcode, |opt| {
            opt.map(|opt| writer.edns(opt.payload, rcode, opt.dnssec_ok, opt.options))
        });
        Written { len: writer.finish(), rcode }
    }

    /// The most that the answer may take.
    fn room(&self, out: &[u8]) -> usize {
        let most = match self.asked.edns {
            _ if self.over_stream => usize::from(u16::MAX),
            Some(edns) => usize::from(edns.payload.min(UDP_PAYLOAD)).max(UDP_MIN),
            None => UDP_MIN,
        };
        most.min(out.len())
    }

    fn with_opt<R>(&self, rcode: Rcode, write: impl FnOnce(Option<&Opt<'_>>) -> R) -> R {
        let Some(edns) = self.asked.edns else { return write(None) };
        let (mut options, mut count) = ([(OptionCode::COOKIE, [].as_slice()); 2], 0);
        if let Some(cookie) = &self.cookie {
            options[count] = (OptionCode::COOKIE, cookie);
            count += 1;
        }
        if !self.explained.bytes().is_empty() {
            options[count] = (OptionCode::EXTENDED_ERROR, self.explained.bytes());
            count += 1;
        }
        let options = &options[..count];
        write(Some(&Opt { payload: UDP_PAYLOAD, rcode, dnssec_ok: edns.dnssec_ok, options }))
    }
}

/// Copies records, with their names written out; `None` if they do not fit or cannot be read.
pub(super) fn put_records(writer: &mut Writer<'_>, message: &Message<'_>) -> Option<()> {
    let mut data = Vec::new();
    for record in message.records() {
        let record = record.ok()?;
        let owner = record.owner.read().ok()?;
        data.clear();
        expand(&record, &mut data).ok()?;
        writer.record(record.section, owner.wire(), record.kind, record.ttl, &data).ok()?;
    }
    Some(())
}

impl Outcome {
    /// What [`Reply::write`] wants of it.
    pub(super) fn said(&self) -> (u16, Rcode) {
        (self.flags() & !15, self.rcode)
    }
}

const OPCODE: u16 = 0xf << 11;
/// RFC 8482, section 4.2: so that it is not asked for again soon.
const ANY_TTL: u32 = 3_600;
const ANY_HINFO: &[u8] = b"\x07RFC8482\0";
