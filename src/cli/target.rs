//! Infohashes in every form that people paste: hex, base32, magnet, v2.

use std::net::SocketAddr;

use crate::base::InfoHash;

/// One torrent that the user named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The 20-byte key: SHA-1, or the truncated SHA-256 (BEP 52).
    pub infohash: InfoHash,
    /// The whole SHA-256, where it was given.
    pub v2: Option<[u8; 32]>,
    /// Peers that a magnet link brings along (`x.pe`, BEP 9).
    pub peers: Vec<SocketAddr>,
}

/// One torrent of the archive: a whole hash, or how one begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// A whole hash.
    Whole(Target),
    /// The first hexadecimal digits of one, in lower case.
    Digits(String),
}

/// Parses what [`parse_target`] does, and at least four hexadecimal digits as the beginning of a
/// hash.
pub fn parse_start(text: &str) -> Result<Start, String> {
    let digits = text.trim();
    let is_start = (DIGITS_MIN..64).contains(&digits.len()) && digits.bytes().all(|c| c.is_ascii_hexdigit());
    match parse_target(text) {
        // 32 hexadecimal digits may be base32 as well, and are looked for as both.
        Ok(target) if digits.len() != 32 || !is_start => Ok(Start::Whole(target)),
        _ if is_start => Ok(Start::Digits(digits.to_ascii_lowercase())),
        Ok(target) => Ok(Start::Whole(target)),
        Err(fault) => Err(format!("{fault}, or at least {DIGITS_MIN} first digits of one")),
    }
}

/// Parses 40 hex digits, 32 of base32, 64 hex digits (v2), `1220` and 64 hex digits (a multihash),
/// or a magnet link with `btih` or `btmh`. The error says what was wrong, and with what.
pub fn parse_target(text: &str) -> Result<Target, String> {
    let text = text.trim();
    if text.len() >= MAGNET.len()
        && text.is_char_boundary(MAGNET.len())
        && text[..MAGNET.len()].eq_ignore_ascii_case(MAGNET)
    {
        return parse_magnet(&text[MAGNET.len()..]);
    }
    let found = match text.len() {
        32 | 40 => v1(text).map(|infohash| Target { infohash, v2: None, peers: Vec::new() }),
        64 => v2(text),
        68 => text.strip_prefix(SHA256_MULTIHASH).and_then(v2),
        _ => None,
    };
    found.ok_or_else(|| {
        let shown: String = text.chars().take(SHOWN_MAX).collect();
        format!("`{shown}` is not an infohash; give 40 hex digits, 32 of base32, 64 hex digits (v2) or a magnet link")
    })
}

fn parse_magnet(query: &str) -> Result<Target, String> {
    let (mut short, mut long, mut peers) = (None, None, Vec::new());
    for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let value = percent_decoded(value);
        let kind = name.split('.').next().unwrap_or(name);
        match (kind, name) {
            ("xt", _) => match value.rsplit_once(':') {
                Some(("urn:btih", hash)) => short = short.or_else(|| v1(hash)),
                Some(("urn:btmh", hash)) => {
                    long = long.or_else(|| hash.strip_prefix(SHA256_MULTIHASH).and_then(v2))
                }
                _ => {}
            },
            (_, "x.pe") if peers.len() < PEERS_MAX => peers.extend(value.parse::<SocketAddr>()),
            _ => {}
        }
    }
    let v2 = long.as_ref().and_then(|target| target.v2);
    let infohash = short.or_else(|| long.map(|target| target.infohash));
    match infohash {
        Some(infohash) => Ok(Target { infohash, v2, peers }),
        None => Err("the magnet link names no torrent; it needs xt=urn:btih: or xt=urn:btmh:1220".to_owned()),
    }
}

fn v1(text: &str) -> Option<InfoHash> {
    if text.len() == 40 { InfoHash::from_hex(text) } else { base32(text) }
}

fn v2(text: &str) -> Option<Target> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut hash = [0; 32];
    for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high << 4 | low).ok()?;
    }
    Some(Target { infohash: InfoHash::from_slice(&hash[..20])?, v2: Some(hash), peers: Vec::new() })
}

/// RFC 4648 base32 of 20 bytes: 32 letters, no padding.
fn base32(text: &str) -> Option<InfoHash> {
    if text.len() != 32 {
        return None;
    }
    let mut out = [0; 20];
    for (chunk, letters) in out.chunks_exact_mut(5).zip(text.as_bytes().chunks_exact(8)) {
        let mut bits = 0u64;
        for letter in letters {
            let value = match letter.to_ascii_uppercase() {
                letter @ b'A'..=b'Z' => letter - b'A',
                digit @ b'2'..=b'7' => digit - b'2' + 26,
                _ => return None,
            };
            bits = bits << 5 | u64::from(value);
        }
        chunk.copy_from_slice(&bits.to_be_bytes()[3..]);
    }
    InfoHash::from_slice(&out)
}

/// RFC 3986 percent-encoding undone; what is not valid stays as it is.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let digit = |offset: usize| bytes.get(at + offset).and_then(|byte| char::from(*byte).to_digit(16));
        match (bytes[at], digit(1), digit(2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

const MAGNET: &str = "magnet:?";
/// Multihash prefix of a SHA-256: code 0x12, 0x20 bytes (BEP 52).
const SHA256_MULTIHASH: &str = "1220";
/// Peers taken from one link; more than a lookup would try at first.
const PEERS_MAX: usize = 64;
/// Characters of a wrong input that an error repeats.
/// Fewer digits say nothing in an archive of any size.
const DIGITS_MIN: usize = 4;
const SHOWN_MAX: usize = 80;

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0639a1e24fbb8ab277df033476ab0de10fab3bdc";

    #[test]
    fn all_forms_of_one_hash() {
        let expected = InfoHash::from_hex(HEX).unwrap();
        let base32 = "AY42DYSPXOFLE567AM2HNKYN4EH2WO64";
        let forms = [
            HEX.to_owned(),
            HEX.to_uppercase(),
            base32.to_owned(),
            base32.to_lowercase(),
            format!("  {HEX}\n"),
            format!("magnet:?xt=urn:btih:{HEX}&dn=a%20b&tr=udp%3A%2F%2Fx"),
            format!("magnet:?dn=x&xt=urn%3Abtih%3A{base32}"),
            format!("MAGNET:?xt.1=urn:btih:{HEX}"),
        ];
        for form in forms {
            assert_eq!(parse_target(&form).map(|target| target.infohash), Ok(expected), "{form}");
        }
    }

    #[test]
    fn v2_is_truncated_and_kept_whole() {
        let whole = "caf1e1c30e81cb361b9ee167c4aa64228a7fa4fa9f6105232b28ad099f3a302e";
        for form in [whole.to_owned(), format!("1220{whole}"), format!("magnet:?xt=urn:btmh:1220{whole}")] {
            let target = parse_target(&form).unwrap();
            assert_eq!(target.infohash.to_string(), whole[..40]);
            assert_eq!(target.v2.unwrap()[31], 0x2e);
        }
        let hybrid = parse_target(&format!("magnet:?xt=urn:btmh:1220{whole}&xt=urn:btih:{HEX}")).unwrap();
        assert_eq!(hybrid.infohash.to_string(), HEX);
        assert!(hybrid.v2.is_some());
    }

    #[test]
    fn peers_of_a_magnet() {
        let target = parse_target(&format!(
            "magnet:?xt=urn:btih:{HEX}&x.pe=10.0.0.1:6881&x.pe=%5B::1%5D:7&x.pe=host:1"
        ))
        .unwrap();
        assert_eq!(target.peers, ["10.0.0.1:6881".parse().unwrap(), "[::1]:7".parse().unwrap()]);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "",
            "x",
            "magnet:?",
            "magnet:?xt=urn:btih:",
            &HEX[1..],
            &"g".repeat(40),
            &"1".repeat(32),
            &"é".repeat(20),
            &"é".repeat(32),
            &"z".repeat(64),
            "magnet:?xt=urn:btmh:1220ab",
            "%",
        ] {
            assert!(parse_target(text).is_err(), "{text}");
        }
    }
}
