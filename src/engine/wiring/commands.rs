//! Commands meet the rooms, and what the rooms answer finds its way back.

use std::net::SocketAddr;

use crate::base::{Id, InfoHash, Instant};
use crate::dht::{Event, Goal, User};
use crate::engine::Engine;
use crate::engine::io::{Answer, Command, CommandId, NotKept, Output, Round, Setting};
use crate::engine::wiring::download::Caller;
use crate::metadata::queue::{Added, Source};
use crate::metadata::{Filter, Why};
use crate::model::{Pending, PendingState, Torrent};

/// A command that has not come to its end.
pub(in crate::engine) struct Running {
    id: CommandId,
    kind: Kind,
    answered: u32,
    found: bool,
}

enum Kind {
    Ping,
    /// Lookups of as many families as are left.
    Lookup {
        goal: Goal,
        left: usize,
        estimate: Option<(f64, f64)>,
    },
    Fetch(InfoHash),
}

impl Engine {
    pub(in crate::engine) fn on_command(&mut self, command: Command, now: Instant) {
        if let Some(id) = command.runs()
            && self.running.len() >= RUNNING_MAX
        {
            // Before anything is begun of which answers would come.
            return self.answer(id, Answer::Done { found: false, answered: 0 });
        }
        match command {
            Command::Bootstrap(hosts) => self.dht.bootstrap(&hosts, now),
            Command::BootstrapHosts(hosts) => self.bootstrap_hosts(hosts),
            Command::Resolve(id, question) => self.resolve(id, question),
            Command::CacheSummary(id) => self.summarise_names(id),
            Command::Download(id, wish) => self.download(*wish, Caller::Command(id)),
            Command::Preconnect(id, wish) => self.preconnect(id, *wish),
            Command::PreconnectStatus(id) => self.warmth(id),
            Command::SetTargets(targets) => self.set_targets(targets),
            Command::SetNames(system) => self.set_names(*system),
            Command::Local(id, ask) => self.on_local_command(id, *ask),
            Command::SetZones(read) => {
                self.take_files(|engine, at| engine.names.dns.set_zones(at, *read));
            }
            Command::SetLists(lists) => {
                self.take_files(|engine, at| engine.names.dns.set_lists(at, lists));
            }
            Command::Reloaded => self.mark_reload(),
            Command::Ping(id, to) => {
                let sent = self.dht.ping(id.0, to);
                self.begin(id, Kind::Ping, sent);
            }
            Command::FindNode(id, target) => self.look_up(id, target, Goal::Nodes, now),
            Command::Peers(id, hash) => self.look_up(id, hash, Goal::Peers, now),
            Command::Announce(id, hash, port) => self.look_up(id, hash, Goal::Announce(port), now),
            Command::Scrape(id, hash) => self.look_up(id, hash, Goal::Scrape, now),
            Command::Fetch(id, hash, peers) => {
                let peers = self.contactable(&peers);
                self.begin(id, Kind::Fetch(hash), true);
                let added = self.queue.add(hash, Source::Command, None, &peers, (now, self.unix));
                self.on_added(added);
            }
            Command::SetRates(rates) => {
                if rates != self.config.rates {
                    self.tell_setting(Setting::Rates);
                }
                self.set_rates(rates, now);
            }
            Command::SetFilter(filter) => self.set_filter(filter),
            Command::Pause(paused) => {
                self.paused = paused;
                self.dht.set_sweep(self.config.sweep && !paused);
            }
            Command::Stop => self.stop(now),
        }
    }

    /// Events of the DHT that belong to a command.
    pub(in crate::engine) fn on_command_event(&mut self, event: Event) {
        match event {
            Event::Hop(user, node, common_bits, rtt) => {
                let rtt_us = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX);
                let hop = Answer::Hop { node: node.id, addr: node.addr, common_bits, rtt_us };
                self.answer(CommandId(user), hop);
                if let Some(running) = self.running(user) {
                    running.answered += 1;
                    if matches!(running.kind, Kind::Ping) {
                        running.found = true;
                        self.end(user);
                    }
                }
            }
            Event::NoAnswer(user) => self.end(user),
            Event::Refused(user, code, words) => {
                if let Some(running) = self.running(user) {
                    let is_ping = matches!(running.kind, Kind::Ping);
                    self.answer(CommandId(user), Answer::NodeError(code, words));
                    if is_ping {
                        self.end(user);
                    }
                }
            }
            Event::Peers(User::Command(user), _, peers) => self.on_peers(user, peers),
            Event::Accepted(user, addr) => {
                if let Some(running) = self.running(user) {
                    running.found = true;
                }
                self.answer(CommandId(user), Answer::Announced(addr));
            }
            Event::Done(User::Command(user), _, _, _, estimate) => self.on_lookup_done(user, estimate),
            _ => {}
        }
    }

    /// Ends the commands that wait for this torrent.
    pub(in crate::engine) fn answer_fetch(&mut self, hash: &InfoHash, end: Result<&Torrent, NotKept>) {
        for id in self.waiting_for(hash) {
            match &end {
                Ok(torrent) => self.answer(id, Answer::Torrent(Box::new((*torrent).clone()))),
                Err(why) => self.answer(id, Answer::NotKept(Box::new(why.clone()))),
            }
            if let Some(running) = self.running(id.0) {
                running.found = end.is_ok();
            }
            self.end(id.0);
        }
    }

    /// Tells the commands that wait for this hash that a round of asking brought nothing.
    pub(in crate::engine) fn answer_round(&mut self, row: &Pending) {
        let round = match row.state {
            PendingState::New => return,
            PendingState::NoPeers => Round::NoPeers,
            PendingState::PeersFailed => Round::PeersFailed,
        };
        self.waiting_for(&row.infohash).into_iter().for_each(|id| self.answer(id, Answer::Round(round)));
    }

    /// Tells the commands that wait for this hash that there is no DHT node to ask for its peers.
    pub(in crate::engine) fn answer_no_nodes(&mut self, hash: &InfoHash) {
        self.waiting_for(hash).into_iter().for_each(|id| self.answer(id, Answer::Round(Round::NoNodes)));
    }

    fn waiting_for(&self, hash: &InfoHash) -> Vec<CommandId> {
        let waits = |running: &&Running| matches!(&running.kind, Kind::Fetch(wanted) if wanted == hash);
        self.running.iter().filter(waits).map(|running| running.id).collect()
    }

    fn set_filter(&mut self, filter: Filter) {
        self.config.filter = filter;
        self.tell_setting(Setting::Filter);
        let wanted = |running: &Running| if let Kind::Fetch(hash) = running.kind { Some(hash) } else { None };
        let hashes = self.running.iter().filter_map(wanted);
        let refused: Vec<InfoHash> = hashes.filter(|hash| self.config.filter.refuses_hash(hash)).collect();
        for hash in refused {
            self.queue.remove(hash, self.now);
            self.close_others(hash);
            self.answer_fetch(&hash, Err(NotKept::Filtered(format!("hash {hash}"))));
        }
    }

    /// Tells the commands that wait for this torrent whom it may be had from.
    pub(in crate::engine) fn answer_peers(&mut self, hash: &InfoHash, peers: &[SocketAddr]) {
        for id in self.waiting_for(hash) {
            self.answer(id, Answer::Peers(peers.to_vec()));
        }
    }

    /// Tells the commands that wait for this torrent why one peer did not give it.
    pub(in crate::engine) fn answer_failure(&mut self, hash: &InfoHash, peer: SocketAddr, why: Why) {
        for id in self.waiting_for(hash) {
            self.answer(id, Answer::PeerFailed(peer, why));
        }
    }

    /// A hash that had to go from the queue to make room is as good as given up for its commands.
    pub(in crate::engine) fn on_added(&mut self, added: Added) {
        if let Added::Shed(lost) = added {
            self.answer_fetch(&lost, Err(NotKept::GivenUp));
        }
    }

    fn look_up(&mut self, id: CommandId, target: Id, goal: Goal, now: Instant) {
        let left = self.dht.look_up(target, goal, User::Command(id.0), &[], now);
        self.begin(id, Kind::Lookup { goal, left, estimate: None }, left > 0);
    }

    fn begin(&mut self, id: CommandId, kind: Kind, possible: bool) {
        if !possible {
            self.answer(id, Answer::Done { found: false, answered: 0 });
            return;
        }
        self.running.push(Running { id, kind, answered: 0, found: false });
    }

    fn on_peers(&mut self, user: u64, peers: Vec<SocketAddr>) {
        if let Some(running) = self.running(user) {
            let wanted = matches!(running.kind, Kind::Lookup { goal: Goal::Peers | Goal::Scrape, .. });
            running.found |= wanted && !peers.is_empty();
        }
        self.answer(CommandId(user), Answer::Peers(peers));
    }

    fn on_lookup_done(&mut self, user: u64, estimate: Option<(f64, f64)>) {
        let Some(running) = self.running(user) else { return };
        let Kind::Lookup { goal, left, estimate: best } = &mut running.kind else { return };
        *left -= 1;
        *best = best.or(estimate);
        if *left > 0 {
            return;
        }
        let estimate = *best;
        running.found |= match goal {
            Goal::Nodes => running.answered > 0,
            Goal::Scrape => estimate.is_some_and(|(seeds, peers)| seeds + peers >= 0.5),
            // Found when a peer was named, or when an announce was accepted.
            Goal::Announce(_) | Goal::Peers | Goal::PeersAt | Goal::PeersBriefly => false,
        };
        if let Some((seeds, peers)) = estimate {
            self.answer(CommandId(user), Answer::Scraped { seeds, peers });
        }
        self.end(user);
    }

    fn running(&mut self, user: u64) -> Option<&mut Running> {
        self.running.iter_mut().find(|running| running.id.0 == user)
    }

    fn end(&mut self, user: u64) {
        if let Some(at) = self.running.iter().position(|running| running.id.0 == user) {
            let running = self.running.swap_remove(at);
            self.answer(running.id, Answer::Done { found: running.found, answered: running.answered });
        }
    }

    fn answer(&mut self, id: CommandId, answer: Answer) {
        self.outbox.push_back(Output::Answer(id, answer));
    }
}

/// Commands under way at once.
const RUNNING_MAX: usize = 1_024;
