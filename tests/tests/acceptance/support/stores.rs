//! What the stores say, read as the files that they are, by means that share nothing with the services.

use std::collections::BTreeMap;

use acceptance::Mesh;
use ring::digest::{Context, SHA256};
use rusqlite::Params;
use rusqlite::types::FromSql;

/// The services that have a store.
pub(crate) const SERVICES: [&str; 6] = ["account", "catalog", "merchant", "order", "payment", "showcase"];

/// The first column of each row.
pub(crate) fn column<T: FromSql>(mesh: &Mesh, service: &str, sql: &str, params: impl Params) -> Vec<T> {
    let store = mesh.store(service);
    let mut statement = store.prepare(sql).unwrap();
    statement.query_map(params, |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The only value of the only row.
pub(crate) fn value<T: FromSql>(mesh: &Mesh, service: &str, sql: &str, params: impl Params) -> T {
    let mut column = column(mesh, service, sql, params);
    assert_eq!(column.len(), 1, "{service}: {sql}");
    column.remove(0)
}

/// Pieces in catalog's stock: those that are there, and how many of them are held.
pub(crate) fn stock(mesh: &Mesh) -> (i64, i64) {
    let sum = |of: &str| value(mesh, "catalog", &format!("SELECT COALESCE(SUM({of}), 0) FROM skus"), ());
    (sum("on_hand"), sum("reserved"))
}

/// One access to classified data: in which call of which service. The ids are in hexadecimal, as spans have them.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    service: &'static str,
    trace_id: String,
    span_id: String,
}

impl Access {
    /// Service, trace and span.
    pub(crate) fn place(&self) -> [&str; 3] {
        [self.service, &self.trace_id, &self.span_id]
    }
}

/// Recomputes the hash of every access record of a service from the first one on, and returns the records.
///
/// # Panics
/// At the first record that is missing, changed or out of place.
pub(crate) fn verified_accesses(mesh: &Mesh, service: &'static str) -> Vec<Access> {
    let store = mesh.store(service);
    let mut statement = store
        .prepare(
            "SELECT instance, seq, at_ms, caller, end_user, method, classes, trace_id, span_id, prev_hash, hash
             FROM access_records ORDER BY instance, seq",
        )
        .unwrap();
    let mut rows = statement.query(()).unwrap();
    let mut heads: BTreeMap<String, (i64, Vec<u8>)> = BTreeMap::new();
    let mut accesses = Vec::new();
    while let Some(row) = rows.next().unwrap() {
        let text = |column: usize| row.get::<_, String>(column).unwrap();
        let bytes = |column: usize| row.get::<_, Vec<u8>>(column).unwrap();
        let (instance, seq, at_ms): (_, i64, i64) = (text(0), row.get(1).unwrap(), row.get(2).unwrap());
        let (caller, end_user, method, classes) = (text(3), text(4), text(5), text(6));
        let (trace_id, span_id, prev_hash, hash) = (bytes(7), bytes(8), bytes(9), bytes(10));
        let genesis = || (0, digest("sekat.access-chain.v1", &[service.as_bytes(), instance.as_bytes()]));
        let (last_seq, last_hash) = heads.get(&instance).cloned().unwrap_or_else(genesis);
        let place = format!("access record {seq} of {service} ({instance})");
        assert_eq!(seq, last_seq + 1, "{place} is out of order");
        assert_eq!(prev_hash, last_hash, "{place} does not follow the one before it");
        let parts: [&[u8]; 11] = [
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
        ];
        assert_eq!(hash, digest("sekat.access-record.v1", &parts), "{place} was changed");
        heads.insert(instance, (seq, hash));
        accesses.push(Access { service, trace_id: hex(&trace_id), span_id: hex(&span_id) });
    }
    accesses
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

/// Both sides of a ledger account, in minor units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Balance {
    pub(crate) debits_posted: i64,
    pub(crate) credits_posted: i64,
    pub(crate) debits_pending: i64,
    pub(crate) credits_pending: i64,
}

/// Adds payment's ledger up from its transfers and returns the accounts.
///
/// # Panics
/// If debits and credits differ, posted or pending, or an account's own sums are not those of its transfers.
pub(crate) fn balanced_ledger(mesh: &Mesh) -> BTreeMap<String, Balance> {
    let store = mesh.store("payment");
    let mut sums: BTreeMap<String, Balance> = BTreeMap::new();
    let mut transfers = store.prepare("SELECT action, debit, credit, amount_minor FROM ledger_transfers").unwrap();
    let mut rows = transfers.query(()).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let amount: i64 = row.get(3).unwrap();
        let (posted, pending) = match row.get::<_, String>(0).unwrap().as_str() {
            "DIRECT" => (amount, 0),
            "PENDING" => (0, amount),
            "POST" => (amount, -amount),
            "VOID" => (0, -amount),
            other => panic!("a transfer does {other}"),
        };
        let debited = sums.entry(row.get(1).unwrap()).or_default();
        debited.debits_posted += posted;
        debited.debits_pending += pending;
        let credited = sums.entry(row.get(2).unwrap()).or_default();
        credited.credits_posted += posted;
        credited.credits_pending += pending;
    }
    let total = |of: fn(&Balance) -> i64| sums.values().map(of).sum::<i64>();
    assert_eq!(total(|at| at.debits_posted), total(|at| at.credits_posted), "posted debits are posted credits");
    assert_eq!(total(|at| at.debits_pending), total(|at| at.credits_pending), "pending debits are pending credits");

    let mut accounts = store
        .prepare("SELECT id, debits_posted, credits_posted, debits_pending, credits_pending FROM ledger_accounts")
        .unwrap();
    let mut rows = accounts.query(()).unwrap();
    let mut kept = BTreeMap::new();
    while let Some(row) = rows.next().unwrap() {
        let side = |column: usize| row.get::<_, i64>(column).unwrap();
        let balance = Balance {
            debits_posted: side(1),
            credits_posted: side(2),
            debits_pending: side(3),
            credits_pending: side(4),
        };
        let account: String = row.get(0).unwrap();
        let recomputed = sums.remove(&account).unwrap_or_default();
        assert_eq!(balance, recomputed, "{account} is the sum of its transfers");
        kept.insert(account, balance);
    }
    assert!(sums.is_empty(), "transfers name accounts that are not there");
    kept
}
