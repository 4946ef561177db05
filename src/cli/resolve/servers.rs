//! Whether there is anybody to ask: while no server answers, a file of names is not read on.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::Instant;
use crate::dns::ForwarderConfig;

/// The servers of a bulk run. Without any, none is ever down.
#[derive(Default)]
pub(super) struct Servers {
    all: Vec<(SocketAddr, String)>,
    down: BTreeSet<SocketAddr>,
    down_since: Option<Instant>,
}

impl Servers {
    pub(super) fn new(forwarders: &[ForwarderConfig]) -> Self {
        let all = forwarders.iter().map(|forwarder| (forwarder.addr, forwarder.name.to_string()));
        Self { all: all.collect(), ..Self::default() }
    }

    /// A name without an answer may be asked for again when one is back.
    pub(super) fn are_known(&self) -> bool {
        !self.all.is_empty()
    }

    /// A server stopped answering, or answers again.
    pub(super) fn on_change(&mut self, addr: SocketAddr, up: bool, now: Instant) {
        if up {
            self.down.remove(&addr);
        } else {
            self.down.insert(addr);
        }
        let all = self.are_known() && self.all.iter().all(|(addr, _)| self.down.contains(addr));
        self.down_since = all.then(|| self.down_since.unwrap_or(now));
    }

    /// No server answers.
    pub(super) fn are_down(&self) -> bool {
        self.down_since.is_some()
    }

    /// When that has lasted too long.
    pub(super) fn give_up_at(&self) -> Option<Instant> {
        self.down_since.map(|since| since + PATIENCE)
    }

    /// All of them, for people.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.all.iter().map(|(_, name)| name.as_str()).collect();
        names.join(", ")
    }
}

/// A resolver that is started anew is back within it. It is probed every second or few.
const PATIENCE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_down_when_all_of_them_are() {
        let addr = |host: u8| SocketAddr::from(([127, 0, 0, host], 53));
        let at = |secs: u64| Instant::from_millis(secs * 1_000);
        let mut servers = Servers::new(&[1, 2].map(|host| ForwarderConfig::plain(addr(host))));
        servers.on_change(addr(1), false, at(1));
        assert!(!servers.are_down() && servers.give_up_at().is_none());
        servers.on_change(addr(2), false, at(2));
        servers.on_change(addr(2), false, at(3));
        assert_eq!(servers.give_up_at(), Some(at(2) + PATIENCE));
        servers.on_change(addr(1), true, at(4));
        assert!(!servers.are_down());
        assert_eq!(servers.names(), "127.0.0.1:53, 127.0.0.2:53");
        let mut nobody = Servers::default();
        nobody.on_change(addr(1), false, at(1));
        assert!(!nobody.are_down() && !nobody.are_known());
    }
}
