//! The request, and the head of what comes back.

use super::url::Url;
use super::{CHUNK_LINE_MAX, Error, HEAD_MAX, HEADERS_MAX};

/// What tells one version of a thing from the next (RFC 9110, section 8.8), as the server wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Validators {
    /// `ETag`
    pub etag: Option<String>,
    /// `Last-Modified`
    pub last_modified: Option<String>,
}

/// The head of a response, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The status code, 100 to 999.
    pub status: u16,
    /// Where the body ends.
    pub framing: Framing,
    /// `Content-Encoding: gzip`
    pub gzip: bool,
    /// `Location`
    pub location: Option<String>,
    /// What to ask with the next time.
    pub validators: Validators,
}

/// Where a body ends (RFC 9112, section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Length(u64),
    /// After the last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// The line before a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkSize {
    /// Bytes of data that follow; 0: it is the last one.
    pub size: u64,
    /// Bytes that the line takes, its end included.
    pub line_bytes: usize,
}

/// A GET of `url`, unless it still is what `known` says.
pub fn request(url: &Url, known: &Validators) -> Vec<u8> {
    let mut text = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", url.target, url.authority());
    text += concat!("User-Agent: dht-hunter/", env!("CARGO_PKG_VERSION"), "\r\n");
    text += "Accept: */*\r\nAccept-Encoding: gzip\r\nConnection: close\r\n";
    if let Some(etag) = &known.etag {
        text += &format!("If-None-Match: {etag}\r\n");
    }
    if let Some(date) = &known.last_modified {
        text += &format!("If-Modified-Since: {date}\r\n");
    }
    text += "\r\n";
    text.into_bytes()
}

/// The head at the beginning of `data` and how many bytes it takes; `None` if it has not ended yet.
pub fn response_head(data: &[u8]) -> Result<Option<(Head, usize)>, Error> {
    let within = &data[..data.len().min(HEAD_MAX)];
    let Some(end) = within.windows(4).position(|four| four == b"\r\n\r\n") else {
        return if within.len() < HEAD_MAX { Ok(None) } else { Err(Error::HeadTooLong) };
    };
    let text = &within[..end + 4];
    // The parser takes bare line feeds, over which two readers may disagree.
    let bare = |at: usize| text[at] == b'\n' && (at == 0 || text[at - 1] != b'\r');
    if (0..text.len()).any(bare) {
        return Err(Error::NotHttp);
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(text) {
        Ok(httparse::Status::Complete(used)) if used == text.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Error::HeadTooLong),
        _ => return Err(Error::NotHttp),
    }
    let status = response.code.filter(|code| (100..=999).contains(code)).ok_or(Error::NotHttp)?;
    let version = response.version.ok_or(Error::NotHttp)?;
    read(status, version, response.headers).map(|head| Some((head, text.len())))
}

fn read(status: u16, version: u8, headers: &[httparse::Header<'_>]) -> Result<Head, Error> {
    let mut head = Head {
        status,
        framing: Framing::Close,
        gzip: false,
        location: None,
        validators: Validators::default(),
    };
    let (mut length, mut chunked) = (None, false);
    for header in headers {
        let value =
            || std::str::from_utf8(header.value).ok().filter(|value| is_plain(value)).map(str::to_owned);
        match header.name {
            name if name.eq_ignore_ascii_case("content-length") => {
                let said = number(header.value)?;
                if length.is_some_and(|length| length != said) {
                    return Err(Error::Ambiguous);
                }
                length = Some(said);
            }
            name if name.eq_ignore_ascii_case("transfer-encoding") => {
                if chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Error::Coding);
                }
                chunked = true;
            }
            name if name.eq_ignore_ascii_case("content-encoding") => match header.value {
                value if value.is_empty() || value.eq_ignore_ascii_case(b"identity") => {}
                _ if head.gzip => return Err(Error::Coding),
                value if value.eq_ignore_ascii_case(b"gzip") || value.eq_ignore_ascii_case(b"x-gzip") => {
                    head.gzip = true;
                }
                _ => return Err(Error::Coding),
            },
            name if name.eq_ignore_ascii_case("location") => head.location = value(),
            name if name.eq_ignore_ascii_case("etag") => head.validators.etag = value(),
            name if name.eq_ignore_ascii_case("last-modified") => head.validators.last_modified = value(),
            _ => {}
        }
    }
    head.framing = match (length, chunked) {
        _ if status < 200 || status == 204 || status == 304 => Framing::None,
        (Some(_), true) => return Err(Error::Ambiguous),
        // HTTP/1.0 has no chunks (RFC 9112, section 6.1).
        (None, true) if version == 0 => return Err(Error::Ambiguous),
        (None, true) => Framing::Chunked,
        (Some(length), false) => Framing::Length(length),
        (None, false) => Framing::Close,
    };
    Ok(head)
}

/// The size of the chunk that begins at `data`; `None` if its line has not ended yet.
pub fn chunk_size(data: &[u8]) -> Result<Option<ChunkSize>, Error> {
    let within = &data[..data.len().min(CHUNK_LINE_MAX)];
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        return if within.len() < CHUNK_LINE_MAX { Ok(None) } else { Err(Error::BadChunk) };
    };
    let line = within[..end].strip_suffix(b"\r").ok_or(Error::BadChunk)?;
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    // Behind the number only an extension may stand, which is passed over.
    let rest = line[digits..].trim_ascii_start();
    let plain = rest.iter().all(|byte| *byte == b'\t' || (b' '..=b'~').contains(byte));
    if !(1..=CHUNK_DIGITS_MAX).contains(&digits) || !(rest.is_empty() || rest[0] == b';') || !plain {
        return Err(Error::BadChunk);
    }
    let size = line[..digits].iter().fold(0, |size, digit| size << 4 | u64::from(hex(*digit)));
    Ok(Some(ChunkSize { size, line_bytes: end + 1 }))
}

/// A digit that is known to be one.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Decimal digits and nothing else: no sign, no list.
fn number(text: &[u8]) -> Result<u64, Error> {
    if text.is_empty() || text.len() > LENGTH_DIGITS_MAX || !text.iter().all(u8::is_ascii_digit) {
        return Err(Error::Ambiguous);
    }
    Ok(text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// It may be sent back in a header, or become an address.
fn is_plain(value: &str) -> bool {
    !value.is_empty() && value.len() <= VALUE_MAX && value.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

/// 15 hex digits fit into 64 bits with room to add.
const CHUNK_DIGITS_MAX: usize = 15;
/// 18 decimal digits fit into 64 bits.
const LENGTH_DIGITS_MAX: usize = 18;
/// As long as an address may be.
const VALUE_MAX: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Option<Head>, Error> {
        response_head(text.as_bytes()).map(|read| read.map(|(head, _)| head))
    }

    fn framing(headers: &str) -> Result<Framing, Error> {
        let read = head(&format!("HTTP/1.1 200 OK\r\n{headers}\r\n"));
        read.map(|head| head.expect("it is whole").framing)
    }

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nETag: \"a\"\r\nlast-modified: then\r\nContent-Encoding: gzip\r\n\r\nhello";
        let (read, used) = response_head(text.as_bytes()).unwrap().unwrap();
        assert_eq!(
            (read.status, read.framing, read.gzip, &text[used..]),
            (200, Framing::Length(5), true, "hello")
        );
        assert_eq!(read.validators.etag.as_deref(), Some("\"a\""));
        assert_eq!(read.validators.last_modified.as_deref(), Some("then"));
        for cut in 0..used {
            assert_eq!(response_head(&text.as_bytes()[..cut]), Ok(None), "{cut}");
        }
    }

    #[test]
    fn where_a_body_ends_is_never_guessed() {
        assert_eq!(framing(""), Ok(Framing::Close));
        assert_eq!(framing("Content-Length: 7\r\nContent-Length: 7\r\n"), Ok(Framing::Length(7)));
        assert_eq!(framing("Transfer-Encoding: Chunked\r\n"), Ok(Framing::Chunked));
        for (headers, error) in [
            ("Content-Length: 7\r\nContent-Length: 8\r\n", Error::Ambiguous),
            ("Content-Length: 7, 7\r\n", Error::Ambiguous),
            ("Content-Length: +7\r\n", Error::Ambiguous),
            ("Content-Length: -1\r\n", Error::Ambiguous),
            ("Content-Length: \r\n", Error::Ambiguous),
            ("Content-Length: 99999999999999999999\r\n", Error::Ambiguous),
            ("Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", Error::Ambiguous),
            ("Transfer-Encoding: gzip, chunked\r\n", Error::Coding),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", Error::Coding),
            ("Content-Encoding: br\r\n", Error::Coding),
            ("Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", Error::Coding),
            ("A: b\nC: d\r\n", Error::NotHttp),
            ("A : b\r\n", Error::NotHttp),
        ] {
            assert_eq!(framing(headers), Err(error), "{headers}");
        }
        let without = |status: u16| head(&format!("HTTP/1.1 {status} x\r\nContent-Length: 9\r\n\r\n"));
        for status in [100, 204, 304] {
            assert_eq!(without(status).unwrap().unwrap().framing, Framing::None);
        }
        let old = head("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(old, Err(Error::Ambiguous));
    }

    #[test]
    fn what_is_no_head_is_refused() {
        for (text, error) in [
            ("SSH-2.0-x\r\n\r\n".to_owned(), Error::NotHttp),
            ("HTTP/2 200\r\n\r\n".to_owned(), Error::NotHttp),
            ("HTTP/1.1 20x OK\r\n\r\n".to_owned(), Error::NotHttp),
            ("HTTP/1.1 099 OK\r\n\r\n".to_owned(), Error::NotHttp),
            ("x".repeat(HEAD_MAX), Error::HeadTooLong),
            (format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1)), Error::HeadTooLong),
        ] {
            assert_eq!(head(&text), Err(error), "{text:.40}");
        }
    }

    #[test]
    fn what_is_sent_back_is_plain() {
        let read = head("HTTP/1.1 200 OK\r\nETag: \"\u{e9}\"\r\nLocation: a\tb\r\n\r\n").unwrap().unwrap();
        assert_eq!((read.validators.etag, read.location), (None, None));
        let url = Url::parse("http://a.test:8/x").unwrap();
        let known = Validators { etag: Some("W/\"1\"".to_owned()), last_modified: None };
        let text = String::from_utf8(request(&url, &known)).unwrap();
        assert!(text.starts_with("GET /x HTTP/1.1\r\nHost: a.test:8\r\n"), "{text}");
        assert!(text.ends_with("\r\nIf-None-Match: W/\"1\"\r\n\r\n"), "{text}");
    }

    #[test]
    fn sizes_of_chunks_are_hex_numbers_and_nothing_else() {
        let size = |text: &str| {
            chunk_size(text.as_bytes()).map(|read| read.map(|read| (read.size, read.line_bytes)))
        };
        assert_eq!(size("1aF\r\n"), Ok(Some((0x1af, 5))));
        assert_eq!(size("0\r\n\r\n"), Ok(Some((0, 3))));
        assert_eq!(size("5 ; a=\"b\"\r\nhello"), Ok(Some((5, 11))));
        assert_eq!(size("5\r"), Ok(None));
        let long = format!("5;{}", "x".repeat(CHUNK_LINE_MAX));
        for bad in [
            "\r\n",
            "x\r\n",
            "5\n",
            "-1\r\n",
            "0x5\r\n",
            "5 5\r\n",
            "5;\u{1}\r\n",
            "ffffffffffffffff\r\n",
            &long,
        ] {
            assert_eq!(size(bad), Err(Error::BadChunk), "{bad}");
        }
    }
}
