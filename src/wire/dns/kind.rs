//! Record types and response codes, by number and by name.

use std::fmt;
use std::str::FromStr;

/// A record type (RFC 1035, section 3.2.2, and its successors).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u16);

/// What a response says of its question: the four bits of the header and the eight of EDNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rcode(pub u16);

/// Makes the constants of a number and its table of names.
macro_rules! numbers {
    ($type:ident, $($name:ident = $number:literal, $text:literal, $doc:literal;)*) => {
        impl $type {
            $(#[doc = $doc] pub const $name: Self = Self($number);)*
            const NAMES: &[(Self, &str)] = &[$((Self::$name, $text),)*];
        }
    };
}

numbers! { Kind,
    A = 1, "A", "An IPv4 address (RFC 1035).";
    NS = 2, "NS", "A name server (RFC 1035).";
    CNAME = 5, "CNAME", "The canonical name (RFC 1035).";
    SOA = 6, "SOA", "The start of a zone (RFC 1035, RFC 2308).";
    PTR = 12, "PTR", "A name for an address (RFC 1035).";
    HINFO = 13, "HINFO", "A host's kind (RFC 1035, RFC 8482).";
    MX = 15, "MX", "Where mail goes (RFC 1035).";
    TXT = 16, "TXT", "Text (RFC 1035).";
    RP = 17, "RP", "Who is responsible (RFC 1183).";
    AAAA = 28, "AAAA", "An IPv6 address (RFC 3596).";
    LOC = 29, "LOC", "Where it is (RFC 1876).";
    SRV = 33, "SRV", "Where a service is (RFC 2782).";
    NAPTR = 35, "NAPTR", "A rewriting rule (RFC 3403).";
    DNAME = 39, "DNAME", "Another name for a subtree (RFC 6672).";
    OPT = 41, "OPT", "EDNS (RFC 6891).";
    DS = 43, "DS", "A delegation's key (RFC 4034).";
    SSHFP = 44, "SSHFP", "A host key's fingerprint (RFC 4255).";
    RRSIG = 46, "RRSIG", "A signature (RFC 4034).";
    NSEC = 47, "NSEC", "What is not there (RFC 4034).";
    DNSKEY = 48, "DNSKEY", "A zone's key (RFC 4034).";
    NSEC3 = 50, "NSEC3", "What is not there, hashed (RFC 5155).";
    TLSA = 52, "TLSA", "A certificate's association (RFC 6698).";
    SVCB = 64, "SVCB", "How to reach a service (RFC 9460).";
    HTTPS = 65, "HTTPS", "How to reach a web server (RFC 9460).";
    AXFR = 252, "AXFR", "A zone transfer (RFC 5936).";
    ANY = 255, "ANY", "Whatever there is (RFC 8482).";
    CAA = 257, "CAA", "Who may issue certificates (RFC 8659).";
}

numbers! { Rcode,
    NOERROR = 0, "NOERROR", "No error (RFC 1035).";
    FORMERR = 1, "FORMERR", "The query is malformed (RFC 1035).";
    SERVFAIL = 2, "SERVFAIL", "The server failed (RFC 1035).";
    NXDOMAIN = 3, "NXDOMAIN", "There is no such name (RFC 1035).";
    NOTIMP = 4, "NOTIMP", "The server does not do that (RFC 1035).";
    REFUSED = 5, "REFUSED", "The server refuses (RFC 1035).";
    NOTAUTH = 9, "NOTAUTH", "The server is no authority for it (RFC 2136).";
    BADVERS = 16, "BADVERS", "An unknown version of EDNS (RFC 6891).";
    BADCOOKIE = 23, "BADCOOKIE", "The server's cookie is missing or wrong (RFC 7873).";
}

impl Kind {
    /// A type that only a question has (RFC 6895, section 3.1), or that is no data at all.
    pub fn is_meta(self) -> bool {
        self == Self::OPT || (128..=255).contains(&self.0)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(kind, _)| kind == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

impl FromStr for Kind {
    type Err = ();

    /// By name in any case, or as `TYPE123` (RFC 3597, section 5).
    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some((kind, _)) = Self::NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(text)) {
            return Ok(*kind);
        }
        let number = text.get(..4).filter(|start| start.eq_ignore_ascii_case("TYPE")).map(|_| &text[4..]);
        let number = number.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
        number.and_then(|digits| digits.parse().ok()).map(Self).ok_or(())
    }
}

impl fmt::Display for Rcode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(rcode, _)| rcode == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "RCODE{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_go_by_name_and_by_number() {
        assert_eq!("aaaa".parse(), Ok(Kind::AAAA));
        assert_eq!("type65".parse(), Ok(Kind::HTTPS));
        assert_eq!((Kind(65_280).to_string(), Kind::CAA.to_string()), ("TYPE65280".into(), "CAA".into()));
        for bad in ["", "TYPE", "TYPE+1", "TYPE65536", "typ1", "Ä1234"] {
            assert_eq!(bad.parse::<Kind>(), Err(()), "{bad}");
        }
        assert!(Kind::OPT.is_meta() && Kind::ANY.is_meta() && !Kind::CAA.is_meta());
        assert_eq!(
            (Rcode::NXDOMAIN.to_string(), Rcode(77).to_string()),
            ("NXDOMAIN".into(), "RCODE77".into())
        );
    }
}
