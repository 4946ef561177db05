//! A forwarder that is killed and comes back in the middle of a load of look-ups.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dht_hunter::dns::{ForwarderConfig, Strategy};
use dht_hunter::model::dns::Source;
use dht_hunter::wire::dns::Kind;

use crate::records;
use crate::servers::{self, Foreign};
use crate::session::{Session, Told, brief};

/// What was seen of all look-ups.
#[derive(Default)]
struct Load {
    sent: u32,
    answered: u32,
    failed: Vec<String>,
    longest: Duration,
    /// Answers by forwarder since the last look.
    by: BTreeMap<String, u32>,
    /// What was said of forwarders, in order.
    said: Vec<(String, bool)>,
    /// The longest that this thread was kept from its work: the machine's doing, not the resolver's.
    stalled: Duration,
}

impl Load {
    /// Look-ups of ever new names at a steady rate, until `is_over`.
    fn run(&mut self, session: &mut Session, at_least: Duration, mut is_over: impl FnMut(&Self) -> bool) {
        let begun = Instant::now();
        let mut next = begun;
        while begun.elapsed() < at_least || !is_over(self) {
            assert!(begun.elapsed() < PHASE_MAX, "waited in vain; {:?}", self.said);
            self.sent += 1;
            session.send(&format!("n{}.load.test", self.sent), Kind::A);
            next += PAUSE;
            self.take_until(session, next);
            self.stalled = self.stalled.max(next.elapsed());
        }
    }

    fn take_until(&mut self, session: &Session, until: Instant) {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match session.told(left) {
                Some(told) => self.take(told),
                None => return,
            }
        }
    }

    fn take(&mut self, told: Told) {
        match told {
            Told::Forwarder(name, up) => self.said.push((name, up)),
            Told::Resolved(_, resolved) => {
                self.longest = self.longest.max(resolved.elapsed);
                match &resolved.result {
                    Ok(given) if brief(&resolved) == "NOERROR 192.0.2.5" => {
                        self.answered += 1;
                        if let Source::Forwarder(name) = &given.source {
                            *self.by.entry(name.to_string()).or_default() += 1;
                        }
                    }
                    _ => self.failed.push(format!("{}: {}", resolved.name, brief(&resolved))),
                }
            }
        }
    }

    fn has_said(&self, up: bool) -> bool {
        self.said.contains(&("first".to_owned(), up))
    }
}

fn two_servers() -> Option<[Foreign; 2]> {
    let zones = records::zones();
    let zones: Vec<_> = zones.iter().map(|(name, text)| (*name, text.as_str())).collect();
    Some([servers::nsd(&zones)?, servers::nsd(&zones)?])
}

fn killed_and_restored(strategy: Strategy) {
    let Some([mut first, second]) = two_servers() else { return };
    let named = |server: &Foreign, name: &str| ForwarderConfig {
        name: name.into(),
        ..ForwarderConfig::plain(server.addr)
    };
    let forwarders = vec![named(&first, "first"), named(&second, "second")];
    let mut session = Session::start(forwarders, strategy);
    let mut load = Load::default();
    load.run(&mut session, Duration::from_secs(2), |_| true);
    assert!(load.by.contains_key("first"), "{strategy:?}: {:?}", load.by);
    first.kill();
    load.run(&mut session, Duration::from_secs(2), |load| load.has_said(false));
    load.by.clear();
    load.run(&mut session, Duration::from_secs(1), |_| true);
    assert!(!load.by.contains_key("first"), "{strategy:?}: {:?}", load.by);
    first.start_again();
    load.run(&mut session, Duration::from_secs(1), |load| load.has_said(true));
    load.by.clear();
    load.run(&mut session, Duration::from_secs(2), |load| load.by.contains_key("first"));
    let begun = Instant::now();
    while load.answered + (load.failed.len() as u32) < load.sent && begun.elapsed() < PHASE_MAX {
        load.take_until(&session, Instant::now() + PAUSE);
    }
    assert_eq!(load.failed, Vec::<String>::new(), "{strategy:?}");
    assert_eq!(load.answered, load.sent, "{strategy:?}: each ends once");
    assert!(load.sent >= 2_000, "{} look-ups", load.sent);
    let most = ONE_TIME_OUT + Duration::from_millis(100) + load.stalled * 3;
    assert!(
        load.longest <= most,
        "{strategy:?}: {:?} of at most {most:?}; {:?} stalled",
        load.longest,
        load.stalled
    );
    assert!(!load.said.iter().any(|(name, _)| name == "second") || load.stalled > STALL, "{:?}", load.said);
}

#[test]
fn strict_loses_no_look_up_while_a_forwarder_is_gone() {
    killed_and_restored(Strategy::Strict);
}

#[test]
fn parallel_loses_no_look_up_while_a_forwarder_is_gone() {
    killed_and_restored(Strategy::Parallel);
}

#[test]
fn fastest_loses_no_look_up_while_a_forwarder_is_gone() {
    killed_and_restored(Strategy::Fastest);
}

/// Between two look-ups: 400 a second.
const PAUSE: Duration = Duration::from_micros(2_500);
/// The longest for any change to be noticed: probes come within 4 s at that point.
const PHASE_MAX: Duration = Duration::from_secs(30);
/// What is waited for a server on loopback that answers within milliseconds. Before the first
/// answer it is 800 ms, but then nobody is gone.
const ONE_TIME_OUT: Duration = Duration::from_millis(250);
/// Long enough to make a server that is there look silent.
const STALL: Duration = Duration::from_millis(80);
