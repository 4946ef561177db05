//! What can happen in the world, and the digest of all that did.

use std::cmp::Ordering;
use std::net::SocketAddr;

use crate::base::Instant;
use crate::base::hash::sha1;
use crate::engine::io::{LinkId, Reason, Worked};

/// One engine, by the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostId(pub(super) usize);

/// Something that will happen; events at the same time happen in the order of `sequence`.
pub(super) struct Event {
    pub(super) at: Instant,
    pub(super) sequence: u64,
    pub(super) what: What,
}

/// One end of a stream. The number tells it from an earlier stream under the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) host: HostId,
    pub(super) link: LinkId,
    pub(super) number: u64,
}

pub(super) enum What {
    /// A deadline of this host.
    Wake(HostId),
    /// A datagram reaches the address that it is for.
    Datagram {
        from: SocketAddr,
        to: SocketAddr,
        data: Vec<u8>,
    },
    /// A connection reaches the address that it is for; `seen` is where it seems to come from.
    Connect {
        from: End,
        seen: SocketAddr,
        to: SocketAddr,
    },
    Opened(End),
    /// A made-up handshake is done.
    Secured(End),
    Bytes {
        end: End,
        data: Vec<u8>,
    },
    Eof(End),
    /// The stream broke, or was never made.
    Failed {
        end: End,
        reason: Reason,
    },
    /// A batch of this host's archive is due, if it still lives the same life.
    Commit {
        host: HostId,
        life: u32,
    },
    /// A worker thread of this host is done, if it still lives the same life.
    Worked {
        host: HostId,
        life: u32,
        worked: Worked,
    },
    /// The crowd does something of its own accord.
    Crowd,
    /// Bytes reach a DNS server on the stream of this end.
    Asked {
        end: End,
        data: Vec<u8>,
    },
}

impl What {
    /// The host that it happens to, if that is known before it happens.
    pub(super) fn host(&self) -> Option<HostId> {
        match self {
            Self::Wake(host) | Self::Commit { host, .. } | Self::Worked { host, .. } => Some(*host),
            Self::Opened(end)
            | Self::Secured(end)
            | Self::Bytes { end, .. }
            | Self::Eof(end)
            | Self::Failed { end, .. } => Some(end.host),
            Self::Asked { .. } | Self::Connect { .. } | Self::Crowd | Self::Datagram { .. } => None,
        }
    }

    /// For people.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Wake(_) => "wakes".to_owned(),
            Self::Datagram { from, to, data } => format!("{from} -> {to}: {}", describe_datagram(data)),
            Self::Connect { seen, to, .. } => format!("{seen} connects to {to}"),
            Self::Opened(end) => format!("stream {} is open", end.number),
            Self::Secured(end) => format!("stream {} is secured", end.number),
            Self::Bytes { end, data } => format!("stream {}: {} bytes", end.number, data.len()),
            Self::Eof(end) => format!("stream {}: the other end closed", end.number),
            Self::Failed { end, reason } => format!("stream {}: {reason:?}", end.number),
            Self::Commit { .. } => "the archive commits".to_owned(),
            Self::Worked { .. } => "a worker is done".to_owned(),
            Self::Crowd => "the crowd acts".to_owned(),
            Self::Asked { end, data } => {
                format!("stream {}: {} bytes reach a server", end.number, data.len())
            }
        }
    }
}

/// A datagram in few words.
pub(super) fn describe_datagram(data: &[u8]) -> String {
    use crate::wire::krpc::{self, Body, Method};
    let Ok(message) = krpc::decode(data) else {
        return describe_names(data).unwrap_or_else(|| format!("{} bytes of no known kind", data.len()));
    };
    let transaction: String = message.transaction.iter().map(|byte| format!("{byte:02x}")).collect();
    match message.body {
        Body::Query(query) => {
            let name = match query.method {
                Method::AnnouncePeer { .. } => "announce_peer",
                Method::FindNode { .. } => "find_node",
                Method::GetPeers { .. } => "get_peers",
                Method::Ping => "ping",
                Method::SampleInfohashes { .. } => "sample_infohashes",
                Method::Unknown { .. } => "unknown query",
            };
            format!("{name} {transaction}")
        }
        Body::Response(response) => {
            let (nodes, peers) = (response.nodes().count(), response.peers().count());
            let samples = response.samples.map(|samples| {
                format!(", {} samples, interval {} s", samples.hashes().count(), samples.interval_secs)
            });
            let samples = samples.unwrap_or_default();
            format!("response {transaction} of {}: {nodes} nodes, {peers} peers{samples}", response.id)
        }
        Body::Error(code, _) => format!("error {code} {transaction}"),
    }
}

/// A DNS message in few words.
fn describe_names(data: &[u8]) -> Option<String> {
    use crate::wire::dns::{Flags, Message, Name};
    let message = Message::parse(data).ok()?;
    let question = message.question?;
    let (header, name) = (message.header, Name::from_wire(question.name)?);
    let what = if header.flags.has(Flags::QR) { "answers" } else { "asks" };
    let (cut, rcode) = (header.flags.has(Flags::TC), header.flags.rcode());
    let counts = header.counts;
    Some(format!(
        "{what} {:04x} {name} {}: {rcode}, cut: {cut}, records: {counts:?}",
        header.id, question.kind
    ))
}

/// A running digest of every event with its time and all its bytes.
#[derive(Clone, Debug, Default)]
pub(super) struct Digest {
    so_far: [u8; 20],
    line: Vec<u8>,
}

impl Digest {
    pub(super) fn value(&self) -> [u8; 20] {
        self.so_far
    }

    pub(super) fn add(&mut self, event: &Event) {
        self.line.clear();
        self.line.extend_from_slice(&self.so_far);
        self.line.extend_from_slice(&event.at.0.to_be_bytes());
        let host = event.what.host().map_or(u64::MAX, |host| host.index() as u64);
        self.line.extend_from_slice(&host.to_be_bytes());
        match &event.what {
            What::Datagram { from, to, data } => {
                self.line.extend_from_slice(&[0, from.port() as u8, to.port() as u8]);
                self.line.extend_from_slice(data);
            }
            What::Bytes { data, .. } | What::Asked { data, .. } => self.line.extend_from_slice(data),
            What::Wake(_) => self.line.push(1),
            What::Connect { .. } => self.line.push(2),
            What::Opened(_) => self.line.push(3),
            What::Eof(_) => self.line.push(4),
            What::Failed { .. } => self.line.push(5),
            What::Commit { .. } => self.line.push(6),
            What::Crowd => self.line.push(7),
            What::Worked { .. } => self.line.push(8),
            What::Secured(_) => self.line.push(9),
        }
        self.so_far = sha1(&self.line);
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    /// The earliest is the greatest, as a heap wants it.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.sequence).cmp(&(self.at, self.sequence))
    }
}
