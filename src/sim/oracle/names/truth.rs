//! Whether an answer is the truth: of now, or of a time that its TTL and the stale bound allow.

use std::net::IpAddr;
use std::time::Duration;

use super::{LookUp, Wanted};
use crate::base::Instant;
use crate::dns::{Failure, Given, Looked, Resolved};
use crate::engine::io::Answer;
use crate::model::dns::Source;
use crate::sim::event::HostId;
use crate::sim::names::{Fact, MINE, MINE_IS, Truth};
use crate::sim::oracle::{Oracle, Rule, Times};
use crate::wire::dns::{Kind, Message, Name, Rcode, Section, expand};

/// What an answer says, taken apart.
struct Read {
    /// Where its aliases lead.
    at: Name,
    fact: Fact,
}

/// How far back an answer may reach.
#[derive(Clone, Copy)]
struct Reach {
    now: Instant,
    /// What is on its way, and what slept.
    slack: Duration,
    stale: Option<Duration>,
    ttl_max: u32,
    /// Clocks have jumped: it was true at some time.
    any: bool,
    /// How long after its end what expired may be given.
    stale_max: Duration,
    /// There is an answer, and it is at hand.
    certain: bool,
    /// It is at hand before what expired is given in its stead (RFC 8767, section 5).
    in_time: bool,
}

impl Oracle {
    pub(super) fn judge_look_up(
        &mut self,
        host: HostId,
        (now, local): Times,
        look_up: &LookUp,
        answer: &Answer,
    ) {
        self.note(Rule::Truth);
        let (rules, book) = (self.rules, &self.books[host.index()]);
        let slept = book.names.slept;
        let late = book.names.is_late(look_up, now);
        let certain = rules.calm && !book.stopping && look_up.honest;
        let reach = Reach {
            now,
            slack: SLACK + slept,
            stale: None,
            ttl_max: book.names.ttl_max,
            any: book.jumped,
            stale_max: book.names.stale_max,
            certain,
            in_time: certain && quick(look_up) < STALE_AFTER,
        };
        let stopping = book.stopping;
        let spent = local.since(look_up.at);
        let wrong = if late {
            return self.fail(Rule::LookUps, host, now, format!("{look_up:?} took {spent:?}"));
        } else {
            match answer {
                Answer::Records(resolved) => match &look_up.wanted {
                    Wanted::Records(name, kind) if (&resolved.name, resolved.kind) == (&**name, *kind) => {
                        judge_records(&rules.truth, resolved, reach)
                    }
                    _ => Err(format!("{resolved:?} answers another question")),
                },
                Answer::Looked(looked) => match &look_up.wanted {
                    Wanted::Host(names) => {
                        // One family may have been known at once, and have waited for the other.
                        let reach = Reach { slack: reach.slack + spent, ..reach };
                        judge_host(&rules.truth, looked, names, reach)
                    }
                    Wanted::Records(..) => Err(format!("{looked:?} answers another question")),
                },
                _ => Ok(()),
            }
        };
        let failure = match answer {
            Answer::Records(resolved) => resolved.result.as_ref().err().copied(),
            Answer::Looked(looked) => looked.failure,
            _ => None,
        };
        let unclear = failure.filter(|failure| match failure {
            Failure::BadName | Failure::Overloaded => true,
            Failure::Stopped => !stopping,
            Failure::NoForwarder => !self.books[host.index()].names.had_none,
            _ => false,
        });
        if let Err(detail) = wrong {
            self.fail(Rule::Truth, host, now, format!("{look_up:?}: {detail}"));
        } else if let Some(failure) = unclear {
            self.fail(Rule::LookUps, host, now, format!("{look_up:?} failed for {failure:?}"));
        } else if certain && !look_up.is_endless() && spent > quick(look_up) {
            // Where aliases lead nowhere, whoever has not said so yet is waited for.
            let detail = format!("{look_up:?} took {spent:?}, though a good server was there");
            self.fail(Rule::Forwarders, host, now, detail);
        }
    }
}

impl LookUp {
    /// The aliases of a name that it may come to lead nowhere.
    fn is_endless(&self) -> bool {
        match &self.wanted {
            Wanted::Host(names) => names.iter().any(Truth::is_endless),
            Wanted::Records(name, _) => Truth::is_endless(name),
        }
    }
}

/// What a look-up takes at most if one of its servers is good and nothing is lost: one time-out for
/// each that may be dead and each question that follows from another, and round trips.
fn quick(look_up: &LookUp) -> Duration {
    let names = match &look_up.wanted {
        Wanted::Host(names) => names.len(),
        Wanted::Records(..) => 1,
    };
    let aliased = match &look_up.wanted {
        Wanted::Host(names) => names.iter().any(is_alias),
        Wanted::Records(name, _) => is_alias(name),
    };
    // What is cut is asked for over TCP, where the server may be gone by then.
    let cut = matches!(&look_up.wanted, Wanted::Records(_, Kind::TXT));
    let questions = names as u32 * if aliased { LINKS } else { 1 };
    (look_up.doubtful[usize::from(cut)] + TRIPS) * questions
}

fn is_alias(name: &Name) -> bool {
    matches!(Truth::default().fact(name, Kind::A, 0), Fact::Alias(_))
}

fn judge_records(truth: &Truth, resolved: &Resolved, reach: Reach) -> Result<(), String> {
    let given = match &resolved.result {
        Ok(given) => given,
        // Its tries may come to an end before its aliases are seen to have none.
        Err(_) if Truth::is_endless(&resolved.name) => return Ok(()),
        Err(Failure::Chain) => return Err("its aliases lead somewhere".to_owned()),
        Err(failure) if reach.certain => return Err(format!("{failure:?}, though a good server was there")),
        Err(_) => return Ok(()),
    };
    if given.source == Source::Stale && reach.in_time {
        return Err("what expired was given, though a good server was there".to_owned());
    }
    let read = read(truth, given, &resolved.name, resolved.kind)?;
    if given.source == Source::Hosts {
        let mine = Fact::Records(vec![MINE_IS.to_vec()]);
        let is_mine = resolved.name == Name::parse(MINE).expect("a name");
        let right = if resolved.kind == Kind::A { mine } else { Fact::NoData };
        return if is_mine && read.fact == right { Ok(()) } else { Err("no hosts file says so".to_owned()) };
    }
    let is_stale = given.source == Source::Stale;
    let reach = Reach { stale: is_stale.then_some(reach.stale_max), ..reach };
    let holds_until = reach.holds(truth, &read.at, resolved.kind, &read.fact)?;
    let expires = reach.now + Duration::from_secs(u64::from(given.ttl()));
    if !is_stale && !reach.any && expires > holds_until {
        let late = expires.since(holds_until);
        return Err(format!("it is said to hold {late:?} longer than it can: {given:?}"));
    }
    Ok(())
}

/// Takes an answer apart: aliases that are true, then one set of records, and nothing else.
fn read(truth: &Truth, given: &Given, name: &Name, kind: Kind) -> Result<Read, String> {
    let mut copy = vec![0; given.answer.message().len()];
    given.copy_to(&mut copy).ok_or("it does not fit into its own length")?;
    let message = Message::parse(&copy).map_err(|fault| format!("{fault:?}"))?;
    let same = message.question.is_some_and(|asked| asked.name == name.wire() && asked.kind == kind);
    if !same {
        return Err("another question stands in it".to_owned());
    }
    let (mut at, mut records) = (name.clone(), Vec::new());
    for record in message.records() {
        let record = record.map_err(|fault| format!("{fault:?}"))?;
        if record.section != Section::Answer {
            continue;
        }
        let owner = record.owner.read().map_err(|fault| format!("{fault:?}"))?;
        let mut data = Vec::new();
        expand(&record, &mut data).map_err(|fault| format!("{fault:?}"))?;
        if owner != at {
            return Err(format!("a record of {owner} stands in it"));
        } else if record.kind == Kind::CNAME && kind != Kind::CNAME {
            let target = Name::from_wire(&data).ok_or("an alias without a name")?;
            if truth.fact(&at, kind, 0) != Fact::Alias(Box::new(target.clone())) {
                return Err(format!("{at} is no alias of {target}"));
            }
            at = target;
        } else if record.kind == kind {
            records.push(data);
        } else {
            return Err(format!("a record of type {} stands in it", record.kind));
        }
    }
    records.sort();
    records.dedup();
    let fact = match given.answer.rcode {
        _ if !records.is_empty() => Fact::Records(records),
        Rcode::NXDOMAIN => Fact::NoName,
        _ => Fact::NoData,
    };
    Ok(Read { at, fact })
}

impl Reach {
    /// Until when this may be held for true, if it was within reach at all.
    fn holds(self, truth: &Truth, name: &Name, kind: Kind, fact: &Fact) -> Result<Instant, String> {
        let ttl = Duration::from_secs(u64::from(truth.ttl(name).min(self.ttl_max)));
        let back = ttl + self.slack + self.stale.unwrap_or_default();
        let from = if self.any { Instant(0) } else { self.now - back };
        let versions = truth.versions(name, from, self.now);
        let same = |version: &u64| truth.fact(name, kind, *version) == *fact;
        match versions.rev().find(same) {
            Some(version) => Ok(truth.end(name, version) + ttl + self.slack),
            None => Err(format!("{fact:?} is not true of {name} {kind} within {back:?}")),
        }
    }
}

fn judge_host(truth: &Truth, looked: &Looked, names: &[Name], reach: Reach) -> Result<(), String> {
    let endless = names.iter().any(Truth::is_endless);
    let is_late = looked.source == Some(Source::Stale) && reach.in_time;
    if !endless && (reach.certain && looked.failure.is_some() || is_late) {
        return Err(format!("{looked:?}, though a good server was there"));
    }
    if !names.contains(&looked.name) {
        return Err(format!("{} is none of its names", looked.name));
    }
    // What is not there may be remembered past its time without being marked.
    let old = Reach { stale: (!reach.in_time).then_some(reach.stale_max), ..reach };
    for kind in [Kind::A, Kind::AAAA] {
        let of_kind = looked.addresses.iter().filter(|(ip, _)| ip.is_ipv4() == (kind == Kind::A));
        let (mut found, ttls): (Vec<_>, Vec<_>) = of_kind.map(|(ip, ttl)| (octets(*ip), *ttl)).unzip();
        found.sort();
        let at = target(truth, &looked.name, kind);
        if !found.is_empty() {
            let marked = ttls.iter().all(|ttl| *ttl == STALE_TTL);
            let reach = if marked { old } else { reach };
            let holds_until = reach.holds(truth, &at, kind, &Fact::Records(found))?;
            let ttl = u64::from(ttls.into_iter().max().unwrap_or(0));
            if !marked && !reach.any && reach.now + Duration::from_secs(ttl) > holds_until {
                return Err(format!("{ttl} s are longer than it can hold"));
            }
        } else if looked.failure.is_none() {
            let nothing = [Fact::NoData, Fact::NoName];
            let holds = |fact: &Fact| old.holds(truth, &at, kind, fact).is_ok();
            if !nothing.iter().any(holds) {
                return Err(format!("{} has records of type {kind}", looked.name));
            }
        }
    }
    Ok(())
}

/// Where the aliases of a name lead.
fn target(truth: &Truth, name: &Name, kind: Kind) -> Name {
    let mut at = name.clone();
    for _ in 0..super::ALIASES_MAX {
        match truth.fact(&at, kind, 0) {
            Fact::Alias(target) => at = *target,
            _ => break,
        }
    }
    at
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// The longest look-up waits so long for an answer that left just before; clocks count seconds.
const SLACK: Duration = Duration::from_secs(12);
/// RFC 8767, section 5.
const STALE_AFTER: Duration = Duration::from_millis(1_800);
/// RFC 8767, section 4.
const STALE_TTL: u32 = 30;
/// A server that does not know EDNS, a cut answer, a connection, a handshake.
const TRIPS: Duration = Duration::from_millis(600);
/// Names that an alias leads over, itself included.
const LINKS: u32 = 3;
