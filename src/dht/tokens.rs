//! Write tokens (BEP 5): who announces must have asked from that address shortly before.
//!
//! A token is a keyed hash, so nothing is remembered for those who asked; two secrets are.

use std::net::IpAddr;
use std::time::Duration;

use crate::base::hash::sha1;
use crate::base::{InfoHash, Instant, Rng};

/// A token as it goes into a `get_peers` response.
pub type WriteToken = [u8; TOKEN_BYTES];

/// Issues tokens and knows its own again for five to ten minutes.
pub struct Tokens {
    current: Secret,
    previous: Secret,
    rotate_at: Instant,
}

impl Tokens {
    /// With fresh secrets.
    pub fn new(now: Instant, rng: &mut Rng) -> Self {
        Self { current: secret(rng), previous: secret(rng), rotate_at: now + ROTATION }
    }

    /// The token of whoever asks for `info_hash` from `ip`.
    pub fn issue(&self, ip: IpAddr, info_hash: &InfoHash) -> WriteToken {
        token(&self.current, ip, info_hash)
    }

    /// Was `given` issued to `ip` for `info_hash`, not more than ten minutes ago?
    pub fn valid(&self, given: &[u8], ip: IpAddr, info_hash: &InfoHash, now: Instant) -> bool {
        let Ok(given) = WriteToken::try_from(given) else { return false };
        // A driver that overslept must not make old tokens live longer.
        let overslept = now.since(self.rotate_at);
        // Which of the two it fits is no secret: the younger one is tried first.
        overslept < ROTATION && same(&given, &token(&self.current, ip, info_hash))
            || overslept.is_zero() && same(&given, &token(&self.previous, ip, info_hash))
    }

    /// When the secrets change.
    pub fn next_deadline(&self) -> Instant {
        self.rotate_at
    }

    /// Changes the secret if it is time. One rotation missed altogether renews both.
    pub fn on_deadline(&mut self, now: Instant, rng: &mut Rng) {
        if now < self.rotate_at {
            return;
        }
        let missed = now.since(self.rotate_at) >= ROTATION;
        self.previous = if missed { secret(rng) } else { self.current };
        self.current = secret(rng);
        // From when it was due: what was issued first under the old secret is five minutes old then.
        self.rotate_at = if missed { now } else { self.rotate_at } + ROTATION;
    }
}

type Secret = [u8; SECRET_BYTES];

fn secret(rng: &mut Rng) -> Secret {
    let mut secret = [0; SECRET_BYTES];
    rng.fill(&mut secret);
    secret
}

fn token(secret: &Secret, ip: IpAddr, info_hash: &InfoHash) -> WriteToken {
    let ip = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    let mut input = [0; SECRET_BYTES + 16 + 20];
    input[..SECRET_BYTES].copy_from_slice(secret);
    input[SECRET_BYTES..SECRET_BYTES + 16].copy_from_slice(&ip.octets());
    input[SECRET_BYTES + 16..].copy_from_slice(&info_hash.0);
    let mut token = [0; TOKEN_BYTES];
    token.copy_from_slice(&sha1(&input)[..TOKEN_BYTES]);
    token
}

/// Takes the same time wherever they differ, so that a token cannot be guessed byte by byte.
fn same(a: &WriteToken, b: &WriteToken) -> bool {
    a.iter().zip(b).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

/// BEP 5: secrets change every five minutes, tokens up to ten minutes old are accepted.
const ROTATION: Duration = Duration::from_secs(5 * 60);
/// 64 bits: no one guesses that in ten minutes of packets.
const TOKEN_BYTES: usize = 8;
/// With address (16) and infohash (20) it fills one block of SHA-1: 52 of 55 bytes.
const SECRET_BYTES: usize = 16;
const _: () = assert!(SECRET_BYTES + 16 + 20 <= 55);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Id;

    const HASH: InfoHash = Id([1; 20]);
    const SECOND: Duration = Duration::from_secs(1);

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_token_is_for_one_address_and_one_torrent() {
        let mut rng = Rng::seeded(1);
        let now = Instant(7);
        let tokens = Tokens::new(now, &mut rng);
        let token = tokens.issue(ip("192.0.2.1"), &HASH);
        assert!(tokens.valid(&token, ip("192.0.2.1"), &HASH, now));
        assert!(!tokens.valid(&token, ip("192.0.2.2"), &HASH, now));
        assert!(!tokens.valid(&token, ip("192.0.2.1"), &Id([2; 20]), now));
        let six = tokens.issue(ip("2001:db8::1"), &HASH);
        assert!(tokens.valid(&six, ip("2001:db8::1"), &HASH, now));
        assert!(!Tokens::new(now, &mut rng).valid(&token, ip("192.0.2.1"), &HASH, now));
    }

    #[test]
    fn another_length_or_one_flipped_bit_is_refused() {
        let tokens = Tokens::new(Instant(0), &mut Rng::seeded(2));
        let from = ip("192.0.2.1");
        let token = tokens.issue(from, &HASH);
        let longer = [&token[..], &[0]].concat();
        for wrong in [&token[..7], &[], &longer[..]] {
            assert!(!tokens.valid(wrong, from, &HASH, Instant(0)));
        }
        for bit in 0..64 {
            let mut wrong = token;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(!tokens.valid(&wrong, from, &HASH, Instant(0)), "bit {bit}");
        }
    }

    #[test]
    fn a_token_lives_five_to_ten_minutes() {
        let mut rng = Rng::seeded(3);
        let mut tokens = Tokens::new(Instant(0), &mut rng);
        let from = ip("192.0.2.1");
        let first = tokens.issue(from, &HASH);
        let turn = tokens.next_deadline();
        assert_eq!(turn, Instant(0) + ROTATION);
        tokens.on_deadline(turn - SECOND, &mut rng);
        assert_eq!(tokens.next_deadline(), turn, "a spurious call changes nothing");
        let late = tokens.issue(from, &HASH);
        assert_eq!(first, late);
        tokens.on_deadline(turn, &mut rng);
        assert!(tokens.next_deadline() > turn);
        assert!(tokens.valid(&first, from, &HASH, turn + ROTATION - SECOND));
        assert_ne!(tokens.issue(from, &HASH), first);
        tokens.on_deadline(turn + ROTATION, &mut rng);
        assert!(!tokens.valid(&first, from, &HASH, turn + ROTATION));
    }

    #[test]
    fn oversleeping_lengthens_no_life() {
        let mut rng = Rng::seeded(4);
        let mut tokens = Tokens::new(Instant(0), &mut rng);
        let from = ip("192.0.2.1");
        let token = tokens.issue(from, &HASH);
        let late = Instant(0) + ROTATION * 2;
        assert!(tokens.valid(&token, from, &HASH, late - SECOND));
        assert!(!tokens.valid(&token, from, &HASH, late));
        tokens.on_deadline(late, &mut rng);
        assert!(!tokens.valid(&token, from, &HASH, late));
        // A rotation that comes late leaves the old secret the less time.
        let token = tokens.issue(from, &HASH);
        tokens.on_deadline(late + ROTATION + ROTATION / 2, &mut rng);
        assert!(tokens.valid(&token, from, &HASH, late + ROTATION * 2 - SECOND));
        tokens.on_deadline(late + ROTATION * 2, &mut rng);
        assert!(!tokens.valid(&token, from, &HASH, late + ROTATION * 2));
    }
}
