//! Names inside record data: which types have them where (RFC 3597, section 4), and the data
//! without compression.

use super::kind::{Field, Kind};
use super::message::Record;
use super::{Fault, Name};

/// Where names that may be compressed stand in record data.
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

/// The layout of a type's data; `None` if it has no name that could be compressed, or texts before it.
pub(super) fn layout(kind: Kind) -> Option<Layout> {
    let fields = kind.fields();
    let first = fields.iter().position(|field| *field == Field::Name)?;
    let names = fields[first..].iter().take_while(|field| **field == Field::Name).count();
    let before = fixed_sum(&fields[..first])?;
    Some(Layout { before, names, after: fixed_sum(&fields[first + names..]), compress: kind.0 <= Kind::MX.0 })
}

/// Bytes of fields that all have a fixed size.
fn fixed_sum(fields: &[Field]) -> Option<usize> {
    fields.iter().map(|field| field.fixed_len()).sum()
}

impl Field {
    fn fixed_len(self) -> Option<usize> {
        match self {
            Self::U8 | Self::Algorithm | Self::DigestType => Some(1),
            Self::U16 | Self::Covered | Self::CertType => Some(2),
            Self::U32 | Self::Ttl | Self::Time | Self::A => Some(4),
            Self::Aaaa => Some(16),
            _ => None,
        }
    }
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
