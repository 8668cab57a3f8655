//! The access records in a store of this mesh, read from its SQLite file. Every hash is recomputed from the documented
//! format, by code that the store does not share.
//!
//! A record's hash is SHA-256 over these parts, each after its length as eight big-endian bytes: the text
//! `sekat.access-record.v1`, the hash before it, service, instance, sequence number, time in milliseconds (both as eight
//! big-endian bytes), caller, end user, method, classes, trace id, span id. Before the first stands the hash of
//! `sekat.access-chain.v1`, service and instance.

use std::path::Path;

use rusqlite::{Connection, OpenFlags, Row};
use sekat_policy::Diagnostic;

use super::files::{MALFORMED, UNREADABLE, place};
use crate::chain::digest;
use crate::input::AccessRecord;

/// The newest record of a chain. That the newest were cut off only an earlier head can tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessHead {
    /// The instance whose chain it is.
    pub instance: String,
    /// The number of its newest record.
    pub sequence: u64,
    /// The hash of its newest record.
    pub hash: [u8; 32],
}

/// What was read of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accesses {
    /// The heads of all chains, by instance.
    pub heads: Vec<AccessHead>,
    /// The first record of which the chain does not hold, and why; nothing after it was read.
    pub broken: Option<String>,
}

const ALL: &str = "SELECT instance, seq, at_ms, caller, end_user, method, classes, trace_id, span_id, prev_hash, hash
    FROM access_records ORDER BY instance, seq";

/// Hands every record of the store of `workload` to `take`, in order, up to the first that does not hold. Its owner may
/// be running.
///
/// # Errors
/// If the file cannot be opened, or is no store with access records.
pub fn records(path: &Path, workload: &str, mut take: impl FnMut(AccessRecord)) -> Result<Accesses, Diagnostic> {
    let help = "give a store of this mesh, `<workload>.db`";
    let fault = |code, error: rusqlite::Error| Diagnostic::error(code, place(path, 0), error.to_string(), help);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let store = Connection::open_with_flags(path, flags).map_err(|error| fault(UNREADABLE, error))?;
    let mut statement = store.prepare(ALL).map_err(|error| fault(MALFORMED, error))?;
    let mut rows = statement.query(()).map_err(|error| fault(MALFORMED, error))?;
    let mut accesses = Accesses::default();
    while let Some(row) = rows.next().map_err(|error| fault(MALFORMED, error))? {
        let stored = Stored::read(row).map_err(|error| fault(MALFORMED, error))?;
        match stored.follow(workload, &mut accesses.heads) {
            Ok(record) => take(record),
            Err(why) => {
                let Stored { instance, seq, .. } = stored;
                accesses.broken = Some(format!("{}: record {seq} of {instance} {why}", path.display()));
                break;
            }
        }
    }
    Ok(accesses)
}

struct Stored {
    instance: String,
    seq: i64,
    at_ms: i64,
    caller: String,
    end_user: String,
    method: String,
    classes: String,
    trace_id: [u8; 16],
    span_id: [u8; 8],
    prev_hash: [u8; 32],
    hash: [u8; 32],
}

impl Stored {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            instance: row.get(0)?,
            seq: row.get(1)?,
            at_ms: row.get(2)?,
            caller: row.get(3)?,
            end_user: row.get(4)?,
            method: row.get(5)?,
            classes: row.get(6)?,
            trace_id: row.get(7)?,
            span_id: row.get(8)?,
            prev_hash: row.get(9)?,
            hash: row.get(10)?,
        })
    }

    /// Goes one record on in its chain.
    fn follow(&self, workload: &str, heads: &mut Vec<AccessHead>) -> Result<AccessRecord, &'static str> {
        if heads.last().is_none_or(|head| head.instance != self.instance) {
            let hash = digest("sekat.access-chain.v1", &[workload.as_bytes(), self.instance.as_bytes()]);
            heads.push(AccessHead { instance: self.instance.clone(), sequence: 0, hash });
        }
        let Some(head) = heads.last_mut() else { return Err("has no chain") };
        let sequence = u64::try_from(self.seq).map_err(|_| "has a number below zero")?;
        if sequence != head.sequence + 1 {
            return Err("does not have the next number: one before it is missing, or it is out of order");
        }
        if self.prev_hash != head.hash {
            return Err("does not follow the one before it, or is of another workload");
        }
        let parts: [&[u8]; 11] = [
            &self.prev_hash,
            workload.as_bytes(),
            self.instance.as_bytes(),
            &self.seq.to_be_bytes(),
            &self.at_ms.to_be_bytes(),
            self.caller.as_bytes(),
            self.end_user.as_bytes(),
            self.method.as_bytes(),
            self.classes.as_bytes(),
            &self.trace_id,
            &self.span_id,
        ];
        if digest("sekat.access-record.v1", &parts) != self.hash {
            return Err("was changed");
        }
        (head.sequence, head.hash) = (sequence, self.hash);
        Ok(AccessRecord {
            workload: workload.to_owned(),
            sequence,
            at_ns: u64::try_from(self.at_ms).unwrap_or(0).saturating_mul(1_000_000),
            caller: self.caller.clone(),
            method: self.method.clone(),
            trace_id: self.trace_id,
            span_id: self.span_id,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store as its schema makes it, with two records of each of two instances.
    fn store() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("payment.db");
        let store = Connection::open(&path).unwrap();
        store
            .execute_batch(
                "CREATE TABLE access_records (instance TEXT, seq INTEGER, at_ms INTEGER, caller TEXT, end_user TEXT,
                 method TEXT, classes TEXT, trace_id BLOB, span_id BLOB, prev_hash BLOB, hash BLOB)",
            )
            .unwrap();
        for instance in ["a", "b"] {
            let mut prev = digest("sekat.access-chain.v1", &[b"payment", instance.as_bytes()]);
            for seq in 1..=2_i64 {
                let hash = digest(
                    "sekat.access-record.v1",
                    &[
                        &prev,
                        b"payment",
                        instance.as_bytes(),
                        &seq.to_be_bytes(),
                        &5_i64.to_be_bytes(),
                        b"spiffe://d/order",
                        b"",
                        b"/shop.Pay/Charge",
                        b"PAYMENT",
                        &[1; 16],
                        &[2; 8],
                    ],
                );
                store
                    .execute(
                        "INSERT INTO access_records VALUES (?1, ?2, 5, 'spiffe://d/order', '', '/shop.Pay/Charge',
                         'PAYMENT', ?3, ?4, ?5, ?6)",
                        (instance, seq, [1_u8; 16], [2_u8; 8], prev, hash),
                    )
                    .unwrap();
                prev = hash;
            }
        }
        (folder, path)
    }

    fn read(path: &Path, workload: &str) -> (Vec<AccessRecord>, Accesses) {
        let mut seen = Vec::new();
        let accesses = records(path, workload, |record| seen.push(record)).unwrap();
        (seen, accesses)
    }

    #[test]
    fn every_chain_is_followed() {
        let (_folder, path) = store();
        let (seen, accesses) = read(&path, "payment");
        assert_eq!((seen.len(), accesses.heads.len(), accesses.broken), (4, 2, None));
        assert_eq!((seen[0].at_ns, seen[0].caller.as_str()), (5_000_000, "spiffe://d/order"));
        assert_eq!(accesses.heads[1].sequence, 2);
    }

    #[test]
    fn what_was_changed_is_named() {
        for (change, expected, record) in [
            ("UPDATE access_records SET caller = 'x' WHERE instance = 'a' AND seq = 2", "was changed", "record 2 of a"),
            ("DELETE FROM access_records WHERE instance = 'b' AND seq = 1", "missing", "record 2 of b"),
            (
                "UPDATE access_records SET prev_hash = zeroblob(32) WHERE instance = 'b' AND seq = 2",
                "follow",
                "record 2 of b",
            ),
        ] {
            let (_folder, path) = store();
            Connection::open(&path).unwrap().execute(change, ()).unwrap();
            let broken = read(&path, "payment").1.broken.unwrap();
            assert!(broken.contains(expected) && broken.contains(record), "{broken}");
        }
        let (_folder, path) = store();
        assert!(read(&path, "order").1.broken.unwrap().contains("record 1 of a"));
    }

    #[test]
    fn what_is_no_store_is_a_diagnostic() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "not a database, and long enough to be looked at").unwrap();
        assert_eq!(records(file.path(), "payment", |_| {}).unwrap_err().code, MALFORMED);
        assert_eq!(records(Path::new("/nowhere"), "payment", |_| {}).unwrap_err().code, UNREADABLE);
    }
}
