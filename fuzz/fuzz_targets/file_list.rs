//! The file list in its row: whatever the file holds is read within bounds or refused, and what
//! was packed comes back.
#![no_main]

use bytes::Bytes;
use dht_hunter::base::{Id, UnixTime, varint};
use dht_hunter::model::{FileList, Torrent, TorrentFlags};
use dht_hunter::store::row::{Packer, unpack};
use dht_hunter_fuzz::Feed;
use dht_hunter_fuzz::heap::held_by;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    numbers(input);
    let mut feed = Feed::new(input);
    let damaged = feed.one_in(2);
    let name = feed.bytes(40);
    if damaged { damaged_column(feed.rest(), name) } else { round_trip(&mut feed, name) }
});

fn damaged_column(column: &[u8], name: &[u8]) {
    // Tables that are made once and stay are not what one column takes.
    unpack(b"", 0, &[3, 0]);
    let (taken, held) = held_by(|| unpack(name, 7, column));
    // Deflate makes at most 1,032 bytes out of one; vectors grow to twice their size, and a list of
    // paths is copied once.
    assert!(held.peak <= INFLATE_STATE + 4 * PACKED_MAX.min(1_100 * column.len() + 64));
    let Some(files) = taken else { return };
    assert_eq!(files.iter().count(), files.len());
    assert_eq!(unpack(name, 7, column).as_ref(), Some(&files));
    // Read as a list, packed anew and read again it is the same list.
    let torrent = torrent(name, files);
    let mut packer = Packer::new();
    let again = unpack(name, torrent.size_bytes, packer.pack(&torrent)).expect("what was packed");
    // Not the same bytes: a number may be written longer than it has to be.
    assert!(again.iter().eq(torrent.files.iter()));
}

fn round_trip(feed: &mut Feed<'_>, name: &[u8]) {
    let mut packer = Packer::new();
    // The packer's buffers serve one torrent after the other.
    for _ in 0..3 {
        let mut files = FileList::default();
        while !feed.is_empty() && files.len() < 200 && !feed.one_in(16) {
            let size = feed.u64() >> (feed.u8() % 64);
            let mut path = [&b""[..]; 4];
            let depth = feed.below(path.len() + 1);
            for part in &mut path[..depth] {
                *part = if feed.one_in(8) { name } else { feed.bytes(20) };
            }
            files.push(size, path[..depth].iter().copied());
        }
        let torrent = torrent(name, files);
        let column = packer.pack(&torrent);
        assert!(column.len() <= torrent.files.packed().len() + 1, "never longer than plain");
        assert_eq!(unpack(name, torrent.size_bytes, column).as_ref(), Some(&torrent.files));
        if let Some(files) = unpack(name, torrent.size_bytes, &column[..column.len() - 1]) {
            assert!(files.len() < torrent.files.len(), "a column cut short is not the whole list");
        }
    }
}

fn torrent(name: &[u8], files: FileList) -> Torrent {
    Torrent {
        infohash: Id([1; 20]),
        v2: None,
        name: name.to_vec(),
        size_bytes: files.iter().fold(0, |sum: u64, file| sum.saturating_add(file.size_bytes)),
        files,
        piece_length: 0,
        flags: TorrentFlags::default(),
        first_seen: UnixTime(0),
        fetched: UnixTime(0),
        peers: 0,
        raw: Bytes::new(),
    }
}

fn numbers(input: &[u8]) {
    let mut rest = input;
    if let Some(number) = varint::take(&mut rest) {
        let used = input.len() - rest.len();
        let mut out = Vec::new();
        varint::push(&mut out, number);
        assert!(out.len() <= used && used <= 10);
        assert_eq!(varint::take(&mut &out[..]), Some(number));
        if out.len() == used {
            assert_eq!(out, &input[..used], "as short as it can be, so the same");
        }
    }
}

/// What `store::row` takes out of one column at most.
const PACKED_MAX: usize = 32 << 20;
/// Two inflaters of zlib-rs with their windows.
const INFLATE_STATE: usize = 256 << 10;
