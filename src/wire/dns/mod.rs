//! DNS messages on the wire (RFC 1035, section 4; RFC 6891): a borrowed view for reading, a writer
//! with name compression, names and types.
//!
//! Made for the path on which a datagram is answered: nothing is allocated, nothing is decoded that
//! is not asked for.

pub mod idn;
mod kind;
mod message;
mod name;
mod opt;
mod rdata;
mod writer;

pub use kind::{Field, Kind, Rcode};
pub use message::{
    Cookies, Edns, Flags, Header, Message, NameAt, OptionCode, Question, Record, Records, Section,
};
pub use name::{LABEL_MAX, NAME_MAX, Name, NameFault, is_within, parent};
pub use opt::Opt;
pub use rdata::{expand, is_opaque};
pub use writer::{Full, Writer};

/// Why bytes are not a DNS message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It ends before what it announces.
    Short,
    /// A label or a name is too long, or of an unknown form (RFC 1035, section 2.3.4).
    Name,
    /// A compression pointer that does not lead backwards (RFC 1035, section 4.1.4).
    Pointer,
    /// More than one question (RFC 9619).
    Questions,
    /// A record's data does not fit its type.
    Data,
    /// More than one OPT record, or one with a name (RFC 6891, section 6.1.1).
    Edns,
}

/// The Internet: the only class that is looked up.
pub const CLASS_IN: u16 = 1;
/// `QCLASS` * (RFC 1035, section 3.2.5).
pub const CLASS_ANY: u16 = 255;
/// Bytes of a message's header.
pub const HEADER_LEN: usize = 12;
/// What fits into UDP when nobody says more (RFC 1035, section 4.2.1).
pub const UDP_MIN: usize = 512;
/// What we ask for and send at most over UDP: it passes without fragments (DNS flag day 2020).
pub const UDP_PAYLOAD: u16 = 1232;
