//! Torrents of every kind, with the data that makes a client seed them after its hash check.

use std::fs;
use std::path::Path;

use dht_hunter::base::InfoHash;
use dht_hunter::base::hash::{sha1, sha256};

/// The format of an info dictionary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    V1,
    /// BEP 52.
    V2,
    /// Both views of the same file.
    Hybrid,
}

/// One torrent of a single file.
#[derive(Clone, Debug)]
pub struct Made {
    /// Of a hybrid the one of v1, of v2 the truncated one.
    pub infohash: InfoHash,
    /// Of the file and of the torrent.
    pub name: String,
    pub data: Vec<u8>,
    /// The whole `.torrent` file.
    pub bytes: Vec<u8>,
}

impl Made {
    /// A torrent with this name. `node` (`HOST`, port) goes into the file as its DHT node (BEP 5).
    pub fn new(name: &str, format: Format, node: (&str, u16)) -> Self {
        let data = filling(name);
        let blocks: Vec<_> = data.chunks(PIECE).collect();
        let mut info = String::new().into_bytes();
        let mut layers = Vec::new();
        if format != Format::V1 {
            let leaves: Vec<_> = blocks.iter().map(|block| sha256(block)).collect();
            let root = merkle_root(leaves.clone());
            let file = [text("length"), int(data.len()), text("pieces root"), string(&root)].concat();
            let file = dict(&[string(b""), dict(&[file])]);
            info = [info, text("file tree"), dict(&[text(name), file])].concat();
            layers = [text("piece layers"), dict(&[string(&root), string(&leaves.concat())])].concat();
        }
        if format != Format::V2 {
            info.extend([text("length"), int(data.len())].concat());
        }
        if format != Format::V1 {
            info.extend([text("meta version"), int(2)].concat());
        }
        info.extend([text("name"), text(name), text("piece length"), int(PIECE)].concat());
        if format != Format::V2 {
            let pieces: Vec<_> = blocks.iter().flat_map(|block| sha1(block)).collect();
            info.extend([text("pieces"), string(&pieces)].concat());
        }
        let info = dict(&[info]);
        let nodes = [text("nodes"), list(&list(&[text(node.0), int(usize::from(node.1))].concat()))].concat();
        let bytes = dict(&[text("info"), info.clone(), nodes, layers]);
        let hash = if format == Format::V2 { sha256(&info)[..20].to_vec() } else { sha1(&info).to_vec() };
        let infohash = InfoHash::from_slice(&hash).expect("twenty bytes");
        Self { infohash, name: name.to_owned(), data, bytes }
    }

    /// The torrent file in one folder.
    pub fn write_torrent(&self, folder: &Path) {
        fs::write(folder.join(format!("{}.torrent", self.name)), &self.bytes).expect("a new file");
    }

    /// What it describes in another: who finds both seeds.
    pub fn write_data(&self, folder: &Path) {
        fs::write(folder.join(&self.name), &self.data).expect("a new file");
    }

    /// Whether all of it was downloaded.
    pub fn is_whole(&self, folder: &Path) -> bool {
        fs::read(folder.join(&self.name)).is_ok_and(|data| data == self.data)
    }
}

/// Two pieces, the second one short, that no other name gives.
fn filling(name: &str) -> Vec<u8> {
    let mut data = Vec::new();
    let mut block = sha256(name.as_bytes());
    while data.len() < PIECE + PIECE / 3 {
        data.extend(block);
        block = sha256(&block);
    }
    data
}

/// BEP 52: leaves that are missing are zeros.
fn merkle_root(mut level: Vec<[u8; 32]>) -> [u8; 32] {
    level.resize(level.len().next_power_of_two(), [0; 32]);
    while level.len() > 1 {
        level = level.chunks(2).map(|pair| sha256(&pair.concat())).collect();
    }
    level[0]
}

fn string(bytes: &[u8]) -> Vec<u8> {
    [format!("{}:", bytes.len()).as_bytes(), bytes].concat()
}

fn text(text: &str) -> Vec<u8> {
    string(text.as_bytes())
}

fn int(value: usize) -> Vec<u8> {
    format!("i{value}e").into_bytes()
}

fn list(inside: &[u8]) -> Vec<u8> {
    [b"l", inside, b"e"].concat()
}

/// Keys and values in turn, the keys in order.
fn dict(inside: &[Vec<u8>]) -> Vec<u8> {
    [b"d", &inside.concat()[..], b"e"].concat()
}

/// The smallest piece that BEP 52 has.
const PIECE: usize = 16_384;
