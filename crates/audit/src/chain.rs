//! SHA-256 over a list of parts that can be read in one way only, as this mesh's hash chains use it.

use sha2::{Digest as _, Sha256};

/// Hashes `domain` and `parts`, each after its length as eight big-endian bytes.
pub(crate) fn digest(domain: &str, parts: &[&[u8]]) -> [u8; 32] {
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
    fn where_a_part_ends_matters() {
        assert_ne!(digest("a", &[b"bc"]), digest("ab", &[b"c"]));
        assert_ne!(digest("a", &[b"b", b"c"]), digest("a", &[b"bc"]));
        assert_ne!(digest("a", &[b""]), digest("a", &[]));
    }
}
