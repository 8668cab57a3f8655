//! Signed tokens: compact JWS (RFC 7515) with Ed25519 (RFC 8037) and nothing else. The algorithm, the type and the
//! key are fixed by the verifier; the header only has to say the same.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::source::SourceError;
use crate::watch::{Files, Recipe, Watched, read_file, sha256};

/// The longest token, in bytes. It must fit a metadata value beside the others (gRPC's default is 8 KiB for all).
pub const MAX_TOKEN_BYTES: usize = 4096;
/// How far the clocks of the machines that sign and verify may differ.
pub const CLOCK_SKEW: Duration = Duration::from_secs(5);
/// The most keys in one file: a rotation needs two.
const MAX_KEYS: usize = 8;
/// The DER of an Ed25519 `SubjectPublicKeyInfo` up to the key (RFC 8410, section 4).
const ED25519_SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The whole header. A parameter more, `crit` or `jku` for instance, is refused.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

const ALGORITHM: &str = "EdDSA";

/// The private half of a token key.
pub struct SigningKey {
    key: Ed25519KeyPair,
    kid: String,
    pkcs8: Vec<u8>,
}

impl SigningKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// If the operating system gives no randomness.
    pub fn generate() -> Result<Self, JwsError> {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| JwsError::Randomness)?;
        Self::from_pkcs8(der.as_ref())
    }

    /// Parses a PKCS #8 private key, as [`SigningKey::pkcs8_pem`] or `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// If there is no such block or the key is not for Ed25519.
    pub fn from_pkcs8_pem(text: &str) -> Result<Self, JwsError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes()).map_err(|_| JwsError::PrivateKey)?;
        Self::from_pkcs8(der.secret_pkcs8_der())
    }

    fn from_pkcs8(der: &[u8]) -> Result<Self, JwsError> {
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| JwsError::PrivateKey)?;
        let kid = key_id(key.public_key().as_ref());
        Ok(Self { key, kid, pkcs8: der.to_vec() })
    }

    /// The private key, PKCS #8 PEM. A secret.
    #[must_use]
    pub fn pkcs8_pem(&self) -> String {
        pem("PRIVATE KEY", &self.pkcs8)
    }

    /// The public key, a `PUBLIC KEY` PEM block for a file that [`VerifyingKeys`] reads.
    #[must_use]
    pub fn public_pem(&self) -> String {
        pem("PUBLIC KEY", &[&ED25519_SPKI, self.key.public_key().as_ref()].concat())
    }

    /// Signs `claims` as a token of type `typ`.
    ///
    /// # Errors
    /// If the claims cannot be written as JSON or the token is longer than [`MAX_TOKEN_BYTES`].
    pub fn sign(&self, typ: &str, claims: &impl Serialize) -> Result<String, JwsError> {
        let header = Header { alg: ALGORITHM.to_owned(), typ: typ.to_owned(), kid: self.kid.clone() };
        let encode =
            |json: Result<Vec<u8>, serde_json::Error>| Ok(URL_SAFE_NO_PAD.encode(json.map_err(|_| JwsError::Claims)?));
        let signed = format!("{}.{}", encode(serde_json::to_vec(&header))?, encode(serde_json::to_vec(claims))?);
        let signature = self.key.sign(signed.as_bytes());
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
        if token.len() > MAX_TOKEN_BYTES { Err(JwsError::TooLong) } else { Ok(token) }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// The public keys that tokens of one kind may be signed with. Cheap to clone.
///
/// They are the `PUBLIC KEY` blocks (Ed25519) of one PEM file, which is watched: to rotate, add the new key, sign
/// with it once all verifiers have read the file, and remove the old one when its last token has expired.
#[derive(Clone)]
pub struct VerifyingKeys(Arc<Watched<Vec<VerifyingKey>>>);

struct VerifyingKey {
    kid: String,
    key: UnparsedPublicKey<Vec<u8>>,
}

impl VerifyingKeys {
    /// Reads the keys and watches the file until the last clone is gone. Needs a Tokio runtime.
    ///
    /// # Errors
    /// If the file cannot be read, holds no key, more than eight, or one that is not for Ed25519.
    pub async fn open(path: &Path) -> Result<Self, SourceError> {
        let path = path.to_owned();
        Watched::open(Recipe {
            what: format!("token keys {}", path.display()),
            read: Box::new(move || Ok(Files::from([(path.display().to_string(), read_file(&path)?)]))),
            parse: parse_keys,
            not_after: |_| None,
        })
        .await
        .map(Self)
    }

    /// Looks at the file at once, without waiting for the next poll.
    ///
    /// # Errors
    /// If the file is not good; the last good keys stay.
    pub async fn refresh_now(&self) -> Result<(), SourceError> {
        self.0.refresh().await.map(drop)
    }

    /// A channel whose value grows when the keys change: what was verified before must be verified anew.
    #[must_use]
    pub fn subscribe(&self) -> tokio::sync::watch::Receiver<u64> {
        self.0.subscribe()
    }

    /// Checks that `token` has type `typ` and is signed by one of the keys, and returns its claims. Their meaning
    /// (expiry, audience) is the caller's to check.
    ///
    /// # Errors
    /// If it is not exactly such a token.
    pub fn verify<C: DeserializeOwned>(&self, typ: &str, token: &str) -> Result<C, JwsError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(JwsError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(JwsError::Malformed)?;
        if claims.contains('.') {
            return Err(JwsError::Malformed);
        }
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| JwsError::Header)?;
        if header.alg != ALGORITHM {
            return Err(JwsError::Algorithm);
        }
        if header.typ != typ {
            return Err(JwsError::Type);
        }
        let keys = self.0.current();
        let key = keys.iter().find(|key| key.kid == header.kid).ok_or(JwsError::UnknownKey)?;
        key.key.verify(signed.as_bytes(), &decode(signature)?).map_err(|_| JwsError::Signature)?;
        // The claims are looked at only now, when their author is known.
        serde_json::from_slice(&decode(claims)?).map_err(|_| JwsError::Claims)
    }
}

impl fmt::Debug for VerifyingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.current().iter().map(|key| &key.kid)).finish()
    }
}

fn parse_keys(files: &Files) -> Result<Vec<VerifyingKey>, SourceError> {
    let mut keys = Vec::new();
    for (file, bytes) in files {
        let unfit = |reason| SourceError::TokenKeys { file: file.clone(), reason };
        for der in SubjectPublicKeyInfoDer::pem_slice_iter(bytes) {
            let der = der.map_err(|source| SourceError::Pem { file: file.clone(), source })?;
            let key = der.strip_prefix(&ED25519_SPKI).filter(|key| key.len() == 32);
            let key = key.ok_or_else(|| unfit("a key is not for Ed25519"))?;
            keys.push(VerifyingKey { kid: key_id(key), key: UnparsedPublicKey::new(&ED25519, key.to_vec()) });
        }
        if keys.is_empty() {
            return Err(unfit("it holds no PUBLIC KEY block"));
        }
        if keys.len() > MAX_KEYS {
            return Err(unfit("it holds more keys than a rotation needs"));
        }
    }
    Ok(keys)
}

/// Checks a token's times, in seconds since 1970, against `now` with [`CLOCK_SKEW`] to either side.
pub(crate) fn check_times(iat: u64, exp: u64, longest: Duration, now: SystemTime) -> Result<(), JwsError> {
    let now = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let skew = CLOCK_SKEW.as_secs();
    if exp <= iat || exp - iat > longest.as_secs() {
        Err(JwsError::Claim("exp"))
    } else if iat > now.saturating_add(skew) {
        Err(JwsError::NotYetValid)
    } else if exp.saturating_add(skew) <= now {
        Err(JwsError::Expired)
    } else {
        Ok(())
    }
}

/// The key's name in headers: the first 8 bytes of the SHA-256 of the raw public key, in hexadecimal.
fn key_id(public_key: &[u8]) -> String {
    sha256(public_key).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Unpadded base64url with no bit set beyond the data (RFC 7515, section 2), so that a token has one spelling.
fn decode(part: &str) -> Result<Vec<u8>, JwsError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Malformed)
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len()).step_by(64).filter_map(|at| text.get(at..text.len().min(at + 64))).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// Why a token or a key is not accepted. Nothing in it repeats any part of a token, as the errors of the JSON parser
/// would: they are dropped on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwsError {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("a token has at most {MAX_TOKEN_BYTES} bytes")]
    TooLong,
    /// Not three parts of unpadded base64url.
    #[error("the token is no compact JWS")]
    Malformed,
    /// The header is not exactly `alg`, `typ` and `kid`.
    #[error("the token's header is not exactly alg, typ and kid")]
    Header,
    /// Another algorithm than EdDSA, `none` for instance.
    #[error("the token's algorithm is not {ALGORITHM}")]
    Algorithm,
    /// A token of another kind.
    #[error("the token is of another type")]
    Type,
    /// Signed by a key that is not, or no longer, among the known ones.
    #[error("the token's key is not known here")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the token's signature does not fit")]
    Signature,
    /// The claims are not those of this type.
    #[error("the token's claims are not those of its type")]
    Claims,
    /// A claim is out of its limits; the name says which.
    #[error("the token's claim {0} is out of its limits")]
    Claim(&'static str),
    /// No longer valid.
    #[error("the token has expired")]
    Expired,
    /// Issued in the future.
    #[error("the token is not yet valid")]
    NotYetValid,
    /// Issued for somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// A private key that is not a PKCS #8 one for Ed25519.
    #[error("the private key is no Ed25519 key in PKCS #8 PEM")]
    PrivateKey,
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness")]
    Randomness,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A.4: the key of A.1 and A.2, and a signature that was made by others. Its header lacks what
    /// we demand, so that it is tried below the token's surface.
    #[test]
    fn signatures_are_those_of_rfc_8037() {
        let private = URL_SAFE_NO_PAD.decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let public = URL_SAFE_NO_PAD.decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").unwrap();
        let signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
        let signature = "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
        let pkcs8_v1 = [&[48, 46, 2, 1, 0, 48, 5, 6, 3, 43, 101, 112, 4, 34, 4, 32], private.as_slice()].concat();
        let key = SigningKey::from_pkcs8(&pkcs8_v1).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(key.key.sign(signed)), signature);
        let files = Files::from([("keys".to_owned(), key.public_pem().into_bytes())]);
        let keys = parse_keys(&files).unwrap();
        assert_eq!(keys[0].kid, key_id(&public));
        assert!(keys[0].key.verify(signed, &decode(signature).unwrap()).is_ok());
    }
}
