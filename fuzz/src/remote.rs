//! The far end of a TCP connection: a peer that has every torrent of [`crate::peer::library`] and
//! serves it as it should, until the input has it say something else.

use bytes::Bytes;
use dht_hunter::base::{InfoHash, Instant, SendQueue};
use dht_hunter::metadata::{AT_ONCE_MAX, Fault, Serve, UNCONSUMED_MAX};

use crate::stream::{Inbox, drain};
use crate::{Feed, peer};

/// One such peer.
pub struct Remote {
    serve: Serve,
    inbox: Inbox,
    queue: SendQueue,
    /// What it said and has not arrived yet.
    pub said: Vec<u8>,
    /// It says no more.
    pub hung_up: bool,
    pieces: u32,
    knows_large: bool,
}

impl Remote {
    /// Just connected; `knows_large` if it has the dictionary that is work for a thread, too.
    pub fn new(now: Instant, knows_large: bool) -> Self {
        Self {
            serve: Serve::new([b't'; 20], now),
            inbox: Inbox::default(),
            queue: SendQueue::new(1 << 20),
            said: Vec::new(),
            hung_up: false,
            pieces: 0,
            knows_large,
        }
    }

    /// It hears `data` and answers.
    pub fn hears(&mut self, now: Instant, data: &[u8]) {
        let serve = &mut self.serve;
        let knows_large = self.knows_large;
        let shelf = |hash: &InfoHash| shelf(hash).filter(|info| knows_large || info.len() <= AT_ONCE_MAX);
        let read = |data: &[u8]| serve.on_bytes(now, data, &shelf);
        match self.inbox.read(data, UNCONSUMED_MAX, read) {
            Ok(()) => {}
            Err(Fault::UnknownTorrent | Fault::Flood) => self.hung_up = true,
            Err(Fault::Protocol(error)) => panic!("what the engine says is {error:?}"),
        }
        self.serve.poll_write(&mut self.queue);
        if !self.hung_up && self.said.len() < SAID_MAX {
            self.said.extend(drain(&mut self.queue, usize::MAX));
        }
    }

    /// It says something of its own accord.
    pub fn speaks(&mut self, feed: &mut Feed<'_>) {
        let library = peer::library();
        let info = &library[feed.below(library.len() - usize::from(!self.knows_large))];
        if self.said.len() < SAID_MAX {
            peer::say(feed, info, &mut self.pieces, &mut self.said);
        }
    }

    /// It asks for a torrent, as whoever connects to us does.
    pub fn asks(&mut self, feed: &mut Feed<'_>) {
        let library = peer::library();
        let info = &library[feed.below(library.len())];
        peer::handshake(feed, peer::hash_of(info), &mut self.said);
        peer::hello(feed, info.len(), &mut self.said);
        (0..feed.below(6)).for_each(|_| peer::small(feed, &mut self.said));
    }

    /// Some of what it said, in order; a byte of it changed at times.
    pub fn arrives(&mut self, feed: &mut Feed<'_>, most: usize) -> Vec<u8> {
        let all = feed.one_in(2);
        let count = if all { self.said.len() } else { 1 + feed.below(300) };
        let mut data: Vec<u8> = self.said.drain(..count.min(most).min(self.said.len())).collect();
        if feed.u8() == 0xff && !data.is_empty() {
            let at = feed.below(data.len());
            data[at] ^= 1 + feed.u8() % 255;
        }
        data
    }
}

fn shelf(hash: &InfoHash) -> Option<Bytes> {
    peer::library().iter().find(|info| peer::hash_of(info) == *hash).cloned()
}

/// What may be on its way on one connection.
const SAID_MAX: usize = 256 << 10;
