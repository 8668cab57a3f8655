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
    pub fn cut<M: Message>(self, rows: impl IntoIterator<Item = (String, M)>) -> Result<(Vec<M>, String), StoreError> {
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

#[cfg(test)]
mod tests {
    use sekat_store::{Store, StoreConfig};

    use super::*;

    /// All pages of these rows, each row a message of so many bytes, asked for in pages of `size`.
    async fn walk(rows: &[usize], size: i32) -> Vec<Vec<usize>> {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreConfig::new(dir.path(), "test", "test-0", &[])).await.unwrap();
        let filter = FilterDigest::new("Walk", &[]);
        let (mut pages, mut token) = (Vec::new(), String::new());
        loop {
            let page = Page::new(store.pages(), filter, &token, size, (2, 100)).unwrap();
            let after = page.after().parse().map_or(0, |index: usize| index + 1);
            let limit = usize::try_from(page.limit()).unwrap();
            let read = rows.iter().enumerate().skip(after).take(limit);
            let (messages, next) =
                page.cut(read.map(|(index, bytes)| (index.to_string(), "x".repeat(*bytes)))).unwrap();
            pages.push(messages.iter().map(String::len).collect());
            if next.is_empty() {
                return pages;
            }
            token = next;
        }
    }

    #[tokio::test]
    async fn each_row_is_on_one_page_and_no_page_is_empty_or_too_large() {
        let half = PAGE_BYTES / 2 - 100;
        let huge = PAGE_BYTES + 100;
        assert_eq!(walk(&[], 2).await, [[0; 0]]);
        assert_eq!(walk(&[1, 1], 2).await, [[1, 1]]);
        assert_eq!(walk(&[1, 1, 1], 0).await, [vec![1, 1], vec![1]]);
        assert_eq!(walk(&[half, half, half], 3).await, [vec![half, half], vec![half]]);
        assert_eq!(walk(&[1, huge, 1, huge], 9).await, [vec![1], vec![huge], vec![1], vec![huge]]);
    }

    #[tokio::test]
    async fn a_token_of_another_list_and_a_negative_size_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(StoreConfig::new(dir.path(), "test", "test-0", &[])).await.unwrap();
        let (one, other) = (FilterDigest::new("One", &[]), FilterDigest::new("Other", &[]));
        let page = Page::new(store.pages(), one, "", 1, (1, 1)).unwrap();
        let (_, token) = page.cut([("a".to_owned(), String::new()), ("b".to_owned(), String::new())]).unwrap();
        assert_eq!(Page::new(store.pages(), one, &token, 1, (1, 1)).unwrap().after(), "a");
        assert!(matches!(Page::new(store.pages(), other, &token, 1, (1, 1)), Err(StoreError::InvalidPageToken)));
        assert!(matches!(Page::new(store.pages(), one, "", -1, (1, 1)), Err(StoreError::InvalidPageSize)));
    }
}
