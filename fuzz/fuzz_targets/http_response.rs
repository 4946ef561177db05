//! HTTP responses: any bytes, whole and in pieces, end in one event, within the bounds; what was got
//! is unpacked within its own; addresses are read again as they are written.
#![no_main]

use dht_hunter::base::Instant;
use dht_hunter::web::{BodyFault, Event, Get, Limits, Reply};
use dht_hunter::wire::http::{HEAD_MAX, Url, Validators, request};
use libfuzzer_sys::fuzz_target;

const CONTENT_MAX: usize = 1 << 16;

fuzz_target!(|input: &[u8]| {
    let Some(([piece, kind], data)) = input.split_first_chunk::<2>() else { return };
    addresses(data);
    let head: &[u8] = match kind % 5 {
        0 => b"",
        1 => b"HTTP/1.1 200 OK\r\n",
        2 => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        3 => b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
        _ => b"HTTP/1.1 302 Found\r\nLocation: ",
    };
    let text = [head, data].concat();
    let whole = got(&text, text.len().max(1));
    assert_eq!(got(&text, 1 + usize::from(*piece)), whole);
    if let Event::Done(Reply::Content(body, validators)) = whole {
        assert!(body.len() <= 2_000);
        let url = Url::parse("http://a.test/").expect("an address");
        let lines = [&validators.etag, &validators.last_modified].into_iter().flatten().count();
        let asked = request(&url, &validators);
        assert_eq!(asked.iter().filter(|byte| **byte == b'\n').count(), 7 + lines);
        match body.decode(CONTENT_MAX) {
            Ok(content) => assert!(content.len() <= CONTENT_MAX),
            Err(BodyFault::TooLong | BodyFault::BadGzip) => {}
        }
    }
});

fn got(text: &[u8], piece: usize) -> Event {
    let url = Url::parse("http://a.test/x").expect("an address");
    let limits = Limits { body_bytes_max: 2_000, ..Limits::DEFAULT };
    let mut get = Get::new(&url, &Validators::default(), limits, Instant(1));
    get.on_opened(Instant(2));
    let mut rest = Vec::new();
    for piece in text.chunks(piece) {
        rest.extend_from_slice(piece);
        let Ok(used) = get.on_bytes(Instant(3), &rest) else { break };
        rest.drain(..used);
        assert!(rest.len() <= HEAD_MAX);
    }
    get.on_eof();
    assert_eq!(get.next_deadline(), None);
    get.on_deadline(Instant::FAR);
    let event = get.poll_event().expect("it has an end");
    assert_eq!(get.poll_event(), None);
    event
}

fn addresses(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let base = Url::parse("https://a.test:8/b/c?d").expect("an address");
    for url in [Url::parse(text), base.join(text)].into_iter().flatten() {
        assert_eq!(Url::parse(&url.to_string()), Some(url.clone()));
        let line = request(&url, &Validators::default());
        assert_eq!(line.iter().filter(|byte| **byte == b'\n').count(), 7);
    }
}
