//! A write that is repeated has one effect: the reply is stored with the effect, under the caller's request id.

use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use sekat_policy::Access;
use sha2::{Digest, Sha256};

use crate::database::Database;
use crate::hash::Hash;
use crate::{StoreError, Tx, Value};

/// Stored replies are kept this long or longer, so that a client that retries for a day is still understood.
pub const MIN_RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// A UUID has 36 characters; 64 leave room for clients with ids of their own.
const MAX_REQUEST_ID: usize = 64;

/// Replies that one purge removes at most: a few milliseconds of the writer's time.
pub(crate) const PURGE_LIMIT: u64 = 500;

/// Under whose name and for which request a reply is stored.
#[derive(Clone, Copy)]
pub struct RequestKey<'a> {
    /// The admitted call: its end user (or, without one, its caller) owns the reply, its method scopes the id.
    pub access: &'a Arc<Access>,
    /// The client's `request_id`.
    pub request_id: &'a str,
    /// The encoded request. Encoding must be deterministic: a contract whose writes had maps would not be.
    pub body: &'a [u8],
}

/// A key as it is stored.
pub(crate) struct StoredKey {
    owner: String,
    method: &'static str,
    request_id: String,
    body_hash: Hash,
}

impl RequestKey<'_> {
    pub(crate) fn stored(&self) -> Result<StoredKey, StoreError> {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let length = self.request_id.len();
        if length == 0 || length > MAX_REQUEST_ID || !self.request_id.bytes().all(is_allowed) {
            return Err(StoreError::InvalidRequestId);
        }
        // The prefixes keep an end user from owning what a workload stored, whatever the user is called.
        let Access { caller, end_user, method, .. } = &**self.access;
        let owner = if end_user.is_empty() { format!("caller:{caller}") } else { format!("end_user:{end_user}") };
        let body_hash = Sha256::digest(self.body).into();
        Ok(StoredKey { owner, method, request_id: self.request_id.to_owned(), body_hash })
    }
}

impl StoredKey {
    /// The reply of an earlier request with this key, or nothing if there was none.
    pub(crate) fn replay<R: Message + Default>(&self, tx: &mut dyn Tx) -> Result<Option<R>, StoreError> {
        let stored = tx.optional(
            "SELECT body_hash, reply FROM request_ids WHERE owner = $1 AND method = $2 AND request_id = $3",
            &[Value::from(&self.owner), self.method.into(), Value::from(&self.request_id)],
        )?;
        let Some(stored) = stored else { return Ok(None) };
        if stored.array(0)? != self.body_hash {
            return Err(StoreError::RequestIdReused);
        }
        R::decode(stored.bytes(1)?).map(Some).map_err(|source| StoreError::StoredReply { source: Arc::new(source) })
    }

    pub(crate) fn store(&self, tx: &mut dyn Tx, reply: &impl Message, at_ms: i64) -> Result<(), StoreError> {
        tx.exec(
            "INSERT INTO request_ids (owner, method, request_id, body_hash, reply, at_ms)
             VALUES ($1, $2, $3, $4, $5, $6)",
            &[
                Value::from(&self.owner),
                self.method.into(),
                Value::from(&self.request_id),
                self.body_hash.into(),
                reply.encode_to_vec().into(),
                at_ms.into(),
            ],
        )?;
        Ok(())
    }
}

/// Removes replies stored before `before_ms`, oldest first, at most [`PURGE_LIMIT`]; says how many.
pub(crate) fn purge(database: &mut Database, before_ms: i64) -> Result<u64, StoreError> {
    let limit = Value::Int(i64::try_from(PURGE_LIMIT).unwrap_or(i64::MAX));
    database.exec(
        "DELETE FROM request_ids WHERE (owner, method, request_id) IN
             (SELECT owner, method, request_id FROM request_ids WHERE at_ms < $1 ORDER BY at_ms LIMIT $2)",
        &[before_ms.into(), limit],
    )
}
