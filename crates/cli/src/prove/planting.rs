//! Requests with a value of its own in every private leaf, sent as a buyer's app would send them. Most are refused: what
//! they hold has come in all the same, and must not come out anywhere.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use bytes::{Buf as _, BufMut as _, Bytes};
use sekat_contract::canaries::{Planted, Planting, plant};
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::buy::unique;
use crate::edges::public_channel;
use crate::layout::Running;

/// What was planted, and what came back.
pub(super) struct Sent {
    /// Full names of leaves, each with its value.
    pub(super) values: Vec<(String, String)>,
    /// Everything that the edges said about requests that they, or those behind them, refused.
    pub(super) answers: String,
    /// Leaves that hold no planted value, with the reason.
    pub(super) unplanted: Vec<(String, &'static str)>,
    /// How many requests there were.
    pub(super) requests: usize,
}

impl Sent {
    /// A line a leaf: whether it held a planted value, or why it did not. `bought` are those of the purchase.
    pub(super) fn leaves(&self, bought: &[(&'static str, String)]) -> String {
        let purchase = bought.iter().map(|(leaf, _)| (*leaf, "planted in the purchase"));
        let requests = self.values.iter().map(|(leaf, _)| (leaf.as_str(), "planted in a request"));
        let none = self.unplanted.iter().map(|(leaf, why)| (leaf.as_str(), *why));
        // Of a leaf that is in several, the first counts.
        let mut lines = BTreeMap::new();
        purchase.chain(requests).chain(none).for_each(|(leaf, what)| {
            lines.entry(leaf).or_insert(what);
        });
        lines.into_iter().map(|(leaf, what)| format!("{leaf}\t{what}\n")).collect()
    }
}

/// Sends all of them with a buyer's token. Contracts that break their own rules plant nothing; their own layer says so.
pub(super) async fn send(contracts: &Path, running: &Running, token: &str) -> anyhow::Result<Sent> {
    let Planting { requests, unplanted } = plant(contracts, unique).unwrap_or_default();
    let mut sent = Sent {
        values: Vec::new(),
        answers: String::new(),
        unplanted: unplanted.into_iter().collect(),
        requests: requests.len(),
    };
    let commerce = public_channel(&running.commerce_edge, &running.web_authority)?;
    let showcase = public_channel(&running.showcase_edge, &running.web_authority)?;
    for Planted { edge, path, message, leaves } in requests {
        let channel = if edge == "showcase-edge" { &showcase } else { &commerce };
        let answer = call(channel.clone(), &path, message.into(), token).await?;
        let details = String::from_utf8_lossy(answer.details()).into_owned();
        let (code, message) = (answer.code(), answer.message());
        writeln!(sent.answers, "{path}\n{code:?} {message}\n{details}\n{:?}\n", answer.metadata())?;
        sent.values.extend(leaves);
    }
    Ok(sent)
}

/// One call; an answer that is no refusal is the status OK.
async fn call(channel: Channel, path: &str, message: Bytes, token: &str) -> anyhow::Result<Status> {
    let mut request = Request::new(message);
    request.set_timeout(super::probes::LIMIT);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse()?);
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await?;
    // The first message of a stream is as good as the only one of another method.
    let answered = client.server_streaming(request, path.parse()?, Encoded).await;
    let answered = match answered {
        Ok(mut answer) => answer.get_mut().message().await.map(drop),
        Err(status) => Err(status),
    };
    Ok(answered.err().unwrap_or_else(|| Status::ok("")))
}

/// The codec of messages that are encoded already.
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;
    fn encoder(&mut self) -> Self {
        Self
    }
    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;
    fn encode(&mut self, message: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(message);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Bytes;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
