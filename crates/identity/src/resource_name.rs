//! The shape of the resource names that tokens carry (AIP-122).

/// The longest resource ID, in bytes: that of a host name's label (AIP-122).
const MAX_ID_BYTES: usize = 63;

/// Whether `name` is `collection/{id}` for each of `collections` in turn, joined by slashes.
pub(crate) fn is_name(name: &str, collections: &[&str]) -> bool {
    let mut segments = name.split('/');
    collections.iter().all(|collection| segments.next() == Some(collection) && segments.next().is_some_and(is_id))
        && segments.next().is_none()
}

/// Whether `id` is an ID or a public handle: `a-zA-Z0-9-_.`, not empty.
pub(crate) fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !id.is_empty() && id.len() <= MAX_ID_BYTES && id.bytes().all(allowed)
}
