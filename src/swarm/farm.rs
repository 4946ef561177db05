//! The metadata farm: peers that serve info dictionaries over BEP 3, 10 and 9, and peers that
//! only seem to. A handful of listeners stands for all of them; the handshake names the torrent.

use std::collections::{BTreeSet, VecDeque};
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};
use slab::Slab;
use socket2::{Domain, Protocol, Socket, Type};

use super::doors::{self, Doors, Honest};
use super::hostile::{Behaviour, Manners};
use super::torrents::Library;
use super::udp::only_loopback;
use super::{Config, Stats, mix};
use crate::base::InfoHash;
use crate::wire::peer::{self, ExtendedHandshake, Frame, HANDSHAKE_LEN, Handshake, Metadata, PIECE};

/// All listeners and connections.
pub(crate) struct Farm {
    listeners: Vec<Listener>,
    /// Sockets that only have to exist: a reserved port, addresses that do not answer.
    kept: Vec<Socket>,
    /// The token of connection 0.
    first_token: usize,
    connections: Slab<Connection>,
    /// Closed in this turn; their slots are free from the next one on.
    closed: Vec<usize>,
    /// Which honest peers insist on what is derived from these.
    seed: u64,
    manners_pct: (f64, f64),
    /// Pairs of a peer that takes one handshake at a time and the address whose turn it is.
    shaking: BTreeSet<(IpAddr, IpAddr)>,
    input: Box<[u8]>,
    output: Vec<u8>,
    now_secs: u64,
    /// The system had no descriptor left.
    exhausted: bool,
}

struct Listener {
    socket: TcpListener,
    behaviour: Behaviour,
    ready: bool,
}

struct Connection {
    /// `None` once closed.
    stream: Option<TcpStream>,
    behaviour: Behaviour,
    manners: Manners,
    /// Who it keeps from shaking hands meanwhile.
    shaking: Option<(IpAddr, IpAddr)>,
    stage: Stage,
    /// The start of a handshake or a frame, at most [`peer::FRAME_MAX`] and a read.
    unread: Vec<u8>,
    unsent: Vec<u8>,
    writable_wanted: bool,
    touched_secs: u64,
}

enum Stage {
    /// No handshake yet.
    Greeting,
    /// Shook hands for a torrent.
    Talking(Talk),
}

struct Talk {
    torrent: u32,
    /// Under which sub-id the other end wants `ut_metadata`.
    id: Option<u8>,
    wanted: VecDeque<u32>,
    served: usize,
}

/// The connection is over.
struct Over;

impl Farm {
    /// Opens all listeners, those of `config`'s honest peers on `port`; where peers are found. A
    /// listener for all addresses leaves its port to no other, so the hostile have others.
    pub(crate) fn open(config: &Config, port: u16) -> io::Result<(Self, Doors)> {
        let mut farm = Self {
            listeners: Vec::new(),
            kept: Vec::new(),
            first_token: 0,
            connections: Slab::new(),
            closed: Vec::new(),
            seed: config.seed,
            manners_pct: (config.one_handshake_pct, config.bare_handshake_pct),
            shaking: BTreeSet::new(),
            input: vec![0; READ_BYTES].into_boxed_slice(),
            output: Vec::new(),
            now_secs: 0,
            exhausted: false,
        };
        let honest = farm.open_honest(config, port)?;
        let own_addresses = cfg!(target_os = "linux");
        let mut hostile = Vec::new();
        for behaviour in [Behaviour::HOSTILE; LISTENERS_EACH].concat() {
            let addr = if own_addresses {
                SocketAddr::new(doors::loopback(doors::FIRST_HOSTILE, hostile.len() as u64), 0)
            } else {
                SocketAddr::new([127, 0, 0, 1].into(), 0)
            };
            hostile.push((behaviour, farm.listen(addr, behaviour)?));
        }
        let mut mute = Vec::new();
        if own_addresses {
            for nth in 0..MUTE_ADDRESSES {
                let addr = SocketAddr::new(doors::loopback(doors::FIRST_MUTE, nth), 0);
                mute.extend(farm.open_mute(addr)?);
            }
        }
        let refusing_port = farm.reserve_port(matches!(honest, Honest::Everywhere(..)))?;
        let doors = Doors {
            seed: config.seed,
            dead_pct: config.dead_peers_pct,
            hostile_pct: config.hostile_pct,
            honest,
            hostile,
            mute,
            refusing_port,
        };
        Ok((farm, doors))
    }

    /// Polls the listeners under the tokens from `first` on; connections follow.
    pub(crate) fn register(&mut self, registry: &Registry, first: usize) -> io::Result<()> {
        for (index, listener) in self.listeners.iter_mut().enumerate() {
            registry.register(&mut listener.socket, Token(first + index), Interest::READABLE)?;
        }
        self.first_token = first + self.listeners.len();
        Ok(())
    }

    /// Something happened under `token`, which is not one of the nodes'.
    pub(crate) fn on_event(
        &mut self,
        token: Token,
        registry: &Registry,
        library: &Library,
        stats: &mut Stats,
    ) {
        if let Some(index) = token.0.checked_sub(self.first_token) {
            self.turn(index, registry, library, stats);
        } else if let Some(index) = (token.0 + self.listeners.len()).checked_sub(self.first_token) {
            self.listeners[index].ready = true;
        }
    }

    /// Accepts what waits, a bounded number at each listener; true if there may be more.
    pub(crate) fn accept(&mut self, registry: &Registry, stats: &mut Stats) -> bool {
        self.exhausted = false;
        for index in 0..self.listeners.len() {
            for _ in 0..ACCEPTS_PER_TURN {
                let listener = &mut self.listeners[index];
                if !listener.ready || self.exhausted || self.connections.len() >= CONNECTIONS_MAX {
                    break;
                }
                match listener.socket.accept() {
                    Ok((stream, remote)) if remote.ip().is_loopback() => {
                        let behaviour = listener.behaviour;
                        stats.accepted += 1;
                        self.admit(stream, remote.ip(), behaviour, registry);
                    }
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => listener.ready = false,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(_) => self.exhausted = true,
                }
            }
        }
        let full = self.exhausted || self.connections.len() >= CONNECTIONS_MAX;
        !full && self.listeners.iter().any(|listener| listener.ready)
    }

    /// Ends a turn: frees the slots of closed connections.
    pub(crate) fn reap(&mut self, stats: &mut Stats) {
        for index in self.closed.drain(..) {
            let gone = self.connections.remove(index);
            gone.shaking.map(|pair| self.shaking.remove(&pair));
        }
        stats.open = self.connections.len() as u64;
    }

    /// Once a second: drips, and closes what was idle for too long.
    pub(crate) fn tick(&mut self, now_secs: u64) {
        self.now_secs = now_secs;
        for (index, connection) in &mut self.connections {
            let Some(stream) = &mut connection.stream else { continue };
            let idle = now_secs.saturating_sub(connection.touched_secs) >= IDLE_SECS;
            let mut over = idle;
            if connection.behaviour == Behaviour::Drip && !connection.unsent.is_empty() {
                match stream.write(&connection.unsent[..1]) {
                    Ok(written) => _ = connection.unsent.drain(..written),
                    Err(error) => over |= error.kind() != io::ErrorKind::WouldBlock,
                }
            }
            if over {
                connection.stream = None;
                self.closed.push(index);
            }
        }
    }

    /// One listener for every address where that can be kept to this machine, else some.
    fn open_honest(&mut self, config: &Config, port: u16) -> io::Result<Honest> {
        if cfg!(target_os = "linux") {
            let any = SocketAddr::new([0, 0, 0, 0].into(), port);
            let socket = stream_socket(any)?;
            if only_loopback((&socket).into()) {
                socket.bind(&any.into())?;
                socket.listen(BACKLOG)?;
                let socket = TcpListener::from_std(socket.into());
                let port = socket.local_addr()?.port();
                self.listeners.push(Listener { socket, behaviour: Behaviour::Honest, ready: false });
                return Ok(Honest::Everywhere(port, Doors::addresses(config)));
            }
        }
        let mut listeners = Vec::new();
        for nth in 0..LISTENERS_HONEST {
            let addr = if cfg!(target_os = "linux") {
                SocketAddr::new(doors::loopback(doors::FIRST_LISTENER, nth), port)
            } else {
                SocketAddr::new([127, 0, 0, 1].into(), 0)
            };
            listeners.push(self.listen(addr, Behaviour::Honest)?);
        }
        Ok(Honest::Listeners(listeners))
    }

    fn listen(&mut self, addr: SocketAddr, behaviour: Behaviour) -> io::Result<SocketAddr> {
        let socket = stream_socket(addr)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from_std(socket.into());
        let addr = socket.local_addr()?;
        self.listeners.push(Listener { socket, behaviour, ready: false });
        Ok(addr)
    }

    /// A listener whose backlog is full from the start: Linux then drops every SYN.
    fn open_mute(&mut self, addr: SocketAddr) -> io::Result<Option<SocketAddr>> {
        let socket = stream_socket(addr)?;
        socket.bind(&addr.into())?;
        let addr = socket.local_addr()?.as_socket().unwrap_or(addr);
        socket.listen(0)?;
        let filler = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        let full = filler.connect_timeout(&addr.into(), FILL_TIMEOUT).is_ok();
        self.kept.extend([socket, filler]);
        Ok(full.then_some(addr))
    }

    /// A port where nobody will listen: bound, and left at that.
    fn reserve_port(&mut self, everywhere: bool) -> io::Result<u16> {
        let ip = if everywhere { [0, 0, 0, 0] } else { [127, 0, 0, 1] };
        let addr = SocketAddr::new(ip.into(), 0);
        let socket = stream_socket(addr)?;
        socket.bind(&addr.into())?;
        let port = socket.local_addr()?.as_socket().map_or(0, |addr| addr.port());
        self.kept.push(socket);
        Ok(port)
    }

    /// Peers whose handshake takes a while send it now.
    pub(crate) fn answer_late(&mut self, registry: &Registry, library: &Library, stats: &mut Stats) {
        let late = |connection: &Connection| {
            connection.manners == Manners::BareHandshake
                && matches!(connection.stage, Stage::Greeting)
                && connection.unread.len() == HANDSHAKE_LEN
        };
        let all = self.connections.iter_mut();
        let due: Vec<usize> = all.filter(|(_, one)| late(one)).map(|(index, _)| index).collect();
        for index in due {
            self.connections[index].manners = Manners::Easy;
            self.turn(index, registry, library, stats);
        }
    }

    fn manners_of(&self, peer: IpAddr) -> Manners {
        let IpAddr::V4(ip) = peer else { return Manners::Easy };
        let draw = |salt| mix(self.seed, salt, u64::from(u32::from(ip)));
        Manners::drawn((draw(SALT_ONE_HANDSHAKE), draw(SALT_BARE)), self.manners_pct)
    }

    fn admit(&mut self, stream: TcpStream, remote: IpAddr, behaviour: Behaviour, registry: &Registry) {
        if behaviour == Behaviour::Close {
            return;
        }
        let local = stream.local_addr().map_or(remote, |addr| addr.ip());
        let honest = behaviour == Behaviour::Honest;
        let manners = if honest { self.manners_of(local) } else { Manners::Easy };
        let shaking = (manners == Manners::OneHandshake).then_some((local, remote));
        if shaking.is_some_and(|pair| !self.shaking.insert(pair)) {
            // One handshake at a time: this one is closed.
            return;
        }
        let entry = self.connections.vacant_entry();
        let token = Token(self.first_token + entry.key());
        let mut stream = stream;
        if registry.register(&mut stream, token, Interest::READABLE).is_err() {
            shaking.map(|pair| self.shaking.remove(&pair));
            return;
        }
        entry.insert(Connection {
            stream: Some(stream),
            behaviour,
            manners,
            shaking,
            stage: Stage::Greeting,
            unread: Vec::new(),
            unsent: Vec::new(),
            writable_wanted: false,
            touched_secs: self.now_secs,
        });
    }

    fn turn(&mut self, index: usize, registry: &Registry, library: &Library, stats: &mut Stats) {
        let Some(connection) = self.connections.get_mut(index) else { return };
        if connection.stream.is_none() {
            return;
        }
        connection.touched_secs = self.now_secs;
        self.output.clear();
        let token = Token(self.first_token + index);
        let mut talk = || -> Result<(), Over> {
            connection.read(&mut self.input, library, &mut self.output)?;
            connection.write(&mut self.output, library, stats)?;
            connection.watch(registry, token)
        };
        if talk().is_err() {
            connection.stream = None;
            self.closed.push(index);
        } else if let Stage::Talking(_) = connection.stage {
            connection.shaking.take().map(|pair| self.shaking.remove(&pair));
        }
    }
}

impl Connection {
    fn read(&mut self, input: &mut [u8], library: &Library, out: &mut Vec<u8>) -> Result<(), Over> {
        if !self.unread.is_empty() {
            // What waited for the peer's own time.
            let waiting = std::mem::take(&mut self.unread);
            let used = self.consume(&waiting, library, out)?;
            self.unread.extend_from_slice(&waiting[used..]);
        }
        loop {
            let Some(stream) = &mut self.stream else { return Err(Over) };
            let len = match stream.read(input) {
                Ok(0) => return Err(Over),
                Ok(len) => len,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Err(Over),
            };
            if self.behaviour == Behaviour::Silent {
                continue;
            }
            if self.unread.is_empty() {
                let used = self.consume(&input[..len], library, out)?;
                self.unread.extend_from_slice(&input[used..len]);
            } else {
                let mut joined = std::mem::take(&mut self.unread);
                joined.extend_from_slice(&input[..len]);
                let used = self.consume(&joined, library, out)?;
                joined.drain(..used);
                self.unread = joined;
            }
        }
    }

    /// Takes whole handshakes and frames off the front; how many bytes that was.
    fn consume(&mut self, bytes: &[u8], library: &Library, out: &mut Vec<u8>) -> Result<usize, Over> {
        let mut used = 0;
        if let Stage::Greeting = self.stage {
            if self.manners == Manners::BareHandshake {
                return if bytes.len() > HANDSHAKE_LEN { Err(Over) } else { Ok(0) };
            }
            let Some(theirs) = Handshake::decode(bytes).map_err(|_| Over)? else { return Ok(0) };
            let torrent = library.find(theirs.info_hash).ok_or(Over)?;
            self.greet(theirs.info_hash, library.info(torrent).len(), out);
            self.stage = Stage::Talking(Talk { torrent, id: None, wanted: VecDeque::new(), served: 0 });
            used = HANDSHAKE_LEN;
        }
        let Stage::Talking(talk) = &mut self.stage else { return Ok(used) };
        while let Some((frame, len)) = peer::frame(&bytes[used..]).map_err(|_| Over)? {
            used += len;
            match frame {
                Frame::Extended(0, payload) => {
                    let theirs = ExtendedHandshake::decode(payload).map_err(|_| Over)?;
                    talk.id = theirs.ut_metadata.or(talk.id);
                }
                Frame::Extended(UT_METADATA, payload) => {
                    if let Metadata::Request { piece } = Metadata::decode(payload).map_err(|_| Over)? {
                        if talk.wanted.len() >= WANTED_MAX {
                            return Err(Over);
                        }
                        talk.wanted.push_back(piece);
                    }
                }
                Frame::Extended(..) | Frame::KeepAlive | Frame::Other(_) => {}
            }
        }
        Ok(used)
    }

    /// Both handshakes, in one write.
    fn greet(&self, hash: InfoHash, size: usize, out: &mut Vec<u8>) {
        let mut hash = hash;
        if self.behaviour == Behaviour::WrongTorrent {
            hash.0[19] ^= 1;
        }
        let mut peer_id = *b"-DS0100-............";
        peer_id[12..].copy_from_slice(&mix(u64::from(hash.0[0]), hash.prefix64(), 0).to_be_bytes());
        out.extend_from_slice(&Handshake::new(hash, peer_id).encode());
        if self.behaviour == Behaviour::Garbage {
            (0..64u64).for_each(|nth| out.extend_from_slice(&mix(hash.prefix64(), nth, 0).to_be_bytes()));
            return;
        }
        let claimed = if let Behaviour::Claim(claim) = self.behaviour { claim } else { size as i64 };
        let ours =
            ExtendedHandshake { ut_metadata: Some(UT_METADATA), ut_pex: None, metadata_size: Some(claimed) };
        let mut frame = [0; SMALL_FRAME_BYTES];
        let len = ours.encode(&mut frame).expect("an extended handshake is some hundred bytes");
        out.extend_from_slice(&frame[..len]);
        if hash.0[1] & 1 == 1 {
            // Half of the torrents' peers say more than was asked: all pieces, and an unchoke.
            out.extend_from_slice(BITFIELD_AND_UNCHOKE);
        }
    }

    /// Writes what is left over, then what was asked for, as far as the socket takes it.
    fn write(&mut self, out: &mut Vec<u8>, library: &Library, stats: &mut Stats) -> Result<(), Over> {
        if !self.unsent.is_empty() {
            self.unsent.append(out);
            out.append(&mut self.unsent);
        }
        loop {
            self.fill(out, library, stats);
            if self.behaviour == Behaviour::Drip {
                self.unsent.append(out);
                return Ok(());
            }
            let mut sent = 0;
            while sent < out.len() {
                let Some(stream) = &mut self.stream else { return Err(Over) };
                match stream.write(&out[sent..]) {
                    Ok(0) => return Err(Over),
                    Ok(len) => sent += len,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        self.unsent.extend_from_slice(&out[sent..]);
                        return Ok(());
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => return Err(Over),
                }
            }
            if sent == 0 {
                return Ok(());
            }
            out.clear();
        }
    }

    /// Appends pieces that were asked for, until there is enough for one write.
    fn fill(&mut self, out: &mut Vec<u8>, library: &Library, stats: &mut Stats) {
        let Stage::Talking(talk) = &mut self.stage else { return };
        let Some(id) = talk.id else { return };
        while out.len() < WRITE_BYTES {
            let Some(piece) = talk.wanted.pop_front() else { return };
            match self.behaviour {
                Behaviour::Stall | Behaviour::Garbage | Behaviour::Silent | Behaviour::Close => {}
                Behaviour::Reject | Behaviour::Claim(_) => frame(Metadata::Reject { piece }, id, out),
                Behaviour::Honest | Behaviour::Drip | Behaviour::WrongTorrent => {
                    if !talk.serve(piece, id, library, out) {
                        frame(Metadata::Reject { piece }, id, out);
                        continue;
                    }
                    stats.pieces += 1;
                    talk.served += 1;
                    let whole = library.info(talk.torrent).len().div_ceil(PIECE);
                    stats.metadata_served += u64::from(talk.served == whole);
                }
                Behaviour::WrongMetadata => {
                    let start = out.len();
                    talk.serve(piece, id, library, out);
                    // The last byte of the payload; all before it is as it should be.
                    if let Some(byte) = out[start..].last_mut() {
                        *byte ^= 1;
                    }
                }
                Behaviour::WrongPieces => talk.serve_wrongly(piece, id, out),
            }
        }
    }

    /// Waits for room to write only while something waits to be written.
    fn watch(&mut self, registry: &Registry, token: Token) -> Result<(), Over> {
        let wanted = !self.unsent.is_empty() && self.behaviour != Behaviour::Drip;
        if wanted == self.writable_wanted {
            return Ok(());
        }
        self.writable_wanted = wanted;
        let interest = if wanted { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
        let Some(stream) = &mut self.stream else { return Err(Over) };
        registry.reregister(stream, token, interest).map_err(|_| Over)
    }
}

impl Talk {
    /// Appends a piece; false if the dictionary has no such piece.
    fn serve(&self, piece: u32, id: u8, library: &Library, out: &mut Vec<u8>) -> bool {
        let size = library.info(self.torrent).len();
        let start = piece as usize * PIECE;
        if start >= size {
            return false;
        }
        let end = size.min(start + PIECE);
        data_head(piece, size as i64, end - start, id, out);
        library.copy(self.torrent, start..end, out);
        true
    }

    /// Another piece, one beyond every bound, one too long, one too short, one empty.
    fn serve_wrongly(&self, piece: u32, id: u8, out: &mut Vec<u8>) {
        for (piece, len) in
            [(piece + 1, PIECE), (u32::MAX >> 1, 100), (piece, PIECE + 1_000), (piece, 7), (piece, 0)]
        {
            data_head(piece, i64::MAX, len, id, out);
            out.resize(out.len() + len, b'x');
        }
    }
}

/// The frame of a piece up to its payload, which the caller appends.
fn data_head(piece: u32, total_size: i64, payload_len: usize, id: u8, out: &mut Vec<u8>) {
    let start = out.len();
    frame(Metadata::Data { piece, total_size, payload: &[] }, id, out);
    let len = (out.len() - start - 4 + payload_len) as u32;
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

fn frame(message: Metadata<'_>, id: u8, out: &mut Vec<u8>) {
    let mut frame = [0; SMALL_FRAME_BYTES];
    let len = message.encode(id, &mut frame).expect("a message without payload is below 100 bytes");
    out.extend_from_slice(&frame[..len]);
}

/// Without the delay that would hold small frames back; accepted streams inherit it.
fn stream_socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    // So that a swarm can start again on the port of one that just ended.
    if cfg!(unix) {
        socket.set_reuse_address(true)?;
    }
    Ok(socket)
}

/// BEP 3 messages 5 (with 13 pieces) and 1.
const BITFIELD_AND_UNCHOKE: &[u8] = b"\0\0\0\x03\x05\xff\xf8\0\0\0\x01\x01";
/// The sub-id under which the farm wants `ut_metadata`.
const UT_METADATA: u8 = 3;
/// One metadata piece with its frame, and a half.
const READ_BYTES: usize = 24 * 1024;
/// Four pieces: enough for one write to fill a loopback socket's share of a turn.
const WRITE_BYTES: usize = 64 * 1024;
/// Handshakes and messages without payload.
const SMALL_FRAME_BYTES: usize = 256;
/// All pieces of the largest dictionary (2 MiB and a half) may be asked for at once.
const WANTED_MAX: usize = 512;
/// Half of a usual descriptor limit of 20,000: the crawler may live in the same process.
const CONNECTIONS_MAX: usize = 10_000;
const ACCEPTS_PER_TURN: usize = 64;
/// The most that Linux grants by default (net.core.somaxconn).
const BACKLOG: i32 = 4_096;
const IDLE_SECS: u64 = 120;
const LISTENERS_EACH: usize = 4;
const LISTENERS_HONEST: u64 = 32;
const MUTE_ADDRESSES: u64 = 16;
const SALT_ONE_HANDSHAKE: u64 = 0x60;
const SALT_BARE: u64 = 0x61;
const FILL_TIMEOUT: std::time::Duration = std::time::Duration::from_millis(500);
