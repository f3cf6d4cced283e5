//! HTTP/1.1 messages, read from a connection as the bytes that they are.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A request or an answer, byte for byte.
pub(super) struct Message {
    /// Of a request.
    pub(super) method: String,
    pub(super) target: String,
    /// To the empty line.
    pub(super) head: Vec<u8>,
    /// As it was on the wire, chunks and all.
    pub(super) body: Vec<u8>,
    /// It had no end but the connection's.
    pub(super) ends_connection: bool,
}

/// One side's connection.
pub(super) struct Line(BufReader<TcpStream>);

impl Line {
    pub(super) fn of(socket: TcpStream) -> Self {
        let _ = socket.set_nodelay(true);
        Self(BufReader::with_capacity(64 << 10, socket))
    }

    /// The next request; `None` where the connection ended.
    pub(super) fn request(&mut self) -> Option<Message> {
        let head = self.head().ok()?;
        let first = String::from_utf8_lossy(&head);
        let mut words = first.split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        let body = self.body(&head, false).ok()?;
        Some(Message {
            method,
            target,
            body,
            head,
            ends_connection: false,
        })
    }

    /// Sends a request and reads its answer.
    pub(super) fn ask(&mut self, request: &Message) -> Option<Message> {
        let socket = self.0.get_mut();
        socket
            .write_all(&[&request.head[..], &request.body[..]].concat())
            .ok()?;
        let head = loop {
            let head = self.head().ok()?;
            // 1xx: the answer is still to come.
            if head.get(9) != Some(&b'1') {
                break head;
            }
        };
        let status = head.get(9..12)?;
        let is_bare = request.method == "HEAD" || matches!(status, b"204" | b"304");
        let has_end = header(&head, "content-length").is_some() || is_chunked(&head);
        let body = if is_bare {
            Vec::new()
        } else {
            self.body(&head, true).ok()?
        };
        let closes = header(&head, "connection").is_some_and(|said| said.eq_ignore_ascii_case("close"));
        Some(Message {
            method: String::new(),
            target: String::new(),
            ends_connection: closes || !is_bare && !has_end,
            head,
            body,
        })
    }

    /// Reads on until the other side goes.
    pub(super) fn until_closed(&mut self) {
        let _ = io::copy(&mut self.0, &mut io::sink());
    }

    fn head(&mut self) -> io::Result<Vec<u8>> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if self.0.read_until(b'\n', &mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(head)
    }

    fn body(&mut self, head: &[u8], is_answer: bool) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        if is_chunked(head) {
            self.chunks(&mut body)?;
        } else if let Some(length) = header(head, "content-length") {
            let length = length.parse().map_err(io::Error::other)?;
            if (&mut self.0).take(length).read_to_end(&mut body)? as u64 != length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        } else if is_answer {
            self.0.read_to_end(&mut body)?;
        }
        Ok(body)
    }

    fn chunks(&mut self, body: &mut Vec<u8>) -> io::Result<()> {
        loop {
            let begin = body.len();
            self.0.read_until(b'\n', body)?;
            let size = String::from_utf8_lossy(&body[begin..]);
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
            if size == 0 {
                // Trailers, to the empty line.
                while self.0.read_until(b'\n', body)? > 2 {}
                return Ok(());
            }
            (&mut self.0).take(size + 2).read_to_end(body)?;
        }
    }
}

fn is_chunked(head: &[u8]) -> bool {
    header(head, "transfer-encoding").is_some_and(|said| said.eq_ignore_ascii_case("chunked"))
}

pub(super) fn header(head: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(head);
    text.lines().skip(1).find_map(|line| {
        let (said, value) = line.split_once(':')?;
        said.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}
