//! Schema changes go forward only, each in a transaction of its own, and what was applied never changes.

use std::sync::Arc;

use crate::database::Database;
use crate::dialect::to_sqlite;
use crate::hash::{Hash, digest};
use crate::{StoreError, Value, now_ms};

/// One change of a schema. Its text must not begin or end a transaction.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Its place in the order: from 1, ascending.
    pub version: i64,
    /// What it does, in a word or two.
    pub name: &'static str,
    /// Its statements. Types are `BIGINT`, `TEXT` and `BLOB`; tables are STRICT; foreign keys are not deferred.
    pub sql: &'static str,
}

impl Migration {
    fn checksum(&self) -> Hash {
        digest("sekat.migration.v1", &[self.name.as_bytes(), self.sql.as_bytes()])
    }
}

/// The tables of this crate, in every store.
const OWN: &[Migration] = &[
    Migration { version: 1, name: "meta", sql: include_str!("schema/0001_meta.sql") },
    Migration { version: 2, name: "access_records", sql: include_str!("schema/0002_access_records.sql") },
    Migration { version: 3, name: "request_ids", sql: include_str!("schema/0003_request_ids.sql") },
    Migration { version: 4, name: "work_items", sql: include_str!("schema/0004_work_items.sql") },
];

const CREATE_JOURNAL: &str = "
    CREATE TABLE IF NOT EXISTS store_migrations (
        component TEXT NOT NULL, version INTEGER NOT NULL, name TEXT NOT NULL, checksum BLOB NOT NULL,
        applied_at_ms INTEGER NOT NULL, PRIMARY KEY (component, version)
    ) STRICT";

/// Brings the tables of this crate to the newest version that this binary knows.
pub(crate) fn migrate_own(database: &mut Database) -> Result<(), StoreError> {
    database.batch(CREATE_JOURNAL)?;
    migrate(database, "store", OWN)
}

/// Brings the service's tables to the newest version that this binary knows.
pub(crate) fn migrate_service(database: &mut Database, migrations: &[Migration]) -> Result<(), StoreError> {
    migrate(database, "service", migrations)
}

fn migrate(database: &mut Database, component: &'static str, migrations: &[Migration]) -> Result<(), StoreError> {
    for migration in pending(database, component, migrations)? {
        in_transaction(database, |database| apply(database, component, migration))?;
        let Migration { version, name, .. } = migration;
        tracing::info!(component, version, name, path = %database.path().display(), "schema migrated");
    }
    Ok(())
}

/// Runs `change` in a transaction: all of it is durable, or nothing is left of it.
pub(crate) fn in_transaction(
    database: &mut Database,
    change: impl FnOnce(&mut Database) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    database.batch("BEGIN IMMEDIATE")?;
    let outcome = change(database).and_then(|()| database.batch("COMMIT"));
    if outcome.is_err() && database.in_transaction() {
        database.batch("ROLLBACK")?;
    }
    outcome
}

/// What is known and not yet applied, after comparing what is applied with what is known.
fn pending<'a>(
    database: &mut Database,
    component: &'static str,
    known: &'a [Migration],
) -> Result<&'a [Migration], StoreError> {
    let mut previous = 0;
    for &Migration { version, name, .. } in known {
        if version <= previous {
            return Err(StoreError::MigrationOrder { component, version, name });
        }
        previous = version;
    }
    let newest_known = previous;
    let applied = database.rows(
        "SELECT version, checksum FROM store_migrations WHERE component = $1 ORDER BY version",
        &[component.into()],
    )?;
    if let Some(found) = applied.last().map(|row| row.int(0)).transpose()?.filter(|found| *found > newest_known) {
        return Err(StoreError::NewerSchema {
            path: database.path().to_owned(),
            component,
            found,
            known: newest_known,
        });
    }
    // INVARIANT: what is applied is exactly the beginning of what is known, so what is pending is the rest.
    let mut rest = known;
    for row in &applied {
        let version = row.int(0)?;
        match rest.split_first() {
            Some((first, tail)) if first.version == version && first.checksum() == row.array(1)? => rest = tail,
            Some((first, _)) if first.version < version => {
                return Err(StoreError::MigrationOrder { component, version: first.version, name: first.name });
            }
            _ => return Err(StoreError::ChangedMigration { component, version }),
        }
    }
    Ok(rest)
}

fn apply(database: &mut Database, component: &'static str, migration: &Migration) -> Result<(), StoreError> {
    let &Migration { version, name, sql } = migration;
    database.raw_batch(&to_sqlite(sql)).map_err(|source| StoreError::Migration {
        component,
        version,
        name,
        source: Arc::new(source),
    })?;
    if !database.in_transaction() {
        return Err(StoreError::TransactionEnded);
    }
    refuse_unfit_tables(database)?;
    let checksum = Value::from(migration.checksum());
    database.exec(
        "INSERT INTO store_migrations (component, version, name, checksum, applied_at_ms) VALUES ($1, $2, $3, $4, $5)",
        &[component.into(), version.into(), name.into(), checksum, now_ms().into()],
    )?;
    Ok(())
}

/// A table that is not STRICT takes text into an integer column, money included. A deferred foreign key is checked
/// at COMMIT, where one job's mistake would be its whole group's.
fn refuse_unfit_tables(database: &mut Database) -> Result<(), StoreError> {
    const LOOSE: &str = "
        SELECT name FROM pragma_table_list
        WHERE schema = 'main' AND type = 'table' AND strict = 0 AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' LIMIT 1";
    const DEFERRED: &str = "SELECT name FROM sqlite_schema WHERE sql LIKE '%INITIALLY DEFERRED%' LIMIT 1";
    for (query, reason) in [
        (LOOSE, "is not STRICT; declare it STRICT"),
        (DEFERRED, "has a deferred foreign key; leave out INITIALLY DEFERRED"),
    ] {
        if let Some(row) = database.rows(query, &[])?.first() {
            return Err(StoreError::UnfitTable { table: row.text(0)?.to_owned(), reason });
        }
    }
    Ok(())
}
