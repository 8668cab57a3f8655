//! The bank's half of SNAP BI signatures: it verifies its partner's requests and signs its own notifications.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::rsa::KeyPair;
use ring::{digest, hmac, signature};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use std::fmt;
use time::format_description::well_known::Rfc3339;
use time::macros::offset;
use time::{Duration, OffsetDateTime};

/// How far a partner's clock may be from the bank's, either way.
const CLOCK_WINDOW: Duration = Duration::minutes(5);

/// The keys that the bank and its partner agreed on.
pub(crate) struct Keys {
    secret: hmac::Key,
    partner: SubjectPublicKeyInfoDer<'static>,
    own: KeyPair,
    random: SystemRandom,
}

/// Why a key cannot be used. Says nothing about the key's bytes.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file is not what it should be.
    #[error("expected one PEM block of type {0}")]
    NotPem(&'static str),
    /// The key is not an RSA key of a usable size.
    #[error("the key is not an RSA key of 2048 to 8192 bits: {0}")]
    NotRsa(String),
    /// The shared secret is too short to be one.
    #[error("the client secret must have at least {MIN_SECRET_BYTES} bytes")]
    WeakSecret,
    /// The system gave no random bytes.
    #[error("the system's random number generator failed")]
    NoRandom,
}

/// Shorter secrets can be guessed from one observed signature.
const MIN_SECRET_BYTES: usize = 16;

/// What an HMAC signature of a transaction covers.
pub(crate) struct Transaction<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) token: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) timestamp: &'a str,
}

impl Keys {
    /// Keys from their files' contents: the shared secret (surrounding white space does not count), the partner's
    /// `PUBLIC KEY` and the bank's PKCS #8 `PRIVATE KEY`.
    pub(crate) fn new(secret: &[u8], partner_pem: &[u8], own_pem: &[u8]) -> Result<Self, KeyError> {
        let secret = secret.trim_ascii();
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyError::WeakSecret);
        }
        let partner =
            SubjectPublicKeyInfoDer::from_pem_slice(partner_pem).map_err(|_| KeyError::NotPem("PUBLIC KEY"))?;
        webpki::RawPublicKeyEntity::try_from(&partner).map_err(|error| KeyError::NotRsa(error.to_string()))?;
        let own = PrivatePkcs8KeyDer::from_pem_slice(own_pem).map_err(|_| KeyError::NotPem("PRIVATE KEY"))?;
        let own = KeyPair::from_pkcs8(own.secret_pkcs8_der()).map_err(|error| KeyError::NotRsa(error.to_string()))?;
        Ok(Self { secret: hmac::Key::new(hmac::HMAC_SHA512, secret), partner, own, random: SystemRandom::new() })
    }

    /// Whether the partner signed this request for an access token.
    pub(crate) fn token_request_is_genuine(&self, client_id: &str, timestamp: &str, signature: &str) -> bool {
        let (Ok(signature), Ok(partner)) =
            (BASE64.decode(signature), webpki::RawPublicKeyEntity::try_from(&self.partner))
        else {
            return false;
        };
        let signed = format!("{client_id}|{timestamp}");
        partner.verify_signature(webpki::ring::RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature).is_ok()
    }

    /// Whether a holder of the shared secret signed this transaction.
    pub(crate) fn transaction_is_genuine(&self, transaction: &Transaction<'_>, signature: &str) -> bool {
        let Ok(signature) = BASE64.decode(signature) else { return false };
        let Transaction { method, path, token, body, timestamp } = transaction;
        let signed = format!("{method}:{path}:{token}:{}:{timestamp}", body_digest(body));
        hmac::verify(&self.secret, signed.as_bytes(), &signature).is_ok()
    }

    /// The bank's signature over a notification: RSA over `METHOD:path:digest:timestamp`. There is no token in
    /// it, since the bank never asks its partner for one.
    pub(crate) fn sign_notification(&self, path: &str, body: &[u8], timestamp: &str) -> Result<Vec<u8>, KeyError> {
        let signed = format!("POST:{path}:{}:{timestamp}", body_digest(body));
        let mut signature = vec![0; self.own.public().modulus_len()];
        self.own
            .sign(&signature::RSA_PKCS1_SHA256, &self.random, signed.as_bytes(), &mut signature)
            .map_err(|_| KeyError::NoRandom)?;
        Ok(signature)
    }

    /// A name that nobody can guess, in hexadecimal, from `N` random bytes.
    pub(crate) fn unguessable<const N: usize>(&self) -> Result<String, KeyError> {
        let mut bytes = [0; N];
        self.random.fill(&mut bytes).map_err(|_| KeyError::NoRandom)?;
        Ok(hex(&bytes))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

/// A signature as a header carries it.
pub(crate) fn encode(signature: &[u8]) -> String {
    BASE64.encode(signature)
}

/// The lower-case hexadecimal SHA-256 of a JSON body without the white space between its tokens.
pub(crate) fn body_digest(body: &[u8]) -> String {
    let mut in_string = false;
    let mut escaped = false;
    let mut minified = body.to_vec();
    minified.retain(|byte| {
        let keep = in_string || !matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
        if *byte == b'"' && !escaped {
            in_string = !in_string;
        }
        escaped = in_string && *byte == b'\\' && !escaped;
        keep
    });
    hex(digest::digest(&digest::SHA256, &minified).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether `timestamp` is a point in time close enough to `now`.
pub(crate) fn is_fresh(timestamp: &str, now: OffsetDateTime) -> bool {
    OffsetDateTime::parse(timestamp, &Rfc3339).is_ok_and(|at| (now - at).abs() <= CLOCK_WINDOW)
}

/// `at` as SNAP BI writes it: Jakarta time, seconds.
pub(crate) fn jakarta(at: OffsetDateTime) -> String {
    let at = at.to_offset(offset!(+7));
    let (date, (hour, minute, second)) = (at.date(), at.to_hms());
    format!("{date}T{hour:02}:{minute:02}:{second:02}+07:00")
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn the_digest_ignores_white_space_between_tokens_and_nothing_else() {
        let digest = body_digest(br#"{"a":"x y\\","b":[1,null],"c":"\" d"}"#);
        let spaced = b" {\r\n\t\"a\" : \"x y\\\\\" , \"b\":[1, null],\"c\":\"\\\" d\" } ";
        assert_eq!(body_digest(spaced), digest);
        for other in [&br#"{"a":"xy\\","b":[1,null],"c":"\" d"}"#[..], br#"{"b":[1,null],"a":"x y\\","c":"\" d"}"#] {
            assert_ne!(body_digest(other), digest);
        }
    }

    #[test]
    fn a_timestamp_is_fresh_for_five_minutes_either_way() {
        let now = datetime!(2025-03-01 05:00 UTC);
        for fresh in ["2025-03-01T12:05:00+07:00", "2025-03-01T04:55:00Z", "2025-03-01T05:00:00.123Z"] {
            assert!(is_fresh(fresh, now), "{fresh}");
        }
        for stale in ["2025-03-01T12:05:01+07:00", "2025-03-01T04:54:59Z", "2025-03-01T05:00:00", "now", ""] {
            assert!(!is_fresh(stale, now), "{stale}");
        }
    }

    #[test]
    fn jakarta_time_has_seconds_and_its_offset() {
        assert_eq!(jakarta(datetime!(2024-12-31 20:04:05.9 UTC)), "2025-01-01T03:04:05+07:00");
    }
}
