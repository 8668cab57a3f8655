//! The stores as the files that they are: read only, by means that share nothing with the services.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ring::digest::{Context, SHA256};
use rusqlite::types::FromSql;
use rusqlite::{Connection, OpenFlags, Params};

/// The services that have a store; `showcase` is the only one outside commerce.
pub(crate) const SERVICES: [&str; 6] = ["account", "catalog", "merchant", "order", "payment", "showcase"];

/// A service that was just killed recovers its log under a lock.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// One service's store.
pub(crate) struct StoreFile {
    service: &'static str,
    path: PathBuf,
}

impl StoreFile {
    /// The store of `service` in a mesh's data directory.
    pub(crate) fn of(data: &Path, service: &'static str) -> Self {
        Self { service, path: data.join("stores").join(service).join(format!("{service}.db")) }
    }

    fn open(&self) -> Connection {
        let connection = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        connection.busy_timeout(BUSY_TIMEOUT).unwrap();
        connection
    }

    /// The first column of each row.
    pub(crate) fn column<T: FromSql>(&self, sql: &str, params: impl Params) -> Vec<T> {
        let connection = self.open();
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map(params, |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }

    /// The only value of the only row.
    pub(crate) fn value<T: FromSql>(&self, sql: &str, params: impl Params) -> T {
        let mut column = self.column(sql, params);
        assert_eq!(column.len(), 1, "{}: {sql}", self.service);
        column.remove(0)
    }

    /// Recomputes every access record's hash from the first one on, and returns the records.
    ///
    /// # Panics
    /// At the first record that is missing, changed or out of place.
    pub(crate) fn verified_accesses(&self) -> Vec<Access> {
        let connection = self.open();
        let mut statement = connection
            .prepare(
                "SELECT instance, seq, at_ms, caller, end_user, method, classes, trace_id, span_id, prev_hash, hash
                 FROM access_records ORDER BY instance, seq",
            )
            .unwrap();
        let rows = statement.query_map((), |row| Access::read(row, self.service)).unwrap();
        let mut heads: BTreeMap<String, (i64, Vec<u8>)> = BTreeMap::new();
        let mut accesses = Vec::new();
        for access in rows.map(Result::unwrap) {
            let genesis = || (0, digest("sekat.access-chain.v1", &[self.service.as_bytes(), access.instance.as_bytes()]));
            let (seq, hash) = heads.remove(&access.instance).unwrap_or_else(genesis);
            let place = format!("{} {} record {}", self.service, access.instance, access.seq);
            assert_eq!(access.seq, seq + 1, "{place} is out of order");
            assert_eq!(access.prev_hash, hash, "{place} does not follow the one before it");
            assert_eq!(access.expected_hash, access.hash, "{place} was changed");
            heads.insert(access.instance.clone(), (access.seq, access.hash.clone()));
            accesses.push(access);
        }
        accesses
    }
}

/// An access record.
pub(crate) struct Access {
    pub(crate) service: &'static str,
    instance: String,
    seq: i64,
    pub(crate) caller: String,
    pub(crate) end_user: String,
    pub(crate) method: String,
    /// In hexadecimal, as spans have them.
    pub(crate) trace_id: String,
    pub(crate) span_id: String,
    prev_hash: Vec<u8>,
    hash: Vec<u8>,
    expected_hash: Vec<u8>,
}

impl Access {
    fn read(row: &rusqlite::Row<'_>, service: &'static str) -> rusqlite::Result<Self> {
        let (instance, seq, at_ms): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (caller, end_user, method): (String, String, String) = (row.get(3)?, row.get(4)?, row.get(5)?);
        let (classes, trace_id, span_id): (String, Vec<u8>, Vec<u8>) = (row.get(6)?, row.get(7)?, row.get(8)?);
        let prev_hash: Vec<u8> = row.get(9)?;
        let expected_hash = digest(
            "sekat.access-record.v1",
            &[
                &prev_hash,
                service.as_bytes(),
                instance.as_bytes(),
                &seq.to_be_bytes(),
                &at_ms.to_be_bytes(),
                caller.as_bytes(),
                end_user.as_bytes(),
                method.as_bytes(),
                classes.as_bytes(),
                &trace_id,
                &span_id,
            ],
        );
        let (trace_id, span_id) = (hex(&trace_id), hex(&span_id));
        let hash = row.get(10)?;
        Ok(Self { service, instance, seq, caller, end_user, method, trace_id, span_id, prev_hash, hash, expected_hash })
    }
}

/// SHA-256 over parts that are each preceded by their length in eight bytes, as the store documents it.
fn digest(domain: &str, parts: &[&[u8]]) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for part in [domain.as_bytes()].iter().chain(parts) {
        context.update(&u64::try_from(part.len()).unwrap().to_be_bytes());
        context.update(part);
    }
    context.finish().as_ref().to_vec()
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the ledger's own transfers add up to, per account: debits and credits that are posted, in minor units, and
/// those that are pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) debits_posted: i64,
    pub(crate) credits_posted: i64,
    pub(crate) debits_pending: i64,
    pub(crate) credits_pending: i64,
}

/// Adds up payment's ledger from its transfers and checks it: debits equal credits, posted and pending, and each
/// account's own sums are those of its transfers.
pub(crate) fn balanced_ledger(data: &Path) -> BTreeMap<String, Balance> {
    let store = StoreFile::of(data, "payment").open();
    let mut balances: BTreeMap<String, Balance> = BTreeMap::new();
    let mut transfers = store.prepare("SELECT action, debit, credit, amount_minor FROM ledger_transfers").unwrap();
    let rows = transfers.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))).unwrap();
    for (action, debit, credit, amount) in rows.map(Result::<(String, String, String, i64), _>::unwrap) {
        let (posted, pending) = match action.as_str() {
            "DIRECT" => (amount, 0),
            "PENDING" => (0, amount),
            "POST" => (amount, -amount),
            "VOID" => (0, -amount),
            other => panic!("a transfer does {other}"),
        };
        let debit = balances.entry(debit).or_default();
        (debit.debits_posted, debit.debits_pending) = (debit.debits_posted + posted, debit.debits_pending + pending);
        let credit = balances.entry(credit).or_default();
        (credit.credits_posted, credit.credits_pending) =
            (credit.credits_posted + posted, credit.credits_pending + pending);
    }
    let sum = |of: fn(&Balance) -> i64| balances.values().map(of).sum::<i64>();
    assert_eq!(sum(|at| at.debits_posted), sum(|at| at.credits_posted), "posted debits are posted credits");
    assert_eq!(sum(|at| at.debits_pending), sum(|at| at.credits_pending), "pending debits are pending credits");
    let mut accounts = store
        .prepare("SELECT id, debits_posted, credits_posted, debits_pending, credits_pending FROM ledger_accounts")
        .unwrap();
    let rows = accounts.query_map((), |row| {
        let [debits_posted, credits_posted, debits_pending, credits_pending] =
            [row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?];
        Ok((row.get(0)?, Balance { debits_posted, credits_posted, debits_pending, credits_pending }))
    });
    for (account, kept) in rows.unwrap().map(Result::<(String, Balance), _>::unwrap) {
        assert_eq!(kept, balances.get(&account).copied().unwrap_or_default(), "{account} is the sum of its transfers");
        balances.insert(account, kept);
    }
    balances
}
