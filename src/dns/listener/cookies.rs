//! Server cookies (RFC 7873): a client that brings one back is where it says it is.
//!
//! In the form of RFC 9018, but with HMAC-SHA-256: nobody else has our secret, so nobody else has to
//! know how they are made.

use std::net::IpAddr;

use aws_lc_rs::hmac;

use crate::base::{Rng, UnixTime};

/// Makes cookies and knows its own again.
pub(super) struct Cookies {
    key: hmac::Key,
}

/// Version, three bytes that are zero, the time, the proof.
pub(super) type ServerCookie = [u8; 16];

impl Cookies {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let mut secret = [0; 32];
        rng.fill(&mut secret);
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, &secret) }
    }

    /// The cookie of a client at `ip` that sent `client`.
    pub(super) fn issue(&self, client: [u8; 8], ip: IpAddr, unix: UnixTime) -> ServerCookie {
        self.make(client, ip, unix.0 as u32)
    }

    /// Whether it was issued to this client not long ago.
    pub(super) fn is_ours(&self, client: [u8; 8], cookie: ServerCookie, ip: IpAddr, unix: UnixTime) -> bool {
        let issued = u32::from_be_bytes([cookie[4], cookie[5], cookie[6], cookie[7]]);
        let age = (unix.0 as u32).wrapping_sub(issued).cast_signed();
        let differing = self.make(client, ip, issued).iter().zip(cookie).fold(0, |sum, (a, b)| sum | (a ^ b));
        (-FUTURE_MAX..=AGE_MAX).contains(&age) && differing == 0
    }

    fn make(&self, client: [u8; 8], ip: IpAddr, issued: u32) -> ServerCookie {
        let mut cookie = [0; 16];
        cookie[0] = 1;
        cookie[4..8].copy_from_slice(&issued.to_be_bytes());
        let ip = match ip {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        let mut input = [0; 32];
        input[..8].copy_from_slice(&client);
        input[8..16].copy_from_slice(&cookie[..8]);
        input[16..].copy_from_slice(&ip.octets());
        cookie[8..].copy_from_slice(&hmac::sign(&self.key, &input).as_ref()[..8]);
        cookie
    }
}

/// An hour, and five minutes for clocks that went back (RFC 9018, section 4.3).
const AGE_MAX: i32 = 3_600;
const FUTURE_MAX: i32 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_good_for_its_client_for_an_hour() {
        let cookies = Cookies::new(&mut Rng::seeded(1));
        let (ip, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let (client, at) = ([7; 8], UnixTime(1_700_000_000));
        let cookie = cookies.issue(client, ip, at);
        let good = |ip, client, secs: i64| {
            cookies.is_ours(client, cookie, ip, UnixTime(at.0.saturating_add_signed(secs)))
        };
        assert!(good(ip, client, 0) && good(ip, client, 3_600) && good(ip, client, -300));
        assert!(!good(ip, client, 3_601) && !good(ip, client, -301));
        assert!(!good(other, client, 0) && !good(ip, [8; 8], 0));
        for at in 0..16 {
            let mut forged = cookie;
            forged[at] ^= 1;
            assert!(!cookies.is_ours(client, forged, ip, UnixTime(1_700_000_000)), "{at}");
        }
    }
}
