//! Page tokens (AIP-158): opaque to the client, bound to the query that they continue, useless when changed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;

use crate::StoreError;
use crate::hash::{Hash, digest};

/// A cursor is a sort key or two; longer ones are mistakes.
const MAX_CURSOR: usize = 512;

/// A token is a tag and a cursor; nothing longer is looked at.
const MAX_TOKEN: usize = (MAX_CURSOR + TAG).div_ceil(3) * 4;

/// HMAC-SHA256, whole.
const TAG: usize = 32;

pub(crate) type PageKey = [u8; 32];

/// What a token is bound to: the method, whoever asks, and every field that selects or orders the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilterDigest(Hash);

impl FilterDigest {
    /// The digest of a query. `method` keeps the tokens of two methods apart.
    #[must_use]
    pub fn new(method: &str, parts: &[&[u8]]) -> Self {
        let mut all = vec![method.as_bytes()];
        all.extend_from_slice(parts);
        Self(digest("sekat.page-filter.v1", &all))
    }
}

/// Makes and reads page tokens with a key that never leaves the store, so that they survive a restart.
#[derive(Clone, Debug)]
pub struct PageTokens {
    key: hmac::Key,
}

impl PageTokens {
    pub(crate) fn new(key: &PageKey) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The token of the page that follows `cursor`. The client can read the cursor, and cannot change it: it must
    /// hold nothing that the listed rows do not show.
    ///
    /// # Errors
    /// [`StoreError::TooLong`] if the cursor has more than 512 bytes.
    pub fn encode(&self, filter: FilterDigest, cursor: &str) -> Result<String, StoreError> {
        if cursor.len() > MAX_CURSOR {
            return Err(StoreError::TooLong { what: "a page cursor", found: cursor.len(), limit: MAX_CURSOR });
        }
        let mut token = hmac::sign(&self.key, &signed(filter, cursor.as_bytes())).as_ref().to_vec();
        token.extend_from_slice(cursor.as_bytes());
        Ok(URL_SAFE_NO_PAD.encode(token))
    }

    /// The cursor of a token that [`PageTokens::encode`] made for the same filter.
    ///
    /// # Errors
    /// [`StoreError::InvalidPageToken`] for any other text.
    pub fn decode(&self, filter: FilterDigest, token: &str) -> Result<String, StoreError> {
        if token.len() > MAX_TOKEN {
            return Err(StoreError::InvalidPageToken);
        }
        let token = URL_SAFE_NO_PAD.decode(token).map_err(|_| StoreError::InvalidPageToken)?;
        let (tag, cursor) = token.split_at_checked(TAG).ok_or(StoreError::InvalidPageToken)?;
        hmac::verify(&self.key, &signed(filter, cursor), tag).map_err(|_| StoreError::InvalidPageToken)?;
        String::from_utf8(cursor.to_vec()).map_err(|_| StoreError::InvalidPageToken)
    }
}

fn signed(filter: FilterDigest, cursor: &[u8]) -> Hash {
    digest("sekat.page-token.v1", &[&filter.0, cursor])
}

/// The number of rows of a page: `default` if the client asks for 0, never more than `max` (AIP-158).
///
/// # Errors
/// [`StoreError::InvalidPageSize`] if it is negative.
pub fn page_size(requested: i32, default: u32, max: u32) -> Result<i64, StoreError> {
    match u32::try_from(requested) {
        Ok(0) => Ok(default.min(max).into()),
        Ok(size) => Ok(size.min(max).into()),
        Err(_) => Err(StoreError::InvalidPageSize),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filter() -> FilterDigest {
        FilterDigest::new("/p.S/List", &[b"accounts/1", b"PAID"])
    }

    #[test]
    fn a_page_size_is_defaulted_capped_or_refused() {
        assert_eq!(page_size(0, 20, 100).unwrap(), 20);
        assert_eq!(page_size(7, 20, 100).unwrap(), 7);
        assert_eq!(page_size(i32::MAX, 20, 100).unwrap(), 100);
        assert_eq!(page_size(0, 200, 100).unwrap(), 100);
        assert!(matches!(page_size(-1, 20, 100), Err(StoreError::InvalidPageSize)));
    }

    #[test]
    fn a_token_serves_its_own_query_and_key_and_no_other() {
        let pages = PageTokens::new(&[1; 32]);
        let token = pages.encode(filter(), "1700000000/orders/7").unwrap();
        assert_eq!(pages.decode(filter(), &token).unwrap(), "1700000000/orders/7");
        for other in [
            FilterDigest::new("/p.S/List", &[b"accounts/2", b"PAID"]),
            FilterDigest::new("/p.S/List", &[b"accounts/1PAID"]),
            FilterDigest::new("/p.S/Search", &[b"accounts/1", b"PAID"]),
        ] {
            assert!(matches!(pages.decode(other, &token), Err(StoreError::InvalidPageToken)));
        }
        let another_store = PageTokens::new(&[2; 32]);
        assert!(matches!(another_store.decode(filter(), &token), Err(StoreError::InvalidPageToken)));
    }

    #[test]
    fn a_cursor_and_a_token_have_limits() {
        let pages = PageTokens::new(&[1; 32]);
        let longest = "c".repeat(MAX_CURSOR);
        let token = pages.encode(filter(), &longest).unwrap();
        assert!(token.len() <= MAX_TOKEN);
        assert_eq!(pages.decode(filter(), &token).unwrap(), longest);
        assert!(matches!(pages.encode(filter(), &(longest + "c")), Err(StoreError::TooLong { .. })));
        assert!(pages.decode(filter(), &"A".repeat(MAX_TOKEN + 1)).is_err());
    }

    proptest! {
        #[test]
        fn any_changed_character_is_refused(cursor in ".{0,40}", at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
            let pages = PageTokens::new(&[1; 32]);
            let token = pages.encode(filter(), &cursor).unwrap();
            prop_assert_eq!(pages.decode(filter(), &token).unwrap(), cursor);
            let at = at.index(token.len());
            let mut changed = token.clone();
            changed.replace_range(at..=at, &to);
            prop_assert!(changed == token || pages.decode(filter(), &changed).is_err());
        }

        #[test]
        fn any_text_is_refused(token in ".{0,100}") {
            prop_assert!(PageTokens::new(&[1; 32]).decode(filter(), &token).is_err());
        }
    }
}
