//! Plain data that rooms hand each other. No behaviour beyond reading and building it.

pub mod archive;
pub mod charset;
pub mod dns;
pub mod network;
pub mod text;
pub mod tls;
pub mod torrent;
pub mod words;

pub use archive::{
    Drop, Pending, PendingState, Recovered, SavedId, SavedNode, Sighting, StoreOp, StoreResult,
};
pub use charset::Charset;
pub use network::{DefaultRoute, Interface, InterfaceAddress, NetworkInfo};
pub use tls::{Certificate, TlsCause, TlsFacts, TlsFailure, TlsVersion, TlsWish};
pub use torrent::{FileList, Torrent, TorrentFlags};
