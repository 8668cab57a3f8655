//! A caller that writes its HTTP/2 frames itself: when each of them arrives is part of what is tested. It sends few
//! bytes and reads all, so that no flow-control window ever matters.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;
use rustls_pki_types::ServerName;
use sekat_identity::Source;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::{ECHO_ID, PATIENCE, Process, Text, World};

const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
const ACK: u8 = 1;
/// What a server resets with that has answered before the request was whole (RFC 9113, section 8.1).
pub(crate) const NO_ERROR: [u8; 4] = [0; 4];

/// The caller's end of one connection.
pub(crate) struct Peer {
    stream: TlsStream<TcpStream>,
    answered: BTreeSet<u32>,
}

/// A frame that the server sent.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

impl Peer {
    pub(crate) async fn connect(world: &World, id: &str, server: &Process) -> Self {
        let source = Source::open(&world.issue(id, PATIENCE * 10)).await.unwrap();
        let tls = sekat_identity::tls::client_config(&source, ECHO_ID.parse().unwrap());
        let stream = TcpStream::connect(server.address("mesh")).await.unwrap();
        // The name is not looked at: the verifier insists on the SPIFFE ID.
        let name = ServerName::try_from("echo.invalid").unwrap();
        let stream = TlsConnector::from(tls).connect(name, stream).await.unwrap();
        let mut peer = Self { stream, answered: BTreeSet::new() };
        peer.send(&[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(SETTINGS, 0, 0, &[])].concat()).await;
        peer
    }

    pub(crate) async fn send(&mut self, frames: &[u8]) {
        self.stream.write_all(frames).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// The next frame that belongs to a call, or ends the connection.
    pub(crate) async fn receive(&mut self) -> Frame {
        loop {
            let frame = tokio::time::timeout(PATIENCE, self.read()).await.expect("the server says something");
            if frame.kind == SETTINGS && frame.flags & ACK == 0 {
                self.send(&self::frame(SETTINGS, ACK, 0, &[])).await;
            } else if matches!(frame.kind, DATA | HEADERS | RST_STREAM | GOAWAY) {
                return frame;
            }
        }
    }

    /// What the next `count` calls that end are answered, by stream: the bytes of their messages. None is cut off.
    pub(crate) async fn answers(&mut self, count: usize) -> BTreeMap<u32, Vec<u8>> {
        let (mut answers, mut ended) = (BTreeMap::<u32, Vec<u8>>::new(), 0);
        while ended < count {
            let frame = self.receive().await;
            // A reset after the answer only says that no more is wanted.
            if frame.kind == RST_STREAM && self.answered.contains(&frame.stream) {
                continue;
            }
            assert!(matches!(frame.kind, DATA | HEADERS), "a call or the connection is cut off: {frame:?}");
            let answer = answers.entry(frame.stream).or_default();
            if frame.ends_stream() {
                ended += 1;
                self.answered.insert(frame.stream);
            }
            if frame.kind == DATA {
                answer.extend(frame.payload);
            }
        }
        answers
    }

    async fn read(&mut self) -> Frame {
        let length_and_kind = self.stream.read_u32().await.unwrap();
        let flags = self.stream.read_u8().await.unwrap();
        let stream = self.stream.read_u32().await.unwrap();
        let [.., kind] = length_and_kind.to_be_bytes();
        let mut payload = vec![0; usize::try_from(length_and_kind >> 8).unwrap()];
        self.stream.read_exact(&mut payload).await.unwrap();
        Frame { kind, flags, stream, payload }
    }
}

/// The head of a call; its message is still to come.
pub(crate) fn headers(stream: u32, path: &str) -> Vec<u8> {
    // Two indexed fields (RFC 7541, appendix A: `:method: POST` and `:scheme: https`), then literals without indexing.
    let mut block = vec![0x83, 0x87];
    for (name, value) in
        [(":path", path), (":authority", "echo"), ("content-type", "application/grpc"), ("te", "trailers")]
    {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    frame(HEADERS, END_HEADERS, stream, &block)
}

/// The message of a call, and its end.
pub(crate) fn message(stream: u32, message: &Text) -> Vec<u8> {
    frame(DATA, END_STREAM, stream, &frame_of(message))
}

/// A message as gRPC frames it.
pub(crate) fn frame_of(message: &Text) -> Vec<u8> {
    let encoded = message.encode_to_vec();
    [&[0][..], &u32::try_from(encoded.len()).unwrap().to_be_bytes(), &encoded].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}
