//! The limit of fetching: connect, shake hands, ask for all pieces, SHA-1. No timeouts, no limits,
//! no second try, nothing kept.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use dht_hunter::base::{InfoHash, hash};
use dht_hunter::wire::peer::{ExtendedHandshake, Frame, HANDSHAKE_LEN, Handshake, Metadata, PIECE, frame};

use crate::Wish;

/// How many were fetched before all were, or nothing came any more.
pub fn fetch(wish: &Wish) -> u64 {
    let mut poll = Poll::new().unwrap();
    let mut events = Events::with_capacity(1024);
    let mut waiting = wish.torrents.iter();
    let mut open: Vec<Option<Connection>> = (0..wish.open).map(|_| None).collect();
    let mut buffer = vec![0; 1 << 18];
    let (mut fetched, mut left) = (0, 0);
    for (at, place) in open.iter_mut().enumerate() {
        *place = waiting.next().map(|(hash, to)| Connection::open(*hash, *to, at, &poll));
        left += usize::from(place.is_some());
    }
    let mut heard = Instant::now();
    while left > 0 && heard.elapsed() < STALLED_AFTER {
        poll.poll(&mut events, Some(STALLED_AFTER)).unwrap();
        for event in &events {
            let at = event.token().0;
            let Some(connection) = &mut open[at] else { continue };
            let Some(right) = connection.turn(&mut buffer) else { continue };
            fetched += u64::from(right);
            heard = Instant::now();
            open[at] = None;
            open[at] = waiting.next().map(|(hash, to)| Connection::open(*hash, *to, at, &poll));
            left -= usize::from(open[at].is_none());
        }
    }
    fetched
}

struct Connection {
    stream: TcpStream,
    hash: InfoHash,
    greeted: bool,
    heard: bool,
    unread: Vec<u8>,
    info: Vec<u8>,
    missing: usize,
}

impl Connection {
    fn open(hash: InfoHash, to: std::net::SocketAddr, at: usize, poll: &Poll) -> Self {
        let mut stream = TcpStream::connect(to).unwrap();
        let both = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(at), both).unwrap();
        Self { stream, hash, greeted: false, heard: false, unread: Vec::new(), info: Vec::new(), missing: 0 }
    }

    /// Goes on as far as it can: whether the metadata is right, once that is decided.
    fn turn(&mut self, buffer: &mut [u8]) -> Option<bool> {
        if !self.greeted {
            if self.stream.peer_addr().is_err() {
                return self.stream.take_error().ok().flatten().map(|_| false);
            }
            self.greeted = true;
            self.greet();
        }
        loop {
            match self.stream.read(buffer) {
                Ok(0) => return Some(false),
                Ok(len) => {
                    self.unread.extend_from_slice(&buffer[..len]);
                    if let Some(right) = self.take() {
                        return Some(right);
                    }
                    if len < buffer.len() {
                        return None;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(_) => return Some(false),
            }
        }
    }

    fn greet(&mut self) {
        let mut out = [0; 256];
        out[..HANDSHAKE_LEN].copy_from_slice(&Handshake::new(self.hash, [7; 20]).encode());
        let ours = ExtendedHandshake { ut_metadata: Some(OUR_METADATA), ..ExtendedHandshake::default() };
        let len = ours.encode(&mut out[HANDSHAKE_LEN..]).unwrap();
        self.send(&out[..HANDSHAKE_LEN + len]);
    }

    fn take(&mut self) -> Option<bool> {
        let mut unread = std::mem::take(&mut self.unread);
        let mut used = 0;
        if !self.heard {
            if unread.len() < HANDSHAKE_LEN {
                self.unread = unread;
                return None;
            }
            self.heard = true;
            used = HANDSHAKE_LEN;
        }
        let mut done = None;
        while let (None, Ok(Some((frame, len)))) = (done, frame(&unread[used..])) {
            done = self.on_frame(frame);
            used += len;
        }
        unread.drain(..used);
        self.unread = unread;
        done
    }

    fn on_frame(&mut self, frame: Frame<'_>) -> Option<bool> {
        match frame {
            Frame::Extended(0, payload) => {
                let theirs = ExtendedHandshake::decode(payload).ok()?;
                let size = usize::try_from(theirs.metadata_size?).ok()?;
                self.info = vec![0; size];
                self.missing = size.div_ceil(PIECE);
                let (mut asks, mut out) = (Vec::new(), [0; 64]);
                for piece in 0..self.missing as u32 {
                    let len = Metadata::Request { piece }.encode(theirs.ut_metadata?, &mut out).unwrap();
                    asks.extend_from_slice(&out[..len]);
                }
                self.send(&asks);
                None
            }
            Frame::Extended(OUR_METADATA, payload) => {
                let Ok(Metadata::Data { piece, payload, .. }) = Metadata::decode(payload) else {
                    return Some(false);
                };
                let at = piece as usize * PIECE;
                self.info.get_mut(at..at + payload.len())?.copy_from_slice(payload);
                self.missing -= 1;
                (self.missing == 0).then(|| self.is_right())
            }
            _ => None,
        }
    }

    /// A torrent of version 2 goes by a part of its SHA-256 (BEP 52).
    fn is_right(&self) -> bool {
        hash::sha1(&self.info) == self.hash.0 || hash::sha256(&self.info)[..20] == self.hash.0
    }

    fn send(&mut self, bytes: &[u8]) {
        // A fresh connection's buffer takes a few hundred bytes at once.
        let sent = self.stream.write(bytes);
        assert!(sent.is_err() || sent.is_ok_and(|sent| sent == bytes.len()));
    }
}

const OUR_METADATA: u8 = 1;
const STALLED_AFTER: Duration = Duration::from_secs(20);
