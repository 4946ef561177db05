//! The UDP sockets that questions leave from: several at random ports, so that an answer must guess
//! the port as well as the id (RFC 5452, section 9.2), and none for long.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::base::{Instant, Rng, SocketId};

/// Sockets for each kind of address that forwarders have.
pub struct Sockets {
    pools: [Pool; 4],
    free: Vec<SocketId>,
    wishes: VecDeque<Wish>,
}

/// What the driver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Open a socket at this address.
    Bind(SocketId, SocketAddr),
    /// Close it.
    Unbind(SocketId),
}

/// Which socket a question may leave from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pick {
    /// This one.
    Ready(SocketId),
    /// None is open yet.
    Wait,
    /// This machine has no address of that family.
    Never,
}

struct Pool {
    local: IpAddr,
    sockets: Vec<Socket>,
    /// None could be opened; tried again after this.
    failed_until: Instant,
    /// Ports that were taken, in a row.
    taken: u32,
    /// Where the last question left from, when, and how many since it was picked.
    last: (SocketId, Instant, u32),
}

struct Socket {
    id: SocketId,
    open: bool,
    /// No more questions leave from it; it is closed when none is under way.
    retiring: bool,
    sent: u32,
    under_way: u32,
    since: Instant,
}

impl Sockets {
    /// None yet. They will have ids from `first` on, at most [`IDS`] of them.
    pub fn new(first: u16) -> Self {
        let pool = |local| Pool {
            local,
            sockets: Vec::new(),
            failed_until: Instant(0),
            taken: 0,
            last: (SocketId(0), Instant(0), RUN_MAX),
        };
        let locals: [IpAddr; 4] = [
            Ipv4Addr::LOCALHOST.into(),
            Ipv6Addr::LOCALHOST.into(),
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv6Addr::UNSPECIFIED.into(),
        ];
        let free = (0..IDS).rev().map(|at| SocketId(first + at)).collect();
        Self { pools: locals.map(pool), free, wishes: VecDeque::new() }
    }

    /// A socket for a question to `remote`, any of those that are open; has more opened if there are
    /// too few. Questions that leave at the same time leave from the same one, some of them, since
    /// what leaves together costs less.
    pub fn pick(&mut self, remote: IpAddr, now: Instant, rng: &mut Rng) -> Pick {
        let index = usize::from(!remote.is_loopback()) * 2 + usize::from(remote.is_ipv6());
        let pool = &mut self.pools[index];
        let takes = |socket: &&Socket| socket.open && !socket.retiring;
        let (last, at, run) = pool.last;
        if at == now && run < RUN_MAX && pool.sockets.iter().filter(takes).any(|socket| socket.id == last) {
            pool.last.2 += 1;
            return Pick::Ready(last);
        }
        self.fill(index, now, rng);
        let pool = &mut self.pools[index];
        let open = pool.sockets.iter().filter(takes);
        match open.clone().count() {
            0 if now < pool.failed_until => Pick::Never,
            0 => Pick::Wait,
            count => open.clone().nth(rng.index(count)).map_or(Pick::Wait, |socket| {
                pool.last = (socket.id, now, 1);
                Pick::Ready(socket.id)
            }),
        }
    }

    /// A question left from it.
    pub fn sent(&mut self, id: SocketId, now: Instant) {
        let Some((_, socket)) = self.socket(id) else { return };
        (socket.sent, socket.under_way) = (socket.sent + 1, socket.under_way + 1);
        socket.retiring |= socket.sent >= SENT_MAX || now.since(socket.since) >= AGE_MAX;
    }

    /// A question that left from it is not waited for any more.
    pub fn settled(&mut self, id: SocketId) {
        let Some((pool, socket)) = self.socket(id) else { return };
        socket.under_way -= 1;
        if socket.retiring && socket.under_way == 0 {
            self.pools[pool].sockets.retain(|socket| socket.id != id);
            self.wishes.push_back(Wish::Unbind(id));
            self.free.insert(0, id);
        }
    }

    /// What came of a [`Wish::Bind`]; `in_use` if only the port was the fault. True if questions
    /// that waited may leave now, or never will.
    pub fn on_bound(&mut self, id: SocketId, bound: Result<(), bool>, now: Instant, rng: &mut Rng) -> bool {
        let Some((index, socket)) = self.socket(id) else { return false };
        let Err(in_use) = bound else {
            (socket.open, socket.since) = (true, now);
            self.pools[index].taken = 0;
            return true;
        };
        let pool = &mut self.pools[index];
        pool.taken += 1;
        if in_use && pool.taken < TAKEN_MAX {
            self.wishes.push_back(Wish::Bind(id, random_port(pool.local, rng)));
            return false;
        }
        pool.sockets.retain(|socket| socket.id != id);
        (pool.failed_until, pool.taken) = (now + FAILED_PAUSE, 0);
        self.free.insert(0, id);
        true
    }

    /// The next thing for the driver to do.
    pub fn poll_wish(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    /// Whether datagrams of this socket are answers to our questions.
    pub fn owns(&self, id: SocketId) -> bool {
        self.pools.iter().any(|pool| pool.sockets.iter().any(|socket| socket.id == id))
    }

    /// Closes all of them.
    pub fn close(&mut self) {
        // Those that had just done their share are no longer in a pool.
        self.wishes.retain(|wish| matches!(wish, Wish::Unbind(_)));
        for socket in self.pools.iter_mut().flat_map(|pool| pool.sockets.drain(..)) {
            self.wishes.push_back(Wish::Unbind(socket.id));
            self.free.insert(0, socket.id);
        }
    }

    /// Sees to it that enough sockets take questions.
    fn fill(&mut self, index: usize, now: Instant, rng: &mut Rng) {
        let pool = &mut self.pools[index];
        if now < pool.failed_until {
            return;
        }
        let taking = pool.sockets.iter().filter(|socket| !socket.retiring).count();
        for _ in taking..SOCKETS {
            let Some(id) = self.free.pop() else { return };
            let socket = Socket { id, open: false, retiring: false, sent: 0, under_way: 0, since: now };
            pool.sockets.push(socket);
            self.wishes.push_back(Wish::Bind(id, random_port(pool.local, rng)));
        }
    }

    fn socket(&mut self, id: SocketId) -> Option<(usize, &mut Socket)> {
        let pools = self.pools.iter_mut().enumerate();
        let mut all =
            pools.flat_map(|(index, pool)| pool.sockets.iter_mut().map(move |socket| (index, socket)));
        all.find(|(_, socket)| socket.id == id)
    }
}

fn random_port(local: IpAddr, rng: &mut Rng) -> SocketAddr {
    let ports = u64::from(u16::MAX - PORT_MIN) + 1;
    SocketAddr::new(local, PORT_MIN + rng.below(ports) as u16)
}

/// A system call for so many costs little more than their copies.
const RUN_MAX: u32 = 16;
/// Three more bits that an attacker has to guess, for eight descriptors.
const SOCKETS: usize = 8;
/// All kinds of address, and as many again that retire.
pub const IDS: u16 = 2 * 4 * SOCKETS as u16;
/// RFC 5452, section 9.2: the whole range above the privileged ports.
const PORT_MIN: u16 = 1_024;
/// So that a port is of no use for long to whoever finds it out.
const SENT_MAX: u32 = 20_000;
const AGE_MAX: Duration = Duration::from_secs(300);
/// Ports are hardly ever taken: so many in a row are another fault.
const TAKEN_MAX: u32 = 32;
/// A family that this machine does not have may come with the next network.
const FAILED_PAUSE: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    const REMOTE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn bind_all(sockets: &mut Sockets, rng: &mut Rng) -> Vec<SocketAddr> {
        let mut bound = Vec::new();
        while let Some(Wish::Bind(id, addr)) = sockets.poll_wish() {
            sockets.on_bound(id, Ok(()), Instant(1), rng);
            bound.push(addr);
        }
        bound
    }

    #[test]
    fn questions_leave_from_several_random_ports() {
        let (mut sockets, mut rng) = (Sockets::new(5), Rng::seeded(1));
        assert_eq!(sockets.pick(REMOTE, Instant(0), &mut rng), Pick::Wait);
        let mut ports: Vec<_> = bind_all(&mut sockets, &mut rng).iter().map(SocketAddr::port).collect();
        ports.sort_unstable();
        ports.dedup();
        assert!(ports.len() == SOCKETS && ports[0] >= PORT_MIN);
        let mut picked: Vec<_> =
            (0..200).map(|nth| sockets.pick(REMOTE, Instant(1 + nth / 2), &mut rng)).collect();
        assert!(picked.chunks(2).all(|pair| pair[0] == pair[1]), "those of one time leave together");
        picked.sort_by_key(|pick| if let Pick::Ready(id) = pick { id.0 } else { 0 });
        picked.dedup();
        assert_eq!(picked.len(), SOCKETS);
    }

    #[test]
    fn a_socket_is_replaced_when_it_has_done_its_share() {
        let (mut sockets, mut rng) = (Sockets::new(0), Rng::seeded(2));
        sockets.pick(REMOTE, Instant(0), &mut rng);
        bind_all(&mut sockets, &mut rng);
        let Pick::Ready(id) = sockets.pick(REMOTE, Instant(1), &mut rng) else { panic!("none is open") };
        (0..SENT_MAX).for_each(|_| sockets.sent(id, Instant(1)));
        for _ in 0..200 {
            assert_ne!(sockets.pick(REMOTE, Instant(1), &mut rng), Pick::Ready(id));
        }
        assert_eq!(bind_all(&mut sockets, &mut rng).len(), 1, "one takes its place");
        (1..SENT_MAX).for_each(|_| sockets.settled(id));
        assert!(sockets.owns(id) && sockets.poll_wish().is_none(), "one answer is still waited for");
        sockets.settled(id);
        assert_eq!((sockets.poll_wish(), sockets.owns(id)), (Some(Wish::Unbind(id)), false));
    }

    #[test]
    fn all_are_closed_in_the_end_also_those_that_retire_just_then() {
        let (mut sockets, mut rng) = (Sockets::new(0), Rng::seeded(4));
        sockets.pick(REMOTE, Instant(0), &mut rng);
        bind_all(&mut sockets, &mut rng);
        let Pick::Ready(id) = sockets.pick(REMOTE, Instant(1), &mut rng) else { panic!("none is open") };
        sockets.sent(id, Instant(1) + AGE_MAX);
        sockets.settled(id);
        sockets.close();
        let mut closed: Vec<_> = std::iter::from_fn(|| sockets.poll_wish()).collect();
        closed.sort_by_key(|wish| if let Wish::Unbind(id) = wish { id.0 } else { u16::MAX });
        let all: Vec<_> = (0..SOCKETS as u16).map(|id| Wish::Unbind(SocketId(id))).collect();
        assert_eq!(closed, all);
    }

    #[test]
    fn a_taken_port_is_another_port_and_no_family_is_never() {
        let (mut sockets, mut rng) = (Sockets::new(0), Rng::seeded(3));
        sockets.pick(REMOTE, Instant(0), &mut rng);
        let Some(Wish::Bind(id, first)) = sockets.poll_wish() else { panic!("nothing is wished") };
        assert!(!sockets.on_bound(id, Err(true), Instant(0), &mut rng));
        while let Some(Wish::Bind(other, addr)) = sockets.poll_wish() {
            assert!(other != id || addr != first);
            sockets.on_bound(other, Err(false), Instant(0), &mut rng);
        }
        assert_eq!(sockets.pick(REMOTE, Instant(0), &mut rng), Pick::Never);
        assert_eq!(sockets.pick(REMOTE, Instant(0) + FAILED_PAUSE, &mut rng), Pick::Wait);
    }
}
