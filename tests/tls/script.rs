//! A reactor over real sockets with a script in the engine's place.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use dht_hunter::base::{Instant, SendQueue, Token, UnixTime};
use dht_hunter::engine::io::{AcceptorId, Command, Input, LinkId, Output, Reason, Why};
use dht_hunter::model::{StoreOp, StoreResult, TlsCause, TlsFacts, TlsFailure, TlsWish};
use dht_hunter::reactor::{
    Archive, Clock, Drive, Exit, Gauges, Handle, Listen, Reactor, ReactorConfig, Roots, listen,
};

/// What was told of one link.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    Opened,
    Secured(Box<TlsFacts>),
    Ticket,
    Insecure(Box<TlsFailure>),
    /// Everything received since the last other thing.
    Received(Vec<u8>),
    Eof,
    Closed(Reason),
}

/// What to do with one link.
#[derive(Clone, Debug)]
pub struct Plan {
    pub to: SocketAddr,
    pub server: &'static str,
    pub alpn: &'static [&'static str],
    /// Said once it is secured.
    pub say: Bytes,
    /// Closed after so many bytes, which is an end as good as theirs.
    pub enough: usize,
    /// So many tickets are waited for, besides.
    pub tickets: usize,
}

impl Plan {
    /// A handshake and nothing else.
    pub fn greet(to: SocketAddr, server: &'static str) -> Self {
        Self { to, server, alpn: &[], say: Bytes::new(), enough: 0, tickets: 0 }
    }
}

/// One link's plan and what came of it.
pub struct Course {
    plan: Plan,
    pub seen: Vec<Seen>,
    got: usize,
    over: bool,
}

#[derive(Default)]
pub struct Script {
    outputs: VecDeque<Output>,
    courses: BTreeMap<LinkId, Course>,
    queues: BTreeMap<LinkId, SendQueue>,
    made: u64,
    give_up: Option<Instant>,
    limit: Duration,
    /// What is over stays open.
    pub keeps: bool,
    /// At most so many bytes are read at a time, and every third look nothing.
    pub slow: Option<usize>,
    looks: usize,
}

pub struct Nothing;

impl Archive for Nothing {
    fn submit(&mut self, _: StoreOp) -> Result<(), StoreOp> {
        Ok(())
    }

    fn poll(&mut self) -> Option<StoreResult> {
        None
    }
}

pub struct Rig {
    pub reactor: Reactor<Script, Nothing>,
    handle: Handle,
}

impl Rig {
    /// Trusts whoever is in `pem`.
    pub fn new(pem: Vec<u8>) -> Self {
        let addr = "127.0.0.1:0".parse().unwrap();
        let listen_at = vec![Listen { addr, explicit: true }];
        let roots = Roots::Pem(pem);
        let config = ReactorConfig { listen: listen_at, roots, ..ReactorConfig::default() };
        let listening = listen(&config, Clock::start()).unwrap();
        let handle = listening.handle();
        Self { reactor: Reactor::new(listening, Script::default(), Nothing, ()), handle }
    }

    /// Follows all plans at once until each is over, or for `limit`.
    pub fn follow(&mut self, plans: &[Plan], limit: Duration) -> Vec<Course> {
        let script = self.reactor.engine();
        let links: Vec<_> = plans.iter().map(|plan| script.begin(plan.clone())).collect();
        // Ends its sleep.
        self.handle.send(Command::Pause(true)).unwrap();
        let script = self.reactor.engine();
        (script.give_up, script.limit) = (None, limit);
        assert_eq!(self.reactor.run(), Exit::Stopped);
        let script = self.reactor.engine();
        links.iter().map(|link| script.courses.remove(link).unwrap()).collect()
    }

    /// One plan, which must come to its end.
    pub fn one(&mut self, plan: Plan) -> Vec<Seen> {
        let course = self.follow(&[plan], LIMIT).remove(0);
        assert!(course.over, "{:?}", course.seen);
        course.seen
    }

    pub fn gauges(&self) -> Gauges {
        self.reactor.gauges()
    }
}

/// The facts of a handshake that went well.
pub fn facts(seen: &[Seen]) -> &TlsFacts {
    match seen {
        [Seen::Opened, Seen::Secured(facts), ..] => facts,
        other => panic!("{other:?}"),
    }
}

/// The failure of one that did not.
pub fn failure(seen: &[Seen]) -> &TlsFailure {
    match seen {
        [Seen::Opened, Seen::Insecure(failure)] => failure,
        other => panic!("{other:?}"),
    }
}

pub fn cause(seen: &[Seen]) -> TlsCause {
    failure(seen).cause
}

impl Script {
    fn begin(&mut self, plan: Plan) -> LinkId {
        self.made += 1;
        // An index may be taken again once its link is gone; here none ever is.
        let link = LinkId(Token::unpack(3 << 32 | self.made));
        let alpn = plan.alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        let tls = Some(Box::new(TlsWish { server: plan.server.to_owned(), alpn }));
        self.outputs.push_back(Output::Connect { link, from: None, to: plan.to, tls });
        self.courses.insert(link, Course { plan, seen: Vec::new(), got: 0, over: false });
        link
    }

    fn note(&mut self, link: LinkId, seen: Seen) {
        let Some(course) = self.courses.get_mut(&link) else { return };
        assert!(!course.over || self.keeps, "{seen:?} follows the end of {:?}", course.seen);
        match (course.seen.last_mut(), seen) {
            (Some(Seen::Received(all)), Seen::Received(more)) => all.extend(more),
            (_, seen) => course.seen.push(seen),
        }
        let ended = matches!(course.seen.last(), Some(Seen::Insecure(_) | Seen::Closed(_)));
        let secured = course.seen.iter().any(|seen| matches!(seen, Seen::Secured(_)));
        let tickets = course.seen.iter().filter(|seen| **seen == Seen::Ticket).count();
        let eof = course.seen.contains(&Seen::Eof);
        let content = secured && course.got >= course.plan.enough && tickets >= course.plan.tickets;
        if !course.over && (ended || eof || content) {
            course.over = true;
            if !ended && !self.keeps {
                self.outputs.push_back(Output::Close(link));
            }
        }
    }
}

impl Drive for Script {
    fn handle(&mut self, _: Instant, _: UnixTime, input: Input<'_>, _: &mut [u8]) -> usize {
        match input {
            Input::Opened(link) => self.note(link, Seen::Opened),
            Input::Secured(link, facts) => {
                let say = self.courses[&link].plan.say.clone();
                let mut queue = SendQueue::new(1 << 24);
                queue.push(say).unwrap();
                self.queues.insert(link, queue);
                self.outputs.push_back(Output::Write(link));
                self.note(link, Seen::Secured(facts));
            }
            Input::Ticket(link) => self.note(link, Seen::Ticket),
            Input::Insecure(link, failure) => self.note(link, Seen::Insecure(failure)),
            Input::Received(link, data) => {
                assert!(!data.is_empty() && self.slow.is_none_or(|most| data.len() <= most));
                if let Some(course) = self.courses.get_mut(&link) {
                    course.got += data.len();
                }
                self.note(link, Seen::Received(data.to_vec()));
            }
            Input::Eof(link) => self.note(link, Seen::Eof),
            Input::Closed(link, reason) => self.note(link, Seen::Closed(reason)),
            _ => {}
        }
        0
    }

    fn poll(&mut self, now: Instant, _: UnixTime, _: &mut [u8]) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let give_up = *self.give_up.get_or_insert(now + self.limit);
        let waits = self.courses.values().any(|course| !course.over);
        if waits && now < give_up { Output::Idle(Some((give_up, Why::Link))) } else { Output::Stopped }
    }

    fn admit(&mut self, _: Instant, _: AcceptorId, _: SocketAddr) -> Option<LinkId> {
        None
    }

    fn send_queue(&self, link: LinkId) -> Option<&SendQueue> {
        self.queues.get(&link)
    }

    fn write_allowance(&mut self, _: Instant, link: LinkId) -> usize {
        self.queues.get(&link).map_or(0, |queue| queue.len())
    }

    fn wrote(&mut self, _: Instant, link: LinkId, count: usize) {
        self.queues.get_mut(&link).unwrap().advance(count);
    }

    fn wants_read(&self, _: LinkId) -> bool {
        true
    }

    fn read_allowance(&mut self, _: Instant, _: LinkId, wanted: usize) -> usize {
        self.looks += 1;
        match self.slow {
            Some(_) if self.looks.is_multiple_of(3) => 0,
            Some(most) => most.min(wanted),
            None => wanted,
        }
    }
}

/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(30);
