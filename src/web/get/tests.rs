//! Answers of every kind, whole and in pieces, and every way to be late or wrong.

use super::*;

const SMALL: Limits = Limits { body_bytes_max: 1_000, pace_bytes_min: 100, ..Limits::DEFAULT };

fn at(secs: u64) -> Instant {
    Instant::from_millis(1_000 + secs * 1_000)
}

fn get() -> Get {
    let url = Url::parse("http://a.test/list").unwrap();
    let mut get = Get::new(&url, &Validators::default(), SMALL, at(0));
    get.on_opened(at(1));
    let mut out = SendQueue::new(4_096);
    get.poll_write(&mut out);
    assert!(!out.is_empty(), "the request");
    get
}

/// Hands in an answer in pieces of `piece` bytes, as a link would, then the end of the stream.
fn answer(text: &[u8], piece: usize) -> Option<Event> {
    let (mut get, mut rest) = (get(), Vec::new());
    for piece in text.chunks(piece) {
        rest.extend_from_slice(piece);
        let Ok(used) = get.on_bytes(at(2), &rest) else { return get.poll_event() };
        rest.drain(..used);
        assert!(rest.len() <= http::HEAD_MAX);
    }
    get.on_eof();
    assert_eq!(get.next_deadline(), None, "it is over");
    get.poll_event()
}

/// The same however it comes; the content, unpacked.
fn content(text: &str) -> Result<String, Option<Event>> {
    let whole = answer(text.as_bytes(), text.len().max(1));
    for piece in [1, 2, 3, 7] {
        assert_eq!(answer(text.as_bytes(), piece), whole, "in pieces of {piece}: {text}");
    }
    match whole {
        Some(Event::Done(Reply::Content(body, _))) => {
            Ok(String::from_utf8(body.decode(1_000).unwrap()).unwrap())
        }
        other => Err(other),
    }
}

fn fault(text: &str) -> Fault {
    match content(text) {
        Err(Some(Event::Failed(fault))) => fault,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn a_body_ends_where_its_head_says() {
    let with = |headers: &str, body: &str| content(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}"));
    assert_eq!(with("Content-Length: 5\r\n", "hello, and more"), Ok("hello".to_owned()));
    assert_eq!(with("Content-Length: 0\r\n", ""), Ok(String::new()));
    assert_eq!(with("", "hello"), Ok("hello".to_owned()));
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_eq!(with(chunked, "3\r\nhel\r\n2;x=y\r\nlo\r\n0\r\nA: b\r\n\r\nmore"), Ok("hello".to_owned()));
    assert_eq!(with(chunked, "0\r\n\r\n"), Ok(String::new()));
    let early = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(content(early), Ok("hi".to_owned()));
}

#[test]
fn an_answer_without_content_says_what_it_is() {
    let said = |text: &str| match content(text) {
        Err(Some(Event::Done(reply))) => reply,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(said("HTTP/1.1 304 Not Modified\r\n\r\n"), Reply::NotModified);
    assert_eq!(said("HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found"), Reply::Status(404));
    assert_eq!(said("HTTP/1.1 206 Partial\r\nContent-Length: 1\r\n\r\nx"), Reply::Status(206));
    for status in [301, 302, 303, 307, 308] {
        let moved = said(&format!("HTTP/1.1 {status} Moved\r\nLocation: /x\r\n\r\n"));
        assert_eq!(moved, Reply::Moved("/x".to_owned()));
    }
}

#[test]
fn whoever_sends_nonsense_is_refused() {
    let head = |headers: &str, body: &str| fault(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n{body}"));
    let chunked = "Transfer-Encoding: chunked\r\n";
    assert_eq!(head("Content-Length: 5\r\n", "hell"), Fault::Cut);
    assert_eq!(head(chunked, "5\r\nhello\r\n"), Fault::Cut);
    assert_eq!(head(chunked, "5\r\nhello!\r\n0\r\n\r\n"), Fault::Http(http::Error::BadChunk));
    assert_eq!(head(chunked, "5\r\nhello\r\n-1\r\n"), Fault::Http(http::Error::BadChunk));
    assert_eq!(head(chunked, "0\r\nA: b\n\r\n"), Fault::Http(http::Error::BadChunk));
    assert_eq!(head("Content-Length: 1001\r\n", ""), Fault::TooLong);
    assert_eq!(head(chunked, "3e9\r\n"), Fault::TooLong);
    assert_eq!(head(chunked, "fffffffffffffff\r\n"), Fault::TooLong);
    assert_eq!(head("", &"x".repeat(1_001)), Fault::TooLong);
    assert_eq!(fault("HTTP/1.1 302 Found\r\n\r\n"), Fault::NoLocation);
    assert_eq!(fault("HTTP/1.1 101 Switching\r\n\r\n"), Fault::Http(http::Error::NotHttp));
    assert_eq!(fault("220 mail.test\r\n\r\n"), Fault::Http(http::Error::NotHttp));
    assert_eq!(fault(""), Fault::Cut);
    assert_eq!(fault(&"HTTP/1.1 100 Go on\r\n\r\n".repeat(1_000)), Fault::Http(http::Error::NotHttp));
    assert_eq!(
        fault(&format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(9_000))),
        Fault::Http(http::Error::HeadTooLong)
    );
    let trailers = format!("0\r\n{}", "a: b\r\n".repeat(9_000));
    assert_eq!(head(chunked, &trailers), Fault::Http(http::Error::HeadTooLong));
    let small = "1\r\nx\r\n".repeat(1_001);
    assert_eq!(head(chunked, &small), Fault::TooLong);
}

#[test]
fn a_server_that_speaks_first_is_none() {
    let url = Url::parse("http://a.test/").unwrap();
    let mut early = Get::new(&url, &Validators::default(), SMALL, at(0));
    assert!(early.on_bytes(at(0), b"HTTP/1.1 200 OK\r\n\r\n").is_err());
}

#[test]
fn each_stage_has_its_time() {
    let url = Url::parse("http://a.test/").unwrap();
    let mut late = Get::new(&url, &Validators::default(), SMALL, at(0));
    assert_eq!(late.next_deadline(), Some(at(10)));
    late.on_deadline(at(9));
    assert_eq!(late.poll_event(), None);
    late.on_deadline(at(10));
    assert_eq!(late.poll_event(), Some(Event::Failed(Fault::Timeout(Stage::Connect))));

    let mut get = get();
    assert_eq!(get.next_deadline(), Some(at(16)));
    assert_eq!(get.on_bytes(at(15), b"HTTP/1.1 200 OK\r\n"), Ok(0));
    get.on_deadline(at(16));
    assert_eq!(get.poll_event(), Some(Event::Failed(Fault::Timeout(Stage::Head))));
}

#[test]
fn a_body_that_trickles_is_given_up() {
    let mut get = get();
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n";
    assert_eq!(get.on_bytes(at(2), head), Ok(head.len()));
    assert_eq!(get.on_bytes(at(11), &[b'x'; 100]), Ok(100));
    get.on_deadline(at(12));
    assert_eq!((get.poll_event(), get.next_deadline()), (None, Some(at(22))));
    assert_eq!(get.on_bytes(at(21), &[b'x'; 99]), Ok(99));
    get.on_deadline(at(22));
    assert_eq!(get.poll_event(), Some(Event::Failed(Fault::TooSlow)));
}

#[test]
fn it_never_takes_longer_than_all_of_it_may() {
    let mut get = get();
    assert!(get.on_bytes(at(2), b"HTTP/1.1 200 OK\r\n\r\n").is_ok());
    let limits = Limits { body_bytes_max: 1 << 20, ..SMALL };
    get.limits = limits;
    let mut last = at(2);
    while let Some(due) = get.next_deadline() {
        assert!(due > last && get.on_bytes(last, &[b'x'; 100]).is_ok());
        get.on_deadline(due);
        last = due;
    }
    assert_eq!((last, get.poll_event()), (at(600), Some(Event::Failed(Fault::Timeout(Stage::Total)))));
}

quickcheck::quickcheck! {
    /// However an answer is cut into chunks and pieces, the same comes out.
    fn chunks_are_put_together(chunks: Vec<Vec<u8>>, piece: usize) -> bool {
        let mut text = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        let mut all = Vec::new();
        for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
            if all.len() + chunk.len() > SMALL.body_bytes_max {
                break;
            }
            text.extend(format!("{:X}\r\n", chunk.len()).bytes());
            text.extend(chunk);
            text.extend(b"\r\n");
            all.extend(chunk);
        }
        text.extend(b"0\r\n\r\n");
        let Some(Event::Done(Reply::Content(body, _))) = answer(&text, 1 + piece % 50) else { return false };
        body.decode(all.len()) == Ok(all)
    }

    /// Whatever comes, nothing breaks, and it is the same in pieces.
    fn any_bytes_end_in_one_event(tail: Vec<u8>, chunked: bool, piece: usize) -> bool {
        let framing: &[u8] = if chunked { b"Transfer-Encoding: chunked\r\n\r\n" } else { b"" };
        let text = [b"HTTP/1.1 200 OK\r\n", framing, &tail].concat();
        let whole = answer(&text, text.len());
        whole.is_some() && answer(&text, 1 + piece % 20) == whole
    }
}
