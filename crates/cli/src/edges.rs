//! A buyer's app, as far as the network sees it: two TLS channels to two edges, one trace over both.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_types::StatusExt;

/// What the app waits for one answer.
const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// Opens a channel to a public address whose certificate the given authority signed. It connects on first use.
pub(crate) fn public_channel(address: &str, authority: &Path) -> anyhow::Result<Channel> {
    let pem = std::fs::read(authority).with_context(|| format!("{} cannot be read", authority.display()))?;
    let config = sekat_identity::tls::web_client_config(&pem, &[b"h2"])?;
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let name = ServerName::try_from(host.to_owned()).with_context(|| format!("{address} is not a host and port"))?;
    channel(address, config, name)
}

/// Opens a channel to a workload inside the mesh, as the identity in `identity`.
pub(crate) async fn mesh_channel(address: &str, identity: &Path, server_id: &str) -> anyhow::Result<Channel> {
    let source = sekat_identity::Source::open(identity).await?;
    let config = sekat_identity::tls::client_config(&source, server_id.parse()?);
    // The name is not looked at: the verifier insists on the SPIFFE ID.
    channel(address, config, ServerName::try_from("sekat.invalid")?)
}

/// A channel with any TLS configuration.
pub(crate) fn channel(
    address: &str,
    config: Arc<rustls::ClientConfig>,
    name: ServerName<'static>,
) -> anyhow::Result<Channel> {
    let connector = TlsConnector::from(config);
    let target = address.to_owned();
    let endpoint = Endpoint::from_shared(format!("http://{address}"))
        .with_context(|| format!("{address} is not a host and port"))?
        .connect_timeout(Duration::from_secs(5))
        .http2_adaptive_window(true);
    Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |_| {
        let (connector, name, target) = (connector.clone(), name.clone(), target.clone());
        async move {
            let stream = TcpStream::connect(&target).await?;
            stream.set_nodelay(true)?;
            Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
        }
    })))
}

/// What goes with every call: the trace, and who is signed in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Caller {
    /// W3C `traceparent`; none starts a trace at the edge.
    pub(crate) traceparent: Option<String>,
    /// The access token.
    pub(crate) token: Option<String>,
}

impl Caller {
    /// The same caller, signed in.
    pub(crate) fn signed_in(&self, token: &str) -> Self {
        Self { traceparent: self.traceparent.clone(), token: Some(token.to_owned()) }
    }

    /// A request with deadline, trace and token.
    pub(crate) fn request<T>(&self, message: T) -> anyhow::Result<Request<T>> {
        let mut request = Request::new(message);
        request.set_timeout(CALL_DEADLINE);
        if let Some(traceparent) = &self.traceparent {
            request.metadata_mut().insert("traceparent", MetadataValue::try_from(traceparent.as_str())?);
        }
        if let Some(token) = &self.token {
            let bearer = MetadataValue::try_from(format!("Bearer {token}"))?;
            request.metadata_mut().insert("authorization", bearer);
        }
        Ok(request)
    }
}

/// A new id for a write.
pub(crate) fn request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// A refusal in words: code, reason, message.
pub(crate) fn refused(what: &str, status: &Status) -> anyhow::Error {
    let reason = status.get_details_error_info().map_or_else(String::new, |info| format!(" ({})", info.reason));
    anyhow!("{what} was refused with {:?}{reason}: {}", status.code(), status.message())
}
