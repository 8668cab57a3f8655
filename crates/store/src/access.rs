//! The access records: an append-only hash chain for each (service, instance), from which no record can be taken
//! or changed without breaking it at that record.
//!
//! A record's hash is SHA-256 over these parts, each preceded by its length as eight big-endian bytes: the text
//! `sekat.access-record.v1`, the previous record's hash, service, instance, sequence number, time in milliseconds
//! (both as eight big-endian bytes), caller, end user, method, classes, trace id, span id. Before the first record
//! stands the hash of `sekat.access-chain.v1`, service and instance. Whether the newest records were cut off only
//! an earlier head can tell; the evidence keeps heads for that.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use sekat_policy::{Access, AccessLog, AccessLogError, Recording};

use crate::database::Database;
use crate::hash::{Hash, digest};
use crate::{Row, Store, StoreError, Tx, Value};

/// Records that one query returns at most: about 300 KB, and two milliseconds of a thread's time.
pub const MAX_ACCESS_PAGE: i64 = 1_000;

/// The newest record of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChainHead {
    /// The service whose store it is.
    pub service: &'static str,
    /// The instance whose chain it is.
    pub instance: String,
    /// The number of the newest record, 0 if there is none.
    pub seq: i64,
    /// Its hash, or the hash that stands before the first record.
    pub hash: Hash,
}

impl ChainHead {
    fn genesis(service: &'static str, instance: String) -> Self {
        let hash = digest("sekat.access-chain.v1", &[service.as_bytes(), instance.as_bytes()]);
        Self { service, instance, seq: 0, hash }
    }
}

/// One access to classified data.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessRecord {
    /// The instance that wrote it.
    pub instance: String,
    /// Its place in the chain, from 1 without gaps.
    pub seq: i64,
    /// When it was written, in milliseconds since the Unix epoch.
    pub at_ms: i64,
    /// The caller's SPIFFE ID.
    pub caller: String,
    /// The end user, empty if there is none.
    pub end_user: String,
    /// The gRPC path.
    pub method: String,
    /// The classes that the method touches, for instance `USER|PAYMENT`.
    pub classes: String,
    /// The trace of the call.
    pub trace_id: [u8; 16],
    /// The server's span of the call.
    pub span_id: [u8; 8],
    /// The hash of the record before it.
    pub prev_hash: Hash,
    /// The hash of this record.
    pub hash: Hash,
}

/// Its place only: it names people.
impl fmt::Debug for AccessRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance, seq, .. } = self;
        f.debug_struct("AccessRecord").field("instance", instance).field("seq", seq).finish_non_exhaustive()
    }
}

impl AccessRecord {
    /// The hash that the record must have, from everything else in it.
    #[must_use]
    pub fn expected_hash(&self, service: &str) -> [u8; 32] {
        digest(
            "sekat.access-record.v1",
            &[
                &self.prev_hash,
                service.as_bytes(),
                self.instance.as_bytes(),
                &self.seq.to_be_bytes(),
                &self.at_ms.to_be_bytes(),
                self.caller.as_bytes(),
                self.end_user.as_bytes(),
                self.method.as_bytes(),
                self.classes.as_bytes(),
                &self.trace_id,
                &self.span_id,
            ],
        )
    }

    fn read(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            instance: row.text(0)?.to_owned(),
            seq: row.int(1)?,
            at_ms: row.int(2)?,
            caller: row.text(3)?.to_owned(),
            end_user: row.text(4)?.to_owned(),
            method: row.text(5)?.to_owned(),
            classes: row.text(6)?.to_owned(),
            trace_id: row.array(7)?,
            span_id: row.array(8)?,
            prev_hash: row.array(9)?,
            hash: row.array(10)?,
        })
    }
}

const INSERT: &str = "
    INSERT INTO access_records
        (instance, seq, at_ms, caller, end_user, method, classes, trace_id, span_id, prev_hash, hash)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

const AFTER: &str = "
    SELECT instance, seq, at_ms, caller, end_user, method, classes, trace_id, span_id, prev_hash, hash
    FROM access_records WHERE (instance, seq) > ($1, $2) ORDER BY instance, seq LIMIT $3";

const RANGE: &str = "
    SELECT instance, seq, at_ms, caller, end_user, method, classes, trace_id, span_id, prev_hash, hash
    FROM access_records WHERE instance = $1 AND seq >= $2 AND seq < $3 ORDER BY seq LIMIT $4";

const NEWEST: &str = "SELECT seq, hash FROM access_records WHERE instance = $1 ORDER BY seq DESC LIMIT 1";

/// The writer's end of this instance's chain.
pub(crate) struct Chain {
    head: ChainHead,
}

impl Chain {
    /// Continues where the file ends.
    pub(crate) fn load(database: &mut Database, service: &'static str, instance: &str) -> Result<Self, StoreError> {
        let mut head = ChainHead::genesis(service, instance.to_owned());
        if let Some(newest) = database.tx().optional(NEWEST, &[instance.into()])? {
            head.seq = newest.int(0)?;
            head.hash = newest.array(1)?;
        }
        Ok(Self { head })
    }

    pub(crate) const fn head(&self) -> &ChainHead {
        &self.head
    }

    /// Appends a record inside the open transaction. If that does not commit, neither may the chain go on.
    pub(crate) fn append(&mut self, database: &mut Database, access: &Access, at_ms: i64) -> Result<(), StoreError> {
        let mut record = AccessRecord {
            instance: self.head.instance.clone(),
            seq: self.head.seq.saturating_add(1),
            at_ms,
            caller: access.caller.clone(),
            end_user: access.end_user.clone(),
            method: access.method.to_owned(),
            classes: access.classes.to_string(),
            trace_id: access.trace_id,
            span_id: access.span_id,
            prev_hash: self.head.hash,
            hash: [0; 32],
        };
        record.hash = record.expected_hash(self.head.service);
        (self.head.seq, self.head.hash) = (record.seq, record.hash);
        let params = [
            Value::Text(record.instance),
            record.seq.into(),
            record.at_ms.into(),
            record.caller.into(),
            record.end_user.into(),
            record.method.into(),
            record.classes.into(),
            record.trace_id.into(),
            record.span_id.into(),
            record.prev_hash.into(),
            record.hash.into(),
        ];
        database.exec(INSERT, &params).map(|_| ())
    }
}

impl AccessLog for Store {
    fn record<'a>(&'a self, access: &'a Arc<Access>) -> Recording<'a> {
        Box::pin(async move { self.append_access(access).await.map_err(|error| AccessLogError(Box::new(error))) })
    }
}

impl Store {
    /// Records of this instance by their numbers, at most [`MAX_ACCESS_PAGE`] a call.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn access_records(&self, seqs: Range<i64>) -> Result<Vec<AccessRecord>, StoreError> {
        let instance = self.access_head().instance;
        self.read(move |tx| {
            let params = [Value::from(&instance), seqs.start.into(), seqs.end.into(), MAX_ACCESS_PAGE.into()];
            tx.rows(RANGE, &params)?.iter().map(AccessRecord::read).collect()
        })
        .await
    }

    /// Reads every record of every instance in the file and recomputes its hash. Returns the heads of the chains,
    /// which the evidence compares with earlier ones. Takes about 2 µs a record and yields between pages.
    ///
    /// # Errors
    /// [`StoreError::BrokenChain`] with the first record that is missing, changed or out of place; also if this
    /// instance's chain ends before the record that this process last saw committed.
    pub async fn verify_access_chain(&self) -> Result<Vec<ChainHead>, StoreError> {
        let mut check = ChainCheck { known: self.access_head(), heads: BTreeMap::new() };
        let (mut instance, mut seq) = (String::new(), i64::MIN);
        loop {
            let after = [Value::from(&instance), seq.into(), MAX_ACCESS_PAGE.into()];
            let page: Vec<Row> = self.read(move |tx| tx.rows(AFTER, &after)).await?;
            if page.is_empty() {
                return check.end();
            }
            for row in &page {
                let record = AccessRecord::read(row)?;
                (instance, seq) = (record.instance.clone(), record.seq);
                check.record(record)?;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// Follows all chains of a file.
struct ChainCheck {
    /// This instance's head before the check began: later records may come, earlier ones may not have gone.
    known: ChainHead,
    heads: BTreeMap<String, ChainHead>,
}

impl ChainCheck {
    fn record(&mut self, record: AccessRecord) -> Result<(), StoreError> {
        let service = self.known.service;
        let head = self
            .heads
            .entry(record.instance.clone())
            .or_insert_with(|| ChainHead::genesis(service, record.instance.clone()));
        let expected = head.seq + 1;
        let fault = if record.seq < expected {
            Some((record.seq, "its number is out of order"))
        } else if record.seq > expected {
            Some((expected, "it is missing"))
        } else if record.prev_hash != head.hash {
            Some((expected, "it does not follow the record before it"))
        } else if record.expected_hash(service) != record.hash {
            Some((expected, "its content was changed"))
        } else {
            None
        };
        if let Some((seq, reason)) = fault {
            return Err(StoreError::BrokenChain { instance: record.instance, seq, reason });
        }
        (head.seq, head.hash) = (record.seq, record.hash);
        if record.instance == self.known.instance && record.seq == self.known.seq && record.hash != self.known.hash {
            let reason = "it is not the record that was committed";
            return Err(StoreError::BrokenChain { instance: record.instance, seq: record.seq, reason });
        }
        Ok(())
    }

    fn end(mut self) -> Result<Vec<ChainHead>, StoreError> {
        let ChainHead { service, instance, seq: known, .. } = self.known;
        let head = self.heads.entry(instance).or_insert_with_key(|name| ChainHead::genesis(service, name.clone()));
        if head.seq < known {
            let (instance, seq) = (head.instance.clone(), head.seq + 1);
            return Err(StoreError::BrokenChain { instance, seq, reason: "it is missing" });
        }
        Ok(self.heads.into_values().collect())
    }
}
