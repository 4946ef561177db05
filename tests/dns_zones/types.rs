//! Records of each type beside BIND: it reads our zone's text to the same bytes, and reads to the same
//! bytes what we write of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::Command;
use std::sync::Arc;

use dht_hunter::base::Rng;
use dht_hunter::dns::zones::{Zone, Zones};
use dht_hunter::wire::dns::{CLASS_IN, Flags, Kind, Message, Name, Writer, expand};

use crate::questions::seed;
use crate::servers;

/// Owner and type, then data in hexadecimal.
type Records = BTreeMap<(String, u16), BTreeSet<String>>;

#[test]
fn bind_reads_records_of_each_type_to_the_same_bytes() {
    let mut text = HEAD.to_owned();
    for kind in TYPES {
        let mut rng = Rng::seeded(seed() ^ u64::from(kind.parse::<Kind>().unwrap().0) << 32);
        for nth in 0..RECORDS {
            // Owners of NSEC3 are hashes.
            let owner =
                if kind == "NSEC3" { format!("{nth:032}") } else { format!("{}-{nth}", kind.to_lowercase()) };
            writeln!(text, "{owner} {kind} {}", data(kind, &mut rng)).unwrap();
        }
    }
    let zone = Zone::parse(&text, Some(&Name::parse("test").unwrap())).unwrap_or_else(|fault| {
        panic!("seed {}: {fault}: {}", seed(), text.lines().nth(fault.line as usize - 1).unwrap_or_default())
    });
    let written = zone.to_master_file();
    let ours = our_bytes(zone);
    assert!(ours.len() > TYPES.len() * RECORDS);
    for text in [&text, &written] {
        let Some(bind) = servers::bind(&[("test", text)]) else { return };
        let theirs = transferred(bind.addr);
        for (key, data) in &ours {
            let line = || text.lines().find(|line| line.starts_with(key.0.trim_end_matches(".test.")));
            assert_eq!(Some(data), theirs.get(key), "seed {}: {key:?} {:?}", seed(), line());
        }
        assert_eq!(ours.len(), theirs.len());
    }
}

/// Zones that BIND reads in its own way: `$GENERATE`, no TTL, other encodings.
#[test]
fn bind_reads_odd_files_to_the_same_records() {
    let soa = "@ IN SOA ns root 1 3600 600 86400 77\n";
    let files: [&[u8]; 4] = [
        b"@ IN NS ns\nns A 127.0.0.1\na A 192.0.2.1\nb 9 A 192.0.2.2\nc A 192.0.2.3\n",
        b"; f\xfcr uns\n@ NS ns ; gr\xfc\xdfe\nns A 127.0.0.1\na A 192.0.2.1\nb TXT \"gr\xfc\xdfe\" \xfc\nm\xfc TXT x\n",
        b"@ NS ns\nns A 127.0.0.1\na A 192.0.2.1\n$TTL 5m\n$GENERATE 1-9 g$ A 192.0.2.$\n$GENERATE 0-20/5 h${0,4,x} 60 IN CNAME g${1,0,d}.$.x\n\
          $GENERATE 1-3 ${10,7,n}.r PTR a\\$$\n$GENERATE 1-2 mx$ MX \"10 m$\"\n$GENERATE 254-256 z${-250,3} TXT x${0,0,X}\nlast A 192.0.2.1\n",
        b"@ NS ns\nns A 127.0.0.1\na A 192.0.2.1\n( b ) A ( 192.0.2.2 )\n\tAAAA ::1 ;\n  TXT ( \"a\"\n \"b\" ) ; c\n",
    ];
    for file in files {
        let text = [soa.as_bytes(), file].concat();
        let zone = Zone::parse(&text, Some(&Name::parse("test").unwrap())).unwrap();
        let ttls = |zone: &Zone| -> BTreeSet<String> {
            zone.records().map(|record| format!("{} {} {}", record.name, record.kind, record.ttl)).collect()
        };
        let ours = ttls(&zone);
        let bytes = our_bytes(zone);
        let Some(bind) = servers::bind(&[("test", &text)]) else { return };
        assert_eq!(bytes, transferred(bind.addr), "{}", String::from_utf8_lossy(&text));
        let theirs = transfer(bind.addr);
        let theirs: BTreeSet<String> =
            theirs.iter().map(|(owner, ttl, kind, _)| format!("{owner} {} {ttl}", Kind(*kind))).collect();
        assert_eq!(ours, theirs, "{}", String::from_utf8_lossy(&text));
    }
}

fn our_bytes(zone: Zone) -> Records {
    let keys: BTreeSet<(String, u16)> =
        zone.records().map(|record| (record.name.to_string(), record.kind.0)).collect();
    let mut zones = Zones::new();
    zones.put(Arc::new(zone)).unwrap();
    let mut records = Records::new();
    for (owner, kind) in keys {
        let mut out = vec![0; 65_535];
        let mut writer = Writer::new(&mut out, 1, Flags(0)).unwrap();
        let name = Name::parse(&owner).unwrap();
        writer.question(name.wire(), Kind(kind), CLASS_IN).unwrap();
        zones.answer(&name, Kind(kind), &mut writer).unwrap();
        let len = writer.finish();
        for record in Message::parse(&out[..len]).unwrap().records() {
            let record = record.unwrap();
            if record.kind.0 == kind && record.owner.read().unwrap() == name {
                let mut data = Vec::new();
                expand(&record, &mut data).unwrap();
                records.entry((owner.clone(), kind)).or_default().insert(hex(&data));
            }
        }
    }
    records
}

fn transferred(at: SocketAddr) -> Records {
    let mut records = Records::new();
    for (owner, _, kind, data) in transfer(at) {
        records.entry((owner, kind)).or_default().insert(data);
    }
    records
}

/// Owner, TTL, type and data of all that a server's zone holds.
fn transfer(at: SocketAddr) -> Vec<(String, u32, u16, String)> {
    let mut dig = Command::new("dig");
    dig.args([
        &format!("@{}", at.ip()),
        "-p",
        &at.port().to_string(),
        "test.",
        "AXFR",
        "+unknownformat",
        "+nocmd",
        "+nostats",
    ]);
    let output = dig.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut records = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with(';')) {
        let words: Vec<_> = line.split_whitespace().collect();
        let [owner, ttl, "CLASS1", kind, "\\#", _, data @ ..] = &words[..] else {
            assert!(words.is_empty(), "{line}");
            continue;
        };
        let kind: u16 = kind.strip_prefix("TYPE").unwrap().parse().unwrap();
        // Names in the owner's form.
        let owner = Name::parse(owner).unwrap().to_string();
        records.push((owner, ttl.parse().unwrap(), kind, data.concat().to_ascii_lowercase()));
    }
    records
}

/// Data of a type in a form that people write, or may write.
fn data(kind: &str, rng: &mut Rng) -> String {
    let u8 = |rng: &mut Rng| rng.index(256);
    let u16 = |rng: &mut Rng| rng.index(65_536);
    let u32 = |rng: &mut Rng| u32::from_be_bytes(array(rng));
    match kind {
        "A" => v4(rng).to_string(),
        "AAAA" => v6(rng),
        "NS" | "CNAME" | "PTR" | "DNAME" | "MB" | "MG" | "MR" | "NSAP-PTR" => name(rng),
        "MX" | "AFSDB" | "RT" | "KX" | "LP" => format!("{} {}", u16(rng), name(rng)),
        "PX" => format!("{} {} {}", u16(rng), name(rng), name(rng)),
        "RP" | "MINFO" | "TALINK" => format!("{} {}", name(rng), name(rng)),
        "SRV" => format!("{} {} {} {}", u16(rng), u16(rng), u16(rng), name(rng)),
        "NAPTR" => {
            let flag = ["u", "s", "", "A"][rng.index(4)];
            let expression = ["", "!^.*$!sip:info@a.test!", r"!(a)!\\1!i"][rng.index(3)];
            format!("{} {} \"{flag}\" {} \"{expression}\" {}", u16(rng), u16(rng), word(rng), name(rng))
        }
        "TXT" | "SPF" | "NINFO" | "AVC" => (0..1 + rng.index(3)).map(|_| text(rng) + " ").collect(),
        "HINFO" => format!("{} {}", text(rng), text(rng)),
        "X25" => format!("{:06}", rng.index(1_000_000)),
        "ISDN" => {
            [format!("{:06}", rng.index(1_000_000)), format!("\"{}\" {}", rng.index(99), rng.index(99))]
                [rng.index(2)]
            .clone()
        }
        "GPOS" => format!("-{}.5 {}.25 {}", rng.index(90), rng.index(180), rng.index(9_000)),
        "NSAP" => format!("0x{}", hex(&bytes(rng, 1, 20))),
        "LOC" => location(rng),
        "EID" | "NIMLOC" => hex_pieces(rng, 1, 40),
        "CERT" => {
            let sort = ["PKIX", "PGP", "spki", "URI", "65534", "9"][rng.index(6)];
            format!("{sort} {} {} {}", u16(rng), algorithm(rng), base64_pieces(rng, 1, 90))
        }
        "SINK" => format!("{} {} {} {}", u8(rng), u8(rng), u8(rng), base64_pieces(rng, 1, 40)),
        "APL" => (0..rng.index(4)).map(|_| prefix(rng) + " ").collect(),
        "DS" | "CDS" | "DLV" | "TA" => {
            let (digest, length) =
                [("1", 20), ("SHA-256", 32), ("2", 32), ("SHA384", 48), ("4", 48)][rng.index(5)];
            format!("{} {} {digest} {}", u16(rng), algorithm(rng), hex_pieces(rng, length, length))
        }
        "SSHFP" => {
            let (sort, length) = [(1, 20), (2, 32)][rng.index(2)];
            format!("{} {sort} {}", 1 + rng.index(4), hex_pieces(rng, length, length))
        }
        "IPSECKEY" | "AMTRELAY" => gateway(kind, rng),
        "RRSIG" | "SIG" => {
            let covered = ["A", "SVCB", "NSEC3PARAM", "TYPE65280", "CAA"][rng.index(5)];
            let date = |rng: &mut Rng| {
                format!("2{:03}0{}281{}3059", rng.index(100), 1 + rng.index(9), rng.index(10))
            };
            let time = |rng: &mut Rng| match kind {
                "RRSIG" if rng.percent(50) => rng.index(4_000_000_000).to_string(),
                _ => date(rng),
            };
            let numbers = format!("{} {} {} {}", 3 + rng.index(7), rng.index(1 << 31), time(rng), time(rng));
            format!(
                "{covered} {} {numbers} {} {} {}",
                algorithm(rng),
                u16(rng),
                name(rng),
                base64_pieces(rng, 1, 90)
            )
        }
        "NSEC" => format!("{} {}", name(rng), types(rng, 1)),
        "CSYNC" => format!("{} {} {}", u32(rng), rng.index(4), types(rng, 0)),
        "KEY" | "DNSKEY" | "CDNSKEY" | "RKEY" => {
            let flags = if kind == "RKEY" { 0 } else { [0, 256, 257, 385][rng.index(4)] };
            format!("{flags} 3 {} {}", algorithm(rng), base64_pieces(rng, 40, 140))
        }
        "DHCID" | "OPENPGPKEY" => base64_pieces(rng, 3, 120),
        "NSEC3" => {
            let next: String = (0..32).map(|_| char::from(BASE32[rng.index(32)])).collect();
            format!("1 {} {} {} {next} {}", rng.index(2), u16(rng), salt(rng), types(rng, 0))
        }
        "NSEC3PARAM" => format!("1 {} {} {}", rng.index(2), u16(rng), salt(rng)),
        "TLSA" | "SMIMEA" => format!("{} {} {} {}", u8(rng), u8(rng), u8(rng), hex_pieces(rng, 1, 70)),
        "HIP" => {
            let servers: String = (0..rng.index(3)).map(|_| format!(" {}", name(rng))).collect();
            format!("{} {} {}{servers}", u8(rng), hex(&bytes(rng, 1, 30)), base64(&bytes(rng, 1, 90)))
        }
        "ZONEMD" => {
            let (sort, length) = [(1, 48), (2, 64)][rng.index(2)];
            format!("{} 1 {sort} {}", u32(rng), hex_pieces(rng, length, length))
        }
        "SVCB" | "HTTPS" => service(rng),
        "NID" | "L64" => {
            let groups: Vec<String> = (0..4).map(|_| format!("{:x}", u16(rng))).collect();
            format!("{} {}", u16(rng), groups.join(":"))
        }
        "L32" => format!("{} {}", u16(rng), v4(rng)),
        "EUI48" => hyphens(&bytes(rng, 6, 6)),
        "EUI64" => hyphens(&bytes(rng, 8, 8)),
        "URI" => format!("{} {} \"https://a.test/{}\"", u16(rng), u16(rng), rng.index(1_000)),
        "CAA" => {
            format!("{} {} {}", u8(rng), ["issue", "iodef", "issuewild", "tag7"][rng.index(4)], text(rng))
        }
        "DOA" => format!(
            "{} {} {} {} {}",
            u32(rng),
            u32(rng),
            u8(rng),
            text(rng),
            ["-".to_owned(), base64_pieces(rng, 1, 60)][rng.index(2)]
        ),
        _ => panic!("{kind}"),
    }
}

fn service(rng: &mut Rng) -> String {
    let mut parameters = Vec::new();
    let values: [(&str, String); 9] = [
        (
            "alpn",
            [r"h2,h3", r#""h3-29""#, r#""f\\\\oo\\,bar,h2""#, r"f\\\092oo\092,bar,h2"][rng.index(4)]
                .to_owned(),
        ),
        ("port", rng.index(65_536).to_string()),
        ("ipv4hint", format!("{},{}", v4(rng), v4(rng))),
        ("ech", base64(&bytes(rng, 1, 60))),
        ("ipv6hint", v6(rng)),
        ("dohpath", "/q{?dns}".to_owned()),
        ("key667", text(rng)),
        ("key65000", ["hello", r#""hello\210qoo""#, r"a\;b\\"][rng.index(3)].to_owned()),
        ("key9", "\"\"".to_owned()),
    ];
    for (key, value) in &values {
        if rng.percent(40) {
            parameters.push((*key, format!("{key}={value}")));
        }
    }
    let has_alpn = parameters.iter().any(|(key, _)| *key == "alpn");
    if rng.percent(60) && !parameters.is_empty() {
        let (key, _) = parameters[rng.index(parameters.len())];
        let (other, _) = parameters[rng.index(parameters.len())];
        let keys = if key == other { key.to_owned() } else { format!("{key},{other}") };
        parameters.push(("mandatory", format!("mandatory={keys}")));
    }
    if has_alpn && rng.percent(40) {
        parameters.push(("no-default-alpn", "no-default-alpn".to_owned()));
    }
    for at in (1..parameters.len()).rev() {
        parameters.swap(at, rng.index(at + 1));
    }
    let words: String = parameters.iter().map(|(_, text)| format!(" {text}")).collect();
    let target = [".".to_owned(), name(rng)][rng.index(2)].clone();
    match rng.percent(10) {
        true => format!("0 {}", name(rng)),
        false => format!("{} {target}{words}", 1 + rng.index(65_535)),
    }
}

fn location(rng: &mut Rng) -> String {
    let mut angle = |degrees: usize, sides: [&str; 2]| {
        let side = sides[rng.index(2)];
        let degrees = rng.index(degrees);
        let (minutes, seconds, thousandths) = (rng.index(60), rng.index(60), rng.index(1_000));
        match rng.index(4) {
            0 => format!("{degrees} {side}"),
            1 => format!("{degrees} {minutes} {side}"),
            2 => format!("{degrees} {minutes} {seconds} {side}"),
            _ => format!("{degrees} {minutes} {seconds}.{thousandths:03} {side}"),
        }
    };
    let angles = format!("{} {}", angle(90, ["N", "S"]), angle(180, ["E", "W"]));
    let altitude = format!("{}{}.{:02}m", ["-", ""][rng.index(2)], rng.index(90_000), rng.index(100));
    let sizes =
        (0..rng.index(4)).map(|_| format!(" {}m", [rng.index(10), rng.index(90_000_000)][rng.index(2)]));
    format!("{angles} {altitude}{}", sizes.collect::<String>())
}

fn gateway(kind: &str, rng: &mut Rng) -> String {
    let sort = rng.index(4);
    let gateway = [".".to_owned(), v4(rng).to_string(), v6(rng), name(rng)][sort].clone();
    match kind {
        "AMTRELAY" => format!("{} {} {sort} {gateway}", rng.index(256), rng.index(2)),
        _ => {
            format!("{} {sort} {} {gateway} {}", rng.index(256), 1 + rng.index(3), base64(&bytes(rng, 1, 80)))
        }
    }
}

fn prefix(rng: &mut Rng) -> String {
    let not = ["", "!"][rng.index(2)];
    match rng.index(3) {
        0 => format!("{not}1:{}/{}", v4(rng), rng.index(33)),
        1 => format!("{not}1:10.{}.0.0/16", rng.index(256)),
        _ => format!("{not}2:{}/{}", v6(rng), rng.index(129)),
    }
}

fn types(rng: &mut Rng, least: usize) -> String {
    let all =
        ["A", "NS", "MX", "AAAA", "RRSIG", "NSEC", "TYPE1234", "CAA", "SVCB", "TYPE65280", "EUI64", "TLSA"];
    (0..least + rng.index(6)).map(|_| format!("{} ", all[rng.index(all.len())])).collect()
}

fn salt(rng: &mut Rng) -> String {
    ["-".to_owned(), hex(&bytes(rng, 1, 20))][rng.index(2)].clone()
}

fn algorithm(rng: &mut Rng) -> &'static str {
    ["8", "13", "RSASHA256", "ECDSAP256SHA256", "15", "ED448", "NSEC3RSASHA1"][rng.index(7)]
}

fn name(rng: &mut Rng) -> String {
    ["host", "a.b.test.", "mail.example.org.", "@", "x-1.y", r"od\.d", "."][rng.index(7)].to_owned()
}

fn word(rng: &mut Rng) -> &'static str {
    ["\"E2U+sip\"", "\"\"", "SIP+D2U"][rng.index(3)]
}

fn text(rng: &mut Rng) -> String {
    let pieces = ["a", "Z", " ", ";", r#"\""#, r"\\", r"\007", r"\255", "=", "(", "\u{e4}", r"\a"];
    let text: String = (0..rng.index(40)).map(|_| pieces[rng.index(pieces.len())]).collect();
    format!("\"{text}\"")
}

fn v4(rng: &mut Rng) -> Ipv4Addr {
    Ipv4Addr::from(array(rng))
}

fn v6(rng: &mut Rng) -> String {
    let mut octets: [u8; 16] = array(rng);
    let zeros = rng.index(16);
    octets[zeros..(zeros + rng.index(16)).min(16)].fill(0);
    Ipv6Addr::from(octets).to_string()
}

fn array<const LEN: usize>(rng: &mut Rng) -> [u8; LEN] {
    std::array::from_fn(|_| rng.index(256) as u8)
}

fn bytes(rng: &mut Rng, least: usize, most: usize) -> Vec<u8> {
    let length = least + rng.index(most - least + 1);
    (0..length).map(|_| rng.index(256) as u8).collect()
}

fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// With white space somewhere, in parentheses.
fn hex_pieces(rng: &mut Rng, least: usize, most: usize) -> String {
    split(hex(&bytes(rng, least, most)), rng)
}

fn base64_pieces(rng: &mut Rng, least: usize, most: usize) -> String {
    split(base64(&bytes(rng, least, most)), rng)
}

fn split(text: String, rng: &mut Rng) -> String {
    let at = rng.index(text.len() / 4 + 1) * 4;
    if at == 0 || at >= text.len() || rng.percent(40) {
        text
    } else {
        format!("( {} {} )", &text[..at], &text[at..])
    }
}

fn hyphens(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join("-")
}

fn base64(data: &[u8]) -> String {
    let letters: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').chain(['+', '/']).collect();
    let bits: String = data.iter().map(|byte| format!("{byte:08b}")).collect();
    let mut out = String::new();
    for at in (0..bits.len()).step_by(6) {
        let piece = format!("{:0<6}", &bits[at..bits.len().min(at + 6)]);
        out.push(letters[usize::from_str_radix(&piece, 2).unwrap()]);
    }
    while !out.len().is_multiple_of(4) {
        out.push('=');
    }
    out
}

const HEAD: &str = "$TTL 60\n@ SOA ns root 1 3600 600 86400 60\n@ NS ns\nns A 127.0.0.1\na A 192.0.2.1\n";
const BASE32: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
/// Of each type.
const RECORDS: usize = 200;
const TYPES: [&str; 67] = [
    "A",
    "NS",
    "CNAME",
    "MB",
    "MG",
    "MR",
    "PTR",
    "HINFO",
    "MINFO",
    "MX",
    "TXT",
    "RP",
    "AFSDB",
    "X25",
    "ISDN",
    "RT",
    "NSAP",
    "NSAP-PTR",
    "KEY",
    "PX",
    "GPOS",
    "AAAA",
    "LOC",
    "EID",
    "NIMLOC",
    "SRV",
    "NAPTR",
    "KX",
    "CERT",
    "DNAME",
    "SINK",
    "APL",
    "DS",
    "SSHFP",
    "IPSECKEY",
    "RRSIG",
    "NSEC",
    "DNSKEY",
    "DHCID",
    "NSEC3",
    "NSEC3PARAM",
    "TLSA",
    "SMIMEA",
    "HIP",
    "NINFO",
    "RKEY",
    "TALINK",
    "CDS",
    "CDNSKEY",
    "OPENPGPKEY",
    "CSYNC",
    "ZONEMD",
    "SVCB",
    "HTTPS",
    "SPF",
    "NID",
    "L32",
    "L64",
    "LP",
    "EUI48",
    "EUI64",
    "URI",
    "CAA",
    "AVC",
    "DOA",
    "AMTRELAY",
    "TA",
];
