//! A client's message: whether it is a query, and what it asks for.

use crate::wire::dns::{
    CLASS_IN, Cookies, Edns, Flags, HEADER_LEN, Kind, Message, Name, OptionCode, Question, Rcode,
};

/// A query that can be answered.
#[derive(Clone, Debug)]
pub(super) struct Asked<'a> {
    pub(super) id: u16,
    /// As they came.
    pub(super) flags: Flags,
    pub(super) question: Question<'a>,
    /// The name in lower case.
    pub(super) name: &'a Name,
    pub(super) edns: Option<Extras>,
}

/// What the OPT record of a query says (RFC 6891).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extras {
    /// The largest datagram that the client takes, in bytes.
    pub(super) payload: u16,
    pub(super) dnssec_ok: bool,
    /// The cookie that the client made (RFC 7873).
    pub(super) cookie: Option<[u8; 8]>,
    /// Our cookie for it, as the client sent it back, and whether it is one.
    pub(super) server_cookie: Option<[u8; 16]>,
}

/// Why there is nothing to be answered from a zone, a cache or a forwarder.
#[derive(Clone, Debug)]
pub(super) enum Unfit<'a> {
    /// Not a query, or nothing that could be told who it is for: an answer could start a loop.
    Silent,
    /// It has no question that can be read: header only.
    Bare(Rcode),
    /// This is all there is to say.
    Refused(Box<Asked<'a>>, Rcode),
}

impl<'a> Asked<'a> {
    /// The name in lower case is put into `name`.
    pub(super) fn parse(data: &'a [u8], name: &'a mut Name) -> Result<Self, Unfit<'a>> {
        let head = data.first_chunk::<HEADER_LEN>().ok_or(Unfit::Silent)?;
        let flags = Flags(u16::from_be_bytes([head[2], head[3]]));
        if flags.has(Flags::QR) {
            return Err(Unfit::Silent);
        }
        if flags.opcode() != 0 {
            return Err(Unfit::Bare(Rcode::NOTIMP));
        }
        let message = Message::parse(data).map_err(|_| Unfit::Bare(Rcode::FORMERR))?;
        let question = message.question.ok_or(Unfit::Bare(Rcode::FORMERR))?;
        if !name.set_wire(question.name) {
            return Err(Unfit::Bare(Rcode::FORMERR));
        }
        let mut asked = Self { id: message.header.id, flags, question, name, edns: None };
        let [answers, authorities, _] = message.header.counts;
        let Ok(edns) = message.edns() else { return Err(Unfit::Refused(Box::new(asked), Rcode::FORMERR)) };
        asked.edns = edns.map(|edns| {
            let (cookie, server_cookie) = edns.cookies().map_or((None, None), split);
            Extras { payload: edns.payload, dnssec_ok: edns.dnssec_ok, cookie, server_cookie }
        });
        let refuse = |rcode| Err(Unfit::Refused(Box::new(asked.clone()), rcode));
        if edns.is_some_and(|edns| edns.version > 0) {
            return refuse(Rcode::BADVERS);
        }
        let malformed =
            |edns: &Edns<'_>| edns.option(OptionCode::COOKIE).is_some() && edns.cookies().is_none();
        if edns.as_ref().is_some_and(malformed) {
            // RFC 7873, section 5.2.2.
            return refuse(Rcode::FORMERR);
        }
        if answers > 0 || authorities > 0 && asked.question.kind != IXFR {
            return refuse(Rcode::FORMERR);
        }
        match asked.question.kind {
            Kind::AXFR | IXFR => return refuse(Rcode::REFUSED),
            Kind::ANY => {}
            kind if kind.is_meta() => return refuse(Rcode::NOTIMP),
            _ => {}
        }
        if asked.question.class != CLASS_IN {
            return refuse(Rcode::REFUSED);
        }
        Ok(asked)
    }

    /// Our flags: what is copied from the query, and that we ask others.
    pub(super) fn reply_flags(&self) -> u16 {
        Flags::QR | Flags::RA | self.flags.0 & (Flags::RD | Flags::CD)
    }
}

fn split(cookies: Cookies<'_>) -> (Option<[u8; 8]>, Option<[u8; 16]>) {
    (Some(cookies.client), cookies.server.try_into().ok())
}

/// RFC 1995.
const IXFR: Kind = Kind(251);
