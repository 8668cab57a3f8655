//! TLS for the public: a server certificate from watched files, no client certificate, names checked as on the web.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use super::{H2, provider, tls13};
use crate::source::{SourceError, certificates, certified_key};
use crate::verify::leaf_not_after;
use crate::watch::{Files, Recipe, Watched, read_file};

const CERTIFICATE: &str = "the certificate";
const KEY: &str = "the key";

/// The configuration of a public listener: TLS 1.3, HTTP/2 and HTTP/1.1. The files are watched, so that a renewed
/// certificate is served from the next handshake on. Needs a Tokio runtime.
///
/// # Errors
/// If a file cannot be read or parsed, or the key does not belong to the certificate.
pub async fn web_server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, SourceError> {
    let (certificate, key) = (certificate.to_owned(), key.to_owned());
    let watched = Watched::open(Recipe {
        what: format!("web certificate {}", certificate.display()),
        read: Box::new(move || {
            let files = [(CERTIFICATE, &certificate), (KEY, &key)];
            files.into_iter().map(|(name, path)| Ok((name.to_owned(), read_file(path)?))).collect()
        }),
        parse: parse_web_key,
        not_after: |current| current.cert.first().and_then(leaf_not_after),
    })
    .await?;
    let mut config = tls13(ServerConfig::builder_with_provider(provider()))
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(CurrentWebKey(watched)));
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The configuration of a client of public listeners whose certificates come from the authorities in `roots_pem`.
/// The server's name is checked. `alpn` names the protocols that the HTTP client speaks, the preferred one first;
/// clients that set them by themselves, such as `hyper-rustls`, want it empty.
///
/// # Errors
/// If `roots_pem` holds no certificate or a malformed one.
pub fn web_client_config(roots_pem: &[u8], alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, SourceError> {
    let file = "the web trust bundle";
    let mut roots = RootCertStore::empty();
    for root in certificates(file, roots_pem)? {
        roots.add(root).map_err(|_| SourceError::Root { file: file.to_owned(), reason: "it is malformed" })?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|_| SourceError::Empty { file: file.to_owned() })?;
    let mut config =
        tls13(ClientConfig::builder_with_provider(provider())).with_webpki_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

fn parse_web_key(files: &Files) -> Result<CertifiedKey, SourceError> {
    let file = |name| files.get(name).map(Vec::as_slice).unwrap_or_default();
    certified_key(CERTIFICATE, file(CERTIFICATE), KEY, file(KEY))
}

struct CurrentWebKey(Arc<Watched<CertifiedKey>>);

impl ResolvesServerCert for CurrentWebKey {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.current()))
    }
}

impl fmt::Debug for CurrentWebKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CurrentWebKey")
    }
}
