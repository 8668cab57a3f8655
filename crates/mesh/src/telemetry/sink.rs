//! The two places that take encoded spans: an OTLP/gRPC receiver and a directory of files.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

/// Bytes after which the next file begins.
const FILE_BYTES: u64 = 64 * 1024 * 1024;
/// For one export.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);
const EXPORT_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Span files: `<workload>-<pid>.otlp`, continued in `<workload>-<pid>.1.otlp` and so on. A file is a sequence of
/// messages, each a length in four bytes, big-endian, and as many bytes of `opentelemetry.proto.trace.v1.TracesData`
/// in protobuf. A process killed by force may leave an incomplete last message.
#[derive(Debug)]
pub(crate) struct SpanFile {
    directory: PathBuf,
    stem: String,
    part: u32,
    file: File,
    written: u64,
}

impl SpanFile {
    /// # Errors
    /// If the directory or the first file cannot be made.
    pub(crate) fn create(directory: PathBuf, workload: &str) -> io::Result<Self> {
        std::fs::create_dir_all(&directory)?;
        let stem = format!("{workload}-{}", std::process::id());
        let file = open(directory.join(format!("{stem}.otlp")))?;
        let written = file.metadata()?.len();
        Ok(Self { directory, stem, part: 0, file, written })
    }

    /// Appends one message and hands it to the operating system.
    ///
    /// # Errors
    /// If it cannot be written as a whole; the file then ends where it ended before.
    pub(crate) fn append(&mut self, message: &[u8]) -> io::Result<()> {
        if self.written >= FILE_BYTES {
            self.part += 1;
            self.file = open(self.directory.join(format!("{}.{}.otlp", self.stem, self.part)))?;
            self.written = self.file.metadata()?.len();
        }
        let length = u32::try_from(message.len()).map_err(io::Error::other)?;
        let mut framed = Vec::with_capacity(4 + message.len());
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(message);
        if let Err(error) = self.file.write_all(&framed) {
            self.file.set_len(self.written)?;
            return Err(error);
        }
        self.written += u64::try_from(framed.len()).unwrap_or(u64::MAX);
        Ok(())
    }
}

fn open(path: PathBuf) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// An OTLP/gRPC receiver, connected when needed.
#[derive(Debug)]
pub(crate) struct Collector {
    client: tonic::client::Grpc<Channel>,
}

impl Collector {
    pub(crate) fn new(uri: http::Uri, tls: Option<Arc<ClientConfig>>) -> Self {
        let address = uri.authority().map(ToString::to_string).unwrap_or_default();
        let endpoint = Endpoint::from(uri).timeout(EXPORT_TIMEOUT).connect_timeout(EXPORT_TIMEOUT);
        let Some(tls) = tls else { return Self { client: tonic::client::Grpc::new(endpoint.connect_lazy()) } };
        let connector = TlsConnector::from(tls);
        let channel = endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
            let (connector, address) = (connector.clone(), address.clone());
            async move {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                // Neither sent nor checked: the peer is known by its SPIFFE ID.
                let name = ServerName::from(IpAddr::from(Ipv4Addr::UNSPECIFIED));
                Ok::<_, io::Error>(TokioIo::new(connector.connect(name, stream).await?))
            }
        }));
        Self { client: tonic::client::Grpc::new(channel) }
    }

    /// Sends one request; returns how many of its spans the receiver rejected.
    ///
    /// # Errors
    /// The receiver's status, or that it could not be reached.
    pub(crate) async fn export(&mut self, request: &[u8]) -> Result<u64, Status> {
        let export = async {
            self.client.ready().await.map_err(|_| Status::unavailable("the collector cannot be reached"))?;
            let path = http::uri::PathAndQuery::from_static(EXPORT_PATH);
            self.client.unary(tonic::Request::new(request.to_vec()), path, Encoded).await
        };
        let reply = tokio::time::timeout(EXPORT_TIMEOUT, export)
            .await
            .unwrap_or_else(|_| Err(Status::unavailable("the collector did not answer in time")))?;
        Ok(reply.into_inner().partial_success.map_or(0, |partial| partial.rejected_spans.max(0).cast_unsigned()))
    }

    /// The codes after which OTLP/gRPC allows another attempt.
    pub(crate) fn may_retry(status: &Status) -> bool {
        matches!(
            status.code(),
            Code::Cancelled
                | Code::DeadlineExceeded
                | Code::Aborted
                | Code::OutOfRange
                | Code::Unavailable
                | Code::DataLoss
                | Code::ResourceExhausted
                | Code::Unknown
        )
    }
}

/// `ExportTraceServiceResponse`, as far as it matters here.
#[derive(Clone, PartialEq, prost::Message)]
struct ExportResponse {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<PartialSuccess>,
}

/// `ExportTracePartialSuccess`, as far as it matters here.
#[derive(Clone, PartialEq, prost::Message)]
struct PartialSuccess {
    #[prost(int64, tag = "1")]
    rejected_spans: i64,
}

/// The codec for requests that are encoded already.
struct Encoded;

impl Codec for Encoded {
    type Encode = Vec<u8>;
    type Decode = ExportResponse;
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
    type Item = Vec<u8>;
    type Error = Status;
    fn encode(&mut self, request: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&request);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = ExportResponse;
    type Error = Status;
    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<ExportResponse>, Status> {
        let bytes = from.copy_to_bytes(from.remaining());
        let decoded = <ExportResponse as prost::Message>::decode(bytes);
        decoded.map(Some).map_err(|_| Status::internal("the collector's answer is no ExportTraceServiceResponse"))
    }
}
