//! Record types, response codes: by number, by name, and what record data of a type consists of.
//!
//! This is the one table of types. Names in data and their compression follow from it, and so do the
//! readers and writers of text.

use std::fmt;
use std::str::FromStr;

/// A record type (RFC 1035, section 3.2.2, and its successors).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub u16);

/// What a response says of its question: the four bits of the header and the eight of EDNS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rcode(pub u16);

/// A part of record data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// One byte.
    U8,
    /// Two bytes.
    U16,
    /// Four bytes.
    U32,
    /// Seconds.
    Ttl,
    /// Seconds since 1970, modulo 2^32 (RFC 4034, section 3.1.5).
    Time,
    /// A name that may come compressed (RFC 3597, section 4).
    Name,
    /// A name that never is.
    PlainName,
    /// One text of at most 255 bytes with its length before it.
    Text,
    /// One such text, or none.
    TextIfAny,
    /// One such text or more.
    Texts,
    /// One such text of letters and digits (RFC 8659, section 4.1.1).
    Tag,
    /// The rest, a text without a length.
    Tail,
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// The rest, in hexadecimal.
    Hex,
    /// Bytes with their length before them, in hexadecimal.
    Salt,
    /// A hash with its length before it, in the base32 of RFC 4648, section 7.
    HashedName,
    /// The rest, in base64.
    Base64,
    /// The same, or nothing.
    Base64IfAny,
    /// The same, with `-` for nothing.
    Base64OrDash,
    /// A set of types (RFC 4034, section 4.1.2).
    Types,
    /// One type.
    Covered,
    /// An algorithm of DNSSEC.
    Algorithm,
    /// An algorithm of digests for DS.
    DigestType,
    /// A certificate's sort (RFC 4398, section 2.1).
    CertType,
    /// Six bytes with hyphens.
    Eui48,
    /// Eight bytes with hyphens.
    Eui64,
    /// Eight bytes in four groups with colons.
    Groups,
    /// RFC 1876.
    Location,
    /// RFC 3123.
    Prefixes,
    /// A gateway's sort, an algorithm, a gateway, a key (RFC 4025, section 2).
    IpsecGateway,
    /// A bit and the sort of a relay, a relay (RFC 8777, section 4).
    AmtRelay,
    /// RFC 8005, section 5.
    HostIdentity,
    /// An OSI address: `0x` and hexadecimal (RFC 1706, section 5).
    Nsap,
    /// Parameters of services (RFC 9460, section 2.2).
    Parameters,
    /// The rest, which has no text of its own.
    Opaque,
}

/// Makes the constants of types and their table.
macro_rules! kinds {
    ($($name:ident = $number:literal, $text:literal, [$($field:ident),*], $doc:literal;)*) => {
        impl Kind {
            $(#[doc = $doc] pub const $name: Self = Self($number);)*
            const NAMES: &[(Self, &str)] = &[$((Self::$name, $text),)*];

            /// What data of this type consists of; of an unknown type it is opaque.
            pub const fn fields(self) -> &'static [Field] {
                match self.0 {
                    $($number => &[$(Field::$field),*],)*
                    _ => &[Field::Opaque],
                }
            }
        }
    };
}

/// Makes the constants of response codes and their table.
macro_rules! numbers {
    ($type:ident, $($name:ident = $number:literal, $text:literal, $doc:literal;)*) => {
        impl $type {
            $(#[doc = $doc] pub const $name: Self = Self($number);)*
            const NAMES: &[(Self, &str)] = &[$((Self::$name, $text),)*];
        }
    };
}

kinds! {
    A = 1, "A", [A], "An IPv4 address (RFC 1035).";
    NS = 2, "NS", [Name], "A name server (RFC 1035).";
    MD = 3, "MD", [Name], "A mail destination, of old (RFC 1035).";
    MF = 4, "MF", [Name], "A mail forwarder, of old (RFC 1035).";
    CNAME = 5, "CNAME", [Name], "The canonical name (RFC 1035).";
    SOA = 6, "SOA", [Name, Name, U32, Ttl, Ttl, Ttl, Ttl], "The start of a zone (RFC 1035, RFC 2308).";
    MB = 7, "MB", [Name], "A mailbox (RFC 1035).";
    MG = 8, "MG", [Name], "A member of a mail group (RFC 1035).";
    MR = 9, "MR", [Name], "A renamed mailbox (RFC 1035).";
    NULL = 10, "NULL", [Opaque], "Anything (RFC 1035).";
    WKS = 11, "WKS", [A, U8, Opaque], "Well-known services (RFC 1035).";
    PTR = 12, "PTR", [Name], "A name for an address (RFC 1035).";
    HINFO = 13, "HINFO", [Text, Text], "A host's kind (RFC 1035, RFC 8482).";
    MINFO = 14, "MINFO", [Name, Name], "Mailboxes of a list (RFC 1035).";
    MX = 15, "MX", [U16, Name], "Where mail goes (RFC 1035).";
    TXT = 16, "TXT", [Texts], "Text (RFC 1035).";
    RP = 17, "RP", [Name, Name], "A responsible person (RFC 1183).";
    AFSDB = 18, "AFSDB", [U16, Name], "A cell's server (RFC 1183).";
    X25 = 19, "X25", [Text], "An X.25 address (RFC 1183).";
    ISDN = 20, "ISDN", [Text, TextIfAny], "An ISDN address (RFC 1183).";
    RT = 21, "RT", [U16, Name], "A route through (RFC 1183).";
    NSAP = 22, "NSAP", [Nsap], "An OSI address (RFC 1706).";
    NSAP_PTR = 23, "NSAP-PTR", [PlainName], "A name for an OSI address (RFC 1348).";
    SIG = 24, "SIG", [Covered, Algorithm, U8, Ttl, Time, Time, U16, Name, Base64], "A signature, of old (RFC 2535).";
    KEY = 25, "KEY", [U16, U8, Algorithm, Base64IfAny], "A key, of old (RFC 2535).";
    PX = 26, "PX", [U16, Name, Name], "X.400 mapping (RFC 2163).";
    GPOS = 27, "GPOS", [Text, Text, Text], "Geographical position (RFC 1712).";
    AAAA = 28, "AAAA", [Aaaa], "An IPv6 address (RFC 3596).";
    LOC = 29, "LOC", [Location], "A location (RFC 1876).";
    NXT = 30, "NXT", [Name, Opaque], "What is not there, of old (RFC 2535).";
    EID = 31, "EID", [Hex], "An endpoint identifier.";
    NIMLOC = 32, "NIMLOC", [Hex], "A Nimrod locator.";
    SRV = 33, "SRV", [U16, U16, U16, Name], "Where a service is (RFC 2782).";
    ATMA = 34, "ATMA", [Opaque], "An ATM address.";
    NAPTR = 35, "NAPTR", [U16, U16, Text, Text, Text, Name], "A rewriting rule (RFC 3403).";
    KX = 36, "KX", [U16, Name], "A key exchanger (RFC 2230).";
    CERT = 37, "CERT", [CertType, U16, Algorithm, Base64], "A certificate (RFC 4398).";
    A6 = 38, "A6", [Opaque], "An IPv6 address, of old (RFC 6563).";
    DNAME = 39, "DNAME", [Name], "Another name for a subtree (RFC 6672).";
    SINK = 40, "SINK", [U8, U8, U8, Base64], "Anything with a code.";
    OPT = 41, "OPT", [Opaque], "EDNS (RFC 6891).";
    APL = 42, "APL", [Prefixes], "Address prefixes (RFC 3123).";
    DS = 43, "DS", [U16, Algorithm, DigestType, Hex], "A delegation's key (RFC 4034).";
    SSHFP = 44, "SSHFP", [U8, U8, Hex], "A host key's fingerprint (RFC 4255).";
    IPSECKEY = 45, "IPSECKEY", [U8, IpsecGateway], "A key for IPsec (RFC 4025).";
    RRSIG = 46, "RRSIG", [Covered, Algorithm, U8, Ttl, Time, Time, U16, PlainName, Base64], "A signature (RFC 4034).";
    NSEC = 47, "NSEC", [PlainName, Types], "What is not there (RFC 4034).";
    DNSKEY = 48, "DNSKEY", [U16, U8, Algorithm, Base64IfAny], "A zone's key (RFC 4034).";
    DHCID = 49, "DHCID", [Base64], "A DHCP client's mark (RFC 4701).";
    NSEC3 = 50, "NSEC3", [U8, U8, U16, Salt, HashedName, Types], "What is not there, hashed (RFC 5155).";
    NSEC3PARAM = 51, "NSEC3PARAM", [U8, U8, U16, Salt], "How names are hashed (RFC 5155).";
    TLSA = 52, "TLSA", [U8, U8, U8, Hex], "A certificate's association (RFC 6698).";
    SMIMEA = 53, "SMIMEA", [U8, U8, U8, Hex], "A mail certificate's association (RFC 8162).";
    HIP = 55, "HIP", [HostIdentity], "A host identity (RFC 8005).";
    NINFO = 56, "NINFO", [Texts], "Status of a zone.";
    RKEY = 57, "RKEY", [U16, U8, Algorithm, Base64], "A key for records.";
    TALINK = 58, "TALINK", [PlainName, PlainName], "Links of trust anchors.";
    CDS = 59, "CDS", [U16, Algorithm, DigestType, Hex], "A child's DS (RFC 7344).";
    CDNSKEY = 60, "CDNSKEY", [U16, U8, Algorithm, Base64IfAny], "A child's DNSKEY (RFC 7344).";
    OPENPGPKEY = 61, "OPENPGPKEY", [Base64], "An OpenPGP key (RFC 7929).";
    CSYNC = 62, "CSYNC", [U32, U16, Types], "What the parent should copy (RFC 7477).";
    ZONEMD = 63, "ZONEMD", [U32, U8, U8, Hex], "A zone's digest (RFC 8976).";
    SVCB = 64, "SVCB", [U16, PlainName, Parameters], "How to reach a service (RFC 9460).";
    HTTPS = 65, "HTTPS", [U16, PlainName, Parameters], "How to reach a web server (RFC 9460).";
    SPF = 99, "SPF", [Texts], "A sender policy, of old (RFC 7208).";
    NID = 104, "NID", [U16, Groups], "A node identifier (RFC 6742).";
    L32 = 105, "L32", [U16, A], "A 32-bit locator (RFC 6742).";
    L64 = 106, "L64", [U16, Groups], "A 64-bit locator (RFC 6742).";
    LP = 107, "LP", [U16, PlainName], "A name for locators (RFC 6742).";
    EUI48 = 108, "EUI48", [Eui48], "A 48-bit hardware address (RFC 7043).";
    EUI64 = 109, "EUI64", [Eui64], "A 64-bit hardware address (RFC 7043).";
    NXNAME = 128, "NXNAME", [Opaque], "Mark of a name that does not exist (RFC 9824).";
    TKEY = 249, "TKEY", [Opaque], "Agreement on a key (RFC 2930).";
    TSIG = 250, "TSIG", [Opaque], "A message's signature (RFC 8945).";
    IXFR = 251, "IXFR", [Opaque], "An incremental transfer (RFC 1995).";
    AXFR = 252, "AXFR", [Opaque], "A zone transfer (RFC 5936).";
    MAILB = 253, "MAILB", [Opaque], "Mailbox records (RFC 1035).";
    MAILA = 254, "MAILA", [Opaque], "Mail agent records, of old (RFC 1035).";
    ANY = 255, "ANY", [Opaque], "Whatever there is (RFC 8482).";
    URI = 256, "URI", [U16, U16, Tail], "An address of a service (RFC 7553).";
    CAA = 257, "CAA", [U8, Tag, Tail], "Authorities that may issue certificates (RFC 8659).";
    AVC = 258, "AVC", [Texts], "Visibility of an application.";
    DOA = 259, "DOA", [U32, U32, U8, Text, Base64OrDash], "A digital object.";
    AMTRELAY = 260, "AMTRELAY", [U8, AmtRelay], "A multicast relay (RFC 8777).";
    RESINFO = 261, "RESINFO", [Texts], "What a resolver can do (RFC 9606).";
    WALLET = 262, "WALLET", [Texts], "A wallet's address.";
    TA = 32768, "TA", [U16, Algorithm, DigestType, Hex], "A trust anchor.";
    DLV = 32769, "DLV", [U16, Algorithm, DigestType, Hex], "A trust anchor elsewhere, of old (RFC 8749).";
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

    /// Data of this type can be written in a text of its own, not only as `\# LENGTH HEX` (RFC 3597,
    /// section 5).
    pub fn has_text(self) -> bool {
        !self.fields().contains(&Field::Opaque)
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
