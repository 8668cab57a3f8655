//! What is compared with spans and does not come through the trace pipeline: counters, access records, audit logs and
//! what was seen on the network. Plain values; `read` holds readers for the files of this mesh.

/// The calls that one process counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// The workload that counted.
    pub workload: String,
    /// The run that counted, as its spans have it in `service.instance.id`; empty for all processes of the workload that
    /// have no counters of their own.
    pub instance: String,
    /// Whether the run counted to its end.
    pub run: Run,
    /// Since when it counts, in nanoseconds since the Unix epoch; 0 for its start.
    pub from_ns: u64,
    /// Until when, exclusive; [`u64::MAX`] for the end of everything that is audited. Of a run that did not count to its
    /// end, when it wrote them.
    pub to_ns: u64,
    /// Refusals that have a number in the audit log, if that is counted.
    pub refusals: Option<u64>,
    /// Spans that the process threw away, if that is counted.
    pub spans_dropped: Option<u64>,
    /// How often which caller called which method.
    pub served: Vec<Count>,
    /// Calls that were open when the counters were written, without a status: streams, which have an access record from
    /// their first message on and a span when they end.
    pub open: Vec<Count>,
}

/// How far the counters of a run reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Run {
    /// To the end of the run, or of what is audited.
    #[default]
    Ended,
    /// It goes on: what it did since, its next counters will have.
    GoesOn,
    /// It was killed: what it did since, nobody counted.
    Killed,
}

/// How often calls of one method by one caller ended with one status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// The caller's SPIFFE ID from its certificate; `public` for callers without one.
    pub caller: String,
    /// The gRPC path; `_OTHER` for paths that no contract has.
    pub method: String,
    /// The name of the status.
    pub status: String,
    /// Calls.
    pub count: u64,
}

/// One access to classified data, as a store or a mesh's access log has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessRecord {
    /// The workload that was called.
    pub workload: String,
    /// Its place in the log.
    pub sequence: u64,
    /// When it was written, in nanoseconds since the Unix epoch.
    pub at_ns: u64,
    /// The caller's SPIFFE ID, from its certificate.
    pub caller: String,
    /// The gRPC path.
    pub method: String,
    /// The trace.
    pub trace_id: [u8; 16],
    /// The server's span; all zero if the trace was not recorded.
    pub span_id: [u8; 8],
}

/// One entry of an audit log: a call that was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The workload that refused.
    pub workload: String,
    /// Its number.
    pub sequence: u64,
    /// The caller's SPIFFE ID, or `public`.
    pub caller: String,
    /// The true path.
    pub path: String,
    /// The trace.
    pub trace_id: [u8; 16],
}

/// Connections that were seen on the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// The workload that connected.
    pub caller: String,
    /// The workload that was connected to.
    pub callee: String,
    /// How often, or how many packets.
    pub count: u64,
}
