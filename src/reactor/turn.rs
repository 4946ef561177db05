//! The loop. One turn: poll, read the clock once, note readiness, receive within budgets, take
//! commands and the archive's answers, drain the engine, write, accept, flush, close, publish,
//! sleep.

mod accepts;
mod datagrams;
mod secure;
mod streams;

use std::collections::VecDeque;
use std::io;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Duration;

use super::handle::Wake;
use super::links::{Filter, Link, Links};
use super::net::{Net, Ready};
use super::sockets::{Socket, Sockets};
use super::start::Listening;
use super::sys::errors;
use super::sys::udp::DATAGRAM_MAX;
use super::system::SystemNet;
use super::tls::{Session, Tls};
use super::workers::Workers;
use super::{Archive, Drive, Observer};
use crate::base::{Instant, Path, SocketId, UnixTime};
use crate::engine::io::{Command, Input, LinkId, Output, Reason};
use crate::model::archive::StoreOp;
use accepts::Acceptors;

/// An engine, the archive it fills and the sockets it talks through.
pub struct Reactor<E, A, O = (), N: Net = SystemNet> {
    engine: E,
    archive: A,
    observer: O,
    net: N,
    now: Instant,
    unix: UnixTime,
    sockets: Sockets<N::Udp>,
    acceptors: Acceptors<N::Acceptor>,
    links: Links<N::Tcp>,
    tls: Tls,
    /// Links that may have something to be read, or that are open by now.
    reading: Vec<LinkId>,
    /// Links that have something to be written.
    writing: Vec<LinkId>,
    /// An empty list that keeps its room, to take the place of one that is worked through.
    spare: Vec<LinkId>,
    /// Streams to close at the end of the turn, so that no event of this turn meets a new one.
    closing: Vec<N::Tcp>,
    /// Operations that the archive had no room for: never more than [`QUEUE_OPS`], since the engine hands
    /// over no others before those are acknowledged.
    ///
    /// [`QUEUE_OPS`]: crate::model::archive::QUEUE_OPS
    stuck: VecDeque<StoreOp>,
    commands: Receiver<Command>,
    workers: Workers,
    wake: Wake,
    ready: Vec<Ready>,
    /// A budget ran out before the work did.
    busy: bool,
    deadline: Option<Instant>,
    stop_at: Option<Instant>,
    /// When the first signal to stop came.
    signalled_at: Option<Instant>,
    published: Instant,
    /// Datagrams lost by sockets that are closed.
    lost_before: u64,
    gauges: Gauges,
    buffer: Box<[u8]>,
    scratch: Box<[u8]>,
}

/// Why the loop ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// The engine stopped, and everything is acknowledged.
    Stopped,
    /// A second signal came, not within [`SAME_STOP`] of the first, or stopping took more than
    /// [`STOP_WITHIN`].
    Forced,
    /// The system's poll failed.
    Broken(io::ErrorKind),
}

/// What the reactor counted since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Turns of the loop.
    pub turns: u64,
    /// Datagrams handed to the engine.
    pub datagrams_in: u64,
    /// Bytes of datagrams in and out, without headers.
    pub datagram_bytes: u64,
    /// Datagrams thrown away because they were longer than a buffer.
    pub datagrams_too_long: u64,
    /// Datagrams that came faster than they were received, as far as the system counts them (Linux).
    pub datagrams_lost: u64,
    /// Datagrams that the system took.
    pub datagrams_out: u64,
    /// Datagrams that the system refused, one by one.
    pub datagrams_refused: u64,
    /// Datagrams for which there was no room.
    pub datagrams_no_room: u64,
    /// Datagrams that the engine named a socket for that is not there.
    pub datagrams_no_socket: u64,
    /// Bytes read from streams.
    pub stream_bytes_in: u64,
    /// Bytes written to streams.
    pub stream_bytes_out: u64,
    /// Streams begun.
    pub connects: u64,
    /// Streams accepted, and wanted by the engine.
    pub accepted: u64,
    /// Streams accepted and closed at once, because the engine did not want them.
    pub turned_away: u64,
    /// Streams that this machine had no descriptor, port or memory for.
    pub no_resources: u64,
    /// UDP sockets open now.
    pub sockets: usize,
    /// Streams open or opening now.
    pub links: usize,
    /// Operations that wait for room in the archive's queue now.
    pub stuck_ops: usize,
}

/// How far the engine was drained.
enum Drained {
    Idle,
    More,
    Stopped,
}

impl<E: Drive, A: Archive, O: Observer<E>, N: Net> Reactor<E, A, O, N> {
    /// Joins open sockets with an engine, an archive and who looks on.
    pub fn new(listening: Listening<N>, engine: E, archive: A, observer: O) -> Self {
        let Listening { mut net, sockets, acceptors, commands, roots, .. } = listening;
        let (now, unix) = net.now();
        let wake = net.wake();
        Self {
            engine,
            archive,
            observer,
            net,
            now,
            unix,
            sockets: Sockets::new(sockets),
            acceptors: Acceptors::new(acceptors),
            links: Links::new(),
            tls: Tls::new(roots),
            reading: Vec::new(),
            writing: Vec::new(),
            spare: Vec::new(),
            closing: Vec::new(),
            stuck: VecDeque::new(),
            commands,
            workers: Workers::new(wake.clone()),
            wake,
            ready: Vec::new(),
            busy: true,
            deadline: None,
            stop_at: None,
            signalled_at: None,
            published: now,
            lost_before: 0,
            gauges: Gauges::default(),
            buffer: vec![0; READ_BUDGET].into_boxed_slice(),
            scratch: vec![0; DATAGRAM_MAX].into_boxed_slice(),
        }
    }

    /// Reads the roots of trust now. Otherwise the first connection with TLS has to wait for that.
    pub fn prepare_tls(&mut self) {
        self.tls.prepare();
    }

    /// Turns until the engine has stopped.
    pub fn run(&mut self) -> Exit {
        loop {
            if let Some(exit) = self.turn() {
                return exit;
            }
        }
    }

    /// The engine, for who looks at it before or after.
    pub fn engine(&mut self) -> &mut E {
        &mut self.engine
    }

    /// Who looks on.
    pub fn observer(&mut self) -> &mut O {
        &mut self.observer
    }

    /// What was counted.
    pub fn gauges(&self) -> Gauges {
        let (sockets, links, stuck_ops) = (self.sockets.len(), self.links.len(), self.stuck.len());
        Gauges { sockets, links, stuck_ops, ..self.gauges }
    }

    /// What is left of the reactor once it has ended.
    pub fn into_parts(self) -> (E, A, O) {
        (self.engine, self.archive, self.observer)
    }

    fn turn(&mut self) -> Option<Exit> {
        let timeout = self.sleep();
        if let Err(error) = self.net.poll(&mut self.ready, Some(timeout)) {
            log::error!("waiting for the network failed: {error}");
            return Some(Exit::Broken(error.kind()));
        }
        self.wake.clear();
        self.read_clock();
        self.busy = false;
        self.note_readiness();
        if self.take_signals() {
            return Some(Exit::Forced);
        }
        self.receive_datagrams();
        self.read_links();
        self.take_commands();
        self.take_stored();
        self.take_worked();
        let stopped = self.settle();
        self.accept_streams();
        self.flush_sockets();
        self.close_links();
        self.publish();
        if stopped {
            return Some(Exit::Stopped);
        }
        self.stop_at.filter(|at| self.now >= *at).map(|_| Exit::Forced)
    }

    /// How long nothing needs to happen.
    fn sleep(&mut self) -> Duration {
        let (now, _) = self.net.now();
        let mut until = self.now + SLEEP_MAX;
        if self.busy {
            return Duration::ZERO;
        }
        if let Some(at) = self.stop_at {
            until = until.min(at);
        }
        until = until.min(self.deadline.unwrap_or(Instant::FAR));
        if !self.stuck.is_empty() {
            until = until.min(self.now + RETRY_AFTER);
        }
        if self.sockets.iter().any(|socket| socket.readable) {
            until = until.min(self.now + RETRY_AFTER);
        }
        until = [self.acceptors.resumes_at(), self.observer.next_deadline()]
            .into_iter()
            .flatten()
            .fold(until, Ord::min);
        let (engine, this_turn) = (&mut self.engine, self.now);
        for link in &self.reading {
            if engine.wants_read(*link) {
                if engine.read_allowance(this_turn, *link, 1) > 0 {
                    return Duration::ZERO;
                }
                until = until.min(this_turn + RETRY_AFTER);
            }
        }
        until.since(now)
    }

    /// Once a turn. Time that goes back stands still.
    fn read_clock(&mut self) {
        let (now, unix) = self.net.now();
        self.now = self.now.max(now);
        self.unix = unix;
        self.gauges.turns += 1;
    }

    /// Readiness becomes flags; nothing is read or written yet.
    fn note_readiness(&mut self) {
        for ready in self.ready.drain(..) {
            match ready {
                Ready::Udp { socket, readable, writable } => {
                    let Some(socket) = self.sockets.get_mut(socket) else { continue };
                    socket.readable |= readable;
                    socket.blocked &= !writable;
                }
                Ready::Acceptor(id) => self.acceptors.note(id),
                Ready::Tcp { link: id, readable, writable, ending } => {
                    let Some(link) = self.links.get_mut(id) else { continue };
                    link.readable |= readable || ending;
                    link.writable |= writable;
                    link.ending |= ending;
                    if writable && link.writing {
                        self.writing.push(id);
                    }
                    if !link.listed {
                        link.listed = true;
                        self.reading.push(id);
                    }
                }
            }
        }
    }

    /// True if the loop is to end at once.
    fn take_signals(&mut self) -> bool {
        let arrived = self.net.signals();
        if arrived.reload {
            self.observer.on_reload();
        }
        if arrived.stops == 0 {
            return false;
        }
        if let Some(first) = self.signalled_at {
            return self.now.since(first) >= SAME_STOP;
        }
        self.signalled_at = Some(self.now);
        self.begin_stop();
        false
    }

    fn begin_stop(&mut self) {
        self.stop_at.get_or_insert(self.now + STOP_WITHIN);
        self.input(Input::Command(Command::Stop));
    }

    fn input(&mut self, input: Input<'_>) {
        self.engine.handle(self.now, self.unix, input, &mut []);
    }

    fn take_commands(&mut self) {
        for _ in 0..COMMANDS_PER_TURN {
            match self.commands.try_recv() {
                Ok(Command::Stop) => self.begin_stop(),
                Ok(command) => self.input(Input::Command(command)),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
        self.busy = true;
    }

    /// What the observer wants; true if there was something.
    fn take_wanted(&mut self) -> bool {
        for wanted in 0..WANTED_PER_ROUND {
            match self.observer.poll_command(self.now) {
                None => return wanted > 0,
                Some(Command::Stop) => self.begin_stop(),
                Some(command) => self.input(Input::Command(command)),
            }
        }
        true
    }

    fn take_stored(&mut self) {
        while let Some(op) = self.stuck.pop_front() {
            if let Err(op) = self.archive.submit(op) {
                self.stuck.push_front(op);
                break;
            }
        }
        for _ in 0..STORED_PER_TURN {
            let Some(result) = self.archive.poll() else { return };
            self.input(Input::Stored(result));
        }
        self.busy = true;
    }

    fn take_worked(&mut self) {
        for _ in 0..WORKED_PER_TURN {
            let Some(worked) = self.workers.poll() else { return };
            self.input(Input::Worked(worked));
        }
        self.busy = true;
    }

    /// Drains the engine, hands it what the observer wants then, and writes what it wants written,
    /// until none of it leads to more. True if the engine has stopped.
    fn settle(&mut self) -> bool {
        for _ in 0..ROUNDS_PER_TURN {
            match self.drain() {
                Drained::Stopped => return true,
                Drained::More => break,
                Drained::Idle => {}
            }
            let wanted = self.take_wanted();
            if !self.write_links() && !wanted {
                return false;
            }
        }
        self.write_links();
        self.busy = true;
        false
    }

    fn drain(&mut self) -> Drained {
        for _ in 0..OUTPUTS_PER_TURN {
            match self.engine.poll(self.now, self.unix, &mut self.scratch) {
                Output::Datagram(path, len) => self.send_datagram(path, len),
                Output::Bind(id, addr) => self.bind(id, addr),
                Output::Unbind(id) => self.unbind(id),
                Output::Accept(on) => self.acceptors.set(on),
                Output::Connect { link, from, to, tls } => self.connect(link, (from, to), tls),
                Output::Write(link) => self.want_write(link),
                Output::Close(link) => self.close(link),
                Output::Store(op) => self.submit(op),
                Output::Work(job) => self.workers.submit(job),
                Output::Answer(command, answer) => self.observer.on_answer(command, answer),
                Output::Event(event) => self.observer.on_event(event),
                Output::Stopped => return Drained::Stopped,
                Output::Idle(deadline) => {
                    self.deadline = deadline.map(|(at, _)| at);
                    return Drained::Idle;
                }
            }
        }
        Drained::More
    }

    fn submit(&mut self, op: StoreOp) {
        if !self.stuck.is_empty() {
            self.stuck.push_back(op);
        } else if let Err(op) = self.archive.submit(op) {
            self.stuck.push_back(op);
        }
    }

    fn close_links(&mut self) {
        for stream in self.closing.drain(..) {
            self.net.tcp_close(stream);
        }
    }

    fn publish(&mut self) {
        if self.now.since(self.published) < PUBLISH_EVERY {
            return;
        }
        self.published = self.now;
        let net = &self.net;
        let lost: u64 = self.sockets.iter().map(|socket| net.udp_lost(&socket.udp)).sum();
        self.gauges.datagrams_lost = self.lost_before + lost;
        let gauges = self.gauges();
        self.observer.on_gauges(&mut self.engine, &gauges);
    }
}

/// From the first signal, or the command, to an end by force (spec: `run`).
pub const STOP_WITHIN: Duration = Duration::from_secs(8);
/// Signals so close together are one: supervisors that signal a process and then its whole group,
/// as timeout(1) does, reach it twice. Nobody presses Ctrl-C again so fast.
pub const SAME_STOP: Duration = Duration::from_millis(500);
/// Ten times a second is as often as anybody can read.
const PUBLISH_EVERY: Duration = Duration::from_millis(100);
/// So that gauges move when nothing else does.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// When the archive has no room, the byte rate is used up, or the system had no memory to receive
/// with: nothing tells when that changes.
const RETRY_AFTER: Duration = Duration::from_millis(5);
/// The most that one link is read in one turn, and the read buffer: four pieces of metadata
/// (BEP 9, 16 KiB each), so that most torrents come with one call.
const READ_BUDGET: usize = 64 << 10;
const COMMANDS_PER_TURN: usize = 64;
/// Half a millisecond's worth; so many may come in each round.
const WANTED_PER_ROUND: usize = 1024;
const STORED_PER_TURN: usize = 256;
const WORKED_PER_TURN: usize = 64;
/// A turn at full load has some hundred outputs; more wait for the next turn.
const OUTPUTS_PER_TURN: usize = 4096;
/// Writing makes room, which may lead to more writing; usually the second round finds nothing.
const ROUNDS_PER_TURN: usize = 4;

#[cfg(test)]
mod tests;
