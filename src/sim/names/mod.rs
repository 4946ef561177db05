//! Names in the world: what is true of them, and the servers that say so, well or badly.

mod manners;
mod servers;
mod streets;
mod truth;

pub(super) use manners::Manners;
pub(super) use servers::{Said, Servers};
pub(super) use truth::{Fact, Truth};

use std::net::{IpAddr, SocketAddr};

use crate::base::Rng;
use crate::dns::{self, ForwarderConfig, Hosts};
use crate::engine::io::NameQuestion;
use crate::wire::dns::{Kind, Name};

/// Where server `n` is.
pub(super) fn server(n: usize) -> SocketAddr {
    SocketAddr::from(([15, 0, n as u8, 53], if n == SECURE { 853 } else { 53 }))
}

/// Whom somebody asks, in what order.
pub(super) fn forwarders(rng: &mut Rng) -> Vec<ForwarderConfig> {
    let mut left: Vec<usize> = (0..SERVERS).collect();
    let picked = (0..1 + rng.index(FORWARDERS_MAX)).map(|_| left.swap_remove(rng.index(left.len())));
    let config = |n: usize| ForwarderConfig {
        tls: (n == SECURE).then(|| "names.test".into()),
        ..ForwarderConfig::plain(server(n))
    };
    picked.map(config).collect()
}

/// What a system may say to a running engine.
pub(super) fn system(rng: &mut Rng, own: IpAddr) -> dns::System {
    dns::System {
        forwarders: if rng.percent(NONE_PCT) { Vec::new() } else { forwarders(rng) },
        hosts: hosts(),
        search: search(rng),
        ndots: 1,
        local: vec![own],
        networks: Vec::new(),
    }
}

/// The one line of everybody's hosts file.
pub(super) fn hosts() -> Hosts {
    Hosts::parse(&format!("{} {MINE}", IpAddr::from(MINE_IS)))
}

/// Suffixes for short names.
pub(super) fn search(rng: &mut Rng) -> Vec<Name> {
    let all = ["sub.test", "test"].map(|suffix| Name::parse(suffix).expect("a name"));
    all[[0, 1, 2, 2][rng.index(4)]..].to_vec()
}

/// Something that somebody wants to know.
pub(super) fn question(rng: &mut Rng) -> NameQuestion {
    let kind = [Kind::A, Kind::AAAA, Kind::TXT, Kind::MX][rng.index(4)];
    match rng.below(16) {
        0..=4 => hot(rng),
        5..=7 => host(rng, "host", 40),
        8 => records(&format!("host{}.test", rng.below(40)), kind),
        9 => records(&format!("big{}.test", rng.below(4)), Kind::TXT),
        10 => host(rng, "gone", 20),
        11 => host(rng, "flicker", 6),
        12 => host(rng, "alias", 12),
        13 => records(&format!("alias{}.test", rng.below(12)), kind),
        14 => records(["ring0.test", "ring3.test", "long0.test", MINE][rng.index(4)], Kind::A),
        _ => host(rng, "absent", 1_000_000),
    }
}

/// A name that everybody wants.
pub(super) fn hot(rng: &mut Rng) -> NameQuestion {
    let n = rng.below(4);
    match rng.below(3) {
        0 => records(&format!("hot{n}.test"), Kind::A),
        _ => NameQuestion::Host(format!("hot{n}.test.")),
    }
}

fn host(rng: &mut Rng, word: &str, most: u64) -> NameQuestion {
    let n = rng.below(most);
    NameQuestion::Host(match rng.below(4) {
        0 => format!("{word}{n}.test"),
        1 => format!("{word}{n}"),
        _ => format!("{word}{n}.test."),
    })
}

fn records(name: &str, kind: Kind) -> NameQuestion {
    NameQuestion::Records(Box::new(Name::parse(name).expect("a name")), kind)
}

/// Servers in the world.
pub(super) const SERVERS: usize = 6;
/// The first so many never do anything wrong.
pub(super) const HONEST: usize = 2;
/// The one that is asked over TLS.
pub(super) const SECURE: usize = 3;
/// resolv.conf has three.
const FORWARDERS_MAX: usize = 3;
/// Settings without any server, in a hundred.
const NONE_PCT: u8 = 5;
/// What everybody's hosts file has.
pub(super) const MINE: &str = "mine.test";
pub(super) const MINE_IS: [u8; 4] = [20, 9, 9, 9];
/// First byte of the addresses that only forgers give.
pub(super) const FORGED: u8 = 66;
