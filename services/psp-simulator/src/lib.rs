//! A bank that speaks SNAP BI virtual accounts, with named faults. It shares no code with the connector that is
//! tested against it: what both agree on is on the wire.
//!
//! It keeps its charges in a journal, so that a bank which was killed still knows them; it notifies its partner of
//! each payment until the partner confirms; and it takes each partner's `trxId` once.
//!
//! Signatures, with `digest` the lower-case hexadecimal SHA-256 of the minified body:
//!
//! | what | algorithm | over |
//! |---|---|---|
//! | access token request | RSA PKCS #1 v1.5 SHA-256, partner's key | `client-id\|timestamp` |
//! | transaction | HMAC-SHA512, shared secret | `METHOD:path:token:digest:timestamp` |
//! | notification | RSA PKCS #1 v1.5 SHA-256, bank's key | `POST:path:digest:timestamp` |
//!
//! The control port, in JSON:
//!
//! | request | effect |
//! |---|---|
//! | `POST /simulator/pay {"virtualAccountNo", "amount"?}` | pays the bill; `amount` like `25000.00`, by default all |
//! | `POST /simulator/faults {"fault", "times", "service"?, "delayMs"?}` | arms a fault, or disarms it with 0 times |
//! | `GET /simulator/faults` | the faults that wait |
//! | `POST /simulator/release` | sends the notifications that `late` holds |
//! | `GET /simulator/charges` | all charges: `trxId`, `virtualAccountNo`, `status`, `notified` … |
//! | `GET /simulator/tokens` | `issued`: how many access tokens the bank gave out |
//! | `GET /healthz` | `ok` |
//!
//! Faults: `lost-reply`, `slow`, `refuse` (of the `service` `create-va`, `status` or `delete-va`, or of any),
//! `duplicate`, `late`, `wrong-signature`.

mod amount;
mod bank;
mod book;
mod config;
mod control;
mod fault;
mod journal;
mod notify;
mod serve;
mod signature;
mod snap;

pub use config::Config;
pub use journal::JournalError;
pub use signature::KeyError;

use bank::{Bank, Partner};
use book::Book;
use fault::Faults;
use journal::Journal;
use notify::Notifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use signature::Keys;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Why the bank does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A file cannot be read or written.
    #[error("cannot use the file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// A key, or the secret, is unusable.
    #[error("unusable key: check the client secret, the partner's public key and the bank's private key")]
    Key(#[source] KeyError),
    /// A certificate or its key is unusable.
    #[error("cannot set up TLS with {}", path.display())]
    Tls {
        /// The file that holds it.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: rustls::Error,
    },
    /// The address of the partner's server makes no URL.
    #[error("the notification URL is unusable")]
    NotifyUrl(#[source] axum::http::Error),
    /// A port is taken or forbidden.
    #[error("cannot listen on {address}; is the port taken?")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The control port would be open to other machines.
    #[error("the control port must listen on a loopback address, not on {0}")]
    NotLoopback(SocketAddr),
    /// The journal is unusable.
    #[error("cannot use the journal {}", path.display())]
    Journal {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: JournalError,
    },
}

/// A running bank.
pub struct Running {
    bank: SocketAddr,
    control: SocketAddr,
    state: Arc<Bank>,
    ports: [JoinHandle<()>; 2],
    failure: oneshot::Receiver<JournalError>,
}

/// Starts the bank: reads its files and its journal, binds its ports, writes the ready file, sends the
/// notifications that it still owes, and serves.
///
/// # Errors
/// See [`StartError`]. Nothing runs then.
pub async fn start(config: Config) -> Result<Running, StartError> {
    if !config.control_listen.ip().is_loopback() {
        return Err(StartError::NotLoopback(config.control_listen));
    }
    let keys =
        Keys::new(&read(&config.client_secret_file)?, &read(&config.partner_public_key)?, &read(&config.private_key)?);
    let keys = Arc::new(keys.map_err(StartError::Key)?);
    let acceptor = acceptor(&config)?;
    let faults = Arc::new(Faults::default());
    let notifier = Notifier::new(
        &config.notify_url,
        notify_tls(&config.notify_ca)?,
        config.client_id.clone(),
        Arc::clone(&keys),
        Arc::clone(&faults),
        config.notify_attempts,
    )
    .map_err(StartError::NotifyUrl)?;
    let (journal, events, failure) = Journal::open(&config.journal)
        .map_err(|source| StartError::Journal { path: config.journal.clone(), source })?;
    let partner = Partner {
        client_id: config.client_id.clone(),
        service_id: format!("{:>8}", config.partner_service_id),
        token_life: Duration::from_secs(config.token_seconds),
    };
    let state = Arc::new(Bank::new(partner, keys, faults, notifier, journal, Book::replay(events)));

    let (partners, bank) = bind(config.listen).await?;
    let (operator, control) = bind(config.control_listen).await?;
    if let Some(path) = &config.ready_file {
        write_ready(path, bank, control)?;
    }
    // Before the ports answer, so that no new payment is taken for an old one.
    state.notify_unconfirmed();
    let ports = [
        tokio::spawn(serve::serve(partners, Some(acceptor), snap::router(Arc::clone(&state)))),
        tokio::spawn(serve::serve(operator, None, control::router(Arc::clone(&state)))),
    ];
    Ok(Running { bank, control, state, ports, failure })
}

impl Running {
    /// The bound address of the HTTPS port.
    #[must_use]
    pub const fn bank_addr(&self) -> SocketAddr {
        self.bank
    }

    /// The bound address of the control port.
    #[must_use]
    pub const fn control_addr(&self) -> SocketAddr {
        self.control
    }

    /// Waits for the only thing that can end a running bank: a journal that cannot be written.
    pub async fn failed(&mut self) -> JournalError {
        (&mut self.failure).await.unwrap_or(JournalError::Stopped)
    }

    /// Stops at once, as a kill would: what is durable stays, what is in flight is lost. Returns when the ports and
    /// the journal are free for a successor.
    pub async fn stop(self) {
        let Self { state, ports, failure, .. } = self;
        for port in ports {
            port.abort();
            // Aborted is what it shall be.
            let _ = port.await;
        }
        state.stop().await;
        drop(state);
        // Resolves when the last holder of the journal is gone and the file is closed.
        let _ = failure.await;
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Running {{ bank: {}, control: {} }}", self.bank, self.control)
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let error = |source| StartError::Bind { address, source };
    let listener = TcpListener::bind(address).await.map_err(error)?;
    let bound = listener.local_addr().map_err(error)?;
    Ok((listener, bound))
}

fn acceptor(config: &Config) -> Result<TlsAcceptor, StartError> {
    let tls = |source| StartError::Tls { path: config.tls_cert.clone(), source };
    let key =
        PrivateKeyDer::from_pem_slice(&read(&config.tls_key)?).map_err(|error| pem_error(&config.tls_key, &error))?;
    let mut server = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_no_client_auth()
        .with_single_cert(certificates(&config.tls_cert)?, key)
        .map_err(tls)?;
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(server)))
}

fn notify_tls(ca: &Path) -> Result<ClientConfig, StartError> {
    let tls = |source| StartError::Tls { path: ca.to_owned(), source };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(ca)? {
        roots.add(certificate).map_err(tls)?;
    }
    let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(client)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, StartError> {
    let pem = read(path)?;
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    let certificates = certificates.map_err(|error| pem_error(path, &error))?;
    if certificates.is_empty() {
        let source = io::Error::new(io::ErrorKind::InvalidData, "it holds no certificate");
        return Err(StartError::File { path: path.to_owned(), source });
    }
    Ok(certificates)
}

fn pem_error(path: &Path, error: &rustls_pki_types::pem::Error) -> StartError {
    let source = io::Error::new(io::ErrorKind::InvalidData, error.to_string());
    StartError::File { path: path.to_owned(), source }
}

fn read(path: &Path) -> Result<Vec<u8>, StartError> {
    std::fs::read(path).map_err(|source| StartError::File { path: path.to_owned(), source })
}

/// Whoever waits for the file sees it whole or not at all.
fn write_ready(path: &Path, bank: SocketAddr, control: SocketAddr) -> Result<(), StartError> {
    let error = |source| StartError::File { path: path.to_owned(), source };
    let mut staged = path.as_os_str().to_owned();
    staged.push(".new");
    let content = serde_json::json!({ "bank": bank, "control": control });
    std::fs::write(&staged, format!("{content}\n")).map_err(error)?;
    std::fs::rename(&staged, path).map_err(error)
}
