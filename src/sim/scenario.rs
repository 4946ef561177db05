//! One run of many engines, drawn from its seed: who they are, what they hold, what happens to
//! them and when.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::event::HostId;
use super::faults::{Fault, Faults};
use super::link::{Link, Partition};
use super::manners::PeerManners;
use super::names::{self, Servers, Truth};
use super::nat::{Dependence, NatConfig, Overflow};
use super::oracle::{Oracle, Rules};
use super::pests::Pests;
use super::pipe::Pipe;
use super::world::{Kill, World};
use crate::base::{Id, Rng};
use crate::dns;
use crate::engine::config::{Config, Rates};
use crate::engine::io::{Command, CommandId};
use crate::metadata::Filter;

/// What decides a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scenario {
    /// All that is random.
    pub seed: u64,
    /// How many engines.
    pub engines: usize,
    /// For how long, before they are told to stop.
    pub time: Duration,
    /// What goes wrong.
    pub faults: Faults,
    /// Datagrams lost in every seed, in a hundred, whatever was drawn.
    pub loss_pct: u8,
}

/// A scenario at work.
pub(super) struct Stage {
    pub(super) world: World,
    pub(super) hosts: Vec<Role>,
    /// Whom everybody begins at.
    pub(super) doors: Vec<SocketAddr>,
    /// What happens when, the latest first.
    pub(super) plan: Vec<(Duration, Action)>,
}

/// Who somebody is.
pub(super) struct Role {
    pub(super) host: HostId,
    /// It fetches what it hears of.
    pub(super) crawls: bool,
    /// It keeps no forbidden torrents.
    pub(super) filters: bool,
    /// What it serves.
    pub(super) shares: Vec<Bytes>,
    /// Somebody from outside can reach it.
    pub(super) reachable: bool,
}

/// Something that happens to somebody.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Announce(usize),
    Command(usize, Command),
    DiskFull(usize, bool),
    Jump(usize, i64),
    Kill(usize, Kill),
    Part(Partition),
    Sleep(usize, Duration, bool),
    Start(usize),
}

impl Scenario {
    /// The scenario of a seed.
    pub fn drawn(seed: u64, engines: usize, time: Duration) -> Self {
        Self { seed, engines, time, faults: Faults::drawn(seed), loss_pct: 0 }
    }

    /// Puts everybody in their places.
    pub(super) fn stage(&self, mut oracle: Oracle) -> Stage {
        let mut rng = Rng::seeded(self.seed ^ ROLES);
        let mut world = World::new(self.seed, self.link());
        let calm = self.loss_pct == 0 && self.faults.leave_names_alone();
        oracle.set_names(Rules { truth: Truth::new(self.seed), calm });
        world.set_oracle(oracle);
        world.set_servers(Servers::new(self.seed, self.faults));
        let mut hosts = Vec::with_capacity(self.engines);
        let boxes = self.boxes(&mut world);
        for n in 0..self.engines {
            let mut role = self.add(&mut world, n, &boxes, &mut rng);
            // Some torrents are to be had from two or more.
            let another: Option<&Role> = hosts.iter().rev().find(|other: &&Role| !other.shares.is_empty());
            if let Some(info) = another.and_then(|other| other.shares.first()).cloned()
                && !role.shares.is_empty()
                && rng.percent(50)
            {
                world.engine_of(role.host).share(info.clone());
                role.shares.push(info);
            }
            hosts.push(role);
        }
        let mut doors: Vec<_> = (0..self.engines.min(DOORS)).map(public).collect();
        if self.faults.has(Fault::Pests) {
            let reachable = (0..self.engines).filter(|n| hosts[*n].reachable).map(public).collect();
            let pests = Pests::new(Fault::Pests.rng(self.seed), reachable);
            doors.extend(pests.doors());
            world.set_crowd(pests);
        }
        let plan = self.plan(&hosts, &doors, &mut rng);
        Stage { world, hosts, doors, plan }
    }

    fn link(&self) -> Link {
        let on = |fault: Fault| self.faults.has(fault).then(|| fault.rng(self.seed));
        let mut link = Link { loss_pct: self.loss_pct, ..Link::default() };
        let mut pipe = Pipe::default();
        if let Some(mut rng) = on(Fault::Loss) {
            link.loss_pct = link.loss_pct.max(1 + rng.below(25) as u8);
        }
        if let Some(mut rng) = on(Fault::Duplicates) {
            link.duplicate_pct = 1 + rng.below(30) as u8;
        }
        if let Some(mut rng) = on(Fault::Echoes) {
            link.echo_pct = 1 + rng.below(10) as u8;
        }
        if let Some(mut rng) = on(Fault::Late) {
            link.late_pct = 1 + rng.below(15) as u8;
            link.jitter = Duration::from_millis(50 + rng.below(500));
        }
        if let Some(mut rng) = on(Fault::Mtu) {
            link.mtu = [300, 400, 576][rng.index(3)];
        }
        if let Some(mut rng) = on(Fault::Stalls) {
            pipe.stall_permille = 1 + rng.below(200) as u16;
            pipe.stall_max = Duration::from_millis(500 + rng.below(20_000));
        }
        if let Some(mut rng) = on(Fault::Resets) {
            pipe.reset_permille = 10 + rng.below(300) as u16;
        }
        Link { pipe, ..link }
    }

    fn boxes(&self, world: &mut World) -> Vec<super::world::BoxId> {
        if !self.faults.has(Fault::Nat) {
            return Vec::new();
        }
        let mut rng = Fault::Nat.rng(self.seed);
        let kinds = [Dependence::Endpoint, Dependence::Address, Dependence::AddressAndPort];
        let boxes = (0..3 + rng.below(4) as u8).map(|n| {
            let overflow = if rng.percent(50) { Overflow::DropNew } else { Overflow::EvictOldest };
            world.add_box(NatConfig {
                outside: [14, 0, n, 1].into(),
                mapping: kinds[rng.index(3)],
                filtering: kinds[rng.index(3)],
                entries_max: [40, 200, 2_000][rng.index(3)],
                overflow,
                timeout: Duration::from_secs(30 + rng.below(150)),
            })
        });
        boxes.collect()
    }

    fn add(&self, world: &mut World, n: usize, boxes: &[super::world::BoxId], rng: &mut Rng) -> Role {
        let crawls = n % 5 < 3;
        let shares = (!crawls || n.is_multiple_of(SHARE_EVERY))
            .then(|| self.info(n, rng))
            .into_iter()
            .collect::<Vec<_>>();
        let inside = n >= DOORS && !boxes.is_empty() && rng.percent(40);
        let filters = rng.percent(30);
        let config = self.config(n, crawls, filters, rng);
        let (host, reachable) = if inside {
            let (id, addr) = (boxes[n % boxes.len()], SocketAddr::from(([192, 168, 1, n as u8], 6_881)));
            let host = world.add_behind(id, addr, config);
            if rng.percent(30) {
                world.box_of(id).forward(7_000 + n as u16, addr);
            }
            (host, false)
        } else {
            (world.add(public(n), config), true)
        };
        if self.faults.has(Fault::SlowDisk) {
            world.disk_of(host).commit =
                Duration::from_millis(200 + Fault::SlowDisk.rng(self.seed + n as u64).below(15_000));
        }
        for info in &shares {
            world.engine_of(host).share(info.clone());
        }
        if self.faults.has(Fault::Manners) {
            let manners = match Fault::Manners.rng(self.seed.wrapping_add(n as u64)).below(100) {
                0..30 => Some(PeerManners::OneHandshake),
                30..40 => Some(PeerManners::BareHandshake),
                _ => None,
            };
            if let Some(manners) = manners {
                world.set_manners(host, manners);
            }
        }
        Role { host, crawls, filters, shares, reachable }
    }

    fn config(&self, n: usize, crawls: bool, filters: bool, rng: &mut Rng) -> Config {
        let mut config = Config::new(Vec::new(), Rates::HOME);
        config.fetch = crawls;
        config.sweep = crawls || rng.percent(50);
        config.read_only = n >= DOORS && rng.percent(4);
        config.dns = self.names(n);
        if filters {
            config.filter = Filter::parse(&format!("word {FORBIDDEN}")).expect("this is a rule");
        }
        if self.faults.has(Fault::Limits) {
            config.rates = tight(&mut Fault::Limits.rng(self.seed.wrapping_add(n as u64)));
        }
        config
    }

    /// How host `n` asks for names.
    fn names(&self, n: usize) -> dns::Config {
        let mut rng = Rng::seeded((self.seed ^ NAMES).wrapping_add(n as u64));
        let strategies = [dns::Strategy::Strict, dns::Strategy::Parallel, dns::Strategy::Fastest];
        let cache = dns::cache::Config {
            ttl_max: [30, 3_600][rng.index(2)],
            stale_max: Duration::from_secs([0, 40, 300][rng.index(3)]),
            ..dns::cache::Config::DEFAULT
        };
        dns::Config {
            strategy: strategies[rng.index(3)],
            hosts: names::hosts(),
            search: names::search(&mut rng),
            cache,
            deadline: Duration::from_secs(3 + rng.below(8)),
            extras: rng.percent(80),
            ..dns::Config::new(names::forwarders(&mut rng))
        }
    }

    /// What is asked about names, by whom and when.
    fn plan_names(&self, plan: &mut Vec<(Duration, Action)>, hosts: usize) {
        let mut rng = Rng::seeded(self.seed ^ NAMES);
        let time = self.time.as_millis() as u64;
        let mut id = FIRST_LOOK_UP;
        let each = self.time.as_secs() / ASKS_EVERY.as_secs();
        for _ in 0..each * hosts as u64 {
            let (host, when) = (rng.index(hosts), Duration::from_millis(rng.below(time)));
            if rng.percent(SETTINGS_PCT) {
                let own = public(host).ip();
                let mut system = Box::new(names::system(&mut rng, own));
                // Who joins by name may lose its servers, but not all of them for good.
                if system.forwarders.is_empty() && host >= DOORS && host.is_multiple_of(BY_NAME) {
                    system.forwarders = names::forwarders(&mut rng);
                }
                plan.push((when, Action::Command(host, Command::SetNames(system))));
            }
            // Some things are wanted by many at once.
            let rush = rng.percent(RUSH_PCT);
            for _ in 0..if rush { RUSH } else { 1 } {
                let question = if rush { names::hot(&mut rng) } else { names::question(&mut rng) };
                id += 1;
                plan.push((when, Action::Command(host, Command::Resolve(CommandId(id), question))));
            }
        }
    }

    /// The info dictionary that host `n` shares.
    fn info(&self, n: usize, rng: &mut Rng) -> Bytes {
        let word = if rng.percent(20) { FORBIDDEN } else { "fine" };
        let name = format!("{word} torrent {n} of {}", self.seed);
        let most = [20, 1_000, 2_500][rng.index(3)];
        let mut pieces = vec![0; 20 * (1 + rng.index(most))];
        rng.fill(&mut pieces);
        let head = format!(
            "d6:lengthi1048576e4:name{}:{name}12:piece lengthi16384e6:pieces{}:",
            name.len(),
            pieces.len()
        );
        Bytes::from([head.as_bytes(), &pieces, b"e"].concat())
    }

    fn plan(&self, hosts: &[Role], doors: &[SocketAddr], rng: &mut Rng) -> Vec<(Duration, Action)> {
        let mut plan = Vec::new();
        let at = |share: u64, rng: &mut Rng, width: u64| {
            let time = self.time.as_millis() as u64;
            Duration::from_millis(time * share / 100 + rng.below(time * width / 100 + 1))
        };
        for (n, role) in hosts.iter().enumerate() {
            // Who comes late finds in the first samples what was announced before.
            let late = if role.crawls && role.shares.is_empty() && n >= DOORS { 40 } else { 1 };
            let by_name = n >= DOORS && n % BY_NAME == 0;
            let command = if by_name {
                let host = |n: usize| (format!("door{n}.test."), 6_881);
                Command::BootstrapHosts((0..self.engines.min(DOORS)).map(host).collect())
            } else {
                Command::Bootstrap(doors.to_vec())
            };
            plan.push((at(0, rng, late), Action::Command(n, command)));
            if !role.shares.is_empty() {
                plan.push((at(2, rng, 3), Action::Announce(n)));
                plan.push((at(40, rng, 10), Action::Announce(n)));
            }
        }
        for n in 0..COMMANDS {
            let host = rng.index(hosts.len());
            let random = Id::random(rng);
            let other = public(rng.index(self.engines));
            let id = CommandId(1_000 + n);
            let command = match rng.below(6) {
                0 => Command::Ping(id, other),
                1 => Command::FindNode(id, random),
                2 => Command::Peers(id, random),
                3 => Command::Scrape(id, random),
                4 => Command::Fetch(id, random, vec![other]),
                _ => Command::Pause(true),
            };
            let when = at(10, rng, 60);
            if matches!(command, Command::Pause(_)) {
                let later = when + at(1, rng, 10);
                plan.push((later, Action::Command(host, Command::Pause(false))));
            }
            plan.push((when, Action::Command(host, command)));
        }
        self.plan_faults(&mut plan, hosts.len());
        self.plan_names(&mut plan, hosts.len());
        plan.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        plan
    }

    fn plan_faults(&self, plan: &mut Vec<(Duration, Action)>, hosts: usize) {
        for fault in self.faults.iter() {
            let mut rng = fault.rng(self.seed);
            let time = self.time.as_millis() as u64;
            // Everything is over when the last tenth begins.
            let when = |rng: &mut Rng| Duration::from_millis(time / 20 + rng.below(time * 3 / 4));
            let lasts = |rng: &mut Rng| Duration::from_millis(1 + rng.below(time / 10));
            for _ in 0..1 + rng.index(TIMES_MAX) {
                let (host, from, long) = (rng.index(hosts), when(&mut rng), lasts(&mut rng));
                match fault {
                    Fault::Crash => {
                        let how = if rng.percent(50) { Kill::Process } else { Kill::Power };
                        plan.push((from, Action::Kill(host, how)));
                        plan.push((from + long, Action::Start(host)));
                    }
                    Fault::FullDisk => {
                        plan.push((from, Action::DiskFull(host, true)));
                        plan.push((from + long, Action::DiskFull(host, false)));
                    }
                    Fault::Limits => {
                        let rates = tight(&mut rng);
                        plan.push((from, Action::Command(host, Command::SetRates(rates))));
                    }
                    Fault::Partition => {
                        let groups = 2 + rng.index(3);
                        let zero = crate::base::Instant::from_millis(1_000);
                        let apart = rng.index(groups);
                        let (from, until) = (zero + from, zero + from + long);
                        let partition = Partition { from, until, apart, groups };
                        plan.push((from.since(zero), Action::Part(partition)));
                    }
                    Fault::Sleep => plan.push((from, Action::Sleep(host, long, rng.percent(50)))),
                    Fault::WallClock => {
                        let secs = [5, 3_600, 90_000][rng.index(3)] * if rng.percent(50) { 1 } else { -1 };
                        plan.push((from, Action::Jump(host, secs)));
                    }
                    _ => break,
                }
            }
        }
    }
}

impl Stage {
    /// Does what is planned until then.
    pub(super) fn act(&mut self, action: Action) {
        let world = &mut self.world;
        match action {
            Action::Announce(n) => {
                let Role { host, shares, .. } = &self.hosts[n];
                for (k, info) in shares.iter().enumerate() {
                    let hash = Id(crate::base::hash::sha1(info));
                    let id = CommandId(world.now().0 << 8 | k as u64);
                    world.command(*host, Command::Announce(id, hash, 0));
                }
            }
            Action::Command(n, command) => world.command(self.hosts[n].host, command),
            Action::DiskFull(n, full) => world.disk_of(self.hosts[n].host).full = full,
            Action::Jump(n, secs) => world.jump(self.hosts[n].host, secs),
            Action::Kill(n, how) => world.kill(self.hosts[n].host, how),
            Action::Part(partition) => world.part(partition),
            Action::Sleep(n, time, suspend) => world.sleep(self.hosts[n].host, time, suspend),
            Action::Start(n) => {
                let Role { host, shares, .. } = &self.hosts[n];
                if world.is_down(*host) {
                    world.start(*host);
                    world.command(*host, Command::Bootstrap(self.doors.clone()));
                    for info in shares {
                        world.engine_of(*host).share(info.clone());
                    }
                }
            }
        }
    }
}

/// True if those who filter do not want this torrent.
pub(super) fn is_forbidden(info: &[u8]) -> bool {
    info.windows(FORBIDDEN.len()).any(|part| part == FORBIDDEN.as_bytes())
}

/// Limits that bind with a few dozen nodes.
fn tight(rng: &mut Rng) -> Rates {
    Rates {
        packets_out: 4 + rng.below(60),
        bytes_out: 500 + rng.below(20_000),
        bytes_in: 2_000 + rng.below(50_000),
        flows: 10 + rng.index(80),
        half_open: 1 + rng.index(4),
        fetches: 1 + rng.index(8),
        answers_per_address: 1 + rng.below(5) as u32,
        answers_burst: 1 + rng.below(10) as u32,
    }
}

/// Where host `n` is, if it is not behind a box.
fn public(n: usize) -> SocketAddr {
    SocketAddr::from(([11, (n / 250) as u8, (n % 250) as u8, 1], 6_881))
}

/// Hosts by which the others join.
const DOORS: usize = 3;
/// What the names have that some do not want.
const FORBIDDEN: &str = "forbidden";
/// One crawler in so many shares a torrent too.
const SHARE_EVERY: usize = 10;
const COMMANDS: u64 = 12;
/// One in so many joins by names.
const BY_NAME: usize = 5;
/// How often somebody asks for a name.
const ASKS_EVERY: Duration = Duration::from_secs(20);
/// Times at which the system's settings change, in a hundred.
const SETTINGS_PCT: u8 = 4;
/// Times at which many ask for the same, in a hundred, and how many.
const RUSH_PCT: u8 = 20;
const RUSH: u64 = 5;
/// Ids of look-ups, above those of all other commands.
const FIRST_LOOK_UP: u64 = 1 << 60;
const NAMES: u64 = 0x00a_3e5;
/// A fault happens at most so many times.
const TIMES_MAX: usize = 12;
const ROLES: u64 = 0x0005_ca1e;
