//! The engine as what the reactor drives.

use std::net::SocketAddr;

use super::Drive;
use crate::base::{Instant, SendQueue, SocketId, UnixTime};
use crate::engine::Engine;
use crate::engine::io::{AcceptorId, Input, LinkId, Output};

impl Drive for Engine {
    fn handle(&mut self, now: Instant, unix: UnixTime, input: Input<'_>, reply: &mut [u8]) -> usize {
        Self::handle(self, now, unix, input, reply)
    }

    fn poll(&mut self, now: Instant, unix: UnixTime, scratch: &mut [u8]) -> Output {
        Self::poll(self, now, unix, scratch)
    }

    fn admit(&mut self, now: Instant, acceptor: AcceptorId, remote: SocketAddr) -> Option<LinkId> {
        Self::admit(self, now, acceptor, remote)
    }

    fn reads(&self, socket: SocketId) -> bool {
        Self::reads(self, socket)
    }

    fn accepts(&self, acceptor: AcceptorId) -> bool {
        Self::accepts(self, acceptor)
    }

    fn send_queue(&self, link: LinkId) -> Option<&SendQueue> {
        Self::send_queue(self, link)
    }

    fn write_allowance(&mut self, now: Instant, link: LinkId) -> usize {
        Self::write_allowance(self, now, link)
    }

    fn wrote(&mut self, now: Instant, link: LinkId, count: usize) {
        Self::wrote(self, now, link, count);
    }

    fn wants_read(&self, link: LinkId) -> bool {
        Self::wants_read(self, link)
    }

    fn read_allowance(&mut self, now: Instant, link: LinkId, wanted: usize) -> usize {
        Self::read_allowance(self, now, link, wanted)
    }
}
