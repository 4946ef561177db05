//! Host names: both families at once, search suffixes, and the addresses in the order to be tried.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::cache::Variant;
use super::keeper::Keeper;
use super::listener::Listener;
use super::local::Aliases;
use super::order;
use super::policy::Policy;
use super::resolver::Resolver;
use super::zones::Zones;
use super::{Event, Failure, Resolved, User};
use crate::base::{Cx, Instant, Slots, Token};
use crate::model::dns::Source;
use crate::wire::dns::{Kind, Name, Rcode, idn};

/// A host's addresses, or why there are none.
#[derive(Clone, Debug)]
pub struct Looked {
    /// The name as it was found: with its suffix.
    pub name: Name,
    /// In the order to be tried (RFC 6724), each with the seconds for which it holds; the first
    /// [`ADDRESSES_MAX`] of each family.
    pub addresses: Vec<(IpAddr, u32)>,
    /// How many addresses more there are.
    pub left_out: usize,
    /// Where they came from: of the first family that has some; `None` if there is no answer.
    pub source: Option<Source>,
    /// Why there are none, or none of one family.
    pub failure: Option<Failure>,
    /// There is such a name, if only with other records.
    pub exists: bool,
    /// How long it took.
    pub elapsed: Duration,
    /// Nothing more will come. Else one family's addresses are still looked up.
    pub complete: bool,
}

/// The room: a resolver, look-ups of hosts over it, local zones and policy.
pub struct Dns {
    /// Questions for single types.
    pub resolver: Resolver,
    /// What we are the authority for.
    pub zones: Zones,
    /// What is answered otherwise to whom.
    pub policy: Policy,
    /// Whom we answer, if anybody.
    pub listener: Option<Box<Listener>>,
    pub(super) keeper: Keeper,
    pub(super) aliases: Aliases,
    lookups: Slots<Lookup>,
    looked: VecDeque<(u64, Box<Looked>)>,
    /// This machine's addresses, by which those of others are sorted.
    pub local: Vec<IpAddr>,
}

struct Lookup {
    user: u64,
    /// Names still to be tried, after the first.
    names: VecDeque<Name>,
    v4: Option<Box<Resolved>>,
    v6: Option<Box<Resolved>>,
    began: Instant,
    /// A failure that was met on the way here.
    failure: Option<Failure>,
    exists: bool,
    /// The first family's addresses are told at once.
    early: bool,
}

impl Dns {
    /// Without any look-up yet.
    pub fn new(resolver: Resolver) -> Self {
        Self {
            resolver,
            zones: Zones::new(),
            policy: Policy::default(),
            listener: None,
            keeper: Keeper::default(),
            aliases: Aliases::default(),
            lookups: Slots::default(),
            looked: VecDeque::new(),
            local: Vec::new(),
        }
    }

    /// Wants the addresses of a host; `user` comes back with [`Dns::poll_looked`]. A name that ends
    /// with a dot is taken as it is, else search suffixes are tried as resolv.conf(5) says.
    pub fn look_up(&mut self, cx: &mut Cx<'_>, host: &str, user: u64) {
        self.begin(cx, host, user, false);
    }

    /// The same for whoever can begin with half of it: the addresses of the family that is known
    /// first come at once (RFC 8305, section 3), and then all.
    pub fn look_up_early(&mut self, cx: &mut Cx<'_>, host: &str, user: u64) {
        self.begin(cx, host, user, true);
    }

    fn begin(&mut self, cx: &mut Cx<'_>, host: &str, user: u64, early: bool) {
        let began = cx.now;
        let fail = |name, failure| Looked {
            name,
            addresses: Vec::new(),
            left_out: 0,
            source: None,
            failure: Some(failure),
            exists: false,
            elapsed: Duration::ZERO,
            complete: true,
        };
        if let Ok(ip) = host.parse::<IpAddr>() {
            let mut looked = fail(super::hosts::reverse(ip), Failure::Stopped);
            (looked.addresses, looked.failure, looked.exists) = (vec![(ip, u32::MAX)], None, true);
            looked.source = Some(Source::Literal);
            return self.looked.push_back((user, Box::new(looked)));
        }
        let Ok((first, names)) = self.resolver.candidates(host) else {
            return self.looked.push_back((user, Box::new(fail(Name::ROOT, Failure::BadName))));
        };
        if self.lookups.len() >= LOOKUPS_MAX {
            return self.looked.push_back((user, Box::new(fail(Name::ROOT, Failure::Overloaded))));
        }
        let lookup = Lookup { user, names, v4: None, v6: None, began, failure: None, exists: false, early };
        let token = self.lookups.insert(lookup);
        self.ask(cx, token, &first);
    }

    /// A look-up that has ended, and whose it is.
    pub fn poll_looked(&mut self) -> Option<(u64, Box<Looked>)> {
        self.looked.pop_front()
    }

    /// What else happened. Answers to questions of look-ups are taken in on the way.
    pub fn poll_event(&mut self, cx: &mut Cx<'_>) -> Option<Event> {
        loop {
            let ended = self.aliases.poll_event();
            let is_ended = ended.is_some();
            match ended.or_else(|| self.resolver.poll_event()) {
                // Where the aliases of an answer lead is looked at when it is written.
                Some(Event::Resolved(User::Client(token), resolved)) => {
                    self.on_client_resolved(token, resolved);
                }
                Some(Event::Resolved(User::Alias(token), resolved)) => self.on_target(cx, token, &resolved),
                Some(Event::Resolved(user, resolved)) => {
                    let home =
                        if is_ended { Some((user, resolved)) } else { self.come_home(cx, user, resolved) };
                    match home {
                        Some((User::Host(token), resolved)) => self.on_resolved(cx, token, resolved),
                        Some((user, resolved)) => return Some(Event::Resolved(user, resolved)),
                        None => {}
                    }
                }
                Some(event) => return Some(event),
                None => return self.listener.as_mut()?.poll_event(),
            }
        }
    }

    /// Look-ups under way.
    pub fn len(&self) -> usize {
        self.lookups.len()
    }

    /// True if none is under way.
    pub fn is_empty(&self) -> bool {
        self.lookups.len() == 0
    }

    fn ask(&mut self, cx: &mut Cx<'_>, token: Token, name: &Name) {
        for kind in [Kind::AAAA, Kind::A] {
            self.resolve(cx, (name, kind, Variant::default()), User::Host(token));
        }
    }

    fn on_resolved(&mut self, cx: &mut Cx<'_>, token: Token, resolved: Box<Resolved>) {
        let Some(lookup) = self.lookups.get_mut(token) else { return };
        if resolved.kind == Kind::A {
            lookup.v4 = Some(resolved);
        } else {
            lookup.v6 = Some(resolved);
        }
        let (Some(v4), Some(v6)) = (&lookup.v4, &lookup.v6) else { return self.tell_early(cx, token) };
        let both = [v6, v4];
        let name = v4.name.clone();
        let mut found = Vec::new();
        let mut left_out = addresses(v6, &mut found);
        let [first, second] = if found.is_empty() { [v4, v6] } else { both };
        left_out += addresses(v4, &mut found);
        let given = first.result.as_ref().or(second.result.as_ref()).ok();
        let source = given.map(|given| given.source.clone());
        let failed = both.iter().find_map(|resolved| resolved.result.as_ref().err().copied());
        lookup.failure = failed.or(lookup.failure);
        lookup.exists |= both.iter().any(|resolved| exists(resolved));
        // Who was not reached for one suffix must not decide that it is another's host.
        if found.is_empty()
            && !failed.is_some_and(is_no_answer)
            && let Some(next) = lookup.names.pop_front()
        {
            (lookup.v4, lookup.v6) = (None, None);
            return self.ask(cx, token, &next);
        }
        self.sort(&mut found);
        let Some(lookup) = self.lookups.remove(token) else { return };
        let looked = Looked {
            name,
            addresses: found,
            left_out,
            source,
            failure: lookup.failure,
            exists: lookup.exists,
            elapsed: cx.now.since(lookup.began),
            complete: true,
        };
        self.looked.push_back((lookup.user, Box::new(looked)));
    }

    /// Tells what one family has, if somebody can make use of it.
    fn tell_early(&mut self, cx: &Cx<'_>, token: Token) {
        let Some(lookup) = self.lookups.get(token).filter(|lookup| lookup.early) else { return };
        let Some(half) = lookup.v4.as_ref().or(lookup.v6.as_ref()) else { return };
        let (Ok(given), mut found) = (&half.result, Vec::new()) else { return };
        let left_out = addresses(half, &mut found);
        if found.is_empty() {
            return;
        }
        let (name, source, user) = (half.name.clone(), Some(given.source.clone()), lookup.user);
        let elapsed = cx.now.since(lookup.began);
        self.sort(&mut found);
        let (addresses, failure, exists) = (found, None, true);
        let looked = Looked { name, addresses, left_out, source, failure, exists, elapsed, complete: false };
        self.looked.push_back((user, Box::new(looked)));
    }

    fn sort(&self, found: &mut Vec<(IpAddr, u32)>) {
        if found.len() < 2 {
            return;
        }
        let mut known = BTreeSet::new();
        found.retain(|(ip, _)| known.insert(*ip));
        order::sort(found, &self.local);
    }
}

impl Resolver {
    /// The names that a host name may stand for, in the order in which they are tried: the first and
    /// the others.
    fn candidates(&self, host: &str) -> Result<(Name, VecDeque<Name>), ()> {
        let host = &*idn::to_ascii(host).map_err(|_| ())?;
        let name = Name::parse(host).map_err(|_| ())?;
        if host.ends_with('.') || self.config.search.is_empty() {
            return Ok((name, VecDeque::new()));
        }
        let with = |suffix: &Name| Name::parse(&format!("{host}.{suffix}")).ok();
        let mut names: VecDeque<Name> = self.config.search.iter().filter_map(with).collect();
        if name.labels() > usize::from(self.config.ndots) {
            return Ok((name, names));
        }
        names.push_back(name.clone());
        let first = names.pop_front().unwrap_or(name);
        Ok((first, names))
    }
}

/// Adds the addresses that an answer has, with the seconds for which they hold; how many more it has
/// than are of use.
fn addresses(resolved: &Resolved, to: &mut Vec<(IpAddr, u32)>) -> usize {
    let Ok(given) = &resolved.result else { return 0 };
    let read = |kind: Kind, data: &[u8]| match kind {
        Kind::A => Some(IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?))),
        Kind::AAAA => Some(IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?))),
        _ => None,
    };
    let found = given.answer.records().filter(|record| record.kind == resolved.kind);
    let mut found = found.filter_map(|record| Some((read(record.kind, record.data())?, given.ttl())));
    to.extend(found.by_ref().take(ADDRESSES_MAX));
    found.count()
}

/// Nobody has said anything of the name.
fn is_no_answer(failure: Failure) -> bool {
    use Failure::{NoForwarder, Overloaded, Stopped, Timeout, Unreachable};
    matches!(failure, NoForwarder | Overloaded | Stopped | Timeout | Unreachable)
}

fn exists(resolved: &Resolved) -> bool {
    resolved.result.as_ref().is_ok_and(|given| given.answer.rcode == Rcode::NOERROR)
}

/// Addresses of one family of a name that are put in order: a connection tries a few of them, and
/// sorting is work that the name's owner would choose.
pub const ADDRESSES_MAX: usize = 128;
/// Two questions each.
const LOOKUPS_MAX: usize = 16_384;
