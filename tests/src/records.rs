//! What processes wrote down: counters of calls, access records, stores.

use std::collections::BTreeMap;
use std::path::Path;

use rusqlite::{Connection, OpenFlags};
use serde::Deserialize;

use crate::mesh::Mesh;

/// How often calls of one method, with one peer, ended with one status.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Count {
    /// `server` or `client`: the side of the process that counted.
    pub direction: String,
    /// The SPIFFE ID of the other side; `public` for callers without one.
    pub peer: String,
    /// The gRPC path; `_OTHER` for what no contract has.
    pub method: String,
    /// The name of the status, for instance `PERMISSION_DENIED`.
    pub status: String,
    /// Calls since the process began.
    pub count: u64,
}

/// One access to classified data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Its place in the chain.
    pub seq: i64,
    /// The caller's SPIFFE ID.
    pub caller: String,
    /// On whose behalf; empty for nobody's.
    pub end_user: String,
    /// The gRPC path.
    pub method: String,
    /// The classes, for instance `USER|PAYMENT`.
    pub classes: String,
    /// The trace, in lower-case hexadecimal.
    pub trace_id: String,
}

/// Connections that were refused, by listener and reason.
pub type RefusedConnections = BTreeMap<String, BTreeMap<String, u64>>;

impl Mesh {
    /// The counters of a workload, at most five seconds old while it runs and exact once it was stopped.
    ///
    /// # Panics
    /// If there are none.
    #[must_use]
    pub fn counters(&self, workload: &str) -> Vec<Count> {
        // The first line holds totals.
        let text = self.counters_text(workload);
        text.lines().skip(1).map(|line| serde_json::from_str(line).expect("a count")).collect()
    }

    /// The connections that a workload's listeners refused, as fresh as [`Self::counters`].
    ///
    /// # Panics
    /// If they were not counted.
    #[must_use]
    pub fn refused_connections(&self, workload: &str) -> RefusedConnections {
        #[derive(Deserialize)]
        struct Totals {
            refused_connections: RefusedConnections,
        }
        let text = self.counters_text(workload);
        let totals: Totals = serde_json::from_str(text.lines().next().unwrap_or_default()).expect("totals");
        totals.refused_connections
    }

    fn counters_text(&self, workload: &str) -> String {
        let path = self.data().join("stores").join(workload).join(format!("{workload}.counters.json"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The store of a workload, to read. Its owner may be running.
    ///
    /// # Panics
    /// If it has none.
    #[must_use]
    pub fn store(&self, workload: &str) -> Connection {
        open(&self.data().join("stores").join(workload).join(format!("{workload}.db")))
    }

    /// All access records of a workload, oldest first.
    ///
    /// # Panics
    /// If its store cannot be read.
    #[must_use]
    pub fn access_records(&self, workload: &str) -> Vec<Access> {
        let store = self.store(workload);
        let mut statement = store
            .prepare(
                "SELECT seq, caller, end_user, method, classes, lower(hex(trace_id)) FROM access_records \
                 ORDER BY instance, seq",
            )
            .unwrap();
        let records = statement.query_map([], |row| {
            Ok(Access {
                seq: row.get(0)?,
                caller: row.get(1)?,
                end_user: row.get(2)?,
                method: row.get(3)?,
                classes: row.get(4)?,
                trace_id: row.get(5)?,
            })
        });
        records.unwrap().map(Result::unwrap).collect()
    }
}

fn open(path: &Path) -> Connection {
    Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
