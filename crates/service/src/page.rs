//! Pages of lists (AIP-158). A page ends where its rows or its bytes do, so that no page is larger than a message may
//! be, however large its rows are.

use prost::Message;
use sekat_mesh::MESSAGE_BYTES;
use sekat_store::{FilterDigest, PageTokens, StoreError, page_size};

/// Bytes of a page's messages. What is left of the limit is for the token and the framing.
const PAGE_BYTES: usize = MESSAGE_BYTES - 4 * 1024;
/// Tag and length of a repeated field's element.
const ELEMENT_BYTES: usize = 5;

/// A page that was asked for.
#[derive(Debug)]
pub struct Page<'a> {
    tokens: &'a PageTokens,
    filter: FilterDigest,
    after: String,
    size: i64,
}

impl<'a> Page<'a> {
    /// The page that follows `token`, the first one if it is empty, of `requested` rows: `default` if that is 0, never
    /// more than `max`.
    ///
    /// # Errors
    /// [`StoreError::InvalidPageToken`] and [`StoreError::InvalidPageSize`].
    pub fn new(
        tokens: &'a PageTokens,
        filter: FilterDigest,
        token: &str,
        requested: i32,
        (default, max): (u32, u32),
    ) -> Result<Self, StoreError> {
        let after = if token.is_empty() { String::new() } else { tokens.decode(filter, token)? };
        Ok(Self { tokens, filter, after, size: page_size(requested, default, max)? })
    }

    /// The cursor after which the page begins; empty for the first page.
    #[must_use]
    pub fn after(&self) -> String {
        self.after.clone()
    }

    /// How many rows to read: one more than the page holds tells whether there is another page.
    #[must_use]
    pub const fn limit(&self) -> i64 {
        self.size.saturating_add(1)
    }

    /// The page's messages, and the token of the next page or nothing, of rows in order, each with its cursor.
    ///
    /// # Errors
    /// [`StoreError::TooLong`] if a cursor is.
    pub fn cut<M: Message>(
        self,
        rows: impl IntoIterator<Item = (String, M)>,
    ) -> Result<(Vec<M>, String), StoreError> {
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let (mut messages, mut last, mut bytes) = (Vec::new(), None, 0_usize);
        for (cursor, message) in rows {
            bytes = bytes.saturating_add(message.encoded_len()).saturating_add(ELEMENT_BYTES);
            // One row is always returned: a client that pages on must get on.
            let is_full = messages.len() >= size || (bytes > PAGE_BYTES && !messages.is_empty());
            if is_full {
                let token = last.map(|cursor: String| self.tokens.encode(self.filter, &cursor)).transpose()?;
                return Ok((messages, token.unwrap_or_default()));
            }
            messages.push(message);
            last = Some(cursor);
        }
        Ok((messages, String::new()))
    }
}
