//! What was got, as it came: in pieces, and maybe compressed.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;

/// A body in pieces of at most 64 KiB bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    pieces: Vec<Vec<u8>>,
    len: usize,
    gzip: bool,
}

/// Why a body cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFault {
    /// It is longer than allowed when it is unpacked.
    TooLong,
    /// It is not what gzip makes, or was damaged.
    BadGzip,
}

impl Body {
    /// An empty one, which is compressed or not.
    pub(super) fn new(gzip: bool) -> Self {
        Self { gzip, ..Self::default() }
    }

    /// Bytes so far, as they came.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends bytes without moving those that are there.
    pub(super) fn push(&mut self, mut data: &[u8]) {
        self.len += data.len();
        while !data.is_empty() {
            let last = self.pieces.last_mut().filter(|piece| piece.len() < PIECE);
            let piece = match last {
                Some(piece) => piece,
                None => {
                    self.pieces.push(Vec::new());
                    let at = self.pieces.len() - 1;
                    &mut self.pieces[at]
                }
            };
            let taken = data.len().min(PIECE - piece.len());
            piece.extend_from_slice(&data[..taken]);
            data = &data[taken..];
        }
    }

    /// The content, of at most `bytes_max` bytes. Takes some hundred milliseconds for the largest:
    /// not for the loop.
    pub fn decode(self, bytes_max: usize) -> Result<Vec<u8>, BodyFault> {
        let pieces = Pieces { rest: self.pieces.into_iter(), piece: Vec::new(), at: 0 };
        let mut content = Vec::new();
        let most = bytes_max as u64 + 1;
        let read = match self.gzip {
            // Nothing at all stands for nothing, as browsers have it.
            true if self.len == 0 => Ok(0),
            true => MultiGzDecoder::new(pieces).take(most).read_to_end(&mut content),
            false => pieces.take(most).read_to_end(&mut content),
        };
        read.map_err(|_| BodyFault::BadGzip)?;
        if content.len() > bytes_max { Err(BodyFault::TooLong) } else { Ok(content) }
    }
}

/// Pieces one after the other, each let go once it is read.
struct Pieces {
    rest: std::vec::IntoIter<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.at == self.piece.len() {
            let Some(piece) = self.rest.next() else { return Ok(0) };
            (self.piece, self.at) = (piece, 0);
        }
        let taken = out.len().min(self.piece.len() - self.at);
        out[..taken].copy_from_slice(&self.piece[self.at..self.at + taken]);
        self.at += taken;
        Ok(taken)
    }
}

/// As much as a stream is read at once.
const PIECE: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn packed(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn body(gzip: bool, data: &[u8], piece: usize) -> Body {
        let mut body = Body::new(gzip);
        data.chunks(piece.max(1)).for_each(|piece| body.push(piece));
        body
    }

    #[test]
    fn a_bomb_is_let_out_as_far_as_is_allowed_and_no_further() {
        let zeros = vec![0; 8 << 20];
        let bomb = packed(&zeros);
        assert!(bomb.len() < zeros.len() / 100);
        assert_eq!(body(true, &bomb, 1_000).decode(1 << 20), Err(BodyFault::TooLong));
        assert_eq!(
            body(true, &bomb, 1_000).decode(zeros.len()).map(|content| content.len()),
            Ok(zeros.len())
        );
        assert_eq!(body(false, &bomb, 7).decode(bomb.len() - 1), Err(BodyFault::TooLong));
    }

    #[test]
    fn damage_is_noticed() {
        let whole = packed(b"some words that are long enough to be worth it, worth it, worth it");
        for cut in 1..whole.len() {
            assert_eq!(body(true, &whole[..cut], 9).decode(1_000), Err(BodyFault::BadGzip), "{cut}");
        }
        let mut other = whole.clone();
        *other.last_mut().unwrap() ^= 1;
        assert_eq!(body(true, &other, 9).decode(1_000), Err(BodyFault::BadGzip));
        assert_eq!(body(true, b"plain words", 9).decode(1_000), Err(BodyFault::BadGzip));
        assert_eq!(
            body(true, &[whole.as_slice(), b"more"].concat(), 9).decode(1_000),
            Err(BodyFault::BadGzip)
        );
        assert_eq!(body(true, b"", 9).decode(1_000), Ok(Vec::new()));
    }

    quickcheck::quickcheck! {
        fn what_went_in_comes_out(content: Vec<u8>, piece: usize, gzip: bool) -> bool {
            let sent = if gzip { packed(&content) } else { content.clone() };
            let body = body(gzip, &sent, piece % 100);
            body.len() == sent.len() && body.decode(content.len()) == Ok(content)
        }
    }
}
