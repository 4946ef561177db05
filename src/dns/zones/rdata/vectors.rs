//! Texts whose bytes are known: RFC 9460, appendix D; and one of each type, there and back.

use super::super::master::{Reader, Reason};
use super::*;

fn read(kind: &str, text: &str) -> Result<Box<[u8]>, Reason> {
    let line = format!("x 1 {kind} {text}");
    let origin = Name::parse("test").unwrap();
    let mut reader = Reader::new(line.as_bytes(), Some(&origin));
    let line = reader.next_line().unwrap().map_err(|fault| fault.reason)?;
    parse(line.kind, line.data, line.origin)
}

/// The bytes behind the priority.
fn service(text: &str) -> Vec<u8> {
    let data = read("SVCB", text).unwrap_or_else(|reason| panic!("{text}: {reason}"));
    let written = print(Kind::SVCB, &data);
    assert_eq!(read("SVCB", &written).as_deref(), Ok(&*data), "{text} became {written}");
    assert!(!written.starts_with(r"\#"), "{text}");
    assert_eq!(read("HTTPS", text).as_deref(), Ok(&*data));
    data[2..].to_vec()
}

const FOO: &[u8] = b"\x03foo\x07example\x03com\0";
const FOO_ORG: &[u8] = b"\x03foo\x07example\x03org\0";

fn parts(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// RFC 9460, appendices D.1 and D.2.
#[test]
fn vectors_of_rfc_9460() {
    assert_eq!(service("0 foo.example.com."), FOO);
    assert_eq!(service("1 ."), b"\0");
    assert_eq!(service("16 foo.example.com. port=53"), parts(&[FOO, b"\0\x03\0\x02\0\x35"]));
    assert_eq!(service("1 foo.example.com. key667=hello"), parts(&[FOO, b"\x02\x9b\0\x05hello"]));
    assert_eq!(
        service(r#"1 foo.example.com. key667="hello\210qoo""#),
        parts(&[FOO, b"\x02\x9b\0\x09hello\xd2qoo"])
    );
    let hints = service(r#"1 foo.example.com. ( ipv6hint="2001:db8::1,2001:db8::53:1" )"#);
    let (one, two) =
        ("2001:db8::1".parse::<Ipv6Addr>().unwrap(), "2001:db8::53:1".parse::<Ipv6Addr>().unwrap());
    assert_eq!(hints, parts(&[FOO, b"\0\x06\0\x20", &one.octets(), &two.octets()]));
    let mapped = service(r#"1 example.com. ( ipv6hint="2001:db8:122:344::192.0.2.33" )"#);
    let hint = "2001:db8:122:344::c000:221".parse::<Ipv6Addr>().unwrap();
    assert_eq!(mapped, parts(&[b"\x07example\x03com\0", b"\0\x06\0\x10", &hint.octets()]));
    // In any order in text, in ascending order on the wire.
    assert_eq!(
        service("16 foo.example.org. ( alpn=h2,h3-19 mandatory=ipv4hint,alpn ipv4hint=192.0.2.1 )"),
        parts(&[
            FOO_ORG,
            b"\0\0\0\x04\0\x01\0\x04",
            b"\0\x01\0\x09\x02h2\x05h3-19",
            b"\0\x04\0\x04\xc0\0\x02\x01"
        ])
    );
    let escaped = parts(&[FOO_ORG, b"\0\x01\0\x0c\x08f\\oo,bar\x02h2"]);
    assert_eq!(service(r#"16 foo.example.org. alpn="f\\\\oo\\,bar,h2""#), escaped);
    assert_eq!(service(r"16 foo.example.org. alpn=f\\\092oo\092,bar,h2"), escaped);
}

/// RFC 9460, appendix D.3, and its brothers.
#[test]
fn services_that_are_none_are_refused() {
    for text in [
        "1 foo.example.com. ( key123=abc key123=def )",
        "1 foo.example.com. mandatory",
        "1 foo.example.com. alpn",
        "1 foo.example.com. port",
        "1 foo.example.com. ipv4hint",
        "1 foo.example.com. ipv6hint",
        "1 foo.example.com. no-default-alpn=abc",
        "1 foo.example.com. mandatory=key123",
        "1 foo.example.com. mandatory=mandatory",
        "1 foo.example.com. ( mandatory=key123,key123 key123=abc )",
        "1 foo. no-default-alpn",
        "1 foo. mandatory=port,alpn port=53",
        "1 foo. alpn=",
        "1 foo. alpn=h2,,h3",
        r"1 foo. alpn=h2\\x",
        "1 foo. port=65536",
        "1 foo. port=53 key3=ab",
        "1 foo. key3=abc",
        "1 foo. key03=ab",
        "1 foo. key65536=x",
        "1 foo. unknown=x",
        "1 foo. ipv4hint=192.0.2.1,",
        "1 foo. ech=AA",
        "1 foo. dohpath=/q",
        "1 foo. dohpath=q{?dns}",
        "1 foo. ohttp=x",
        r#"1 foo. "port=53""#,
        "65536 .",
        "1",
        // On the wire: keys out of order, twice, a length that leads too far, a mandatory one that lacks.
        r"\# 15 0001 00 0003 0002 0035 0001 0002 0161",
        r"\# 15 0001 00 0003 0002 0035 0003 0002 0035",
        r"\# 8 0001 00 0003 0002 35",
        r"\# 9 0001 00 0000 0002 0003",
        r"\# 11 0001 00 0000 0004 0001 0001",
    ] {
        assert_eq!(read("SVCB", text), Err(Reason::Data), "{text}");
        assert_eq!(read("HTTPS", text), Err(Reason::Data), "{text}");
    }
    for text in [
        "1 . dohpath=/q{?dns} alpn=h2",
        "1 . no-default-alpn alpn=h2",
        "1 . ohttp",
        "1 . key9",
        "1 . PORT=53",
        "1 . key1=\\002h2",
        "1 . ech=AAA=",
    ] {
        service(text);
    }
}

/// Each type of the table that has a text: what is written comes back, and is what people write.
#[test]
fn one_of_each_type() {
    let texts = [
        ("A", "192.0.2.1"),
        ("NS", "ns.test."),
        ("MD", "a.test."),
        ("MF", "a.test."),
        ("CNAME", "a.test."),
        ("SOA", "ns.test. root.test. 7 3600 120 3 60"),
        ("MB", "a.test."),
        ("MG", "a.test."),
        ("MR", "a.test."),
        ("PTR", "a.test."),
        ("HINFO", r#""PC" "UNIX""#),
        ("MINFO", "a.test. b.test."),
        ("MX", "10 mail.test."),
        ("TXT", r#""a b" "\255\"\\""#),
        ("RP", "a.test. b.test."),
        ("AFSDB", "1 a.test."),
        ("X25", r#""311061700956""#),
        ("ISDN", r#""150862028003217" "004""#),
        ("ISDN", r#""150862028003217""#),
        ("RT", "2 a.test."),
        ("NSAP", "0x47000580005a0000000001e133ffffff00016100"),
        ("NSAP-PTR", "a.test."),
        ("SIG", "NXT 1 3 86400 20200102030405 20200101000000 2143 a.test. AAEC"),
        ("KEY", "256 3 8 AwEAAQ=="),
        ("KEY", "49152 3 8"),
        ("PX", "10 a.test. b.test."),
        ("GPOS", r#""-32.6882" "116.8652" "10.0""#),
        ("AAAA", "2001:db8::1"),
        ("LOC", "52 14 5.001 N 0 8 50.999 W -10.50m 1.00m 10000.00m 20.00m"),
        ("EID", "0102ff"),
        ("NIMLOC", "0102ff"),
        ("SRV", "0 5 5060 sip.test."),
        ("NAPTR", r#"100 10 "u" "E2U+sip" "!^.*$!sip:a@b!" ."#),
        ("KX", "10 a.test."),
        ("CERT", "1 65534 8 AAEC"),
        ("DNAME", "a.test."),
        ("SINK", "8 0 2 l4ik"),
        ("APL", "1:192.168.32.0/21 !1:192.168.38.0/28 2:ff00::/8"),
        ("APL", ""),
        ("DS", "12892 5 1 7aa4a3f416c2f2391fb7ab0d434f762cd62d1390"),
        ("SSHFP", "4 2 0102"),
        ("IPSECKEY", "10 3 2 gw.test. AQNRU3mG7TVTO2BkR47usntb102uFJtugbo6BSGvgqt4AQ=="),
        ("IPSECKEY", "10 0 2 . AQ=="),
        ("IPSECKEY", "10 1 0 192.0.2.3"),
        ("IPSECKEY", "10 2 2 2001:db8::1 AQ=="),
        ("RRSIG", "A 8 2 3600 20300102030405 20291231235959 4711 test. AAEC"),
        ("NSEC", "b.test. A MX RRSIG NSEC TYPE1234"),
        ("DNSKEY", "257 3 13 AwEAAQ=="),
        ("DHCID", "AAIBY2/AuCccgoJbsaxcQc9TUapptP69lOjxfNuVAA2kjEA="),
        ("NSEC3", "1 1 12 aabbccdd 2t7b4g4vsa5smi47k61mv5bv1a22bojr A RRSIG"),
        ("NSEC3", "1 0 0 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr"),
        ("NSEC3PARAM", "1 0 12 aabb"),
        ("NSEC3PARAM", "1 0 0 -"),
        ("TLSA", "3 1 1 0001"),
        ("SMIMEA", "3 1 1 0001"),
        ("HIP", "2 200100107b1a74df365639cc39f1d578 AwEAAQ== rvs.test. b.test."),
        ("NINFO", r#""up""#),
        ("RKEY", "0 1 8 AAEC"),
        ("TALINK", "a.test. b.test."),
        ("CDS", "0 0 0 00"),
        ("CDNSKEY", "0 3 0 AA=="),
        ("OPENPGPKEY", "AAEC"),
        ("CSYNC", "66 3 A NS AAAA"),
        ("ZONEMD", "2018031500 1 1 0102"),
        ("SVCB", "1 a.test. alpn=h2,h3 port=8443"),
        ("HTTPS", r#"1 . mandatory=alpn,port alpn="a\\,b" port=443 key667="\210""#),
        ("SPF", r#""v=spf1 -all""#),
        ("NID", "10 0014:4fff:ff20:ee64"),
        ("L32", "10 192.0.2.1"),
        ("L64", "10 2001:0db8:1140:1000"),
        ("LP", "10 a.test."),
        ("EUI48", "00-00-5e-00-53-2a"),
        ("EUI64", "00-00-5e-ef-10-00-00-2a"),
        ("URI", r#"10 1 "https://a.test/\"x""#),
        ("CAA", r#"0 issue "ca.test; x=1""#),
        ("AVC", r#""app""#),
        ("DOA", r#"0 1 2 "text/plain" AAEC"#),
        ("DOA", r#"0 1 2 "" -"#),
        ("AMTRELAY", "10 0 1 192.0.2.1"),
        ("AMTRELAY", "10 1 0 ."),
        ("AMTRELAY", "10 0 3 relay.test."),
        ("RESINFO", r#""qnamemin""#),
        ("WALLET", r#""BTC" "x""#),
        ("TA", "12892 5 1 7aa4"),
        ("DLV", "12892 5 1 7aa4"),
    ];
    for (kind, text) in texts {
        let data = read(kind, text).unwrap_or_else(|reason| panic!("{kind} {text}: {reason}"));
        let kind: Kind = kind.parse().unwrap();
        assert_eq!(print(kind, &data), text, "{kind}");
        // By number, and in the form of RFC 3597.
        assert_eq!(read(&format!("TYPE{}", kind.0), text), Ok(data.clone()));
        assert_eq!(read(&kind.to_string().to_lowercase(), &print_generic(&data)), Ok(data));
    }
    let has_vector = |kind: &Kind| texts.iter().any(|(name, _)| *name == kind.to_string());
    let left_out: Vec<String> = (0..=u16::MAX)
        .map(Kind)
        .filter(|kind| kind.has_text() && !has_vector(kind))
        .map(|kind| kind.to_string())
        .collect();
    assert_eq!(left_out, [""; 0]);
}

#[test]
fn numbers_go_by_their_names() {
    for (kind, named, number) in [
        ("DS", "1 RSASHA256 SHA-256 00", "1 8 2 00"),
        ("CDS", "1 ecdsap256sha256 sha384 00", "1 13 4 00"),
        ("DNSKEY", "257 3 ED25519 AA==", "257 3 15 AA=="),
        ("CERT", "PGP 0 0 AAEC", "3 0 0 AAEC"),
        (
            "RRSIG",
            "TYPE1 NSEC3RSASHA1 2 1h 1893553445 1893455999 1 test. AAEC",
            "A 7 2 3600 20300102030405 20291231235959 1 test. AAEC",
        ),
        ("LOC", "42 N 71 E 10", "42 0 0.000 N 71 0 0.000 E 10.00m 1.00m 10000.00m 10.00m"),
        (
            "LOC",
            "42 21 54 S 71 6 18 E -24m 30m",
            "42 21 54.000 S 71 6 18.000 E -24.00m 30.00m 10000.00m 10.00m",
        ),
        ("NSAP", "0x47.0005.80", "0x47000580"),
    ] {
        assert_eq!(read(kind, named), read(kind, number), "{kind} {named}");
        assert!(read(kind, named).is_ok(), "{kind} {named}");
    }
    for (kind, text) in [
        ("LOC", "91 N 0 E 0"),
        ("LOC", "90 0 1 N 0 E 0"),
        ("LOC", "1 60 N 0 E 0"),
        ("LOC", "1 1 60 N 0 E 0"),
        ("LOC", "4294967295 N 0 E 0"),
        ("LOC", "1 1 1 1 N 0 E 0"),
        ("LOC", "1 N 1 N 0"),
        ("LOC", "1 N 1 E 0 900000000m"),
        ("EUI48", "00-00-5e-00-53"),
        ("EUI48", "0-0-5e-00-53-2a"),
        ("NID", "1:2:3"),
        ("NSEC3", "1 0 0 - - A"),
        ("NSEC3PARAM", "1 0 0 abc"),
        ("APL", "1:192.0.2.1/33"),
        ("APL", "3:192.0.2.1/3"),
        ("IPSECKEY", "10 1 2 2001:db8::1 AQ=="),
        ("IPSECKEY", "10 0 2 a. AQ=="),
        ("AMTRELAY", "10 2 0 ."),
        ("HIP", "2 zz AA=="),
        ("CAA", "0 is-sue x"),
        ("OPENPGPKEY", ""),
        ("RRSIG", "A 8 2 1 20300102030405 20291331235959 1 test. AAEC"),
    ] {
        assert_eq!(read(kind, text), Err(Reason::Data), "{kind} {text}");
    }
}
