//! Judges the engines from outside, by what crosses their boundary: packets as they leave and
//! reach a host, streams, operations for the archive, answers, counters.
//!
//! Every [`Rule`] is kept by books of its own, never by asking an engine what it thinks.

mod archive;
mod datagrams;
mod names;
mod streams;
mod windows;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::event::HostId;
use crate::base::{Id, InfoHash, Instant, NetGroup, UnixTime};
use crate::engine::Engine;
use crate::engine::config::{Config, Rates};
use crate::engine::io::{Answer, Command, CommandId, LinkId};
use crate::metadata::Filter;
use crate::model::Recovered;
pub(super) use names::Rules;
use windows::{Router, Window};

/// What must be true of every engine at all times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Streams and bytes: made minus ended is what is there.
    Accounts,
    /// Who must not be contacted.
    Address,
    /// A run without heavy faults gets something done.
    Alive,
    /// Commands and their answers.
    Answers,
    /// What was acknowledged, and what may be handed in.
    Archive,
    /// Equal questions about names.
    Coalesced,
    /// Deadlines.
    Deadline,
    /// The end.
    Drained,
    /// Replies that nobody waits for.
    Duplicate,
    /// What becomes of an infohash.
    Fate,
    /// The router's table.
    Flows,
    /// Whom questions about names go to, and how often.
    Forwarders,
    /// BEP 51's interval.
    Interval,
    /// What an engine finds wrong with itself.
    Invariant,
    /// How long a stream may stay as it is.
    Lifetime,
    /// The end of questions about names.
    LookUps,
    /// An engine may not panic.
    Panic,
    /// Every query ends, once.
    Queries,
    /// Rates over every window.
    Rates,
    /// Sockets besides the DHT's.
    Sockets,
    /// Write tokens.
    Token,
    /// What is answered about names.
    Truth,
    /// Ids and ports of questions about names.
    Unpredictable,
    /// Who stands in a routing table.
    Unverified,
    /// Whose word changes an id (BEP 42).
    Votes,
}

impl Rule {
    /// All of them.
    pub const ALL: [Self; 25] = [
        Self::Accounts,
        Self::Address,
        Self::Alive,
        Self::Answers,
        Self::Archive,
        Self::Coalesced,
        Self::Deadline,
        Self::Drained,
        Self::Duplicate,
        Self::Fate,
        Self::Flows,
        Self::Forwarders,
        Self::Interval,
        Self::Invariant,
        Self::Lifetime,
        Self::LookUps,
        Self::Panic,
        Self::Queries,
        Self::Rates,
        Self::Sockets,
        Self::Token,
        Self::Truth,
        Self::Unpredictable,
        Self::Unverified,
        Self::Votes,
    ];

    /// In one word, as it stands in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accounts => "accounts",
            Self::Address => "address",
            Self::Alive => "alive",
            Self::Answers => "answers",
            Self::Archive => "archive",
            Self::Coalesced => "coalesced",
            Self::Deadline => "deadline",
            Self::Drained => "drained",
            Self::Duplicate => "duplicate",
            Self::Fate => "fate",
            Self::Flows => "flows",
            Self::Forwarders => "forwarders",
            Self::Interval => "interval",
            Self::Invariant => "invariant",
            Self::Lifetime => "lifetime",
            Self::LookUps => "look-ups",
            Self::Panic => "panic",
            Self::Queries => "queries",
            Self::Rates => "rates",
            Self::Sockets => "sockets",
            Self::Token => "token",
            Self::Truth => "truth",
            Self::Unpredictable => "unpredictable",
            Self::Unverified => "unverified",
            Self::Votes => "votes",
        }
    }

    /// What a failure says.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Accounts => "streams and bytes made minus those ended must be those that are there",
            Self::Address => "an address that must never be contacted was contacted",
            Self::Alive => "a run without heavy faults must fill tables and store torrents",
            Self::Answers => "a command must be answered to its end, once",
            Self::Archive => "what the archive acknowledged must stay, count once, and not be fetched again",
            Self::Coalesced => "two equal questions were under way to one server",
            Self::Deadline => "a deadline must lie ahead, and an engine must come to rest",
            Self::Drained => "after the stop nothing may be left",
            Self::Duplicate => "a duplicated, late or foreign reply must change nothing",
            Self::Fate => "every discovered hash must end stored, filtered or waiting with a reason",
            Self::Flows => "no flow may be opened beyond the limit",
            Self::Forwarders => {
                "a question must go to a server that may be asked, no more often than it takes"
            }
            Self::Interval => "a node was sampled again before the interval that it stated",
            Self::Invariant => "an engine contradicts itself",
            Self::Lifetime => "a stream without progress must be closed in time",
            Self::LookUps => "a look-up must end once, in time, with an answer or a clear error",
            Self::Panic => "an engine panicked",
            Self::Queries => "every query must end once: by its reply, an error or its time-out",
            Self::Rates => "a limit must hold over every window",
            Self::Sockets => "sockets must be few, and closed in the end",
            Self::Token => "an announce must be accepted with a token of ours that is fresh, and only then",
            Self::Truth => "an answer must be true, or have been within its time",
            Self::Unpredictable => "ids and ports of questions must not be guessed from others",
            Self::Unverified => "a node was handed out that never answered from there under that id",
            Self::Votes => "an id was changed without the word of four networks",
        }
    }
}

/// The first thing that was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which rule was broken.
    pub rule: Rule,
    /// By whom, if it was one host.
    pub host: Option<HostId>,
    /// When.
    pub at: Instant,
    /// How.
    pub detail: String,
}

/// How often each rule had something to judge, in the order of [`Rule::ALL`].
pub type Checked = [u64; Rule::ALL.len()];

/// The judge and its books.
#[derive(Default)]
pub struct Oracle {
    books: Vec<Book>,
    failure: Option<Failure>,
    checked: Checked,
    rules: Rules,
}

/// The two times of a moment: the world's, and what the host's monotonic clock shows.
type Times = (Instant, Instant);

/// What is known of one host in its present life.
struct Book {
    rates: Rates,
    listen: IpAddr,
    ports_below_1024: bool,
    fetch: bool,
    passive: bool,
    filter: Filter,
    stopping: bool,
    /// Its wall clock jumped, so that saved times say little.
    jumped: bool,
    own: Option<Id>,
    drains: u64,
    wakes: (u32, u32),
    queries: datagrams::Queries,
    packets: Window,
    bytes: Window,
    answers: BTreeMap<IpAddr, Window>,
    router: Router,
    /// Flows of streams that others opened: they count, but cannot be refused any more.
    served: Router,
    verified: BTreeSet<(SocketAddr, Id)>,
    /// Nodes that are not to be sampled before this.
    wait: BTreeMap<SocketAddr, Instant>,
    /// Write tokens that were given out, to whom and for what, and when last.
    tokens: BTreeMap<(IpAddr, InfoHash), Vec<Given>>,
    /// The networks that have named an address as ours.
    votes: BTreeMap<IpAddr, BTreeSet<NetGroup>>,
    streams: BTreeMap<LinkId, streams::Book>,
    outgoing: usize,
    half_open: usize,
    tcp_in: u64,
    tcp_out: u64,
    /// Infohashes heard of, this life's and those that the disk had.
    heard: BTreeSet<InfoHash>,
    /// Infohashes that each network has named.
    named: BTreeMap<NetGroup, u32>,
    archive: archive::Book,
    commands: BTreeMap<u64, Told>,
    names: names::Book,
}

type Given = ([u8; 8], Instant);

/// A command that was given.
struct Told {
    at: Instant,
    /// Time alone brings it to its end.
    bounded: bool,
    done: bool,
}

impl Oracle {
    /// The first rule that was broken.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// How often each rule had something to judge.
    pub fn checked(&self) -> &Checked {
        &self.checked
    }

    /// Says that a rule is broken; only the first counts.
    pub(super) fn fail(&mut self, rule: Rule, host: HostId, at: Instant, detail: String) {
        self.fail_world(rule, Some(host), at, detail);
    }

    /// The same where no single host is at fault.
    pub(super) fn fail_world(&mut self, rule: Rule, host: Option<HostId>, at: Instant, detail: String) {
        if self.failure.is_none() {
            self.failure = Some(Failure { rule, host, at, detail });
        }
    }

    /// Something that must be true of all hosts together.
    pub(super) fn judge(&mut self, rule: Rule, now: Instant, holds: bool, detail: impl FnOnce() -> String) {
        self.note(rule);
        if !holds {
            self.fail_world(rule, None, now, detail());
        }
    }

    pub(super) fn started(
        &mut self,
        host: HostId,
        now: Instant,
        config: &Config,
        recovered: &Recovered,
        unix: UnixTime,
    ) {
        let old = self.books.get(host.index()).map(|old| &old.names);
        let mut book = Book::new(config, now, old);
        if let Some(old) = self.books.get_mut(host.index()) {
            book.jumped = old.jumped;
            book.archive = std::mem::take(&mut old.archive);
        }
        if let Some(detail) = book.archive.on_start(recovered) {
            self.fail(Rule::Archive, host, now, detail);
        }
        book.heard = recovered.known.iter().chain(&recovered.given_up).copied().collect();
        book.heard.extend(recovered.pending.iter().map(|row| row.infohash));
        if !book.jumped {
            for node in &recovered.nodes {
                let secs = node.sample_after.secs_since(unix).min(INTERVAL_MAX_SECS);
                let wait = std::time::Duration::from_secs(secs.saturating_sub(SECONDS_ROUNDED));
                book.wait.insert(node.addr, now + wait);
            }
        }
        self.note(Rule::Archive);
        match self.books.get_mut(host.index()) {
            Some(place) => *place = book,
            None => self.books.push(book),
        }
    }

    /// An engine that was started on a disk goes by this id.
    pub(super) fn named(&mut self, host: HostId, now: Instant, id: Id) {
        let book = &mut self.books[host.index()];
        let saved = book.archive.own_id();
        if saved.is_some_and(|saved| saved != id) {
            self.fail(Rule::Archive, host, now, format!("it goes by {id}, its disk says {saved:?}"));
        }
    }

    pub(super) fn died(&mut self, host: HostId) {
        let book = &mut self.books[host.index()];
        book.streams.clear();
        (book.outgoing, book.half_open) = (0, 0);
        book.names.died();
    }

    pub(super) fn jumped(&mut self, host: HostId) {
        self.books[host.index()].jumped = true;
    }

    pub(super) fn commanded(&mut self, host: HostId, (now, local): Times, command: &Command) {
        let book = &mut self.books[host.index()];
        // With too few flows or packets a lookup takes as long as it takes.
        let ample = book.rates.flows >= AMPLE_FLOWS && book.rates.packets_out >= AMPLE_PACKETS;
        let mut told = |id: CommandId, bounded: bool| {
            let bounded = bounded && ample;
            book.commands.insert(id.0, Told { at: now, bounded, done: false });
        };
        match command {
            Command::Ping(id, _)
            | Command::FindNode(id, _)
            | Command::Peers(id, _)
            | Command::Announce(id, ..)
            | Command::Scrape(id, _) => told(*id, true),
            Command::Local(id, _) | Command::Preconnect(id, _) => told(*id, false),
            Command::CacheSummary(id) | Command::Download(id, _) | Command::PreconnectStatus(id) => {
                told(*id, true);
            }
            Command::Resolve(id, question) => {
                told(*id, false);
                book.names.begin(id.0, question, (now, local));
            }
            Command::BootstrapHosts(hosts) => book.names.want_hosts(hosts, local),
            Command::SetNames(system) => book.names.set_system(system),
            Command::Fetch(id, hash, _) => {
                told(*id, false);
                book.archive.want(*hash);
            }
            Command::SetRates(rates) => {
                book.set_rates(*rates, now);
                book.commands.values_mut().for_each(|told| told.bounded = false);
            }
            Command::SetFilter(filter) => book.filter = filter.clone(),
            Command::Stop => book.stopping = true,
            Command::Bootstrap(_)
            | Command::SetZones(_)
            | Command::SetLists(_)
            | Command::Reloaded
            | Command::SetTargets(_)
            | Command::Pause(_) => {}
        }
    }

    pub(super) fn answered(&mut self, host: HostId, times: Times, id: CommandId, answer: &Answer) {
        let now = times.0;
        self.note(Rule::Answers);
        let Some(told) = self.books[host.index()].commands.get_mut(&id.0) else {
            return self.fail(
                Rule::Answers,
                host,
                now,
                format!("{answer:?} to {id:?}, which was never given"),
            );
        };
        if told.done {
            return self.fail(Rule::Answers, host, now, format!("{answer:?} to {id:?}, which was done"));
        }
        told.done = matches!(answer, Answer::Done { .. });
        self.looked_up(host, times, id, answer);
    }

    pub(super) fn woke(&mut self, host: HostId, now: Instant) {
        let book = &mut self.books[host.index()];
        let (second, wakes) = book.wakes;
        book.wakes = if second == now.secs() { (second, wakes + 1) } else { (now.secs(), 1) };
        if book.wakes.1 > WAKES_PER_SECOND_MAX {
            self.fail(Rule::Deadline, host, now, format!("it woke {wakes} times within a second"));
        }
    }

    /// A host has done everything that it wanted to do now.
    pub(super) fn drained(&mut self, host: HostId, times: Times, engine: &Engine, stopped: bool) {
        self.note(Rule::Deadline);
        let tallies = engine.tallies();
        self.check_streams(host, times, &tallies);
        self.check_queries(host, times, &tallies);
        self.check_archive(host, times.0, &tallies);
        let book = &mut self.books[host.index()];
        book.drains += 1;
        let drains = book.drains;
        if drains.is_multiple_of(LIFETIMES_EVERY) {
            self.check_lifetimes(host, times);
            self.check_commands(host, times.0);
            self.check_look_ups(host, times);
        }
        if stopped || drains.is_multiple_of(INVARIANTS_EVERY) {
            self.check_invariants(host, times.0, engine);
        }
    }

    /// Has the engine look at itself.
    pub(super) fn check_invariants(&mut self, host: HostId, now: Instant, engine: &Engine) {
        self.note(Rule::Invariant);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| engine.check_invariants())) {
            self.fail(Rule::Invariant, host, now, words_of(&*panic));
        }
    }

    fn check_commands(&mut self, host: HostId, now: Instant) {
        let book = &self.books[host.index()];
        let late = |told: &Told| told.bounded && !told.done && now.since(told.at) > COMMAND_MAX;
        let late = book.commands.iter().find(|(_, told)| late(told)).map(|(id, _)| *id);
        if let (Some(id), false) = (late, book.stopping) {
            self.fail(Rule::Answers, host, now, format!("command {id} has no end after {COMMAND_MAX:?}"));
        }
    }

    fn note(&mut self, rule: Rule) {
        self.checked[rule as usize] += 1;
    }
}

impl Book {
    fn new(config: &Config, now: Instant, names: Option<&names::Book>) -> Self {
        let rates = config.rates;
        Self {
            rates,
            listen: config.listen[0].ip(),
            ports_below_1024: config.ports_below_1024,
            fetch: config.fetch,
            passive: config.passive,
            filter: config.filter.clone(),
            stopping: false,
            jumped: false,
            own: None,
            drains: 0,
            wakes: (0, 0),
            queries: datagrams::Queries::default(),
            packets: Window::new(rates.packets_out, burst(rates.packets_out, 1), now),
            bytes: Window::new(rates.bytes_out, burst(rates.bytes_out, BYTES_BURST_MIN), now),
            answers: BTreeMap::new(),
            router: Router::new(rates.flows),
            served: Router::new(rates.flows),
            verified: BTreeSet::new(),
            wait: BTreeMap::new(),
            tokens: BTreeMap::new(),
            votes: BTreeMap::new(),
            streams: BTreeMap::new(),
            outgoing: 0,
            half_open: 0,
            tcp_in: 0,
            tcp_out: 0,
            heard: BTreeSet::new(),
            named: BTreeMap::new(),
            archive: archive::Book::default(),
            commands: BTreeMap::new(),
            names: names::Book::new(&config.dns, names),
        }
    }

    fn set_rates(&mut self, rates: Rates, now: Instant) {
        self.rates = rates;
        self.packets.set_rate(now, rates.packets_out, burst(rates.packets_out, 1));
        self.bytes.set_rate(now, rates.bytes_out, burst(rates.bytes_out, BYTES_BURST_MIN));
        self.router.set_cap(rates.flows);
        self.served.set_cap(rates.flows);
        // A larger burst is there at once for whoever has been quiet.
        self.answers.clear();
    }

    /// A hash was heard of from a node: of those that a network names the engine must care for a few,
    /// and for more only as far as they lead somewhere.
    fn hear_from(&mut self, from: SocketAddr, hash: InfoHash) {
        if !self.heard.contains(&hash) && self.owed(from) {
            self.hear(hash);
        }
    }

    /// Whether the next infohash that a network names must be cared for.
    fn owed(&mut self, from: SocketAddr) -> bool {
        let named = self.named.entry(NetGroup::of(from)).or_default();
        *named += 1;
        *named <= OWED
    }

    /// A hash was heard of in a way that obliges the engine to care.
    fn hear(&mut self, hash: InfoHash) {
        if self.fetch && !self.stopping && !self.filter.refuses_hash(&hash) {
            self.heard.insert(hash);
        }
    }
}

/// What a panic said.
pub(super) fn words_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic without words").to_owned()
}

/// A tenth of a second's worth may leave at once.
fn burst(rate: u64, least: u64) -> u64 {
    (rate / 10).max(least)
}

/// One full segment fits into the bucket at once.
const BYTES_BURST_MIN: u64 = 65_536;
/// A thousand turns a second come from deadlines alone, and some were late from the one before.
const WAKES_PER_SECOND_MAX: u32 = 1_010;
/// Half of what a source may have looked into before anything has come of it.
const OWED: u32 = 10;
/// BEP 51.
const INTERVAL_MAX_SECS: u64 = 21_600;
/// Saved times are whole seconds of two clocks.
const SECONDS_ROUNDED: u64 = 2;
/// A look at everything costs as much as a few dozen events.
const INVARIANTS_EVERY: u64 = 128;
const LIFETIMES_EVERY: u64 = 8;
/// More than a small network has nodes.
const AMPLE_FLOWS: usize = 500;
const AMPLE_PACKETS: u64 = 200;
/// A lookup asks at most 96 nodes, 4 at a time, each for at most 5 s, and then announces; half of
/// that again for a flow that is to become free.
const COMMAND_MAX: std::time::Duration = std::time::Duration::from_secs(240);
