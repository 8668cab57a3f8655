//! The SPIFFE ID of a workload: parsed once, strictly, and compared as a whole.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest SPIFFE ID, in bytes (SPIFFE-ID, section 2.3).
const MAX_ID_BYTES: usize = 2048;
/// The longest trust domain, in bytes (SPIFFE-ID, section 2.3).
const MAX_TRUST_DOMAIN_BYTES: usize = 255;
const SCHEME: &str = "spiffe://";

/// The identity of a workload, for instance `spiffe://commerce.sekat.local/payment`. Cheap to clone.
///
/// The grammar is that of the SPIFFE-ID standard, section 2, for workloads: there is always a path. Two identities
/// are the same if their texts are; nothing is normalized, because nothing that would need it is accepted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId(Arc<str>);

impl SpiffeId {
    /// Parses `text`.
    ///
    /// # Errors
    /// If `text` is not exactly a workload's SPIFFE ID; see [`SpiffeIdError`].
    pub fn parse(text: &str) -> Result<Self, SpiffeIdError> {
        if text.len() > MAX_ID_BYTES {
            return Err(SpiffeIdError::TooLong);
        }
        let rest = text.strip_prefix(SCHEME).ok_or(SpiffeIdError::Scheme)?;
        let (trust_domain, path) = rest.split_once('/').unwrap_or((rest, ""));
        check_trust_domain(trust_domain)?;
        if path.is_empty() {
            return Err(SpiffeIdError::NoPath);
        }
        for segment in path.split('/') {
            match segment {
                "" => return Err(SpiffeIdError::EmptySegment),
                "." | ".." => return Err(SpiffeIdError::DotSegment),
                _ if !segment.bytes().all(is_path_byte) => return Err(SpiffeIdError::PathCharacter),
                _ => {}
            }
        }
        Ok(Self(text.into()))
    }

    /// The whole identity.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The trust domain, for instance `commerce.sekat.local`.
    #[must_use]
    pub fn trust_domain(&self) -> &str {
        self.parts().0
    }

    /// The path with its leading slash, for instance `/payment`.
    #[must_use]
    pub fn path(&self) -> &str {
        self.parts().1
    }

    fn parts(&self) -> (&str, &str) {
        // INVARIANT: `parse` saw the scheme and a slash after the trust domain, so that neither default is taken.
        let rest = self.0.strip_prefix(SCHEME).unwrap_or_default();
        rest.split_at(rest.find('/').unwrap_or(rest.len()))
    }
}

/// Checks that `name` is a trust domain.
///
/// # Errors
/// If it is empty, too long or holds a character that is not allowed.
pub fn check_trust_domain(name: &str) -> Result<(), SpiffeIdError> {
    match name {
        "" => Err(SpiffeIdError::NoTrustDomain),
        _ if name.len() > MAX_TRUST_DOMAIN_BYTES => Err(SpiffeIdError::TrustDomainTooLong),
        _ if !name.bytes().all(is_trust_domain_byte) => Err(SpiffeIdError::TrustDomainCharacter),
        _ => Ok(()),
    }
}

const fn is_trust_domain_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_')
}

const fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

impl FromStr for SpiffeId {
    type Err = SpiffeIdError;

    fn from_str(text: &str) -> Result<Self, SpiffeIdError> {
        Self::parse(text)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is not the SPIFFE ID of a workload. Queries, fragments, ports, user information and percent-encoding
/// have no case of their own: their characters are not allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpiffeIdError {
    /// More than 2048 bytes.
    #[error("a SPIFFE ID has at most {MAX_ID_BYTES} bytes")]
    TooLong,
    /// Another scheme, or none.
    #[error("a SPIFFE ID begins with {SCHEME:?}, in lower case")]
    Scheme,
    /// Nothing between the scheme and the path.
    #[error("the trust domain is empty")]
    NoTrustDomain,
    /// A trust domain of more than 255 bytes.
    #[error("a trust domain has at most {MAX_TRUST_DOMAIN_BYTES} bytes")]
    TrustDomainTooLong,
    /// Something else than `a-z0-9.-_` in the trust domain.
    #[error("a trust domain consists of a-z, 0-9, '.', '-' and '_'")]
    TrustDomainCharacter,
    /// No path, or only a slash: that names a trust domain and no workload.
    #[error("a workload's SPIFFE ID has a path")]
    NoPath,
    /// Two slashes in a row, or one at the end.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// A segment `.` or `..`.
    #[error("the path has a segment '.' or '..'")]
    DotSegment,
    /// Something else than `a-zA-Z0-9.-_` in a segment.
    #[error("a path segment consists of a-z, A-Z, 0-9, '.', '-' and '_'")]
    PathCharacter,
}
