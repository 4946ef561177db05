//! What is judged by streams: how many there are, how long they may stay as they are, and whom
//! they lead to.

use std::net::SocketAddr;
use std::time::Duration;

use super::windows::FlowKey;
use super::{HostId, Oracle, Rule, Times};
use crate::base::{Instant, Scope};
use crate::engine::io::LinkId;
use crate::engine::stats::Tallies;

/// One stream of a host.
pub(super) struct Book {
    number: u64,
    /// Ours, for metadata.
    outgoing: bool,
    /// Ours, to a DNS server.
    names: bool,
    open: bool,
    remote: SocketAddr,
    /// When something last came in, or it was made; with a DNS server, also when it was last asked.
    heard_at: Instant,
}

impl Oracle {
    pub(in crate::sim) fn connecting(
        &mut self,
        host: HostId,
        (now, local): Times,
        link: LinkId,
        number: u64,
        to: SocketAddr,
    ) {
        let book = &mut self.books[host.index()];
        let names = book.names.has(to);
        let fresh = Book { number, outgoing: !names, names, open: false, remote: to, heard_at: local };
        let taken = book.streams.insert(link, fresh).is_some();
        book.outgoing += usize::from(!names);
        book.half_open += 1;
        let within = |count: usize, cap: usize| cap == 0 || count <= cap;
        let same = |it: &&Book| it.outgoing && it.remote.ip() == to.ip();
        let crowded = book.streams.values().filter(same).count() > PER_HOST;
        let (half_open, fetches) = (book.half_open, book.outgoing);
        let low_port = to.port() < 1_024 && !book.ports_below_1024;
        let broken = if taken {
            Some((Rule::Accounts, "a stream was opened under a name that is in use".to_owned()))
        } else if names {
            // A question about a name waits for no limit; there are few streams to a server.
            let many = book.streams.values().filter(|it| it.names && it.remote == to).count() > PER_SERVER;
            many.then(|| (Rule::Sockets, format!("more than {PER_SERVER} streams to {to}")))
        } else if low_port || !Scope::may_contact(book.listen, to) {
            Some((Rule::Address, format!("a stream to {to}")))
        } else if !within(half_open, book.rates.half_open) {
            Some((Rule::Rates, format!("{half_open} half-open, {} may be", book.rates.half_open)))
        } else if !within(fetches, book.rates.fetches) {
            Some((Rule::Rates, format!("{fetches} fetches at once, {} may be", book.rates.fetches)))
        } else if crowded {
            Some((Rule::Rates, format!("more than {PER_HOST} fetches from {}", to.ip())))
        } else if !book.router.see(local, FlowKey::Stream(number), false) {
            Some((Rule::Flows, format!("a stream to {to} was opened over the limit")))
        } else if book.stopping {
            Some((Rule::Drained, format!("a stream to {to} was opened after the stop")))
        } else {
            None
        };
        self.note(Rule::Address);
        self.note(Rule::Rates);
        if let Some((rule, detail)) = broken {
            self.fail(rule, host, now, detail);
        }
    }

    pub(in crate::sim) fn accepted(
        &mut self,
        host: HostId,
        (now, local): Times,
        link: LinkId,
        number: u64,
        from: SocketAddr,
    ) {
        let book = &mut self.books[host.index()];
        let fresh = Book { number, outgoing: false, names: false, open: true, remote: from, heard_at: local };
        if book.streams.insert(link, fresh).is_some() {
            self.fail(Rule::Accounts, host, now, "a stream was accepted under a name in use".to_owned());
        }
    }

    pub(in crate::sim) fn opened(&mut self, host: HostId, (_, local): Times, link: LinkId) {
        let book = &mut self.books[host.index()];
        let Some(stream) = book.streams.get_mut(&link).filter(|stream| !stream.open) else { return };
        (stream.open, stream.heard_at) = (true, local);
        book.half_open -= 1;
        let router = if stream.names { &mut book.served } else { &mut book.router };
        router.see(local, FlowKey::Stream(stream.number), true);
    }

    pub(in crate::sim) fn bytes_in(&mut self, host: HostId, (_, local): Times, link: LinkId, data: &[u8]) {
        let book = &mut self.books[host.index()];
        book.tcp_in += data.len() as u64;
        let Some(stream) = book.streams.get_mut(&link) else { return };
        stream.heard_at = local;
        let router = if stream.outgoing { &mut book.router } else { &mut book.served };
        router.see(local, FlowKey::Stream(stream.number), true);
        if stream.names {
            let from = (stream.remote, stream.number);
            self.told_on_stream(host, from, data);
        }
    }

    pub(in crate::sim) fn bytes_out(&mut self, host: HostId, times: Times, link: LinkId, data: &[u8]) {
        let book = &mut self.books[host.index()];
        book.tcp_out += data.len() as u64;
        if let Some(stream) = book.streams.get_mut(&link).filter(|stream| stream.names) {
            stream.heard_at = times.1;
            let to = (stream.remote, stream.number);
            self.asked_on_stream(host, times, to, data);
        }
    }

    pub(in crate::sim) fn closed(&mut self, host: HostId, link: LinkId) {
        let book = &mut self.books[host.index()];
        if let Some(stream) = book.streams.remove(&link) {
            book.outgoing -= usize::from(stream.outgoing);
            book.half_open -= usize::from(!stream.open);
            if stream.names {
                book.names.closed(stream.number);
            }
        }
    }

    /// Made minus closed is what the engine holds; no byte is counted that did not come.
    pub(super) fn check_streams(&mut self, host: HostId, (now, _): Times, tallies: &Tallies) {
        self.note(Rule::Accounts);
        let book = &self.books[host.index()];
        let here = (book.streams.len(), book.outgoing, book.half_open);
        let there = (tallies.links, tallies.fetches_open, tallies.half_open);
        let detail = if here != there {
            format!("streams, outgoing, half-open: {here:?} on the wire, {there:?} in the engine")
        } else if book.tcp_in != tallies.tcp_bytes_in {
            format!("{} bytes came in, it counts {}", book.tcp_in, tallies.tcp_bytes_in)
        } else if book.tcp_out > tallies.tcp_bytes_out {
            format!("{} bytes left, it counts {}", book.tcp_out, tallies.tcp_bytes_out)
        } else {
            return;
        };
        self.fail(Rule::Accounts, host, now, detail);
    }

    /// Nobody holds a stream for ever by saying nothing.
    pub(super) fn check_lifetimes(&mut self, host: HostId, (now, local): Times) {
        self.note(Rule::Lifetime);
        let slept = self.books[host.index()].names.slept_of_late(now);
        let most = |stream: &Book| match (stream.outgoing, stream.open) {
            _ if stream.names => slept + if stream.open { QUIET_MAX } else { ANSWERED_WITHIN },
            (true, false) => CONNECT_MAX,
            (true, true) => PIECE_MAX,
            (false, _) => IDLE_MAX,
        };
        let old = |stream: &&Book| local.since(stream.heard_at) > most(stream);
        let Some(stream) = self.books[host.index()].streams.values().find(old) else { return };
        let detail = format!(
            "stream {} with {}, outgoing: {}, open: {}, nothing for {:?}",
            stream.number,
            stream.remote,
            stream.outgoing,
            stream.open,
            local.since(stream.heard_at)
        );
        self.fail(Rule::Lifetime, host, now, detail);
    }
}

/// Fetches from one address at once.
const PER_HOST: usize = 8;
/// The longest time-outs of a fetch, each with a turn of lateness.
const CONNECT_MAX: Duration = Duration::from_millis(8_002);
/// A stream to a DNS server that does not open.
const ANSWERED_WITHIN: Duration = Duration::from_millis(5_002);
/// Nobody waits longer for a name, and then it may idle.
const QUIET_MAX: Duration = Duration::from_millis(18_002);
/// Streams to one DNS server at once.
const PER_SERVER: usize = 2;
const PIECE_MAX: Duration = Duration::from_millis(16_002);
/// Of an accepted stream.
const IDLE_MAX: Duration = Duration::from_millis(30_002);
