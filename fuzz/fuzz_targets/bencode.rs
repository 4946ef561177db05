//! Bencode: three sets of limits over the same bytes, the cursor beside them, and back.
#![no_main]

use dht_hunter::wire::bencode::{Cursor, Error, Kind, Limits, Value, Writer, decode, decode_prefix};
use dht_hunter_fuzz::heap::held_by;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (strict, held) = held_by(|| decode(input, &Limits::STRICT));
    assert_eq!(held.peak, 0, "decoding allocates nothing");
    let krpc = decode_prefix(input, &Limits::KRPC);
    let info = decode_prefix(input, &Limits::INFO);
    if let Ok(value) = strict {
        assert_eq!(encoded(value, input.len()), input, "what is canonical is written as it came");
        assert_eq!(info, Ok((value, input.len())), "what strict decoding takes, lenient takes too");
    }
    for (decoded, limits) in [(krpc, Limits::KRPC), (info, Limits::INFO)] {
        let Ok((value, used)) = decoded else { continue };
        assert!(used <= input.len());
        let (depth, tokens) = measure(value);
        assert!(depth <= limits.depth && tokens <= limits.tokens, "{depth} deep, {tokens} tokens");
        assert_eq!(decode_prefix(input, &Limits::INFO), Ok((value, used)));
        read_again(value, &input[..used]);
    }
    cursor_agrees(input, info.map(|(_, used)| used));
});

/// Written and read again it is the same value, and written once more the same bytes.
fn read_again(value: Value<'_>, input: &[u8]) {
    let written = encoded(value, input.len());
    let (again, used) = decode_prefix(&written, &Limits::INFO).expect("what was written can be read");
    assert_eq!((used, encoded(again, input.len())), (written.len(), written.clone()));
    // Only order, repetition and leading zeros may be what keeps it from being canonical.
    match decode(&written, &Limits::STRICT) {
        Ok(_) | Err(Error::UnsortedKey) => {}
        Err(error) => panic!("written as {error:?}"),
    }
}

fn cursor_agrees(input: &[u8], used: Result<usize, Error>) {
    let mut cursor = Cursor::new(input);
    let skipped = cursor.skip();
    let Ok(used) = used else { return };
    assert_eq!(skipped, Ok(()));
    let mut exact = Cursor::new(&input[..used]);
    assert_eq!((exact.skip(), exact.kind()), (Ok(()), Err(Error::UnexpectedEnd)));
    if let Some(len) = used.checked_sub(1) {
        assert!(Cursor::new(&input[..len]).skip().is_err());
    }
    let mut walking = Cursor::new(&input[..used]);
    walk(&mut walking).expect("what was checked can be walked");
    assert_eq!(walking.kind(), Err(Error::UnexpectedEnd));
}

fn walk(cursor: &mut Cursor<'_>) -> Result<(), Error> {
    match cursor.kind()? {
        Kind::Bytes => assert!(cursor.bytes()?.is_some()),
        Kind::Int => assert!(cursor.int()?.is_some()),
        Kind::List => {
            assert!(cursor.enter(Kind::List)?);
            while !cursor.leave()? {
                walk(cursor)?;
            }
        }
        Kind::Dict => {
            assert!(cursor.enter(Kind::Dict)?);
            while cursor.key()?.is_some() {
                walk(cursor)?;
            }
        }
        Kind::End => return Err(Error::UnexpectedByte),
    }
    Ok(())
}

/// Nesting, and values and keys in all.
fn measure(value: Value<'_>) -> (u32, u32) {
    match value {
        Value::Int(_) | Value::Bytes(_) => (0, 1),
        Value::List(list) => {
            let inside = list.iter().map(measure);
            let (depth, tokens) = inside.fold((0, 0), |sum, it| (sum.0.max(it.0), sum.1 + it.1));
            (depth + 1, tokens + 1)
        }
        Value::Dict(dict) => {
            if let Some((key, first)) = dict.iter().next() {
                assert_eq!(dict.get(key), Some(first));
            }
            let inside = dict.iter().map(|(_, value)| {
                let it = measure(value);
                (it.0, it.1 + 1)
            });
            let (depth, tokens) = inside.fold((0, 0), |sum, it| (sum.0.max(it.0), sum.1 + it.1));
            (depth + 1, tokens + 1)
        }
    }
}

/// Never longer than what it was read from, by the leading zeros.
fn encoded(value: Value<'_>, room: usize) -> Vec<u8> {
    let mut out = vec![0; room];
    let mut writer = Writer::new(&mut out);
    write(value, &mut writer);
    let len = writer.finish().expect("the written form is not longer than the read one");
    out.truncate(len);
    out
}

fn write(value: Value<'_>, out: &mut Writer<'_>) {
    match value {
        Value::Int(int) => _ = out.int(int),
        Value::Bytes(bytes) => _ = out.bytes(bytes),
        Value::List(list) => {
            out.raw(b"l");
            list.iter().for_each(|item| write(item, out));
            out.raw(b"e");
        }
        Value::Dict(dict) => {
            out.raw(b"d");
            for (key, value) in dict.iter() {
                out.bytes(key);
                write(value, out);
            }
            out.raw(b"e");
        }
    }
}
