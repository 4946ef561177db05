//! Names inside record data: which types have them where (RFC 3597, section 4), and the data
//! without compression.

use super::kind::Kind;
use super::message::Record;
use super::{Fault, Name};

/// What record data of a type consists of, as far as names in it matter.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Bytes before the first name.
    pub(super) before: usize,
    /// Names, one after the other.
    pub(super) names: usize,
    /// Bytes after the last name; `None`: any.
    pub(super) after: Option<usize>,
    /// The names may be compressed when written: they were in RFC 1035.
    pub(super) compress: bool,
}

/// The layout of a type's data; `None` if it has no name that could be compressed.
pub(super) fn layout(kind: Kind) -> Option<Layout> {
    let (before, names, after, compress) = match kind {
        Kind::NS | Kind::CNAME | Kind::PTR | Kind(3 | 4 | 7 | 8 | 9) => (0, 1, Some(0), true),
        Kind::SOA => (0, 2, Some(20), true),
        Kind(14) => (0, 2, Some(0), true),
        Kind::MX => (2, 1, Some(0), true),
        Kind::RP => (0, 2, Some(0), false),
        // AFSDB, RT and KX.
        Kind(18 | 21 | 36) => (2, 1, Some(0), false),
        // PX.
        Kind(26) => (2, 2, Some(0), false),
        Kind::SRV => (6, 1, Some(0), false),
        Kind::DNAME => (0, 1, Some(0), false),
        // SIG and NXT, of old.
        Kind(24) => (18, 1, None, false),
        Kind(30) => (0, 1, None, false),
        _ => return None,
    };
    Some(Layout { before, names, after, compress })
}

/// Appends a record's data with its names written out and in lower case. Data of other types is
/// taken as it is.
pub fn expand(record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let data = record.data();
    if record.kind == Kind::NAPTR {
        return expand_naptr(record, out);
    }
    let Some(layout) = layout(record.kind) else {
        if fixed_len(record.kind).is_some_and(|len| len != data.len()) {
            return Err(Fault::Data);
        }
        out.extend_from_slice(data);
        return Ok(());
    };
    out.extend_from_slice(data.get(..layout.before).ok_or(Fault::Data)?);
    let mut at = layout.before;
    for _ in 0..layout.names {
        at = expand_name(record, at, out)?;
    }
    let rest = data.get(at..).ok_or(Fault::Data)?;
    if layout.after.is_some_and(|after| after != rest.len()) {
        return Err(Fault::Data);
    }
    out.extend_from_slice(rest);
    Ok(())
}

/// Data of this type has no names that could be compressed: as it stands in one message it may stand
/// in any other.
pub fn is_opaque(kind: Kind) -> bool {
    layout(kind).is_none() && kind != Kind::NAPTR && !kind.is_meta()
}

/// Two numbers, three strings, a name (RFC 3403, section 4.1).
fn expand_naptr(record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
    let data = record.data();
    let mut at = 4;
    for _ in 0..3 {
        at += 1 + usize::from(*data.get(at).ok_or(Fault::Data)?);
    }
    out.extend_from_slice(data.get(..at).ok_or(Fault::Data)?);
    if expand_name(record, at, out)? == data.len() { Ok(()) } else { Err(Fault::Data) }
}

/// Appends the name at an offset of the data; returns the offset behind it.
fn expand_name(record: &Record<'_>, offset: usize, out: &mut Vec<u8>) -> Result<usize, Fault> {
    let (name, end): (Name, usize) = record.name_in_data(offset).read_to_end()?;
    if end > record.range.1 {
        return Err(Fault::Data);
    }
    out.extend_from_slice(name.wire());
    Ok(end - record.range.0)
}

/// Lengths that cannot be otherwise.
pub(super) fn fixed_len(kind: Kind) -> Option<usize> {
    match kind {
        Kind::A => Some(4),
        Kind::AAAA => Some(16),
        _ => None,
    }
}
