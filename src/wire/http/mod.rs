//! HTTP/1.1 (RFC 9110, RFC 9112) as far as a client that gets things needs it: addresses, the
//! request, the head of a response, the size of a chunk.

mod head;
mod url;

pub use head::{ChunkSize, Framing, Head, Validators, chunk_size, request, response_head};
pub use url::Url;

/// Why bytes are no HTTP that we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Not a status line with headers, or a line that does not end with CR and LF.
    NotHttp,
    /// The head is longer than [`HEAD_MAX`], or has more than [`HEADERS_MAX`] headers.
    HeadTooLong,
    /// Two headers contradict each other about where the body ends (RFC 9112, section 6.3).
    Ambiguous,
    /// A transfer or content coding that was not asked for.
    Coding,
    /// The size of a chunk is no number, or its line never ends.
    BadChunk,
}

/// nginx sends heads of at most 4 or 8 KiB; curl takes 300 KiB.
pub const HEAD_MAX: usize = 16 << 10;
/// curl takes 5,000 in all; servers send some twenty.
pub const HEADERS_MAX: usize = 96;
/// A size has at most 16 digits; extensions are of no use to us (RFC 9112, section 7.1.1).
pub const CHUNK_LINE_MAX: usize = 256;
