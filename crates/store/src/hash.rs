//! SHA-256 over a list of parts that can be read in one way only.

use sha2::{Digest, Sha256};

/// A SHA-256 digest.
pub(crate) type Hash = [u8; 32];

/// Hashes `domain` and `parts`, each preceded by its length as eight big-endian bytes: no two different lists have
/// the same encoding, and no digest made for one purpose serves another.
pub(crate) fn digest(domain: &str, parts: &[&[u8]]) -> Hash {
    let mut hash = Sha256::new();
    for part in std::iter::once(domain.as_bytes()).chain(parts.iter().copied()) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_one_part_ends_and_the_next_begins_matters() {
        assert_ne!(digest("a", &[b"bc"]), digest("ab", &[b"c"]));
        assert_ne!(digest("a", &[b"b", b"c"]), digest("a", &[b"bc"]));
        assert_ne!(digest("a", &[b""]), digest("a", &[]));
        assert_eq!(digest("a", &[b"b", b"c"]), digest("a", &[b"b", b"c"]));
    }
}
