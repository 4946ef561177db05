//! Who may ask, and how much is answered: so much to each client, and the same answer so often to each
//! network, since whoever asks over UDP may be made up and the answer hit somebody else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Config;
use crate::base::{Instant, Limiter, Network, Rng};
use crate::wire::dns::{Name, Rcode, parent};

/// Networks and rates.
pub(super) struct Limits {
    allow: Vec<Network>,
    /// Networks of this machine's interfaces.
    own: Vec<Network>,
    own_may_ask: bool,
    clients: Limiter,
    answers: Limiter,
    /// Nothing is limited.
    free: bool,
    held_back: u64,
}

/// What becomes of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// It is sent.
    Whole,
    /// Only that it is to be had over TCP, which nobody made up comes back for.
    Cut,
    /// It is not.
    Nothing,
}

impl Limits {
    pub(super) fn new(config: &Config, rng: &mut Rng) -> Self {
        let Config { allow, own_networks, rate } = config;
        let (allow, rate) = (allow.clone(), *rate);
        let same = rate.div_ceil(SAME_SHARE);
        let answers = Limiter::new(same, same, rng);
        let (own, own_may_ask) = (Vec::new(), *own_networks);
        Self {
            allow,
            own,
            own_may_ask,
            clients: Limiter::new(rate, rate, rng),
            answers,
            free: rate == 0,
            held_back: 0,
        }
    }

    pub(super) fn may_ask(&self, ip: IpAddr) -> bool {
        let own = self.own.iter().filter(|_| self.own_may_ask);
        self.allow.iter().chain(own).any(|network| network.contains(ip))
    }

    pub(super) fn set_own(&mut self, networks: Vec<Network>) {
        self.own = networks;
    }

    pub(super) fn take_own(&mut self) -> Vec<Network> {
        std::mem::take(&mut self.own)
    }

    /// Whether one more question of this client is looked at.
    pub(super) fn take(&mut self, ip: IpAddr, now: Instant) -> bool {
        ip.is_loopback() || self.clients.allow(ip, now)
    }

    /// What becomes of an answer over UDP to a client that may be made up. What does not exist counts
    /// by the zone that says so (`denied`), if there is one above it, else by the name above it, and
    /// failures whatever was asked, so that made-up names count together.
    pub(super) fn leave(
        &mut self,
        ip: IpAddr,
        (name, rcode): (&Name, Rcode),
        denied: impl FnOnce() -> Option<Name>,
        now: Instant,
    ) -> Leave {
        if self.free || ip.is_loopback() {
            return Leave::Whole;
        }
        let zone = if rcode == Rcode::NXDOMAIN { denied() } else { None };
        let zone = zone.filter(|zone| zone.wire().len() < name.wire().len());
        let above = || parent(name.wire()).unwrap_or_else(|| name.wire());
        let name = match rcode {
            Rcode::NOERROR => name.wire(),
            Rcode::NXDOMAIN => zone.as_ref().map_or_else(above, Name::wire),
            _ => b"\0",
        };
        if self.answers.allow_for((network(ip), name, rcode), now) {
            return Leave::Whole;
        }
        self.held_back += 1;
        if self.held_back.is_multiple_of(SLIP) { Leave::Cut } else { Leave::Nothing }
    }
}

/// A victim's network: /24, and /56 for IPv6.
fn network(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() >> 8 << 8).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 72 << 72).into(),
    }
}

/// A tenth of what one client is answered may be the same.
const SAME_SHARE: u32 = 10;
/// Every other answer that is held back says to come over TCP, as BIND and NSD have it.
const SLIP: u64 = 2;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn with_rate(rate: u32, seed: u64) -> Limits {
        let config = Config { allow: Vec::new(), own_networks: true, rate };
        Limits::new(&config, &mut Rng::seeded(seed))
    }

    #[test]
    fn networks_of_own_interfaces_may_ask_unless_others_were_named() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let networks = || vec!["2001:db8:7::/64".parse().unwrap(), "100.64.0.0/10".parse().unwrap()];
        for own_networks in [true, false] {
            let config = Config { own_networks, ..Config::local() };
            let mut limits = Limits::new(&config, &mut Rng::seeded(1));
            assert!(!limits.may_ask(ip("2001:db8:7::9")), "not known yet");
            limits.set_own(networks());
            assert_eq!(limits.may_ask(ip("2001:db8:7::9")), own_networks);
            assert_eq!(limits.may_ask(ip("100.70.0.1")), own_networks);
            assert!(!limits.may_ask(ip("2001:db8:8::9")) && limits.may_ask(ip("192.168.1.1")));
        }
    }

    #[test]
    fn the_same_answer_is_sent_to_a_network_so_often_and_loopback_all_it_wants() {
        let mut limits = with_rate(100, 1);
        let now = Instant::from_millis(1);
        let name = |nth: u8| Name::parse(&format!("a{nth}.test")).unwrap();
        let mut ask = |ip: [u8; 4], name: &Name, rcode| limits.leave(ip.into(), (name, rcode), || None, now);
        let left: Vec<_> = (0..14).map(|nth| ask([192, 0, 2, nth], &name(0), Rcode::NOERROR)).collect();
        assert_eq!(left[..10], [Leave::Whole; 10]);
        assert_eq!(left[10..], [Leave::Nothing, Leave::Cut, Leave::Nothing, Leave::Cut]);
        assert_eq!(ask([192, 0, 2, 1], &name(1), Rcode::NOERROR), Leave::Whole, "another name");
        assert_eq!(ask([192, 0, 3, 1], &name(0), Rcode::NOERROR), Leave::Whole, "another network");
        let denied = (0..20).filter(|nth| ask([192, 0, 2, 1], &name(*nth), Rcode::NXDOMAIN) == Leave::Whole);
        assert_eq!(denied.count(), 10, "names that do not exist count together");
        assert!((0..99).all(|_| ask([127, 0, 0, 1], &name(0), Rcode::NOERROR) == Leave::Whole));
    }

    #[test]
    fn names_made_up_at_any_depth_count_together() {
        let mut limits = with_rate(100, 1);
        let now = Instant::from_millis(1);
        let name = |nth: u8| Name::parse(&format!("a.b{nth}.zone.test")).unwrap();
        let zone = || Name::parse("zone.test").ok();
        let ip = IpAddr::from([192, 0, 2, 1]);
        let denied =
            (0..50).filter(|nth| limits.leave(ip, (&name(*nth), Rcode::NXDOMAIN), zone, now) == Leave::Whole);
        assert_eq!(denied.count(), 10);
        let refused = (0..50)
            .filter(|nth| limits.leave(ip, (&name(*nth), Rcode::REFUSED), || None, now) == Leave::Whole);
        assert_eq!(refused.count(), 10);
        let own = (0..50).filter(|nth| {
            let itself = || Some(name(*nth));
            limits.leave(ip, (&name(*nth), Rcode::NXDOMAIN), itself, now) == Leave::Whole
        });
        assert_eq!(own.count(), 50, "a list that denies as the zone of the name itself: by the name above");
    }

    #[test]
    fn a_client_has_its_rate_and_zero_is_none() {
        let mut limits = with_rate(10, 2);
        let (ip, now) = (IpAddr::from([192, 0, 2, 1]), Instant::from_millis(1));
        assert_eq!((0..50).filter(|_| limits.take(ip, now)).count(), 10);
        assert_eq!((0..50).filter(|_| limits.take(ip, now + Duration::from_millis(500))).count(), 5);
        let mut free = with_rate(0, 3);
        assert!((0..5_000).all(|_| free.take(ip, now)));
        assert!(
            (0..5_000).all(|_| free.leave(ip, (&Name::ROOT, Rcode::NOERROR), || None, now) == Leave::Whole)
        );
    }
}
