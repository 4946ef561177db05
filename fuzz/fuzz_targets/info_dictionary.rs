//! Info dictionaries: the hash decides, the parse reads what real ones hold, and what it read fits
//! together and into memory.
#![no_main]

use bytes::Bytes;
use dht_hunter::base::{Id, UnixTime, hash};
use dht_hunter::metadata::torrent::{Heard, parse};
use dht_hunter::metadata::verify;
use dht_hunter::model::FileList;
use dht_hunter::model::torrent::display_name;
use dht_hunter_fuzz::heap::held_by;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let raw = Bytes::copy_from_slice(input);
    let v1 = Id(hash::sha1(&raw));
    let proved = verify(v1, &raw).expect("its own hash");
    assert_eq!((proved.v1, proved.v2), (Some(v1), None));
    assert!(verify(Id([0; 20]), &raw).is_none());
    let long = hash::sha256(&raw);
    let short = Id::from_slice(&long[..20]).expect("20 bytes");
    let by_v2 = verify(short, &raw);
    let heard = Heard { first_seen: UnixTime(1), fetched: UnixTime(2), peers: 3 };
    let (parsed, held) = held_by(|| parse(raw.clone(), proved, heard));
    // A tree names a directory once, and each file's path repeats it; a vector may be twice its size.
    let room = 2 * PATHS_MAX + 64 * input.len() + 4_096;
    assert!(held.peak <= room, "{} bytes held for {}", held.peak, input.len());
    let Ok(torrent) = parsed else { return };
    assert_eq!((torrent.raw.as_ref(), torrent.first_seen, torrent.peers), (input, UnixTime(1), 3));
    let flags = torrent.flags;
    assert_eq!(torrent.infohash, if flags.v2_only { short } else { v1 });
    assert_eq!(torrent.v2, (flags.v2_only || flags.hybrid).then_some(long));
    assert_eq!(by_v2.is_some(), torrent.v2.is_some(), "whoever is asked by the long hash has one");
    if let Some(by_v2) = by_v2 {
        let again = parse(raw, by_v2, heard).expect("the same dictionary");
        assert_eq!(again, torrent, "by whichever hash it was asked for");
    }
    let files: Vec<_> = torrent.files.iter().collect();
    assert!(!files.is_empty() && files.len() == torrent.files.len());
    assert_eq!(files.iter().map(|file| file.size_bytes).sum::<u64>(), torrent.size_bytes);
    let charset = torrent.files.charset();
    let mut again = FileList::from_packed(torrent.files.packed().to_vec()).expect("its own form");
    again.set_charset(charset);
    assert_eq!(again, torrent.files);
    for file in files.iter().take(64) {
        shown(&file.display_path());
        let parts = file.path.iter().filter_map(|part| display_name(part, charset));
        parts.for_each(|part| assert!(!part.contains(['/', '\\'])));
    }
    shown(&torrent.display_name());
});

fn shown(text: &str) {
    assert!(!text.is_empty() && !text.chars().any(char::is_control));
}

/// `metadata::torrent` lets all paths together be as long as the largest dictionary.
const PATHS_MAX: usize = 16 << 20;
