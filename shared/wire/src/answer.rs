//! What a server answers, as HTTP/1.1 frames it.

use httparse::{EMPTY_HEADER, Response, Status, parse_chunk_size};

/// Headers of an answer at most.
const HEADERS_MAX: usize = 64;
/// The longest head that is read, in bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// The longest line with a chunk's size, or of what follows the last chunk.
const LINE_BYTES_MAX: usize = 4 * 1024;

/// Where a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    UntilClose,
}

/// The head of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) framing: Framing,
    /// The connection may be used again.
    pub(crate) is_kept: bool,
    /// Of an error only: when it was said.
    pub(crate) date: Option<String>,
    /// Of an error only: its name, where a header says it.
    pub(crate) error_type: Option<String>,
    /// How many bytes the head has.
    pub(crate) bytes: usize,
}

/// Is told the headers of an answer: name and value.
pub(crate) type Headers<'a> = dyn FnMut(&str, &str) + Send + 'a;

/// Reads a head from the beginning; none while some of it is missing. What has no meaning here is for `others`.
pub(crate) fn head(bytes: &[u8], others: &mut Headers<'_>) -> Result<Option<Head>, &'static str> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut response = Response::new(&mut headers);
    let used = match response.parse(bytes) {
        Ok(Status::Complete(used)) => used,
        Ok(Status::Partial) if bytes.len() > HEAD_BYTES_MAX => return Err("its head is longer than 32 KB"),
        Ok(Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err("it has more than 64 headers"),
        Err(_) => return Err("its head cannot be read"),
    };
    let status = response.code.ok_or("it has no status")?;
    // Version 1.0 closes after every answer.
    let mut is_kept = response.version == Some(1);
    let (mut length, mut is_chunked) = (None, false);
    let (mut date, mut error_type) = (None, None);
    for header in response.headers {
        let value = std::str::from_utf8(header.value).unwrap_or_default().trim();
        if header.name.eq_ignore_ascii_case("content-length") {
            let found = Some(value.parse::<u64>().map_err(|_| "its length is no number")?);
            if length.is_some() && length != found {
                return Err("it has two lengths");
            }
            length = found;
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err("its transfer encoding is not known here");
            }
            is_chunked = true;
        } else if header.name.eq_ignore_ascii_case("content-encoding") && !value.eq_ignore_ascii_case("identity") {
            return Err("it is compressed, which nobody asked for");
        } else if header.name.eq_ignore_ascii_case("connection") {
            is_kept &= !value.split(',').any(|option| option.trim().eq_ignore_ascii_case("close"));
        } else if status != 200 && header.name.eq_ignore_ascii_case("date") {
            date = Some(value.to_owned());
        } else if status != 200 && header.name.eq_ignore_ascii_case("x-amzn-errortype") {
            error_type = Some(value.to_owned());
        } else {
            others(header.name, value);
        }
    }
    let framing = match (is_chunked, length) {
        // <https://www.rfc-editor.org/rfc/rfc9112#section-6.3>: both at once is how requests are smuggled.
        (true, Some(_)) => return Err("it has a length and chunks"),
        _ if (100..200).contains(&status) || status == 204 || status == 304 => Framing::Length(0),
        (true, None) => Framing::Chunked,
        (false, Some(length)) => Framing::Length(length),
        (false, None) => Framing::UntilClose,
    };
    is_kept &= framing != Framing::UntilClose;
    Ok(Some(Head { status, framing, is_kept, date, error_type, bytes: used }))
}

/// Takes chunks apart where they stand: what is decoded moves down over the frames.
#[derive(Debug)]
pub(crate) struct Chunks {
    /// Where the next frame begins.
    at: usize,
    /// Where the decoded body ends.
    end: usize,
    is_last: bool,
}

/// What the next step of [`Chunks`] needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// At least so many bytes more.
    More(usize),
    /// Nothing: the body ends here, and the frames end there.
    Done { body_end: usize, frames_end: usize },
}

impl Chunks {
    /// Of a body that begins there.
    pub(crate) fn from(start: usize) -> Self {
        Self { at: start, end: start, is_last: false }
    }

    /// Goes on with what has arrived. `start` is where the body begins, of which at most `body_max` bytes are taken.
    pub(crate) fn step(&mut self, bytes: &mut [u8], body_max: usize, start: usize) -> Result<Step, ChunkProblem> {
        loop {
            let rest = bytes.get(self.at..).unwrap_or_default();
            if self.is_last {
                let Some(line) = rest.windows(2).position(|pair| pair == b"\r\n") else { return more_of_line(rest) };
                self.at += line + 2;
                if line == 0 {
                    return Ok(Step::Done { body_end: self.end, frames_end: self.at });
                }
                continue;
            }
            let (used, size) = match parse_chunk_size(rest) {
                Ok(Status::Complete(found)) => found,
                Ok(Status::Partial) => return more_of_line(rest),
                Err(_) => return Err(ChunkProblem::Http("the size of a chunk cannot be read")),
            };
            if size == 0 {
                self.at += used;
                self.is_last = true;
                continue;
            }
            let total = size.saturating_add((self.end - start) as u64);
            let Some(size) = usize::try_from(size).ok().filter(|_| total <= body_max as u64) else {
                return Err(ChunkProblem::TooLarge(total));
            };
            let ends = used + size + 2;
            if rest.len() < ends {
                return Ok(Step::More(ends - rest.len()));
            }
            if rest[ends - 2..ends] != *b"\r\n" {
                return Err(ChunkProblem::Http("a chunk does not end where it said"));
            }
            let data = self.at + used;
            bytes.copy_within(data..data + size, self.end);
            self.end += size;
            self.at += ends;
        }
    }
}

/// Why chunks cannot be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChunkProblem {
    Http(&'static str),
    TooLarge(u64),
}

fn more_of_line(rest: &[u8]) -> Result<Step, ChunkProblem> {
    if rest.len() > LINE_BYTES_MAX {
        return Err(ChunkProblem::Http("a line between chunks is longer than 4 KB"));
    }
    Ok(Step::More(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Result<Option<Head>, &'static str> {
        head(text.as_bytes(), &mut |_, _| {})
    }

    #[test]
    fn a_head_says_where_the_body_ends_and_whether_the_connection_is_kept() {
        let kept = |text: &str| {
            let head = of(text).unwrap().unwrap();
            (head.status, head.framing, head.is_kept)
        };
        let ok = "HTTP/1.1 200 OK\r\n";
        assert_eq!(kept(&format!("{ok}Content-Length: 7\r\n\r\n")), (200, Framing::Length(7), true));
        assert_eq!(kept(&format!("{ok}transfer-encoding: chunked\r\n\r\n")), (200, Framing::Chunked, true));
        assert_eq!(kept(&format!("{ok}\r\n")), (200, Framing::UntilClose, false));
        let closing = format!("{ok}content-length: 7\r\nConnection: Keep-Alive, Close\r\n\r\n");
        assert_eq!(kept(&closing), (200, Framing::Length(7), false));
        assert_eq!(kept("HTTP/1.0 200 OK\r\ncontent-length: 7\r\n\r\n"), (200, Framing::Length(7), false));
        assert_eq!(kept("HTTP/1.1 100 Continue\r\n\r\n"), (100, Framing::Length(0), true));
        assert_eq!(kept("HTTP/1.1 304 Same\r\ncontent-length: 7\r\n\r\n"), (304, Framing::Length(0), true));
    }

    #[test]
    fn an_error_keeps_its_date_and_its_name() {
        let text = "HTTP/1.1 400 Bad\r\ndate: D\r\nx-amzn-ErrorType: T\r\ncontent-length: 0\r\n\r\n";
        let head = of(text).unwrap().unwrap();
        assert_eq!((head.date.as_deref(), head.error_type.as_deref(), head.bytes), (Some("D"), Some("T"), text.len()));
    }

    #[test]
    fn what_cannot_be_framed_is_refused() {
        let ok = "HTTP/1.1 200 OK\r\n";
        assert_eq!(of(&ok[..9]), Ok(None));
        for wrong in [
            "GET / HTTP/1.1\r\n\r\n".to_owned(),
            format!("{ok}content-length: -1\r\n\r\n"),
            format!("{ok}content-length: 1\r\ncontent-length: 2\r\n\r\n"),
            format!("{ok}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n"),
            format!("{ok}transfer-encoding: gzip\r\n\r\n"),
            format!("{ok}content-encoding: gzip\r\ncontent-length: 1\r\n\r\n"),
            format!("{ok}{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1)),
            format!("{ok}a: {}", "b".repeat(HEAD_BYTES_MAX)),
        ] {
            assert!(of(&wrong).is_err(), "{}", &wrong[..wrong.len().min(60)]);
        }
    }

    /// Gives the chunks to the decoder some bytes at a time.
    fn decoded(frames: &[u8], piece: usize, max: usize) -> Result<(Vec<u8>, usize), ChunkProblem> {
        let mut bytes = b"HEAD".to_vec();
        let mut chunks = Chunks::from(4);
        let mut sent = frames.chunks(piece);
        loop {
            match chunks.step(&mut bytes, max, 4)? {
                Step::Done { body_end, frames_end } => {
                    return Ok((bytes[4..body_end].to_vec(), bytes.len() - frames_end));
                }
                Step::More(_) => bytes.extend_from_slice(sent.next().ok_or(ChunkProblem::Http("it ends early"))?),
            }
        }
    }

    #[test]
    fn chunks_that_lie_are_refused() {
        assert_eq!(decoded(b"5\r\nhello\r\n0\r\n\r\nX", 1, 5).unwrap().0, b"hello");
        assert_eq!(decoded(b"0\r\ntrailer: 1\r\n\r\n", 3, 5).unwrap().0, b"");
        assert_eq!(decoded(b"6\r\nhello!\r\n0\r\n\r\n", 1, 5), Err(ChunkProblem::TooLarge(6)));
        assert_eq!(decoded(b"ffffffffffffffff\r\n", 9, 5), Err(ChunkProblem::TooLarge(u64::MAX)));
        for wrong in [&b"5\r\nhello!\r\n0\r\n\r\n"[..], b"x\r\n", b"5\r\nhel", b"0\r\n", &b"1".repeat(5_000)] {
            assert!(matches!(decoded(wrong, 2, 5_000), Err(ChunkProblem::Http(_))), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn a_body_survives_its_chunks(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..12), piece in 1_usize..30,
        ) {
            let mut frames = Vec::new();
            for part in &parts {
                frames.extend(format!("{:X}\r\n", part.len()).into_bytes());
                frames.extend(part);
                frames.extend(b"\r\n");
            }
            frames.extend(b"0\r\n\r\n");
            let (body, _) = decoded(&frames, piece, 1_000).unwrap();
            prop_assert_eq!(body, parts.concat());
        }

        #[test]
        fn no_bytes_harm_the_reader(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            // An answer or an error, and no panic.
            drop(head(&bytes, &mut |_, _| {}));
            drop(decoded(&bytes, 7, 100));
        }
    }
}
