//! What the report draws: the domains with their workloads, what flows between them, and one purchase in time.

use serde::{Deserialize, Serialize};

/// Who is there and what flows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// The domains.
    pub domains: Vec<Domain>,
    /// Workloads, stores and what lies outside.
    pub nodes: Vec<Node>,
    /// What is meant to flow, and what was tried and refused.
    pub flows: Vec<Flow>,
}

/// A part of the mesh under one owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Domain {
    /// Its name.
    pub name: String,
    /// The classes of data that it may hold besides public data; empty for none.
    pub may_hold: Vec<String>,
}

/// Something with a place in the picture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// Its name, unique.
    pub name: String,
    /// The name of its domain; empty for what lies outside.
    pub domain: String,
    /// What it is.
    pub kind: NodeKind,
    /// The classes of data that it holds, besides public data.
    pub classes: Vec<String>,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// A workload that only passes on: an edge of the mesh.
    Edge,
    /// A workload.
    Workload,
    /// Where a workload keeps its data.
    Store,
    /// Somebody outside: the buyer's app, a bank.
    Outside,
}

/// What flows from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// The node that calls.
    pub from: String,
    /// The node that is called.
    pub to: String,
    /// The classes of data that can pass, besides public data.
    pub classes: Vec<String>,
    /// How many methods are meant to be called.
    pub methods: usize,
    /// How many calls were seen; of a forbidden flow, how many were tried and refused.
    pub seen: u64,
    /// Whether it is forbidden: drawn as a crossing that is barred.
    pub forbidden: bool,
}

/// One purchase in time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timeline {
    /// The trace, 32 hexadecimal digits.
    pub trace_id: String,
    /// Its steps, in the order of their start.
    pub steps: Vec<Step>,
}

/// A call within a purchase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// From the start of the purchase, in microseconds.
    pub start_us: u64,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// Who called.
    pub caller: String,
    /// The workload that was called.
    pub workload: String,
    /// The domain of that workload.
    pub domain: String,
    /// The method, for instance `OrderService/CreateOrder`.
    pub method: String,
    /// The status, for instance `OK`.
    pub status: String,
}
