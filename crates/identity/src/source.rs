//! The identity of this process: a watched directory with its SVID, key and trust bundles.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use rustls::crypto::ring::default_provider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime, pem};
use tokio::sync::watch;

use crate::id::{SpiffeId, SpiffeIdError, check_trust_domain};
use crate::rejection::Rejection;
use crate::tls::{ClientTrust, PeerIdentity};
use crate::verify::{check_chain, check_profile, check_signing_certificate};
use crate::watch::{Files, Recipe, Watched, read_file, sha256};

const SVID: &str = "svid.pem";
const KEY: &str = "svid.key";
const BUNDLE: &str = "bundle.pem";
const FEDERATED: &str = "bundles";
/// The link that Kubernetes and [`crate::ca::write_identity`] swap: all files of one version lie behind it.
pub(crate) const DATA_LINK: &str = "..data";
/// The most trust domains besides the own one. This system has two in all; the limit stops a runaway directory.
const MAX_FEDERATED: usize = 64;

/// The identity of this process, read from a directory that is watched. Cheap to clone.
///
/// The directory holds `svid.pem` (the chain, leaf first), `svid.key` (PKCS #8, SEC 1 or PKCS #1), `bundle.pem` (the
/// roots of the own trust domain) and `bundles/<trust domain>.pem` (the roots of others). A change takes effect as a
/// whole or not at all: what does not hold together is logged and the last good state stays.
#[derive(Clone)]
pub struct Source(Arc<Watched<Identity>>);

impl Source {
    /// Reads and checks `dir` and watches it until the last clone is gone. Needs a Tokio runtime.
    ///
    /// # Errors
    /// If a file is missing or malformed, the key does not belong to the SVID, or the SVID does not pass against the
    /// own bundle the checks that a peer would make.
    pub async fn open(dir: &Path) -> Result<Self, SourceError> {
        let dir = dir.to_owned();
        let what = format!("identity in {}", dir.display());
        Watched::open(Recipe {
            what,
            read: Box::new(move || read_directory(&dir)),
            parse: Identity::parse,
            not_after: |identity| Some(identity.svid.not_after),
        })
        .await
        .map(Self)
    }

    /// The identity that the current SVID proves.
    #[must_use]
    pub fn id(&self) -> SpiffeId {
        self.0.current().svid.id.clone()
    }

    /// When the current SVID expires.
    #[must_use]
    pub fn not_after(&self) -> SystemTime {
        self.0.current().svid.not_after
    }

    /// A channel whose value grows with each change of the SVID or of a bundle.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.0.subscribe()
    }

    /// Looks at the directory at once, without waiting for the next poll, and returns the generation in force.
    ///
    /// # Errors
    /// If the files are not good; the last good state stays.
    pub async fn refresh_now(&self) -> Result<u64, SourceError> {
        self.0.refresh().await
    }

    /// Checks, for each request, that a peer admitted earlier would be admitted still: its certificate has not
    /// expired and its root is still in the bundle of its trust domain. Reads a clock and an atomic; the chain is
    /// verified again only after a bundle changed.
    ///
    /// # Errors
    /// [`Rejection::Expired`], or what the chain fails against the current bundles. Close the connection then.
    pub fn still_trusted(&self, peer: &PeerIdentity) -> Result<(), Rejection> {
        if SystemTime::now() >= peer.not_after() {
            return Err(Rejection::Expired);
        }
        let identity = self.0.current();
        let verified = peer.verified();
        if verified.bundles.load(Ordering::Acquire) != identity.bundles_digest {
            identity.check_peer(&verified.chain, ClientTrust::OwnAndFederated, UnixTime::now())?;
            verified.bundles.store(identity.bundles_digest, Ordering::Release);
        }
        Ok(())
    }

    pub(crate) fn current(&self) -> arc_swap::Guard<Arc<Identity>> {
        self.0.current()
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.id()).finish()
    }
}

/// An X.509-SVID with its key.
pub struct Svid {
    id: SpiffeId,
    not_after: SystemTime,
    certified: Arc<CertifiedKey>,
}

impl Svid {
    /// Parses a chain, leaf first, and its key. Whether a bundle vouches for it is not checked.
    ///
    /// # Errors
    /// If one is malformed, they do not belong together, or the leaf does not have the profile of an X.509-SVID.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, SourceError> {
        let certified = certified_key(SVID, chain, KEY, key)?;
        let leaf = certified.cert.first().ok_or(Rejection::NoCertificate).and_then(check_profile);
        let leaf = leaf.map_err(|source| SourceError::Svid { source })?;
        Ok(Self { id: leaf.id, not_after: leaf.not_after, certified: Arc::new(certified) })
    }

    /// The identity.
    #[must_use]
    pub const fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// The end of its validity.
    #[must_use]
    pub const fn not_after(&self) -> SystemTime {
        self.not_after
    }

    pub(crate) const fn certified(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid").field("id", &self.id).field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

/// The roots of one trust domain.
#[derive(Debug)]
pub struct TrustBundle {
    trust_domain: String,
    roots: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
}

impl TrustBundle {
    /// Parses the roots of `trust_domain`.
    ///
    /// # Errors
    /// If there is none, one is malformed, or one may not sign SVIDs of this trust domain.
    pub fn from_pem(trust_domain: &str, pem: &[u8]) -> Result<Self, SourceError> {
        let file = || format!("the bundle of {trust_domain}");
        check_trust_domain(trust_domain).map_err(|source| SourceError::BundleName { file: file(), source })?;
        let roots = certificates(&file(), pem)?;
        let mut anchors = Vec::with_capacity(roots.len());
        for root in &roots {
            let unfit = |reason| SourceError::Root { file: file(), reason };
            check_signing_certificate(root, trust_domain).map_err(unfit)?;
            let anchor = webpki::anchor_from_trusted_cert(root).map_err(|_| unfit("it is malformed"))?;
            anchors.push(anchor.to_owned());
        }
        Ok(Self { trust_domain: trust_domain.to_owned(), roots, anchors })
    }

    /// The trust domain for which these roots speak.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    pub(crate) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    fn shares_a_key_with(&self, other: &Self) -> bool {
        let keys = |bundle: &Self| {
            bundle.anchors.iter().map(|anchor| anchor.subject_public_key_info.clone()).collect::<Vec<_>>()
        };
        let others = keys(other);
        keys(self).iter().any(|key| others.contains(key))
    }
}

/// One consistent state of the directory.
pub(crate) struct Identity {
    svid: Svid,
    own: TrustBundle,
    federated: BTreeMap<String, TrustBundle>,
    /// Tells states of all bundles apart, over all sources of the process; never 0.
    bundles_digest: u64,
    algorithms: &'static [&'static dyn SignatureVerificationAlgorithm],
}

impl Identity {
    fn parse(files: &Files) -> Result<Self, SourceError> {
        let file = |name: &str| files.get(name).map(Vec::as_slice).unwrap_or_default();
        let svid = Svid::from_pem(file(SVID), file(KEY))?;
        let own = TrustBundle::from_pem(svid.id.trust_domain(), file(BUNDLE))?;
        let mut federated = BTreeMap::new();
        for (name, pem) in files {
            let Some(trust_domain) = federated_name(name) else { continue };
            // Some writers put all bundles into `bundles`, the own one too; `bundle.pem` is what counts for it.
            if trust_domain == own.trust_domain {
                continue;
            }
            federated.insert(trust_domain.to_owned(), TrustBundle::from_pem(trust_domain, pem)?);
        }
        let identity = Self {
            bundles_digest: bundles_digest(&own, &federated),
            svid,
            own,
            federated,
            algorithms: default_provider().signature_verification_algorithms.all,
        };
        identity.check_no_shared_root()?;
        let chain = &identity.svid.certified.cert;
        let checked = identity.check_peer(chain, ClientTrust::OwnDomain, UnixTime::now());
        checked.map_err(|source| SourceError::Svid { source })?;
        Ok(identity)
    }

    /// Two owners with one key are one owner: whoever holds it could issue the other's identities.
    fn check_no_shared_root(&self) -> Result<(), SourceError> {
        let bundles: Vec<&TrustBundle> = std::iter::once(&self.own).chain(self.federated.values()).collect();
        for (index, one) in bundles.iter().enumerate() {
            if let Some(other) = bundles.iter().skip(index + 1).find(|other| one.shares_a_key_with(other)) {
                let (one, other) = (one.trust_domain.clone(), other.trust_domain.clone());
                return Err(SourceError::SharedRoot { one, other });
            }
        }
        Ok(())
    }

    pub(crate) const fn svid(&self) -> &Svid {
        &self.svid
    }

    /// Checks a presented chain, leaf first, and returns its identity.
    pub(crate) fn check_peer(
        &self,
        chain: &[CertificateDer<'_>],
        trust: ClientTrust,
        now: UnixTime,
    ) -> Result<SpiffeId, Rejection> {
        let bundle_of = |id: &SpiffeId| {
            let bundle = match trust {
                _ if id.trust_domain() == self.own.trust_domain => Some(&self.own),
                ClientTrust::OwnDomain => None,
                ClientTrust::OwnAndFederated => self.federated.get(id.trust_domain()),
            };
            bundle.ok_or_else(|| Rejection::ForeignTrustDomain { claimed: id.clone() })
        };
        check_chain(chain, bundle_of, self.algorithms, now).map(|leaf| leaf.id)
    }
}

fn bundles_digest(own: &TrustBundle, federated: &BTreeMap<String, TrustBundle>) -> u64 {
    let mut bytes = Vec::new();
    for bundle in std::iter::once(own).chain(federated.values()) {
        bytes.extend(sha256(bundle.trust_domain.as_bytes()));
        bundle.roots.iter().for_each(|root| bytes.extend(sha256(root)));
    }
    let digest = sha256(&bytes);
    digest.first_chunk().map_or(1, |first| u64::from_be_bytes(*first) | 1)
}

/// Reads all files of one version. The link is resolved once, and what was read counts only if the link still points
/// there: a swap in between can neither mix two versions nor hide a file of one that is being removed.
fn read_directory(dir: &Path) -> Result<Files, SourceError> {
    const ATTEMPTS: usize = 3;
    let link = || std::fs::read_link(dir.join(DATA_LINK)).ok();
    for _ in 0..ATTEMPTS {
        let version = link();
        let files = read_version(&version.as_ref().map_or_else(|| dir.to_owned(), |target| dir.join(target)));
        if link() == version {
            return files;
        }
    }
    Err(SourceError::Unsettled { path: dir.to_owned() })
}

fn read_version(version: &Path) -> Result<Files, SourceError> {
    let mut files = Files::new();
    for name in [SVID, KEY, BUNDLE] {
        files.insert(name.to_owned(), read_file(&version.join(name))?);
    }
    let federated = version.join(FEDERATED);
    let failed = |source| SourceError::Read { path: federated.clone(), source };
    let entries = match std::fs::read_dir(&federated) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(failed(error)),
    };
    for entry in entries.take(MAX_FEDERATED) {
        let name = entry.map_err(failed)?.file_name();
        let Some(name) = name.to_str().filter(|name| name.ends_with(".pem")) else { continue };
        files.insert(format!("{FEDERATED}/{name}"), read_file(&federated.join(name))?);
    }
    Ok(files)
}

fn federated_name(file: &str) -> Option<&str> {
    file.strip_prefix(FEDERATED)?.strip_prefix('/')?.strip_suffix(".pem")
}

/// Parses a chain and its key, which must belong together.
pub(crate) fn certified_key(
    chain_file: &str,
    chain: &[u8],
    key_file: &str,
    key: &[u8],
) -> Result<CertifiedKey, SourceError> {
    let chain = certificates(chain_file, chain)?;
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|source| SourceError::Pem { file: key_file.to_owned(), source })?;
    CertifiedKey::from_der(chain, key, &default_provider())
        .map_err(|source| SourceError::Key { file: key_file.to_owned(), source })
}

/// Parses the certificates of a file; there is at least one.
pub(crate) fn certificates(file: &str, bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, SourceError> {
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(bytes).collect();
    let found = found.map_err(|source| SourceError::Pem { file: file.to_owned(), source })?;
    if found.is_empty() { Err(SourceError::Empty { file: file.to_owned() }) } else { Ok(found) }
}

/// Why files of identity or trust cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// A file or directory cannot be read.
    #[error("cannot read {}; check that it exists and that this user may read it", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The directory is replaced again and again while it is read.
    #[error("{} changes faster than it can be read; let one writer renew it, and rarely", path.display())]
    Unsettled {
        /// The directory.
        path: PathBuf,
    },
    /// A file is larger than any real one.
    #[error("{} has more than {limit} bytes; that is no file of identity or trust", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },
    /// A file is not PEM, or is cut off.
    #[error("{file} is not well-formed PEM; write it anew")]
    Pem {
        /// The file.
        file: String,
        /// The cause.
        source: pem::Error,
    },
    /// A file holds nothing of what it is for.
    #[error("{file} holds no certificate or public key; write it anew")]
    Empty {
        /// The file.
        file: String,
    },
    /// A private key cannot be used or belongs to another certificate.
    #[error("{file} is not the key of the certificate beside it; issue both together")]
    Key {
        /// The file.
        file: String,
        /// The cause.
        source: rustls::Error,
    },
    /// The own SVID does not pass the checks that a peer would make.
    #[error("the SVID would be refused by its peers; issue a new one")]
    Svid {
        /// The check that fails.
        source: Rejection,
    },
    /// A bundle is not named after a trust domain.
    #[error("{file} is not named after a trust domain")]
    BundleName {
        /// The bundle.
        file: String,
        /// The cause.
        source: SpiffeIdError,
    },
    /// A root may not sign SVIDs of its trust domain.
    #[error("{file} holds a certificate that is no root of it: {reason}")]
    Root {
        /// The bundle.
        file: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// Two trust domains have one root key.
    #[error("the trust domains {one} and {other} share a root; each needs a certificate authority of its own")]
    SharedRoot {
        /// A trust domain.
        one: String,
        /// Another one.
        other: String,
    },
    /// A file of token keys holds something else than Ed25519 public keys, or too many.
    #[error("{file} is no list of Ed25519 public keys: {reason}")]
    TokenKeys {
        /// The file.
        file: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The runtime stopped while the files were read.
    #[error("the runtime stopped while files were read")]
    Stopped {
        /// The cause.
        source: tokio::task::JoinError,
    },
}
