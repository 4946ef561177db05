//! The driver with sockets: it turns readiness, datagrams, bytes and time into the engine's
//! inputs, and the engine's outputs into system calls. One thread, one poll.
//!
//! It knows no protocol. [`start::listen`] opens the sockets, [`Reactor::new`] joins them with an
//! engine and an archive, [`Reactor::run`] turns until the engine has stopped. Everything impure
//! comes through [`net::Net`], so that tests can hand in faults and time.

pub mod clock;
mod config;
mod drive;
pub mod handle;
mod keep_nothing;
mod links;
pub mod net;
pub mod network;
#[cfg(not(feature = "tls"))]
mod no_tls;
mod sockets;
pub mod start;
pub mod sys;
pub mod system;
#[cfg(feature = "tls")]
mod tls;
mod turn;
mod workers;

#[cfg(test)]
mod fake;

pub use clock::Clock;
pub use config::{Listen, ReactorConfig, Roots};
pub use handle::{Handle, Wake};
pub use keep_nothing::KeepNothing;
pub use start::{Listening, StartError, listen};
pub use turn::{Exit, Gauges, Reactor, SAME_STOP, STOP_WITHIN};

use std::net::SocketAddr;

use crate::base::{Instant, SendQueue, SocketId, UnixTime};
#[cfg(not(feature = "tls"))]
use no_tls as tls;

use crate::engine::io::{AcceptorId, Answer, Command, CommandId, Event, Input, LinkId, Output};
use crate::model::archive::{StoreOp, StoreResult};

/// What the reactor drives: the engine, or a script in its place.
pub trait Drive {
    /// Takes one input. The direct reply to a datagram is written into `reply`: its length, else 0.
    fn handle(&mut self, now: Instant, unix: UnixTime, input: Input<'_>, reply: &mut [u8]) -> usize;

    /// The next thing to do. To be called until it is `Idle` or `Stopped`; the bytes of a datagram
    /// are in `scratch`.
    fn poll(&mut self, now: Instant, unix: UnixTime, scratch: &mut [u8]) -> Output;

    /// A stream was accepted: its name, under which it is open. `None`: it is closed at once.
    fn admit(&mut self, now: Instant, acceptor: AcceptorId, remote: SocketAddr) -> Option<LinkId>;

    /// False: the socket is not to be read for now.
    fn reads(&self, _socket: SocketId) -> bool {
        true
    }

    /// False: no stream is to be accepted there for now.
    fn accepts(&self, _acceptor: AcceptorId) -> bool {
        true
    }

    /// What waits to be written to a link; `None` if the engine does not know the link.
    fn send_queue(&self, link: LinkId) -> Option<&SendQueue>;

    /// How many of the bytes that wait may be written to a link now. If not all, `Output::Write`
    /// comes again when more may be.
    fn write_allowance(&mut self, now: Instant, link: LinkId) -> usize;

    /// The first `count` bytes of what waited were written to a link. With TLS these and the
    /// allowances are of plaintext, and a record or a few of it may be on the way to the system.
    fn wrote(&mut self, now: Instant, link: LinkId, count: usize);

    /// False: the link is not to be read for now.
    fn wants_read(&self, link: LinkId) -> bool;

    /// How many of `wanted` bytes may be read from streams now; 0: none. Only a look: what was read
    /// is charged when it is handed in with `Input::Received`.
    fn read_allowance(&mut self, now: Instant, link: LinkId, wanted: usize) -> usize;
}

/// The writer thread, or a model of it.
pub trait Archive {
    /// Hands over one operation; gives it back if there is no room for it now.
    fn submit(&mut self, op: StoreOp) -> Result<(), StoreOp>;

    /// The next answer, if there is one. Whoever answers calls the [`Wake`] it was given.
    fn poll(&mut self) -> Option<StoreResult>;
}

/// Who looks on. Called on the reactor's thread, so every method must return at once.
pub trait Observer<E> {
    /// A command's answer.
    fn on_answer(&mut self, _command: CommandId, _answer: Answer) {}

    /// Something happened.
    fn on_event(&mut self, _event: Event) {}

    /// At most ten times a second, and at least once a second: what there is to count.
    fn on_gauges(&mut self, _engine: &mut E, _gauges: &Gauges) {}

    /// What it wants of the engine now, asked until it wants nothing. What it is told in between may
    /// make it want more.
    fn poll_command(&mut self, _now: Instant) -> Option<Command> {
        None
    }

    /// When it will want something though nothing happens until then.
    fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// SIGHUP: what is configured is to be read again (by another thread).
    fn on_reload(&mut self) {}
}

/// Nobody looks on.
impl<E> Observer<E> for () {}
