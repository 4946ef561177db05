//! Zones from files: which zone it is that a file holds.

use std::path::Path;
use std::sync::Arc;

use super::master::{Reader, Reason, ZoneFault};
use super::zone::Zone;
use crate::base::hash::sha256;
use crate::base::text::bytes_without_bom;
use crate::wire::dns::{Kind, Name};

/// A zone as it was read from a file.
#[derive(Clone, Debug)]
pub struct FileZone {
    /// The file.
    pub file: Arc<str>,
    /// SHA-256 of its text.
    pub digest: [u8; 32],
    /// What it holds.
    pub zone: Arc<Zone>,
}

impl FileZone {
    /// Reads a file's text. The zone is what `$ORIGIN` says before the SOA record, or the owner of
    /// that; if neither is absolute, what the file is called, without `db.` before it or `.zone`,
    /// `.db` or `.txt` behind it.
    ///
    /// Text may be in any encoding: bytes that are not ASCII are data like others, as in BIND.
    pub fn parse(file: &str, text: impl AsRef<[u8]>) -> Result<Self, ZoneFault> {
        let text = bytes_without_bom(text.as_ref());
        let mut zone = Zone::parse(text, None);
        if zone.as_ref().is_err_and(|fault| fault.reason == Reason::NoOrigin)
            && let Some(origin) = origin_within(text).or_else(|| origin_of_name(file))
        {
            zone = Zone::parse(text, Some(&origin));
        }
        Ok(Self { file: file.into(), digest: sha256(text), zone: Arc::new(zone?) })
    }
}

/// The owner of the SOA, if it is the first record and absolute.
fn origin_within(text: &[u8]) -> Option<Name> {
    let mut reader = Reader::new(text, None);
    let line = reader.next_line()?.ok()?;
    (line.kind == Kind::SOA).then(|| line.owner.clone())
}

fn origin_of_name(file: &str) -> Option<Name> {
    let name = Path::new(file).file_name()?.to_str()?;
    let name = name.strip_prefix("db.").unwrap_or(name);
    let endings = [".zone", ".db", ".txt"];
    let name = endings.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    Name::parse(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(file: &str, text: &str) -> Result<String, ZoneFault> {
        FileZone::parse(file, text).map(|read| read.zone.origin().to_string())
    }

    #[test]
    fn a_file_says_which_zone_it_is() {
        let soa = "SOA ns root 1 2 3 4 5\n NS ns\na A 192.0.2.1\n";
        assert_eq!(origin("x", &format!("$TTL 9\n$ORIGIN a.test.\n@ {soa}")).unwrap(), "a.test.");
        let absolute = "SOA ns.b.test. root.b.test. 1 2 3 4 5\n NS ns.b.test.\n";
        assert_eq!(origin("x", &format!("$TTL 9\nb.test. {absolute}")).unwrap(), "b.test.");
        // Its relative names are its own.
        assert_eq!(origin("x", &format!("$TTL 9\nb.test. {absolute}c A 192.0.2.1\n")).unwrap(), "b.test.");
        for file in ["/etc/zones/c.test.zone", "db.c.test", "c.test", "./c.test.txt"] {
            assert_eq!(origin(file, &format!("$TTL 9\n@ {soa}")).unwrap(), "c.test.", "{file}");
        }
        let fault = origin("c.test", &format!("$TTL 9\n@ {soa}b A 1.2.3\n")).unwrap_err();
        assert_eq!((fault.line, fault.reason), (5, Reason::Data));
        assert_eq!(origin("c.test", "").unwrap_err().reason, Reason::NoSoa);
    }
}
