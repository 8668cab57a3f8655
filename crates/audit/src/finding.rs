//! What an audit finds, how much each kind of finding weighs, and the witnesses that are kept of each.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::names::{Name, Names};
use crate::span::Hex;

/// What an audit says in the end, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// Something happened that must not.
    Violated,
    /// Something happened that nobody accounts for.
    Unexplained,
    /// Not everything that happened was seen.
    Incomplete,
    /// Everything that was observed is meant to be possible. Traces never prove absence by themselves.
    Holds,
}

macro_rules! findings {
    ($($name:ident $code:literal $verdict:ident $title:literal $help:literal)*) => {
        /// A kind of finding.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        pub enum What {
            $(#[doc = $title] $name,)*
        }

        impl What {
            /// All kinds, the worst first.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable code; it never changes its meaning.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)* }
            }

            /// What it makes of a proof.
            #[must_use]
            pub const fn verdict(self) -> Verdict {
                match self { $(Self::$name => Verdict::$verdict,)* }
            }

            /// What it says, in one sentence.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }

            /// What to do about it.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$name => $help,)* }
            }
        }
    };
}

findings! {
    ForbiddenCall "SK0600" Violated "a call that the policy does not allow got in"
        "close the way in, or declare the edge if it is meant"
    ForgedParent "SK0601" Violated "a call names a parent that its caller did not make"
        "the certificate says who called; find out who sent that trace context"
    SpoofedExporter "SK0602" Violated "spans say that they are of somebody who did not send them"
        "the process that sent them poses as another one; find it by its certificate and instance"
    HiddenCaller "SK0603" Violated "a server's span does not say the caller that its certificate check saw"
        "spans of this stack always say it, so this one was changed or made elsewhere"
    ConflictingSpan "SK0604" Violated "one span id has two contents"
        "one of them is forged, or a library reuses ids"
    ConflictingRecord "SK0605" Violated "span and access record of one call differ"
        "the record is chained and durable, so look at who wrote the span"
    WrongServer "SK0606" Violated "a method was served by somebody whose it is not"
        "find out who answered; clients must insist on the server's identity"
    ForeignPolicy "SK0607" Violated "a server decided by another policy than the audited one"
        "deploy the audited policy, or audit the deployed one"
    ForbiddenStore "SK0608" Violated "a store was reached by somebody who is no client of it"
        "take its rights away, or declare it as a client"
    ForbiddenTopic "SK0609" Violated "a topic was used by somebody who is neither its publisher nor its consumer"
        "take its rights away, or declare it"
    CountedCall "SK0610" Violated "a server counted calls that the policy does not allow and that got in"
        "close the way in; a span of these calls may be missing"
    UnannouncedAttempt "SK0611" Violated "somebody tried what the policy does not allow, and it was no probe"
        "it was refused; find out why it was tried"
    BrokenChain "SK0612" Violated "a chain of records was changed"
        "somebody changed evidence afterwards; look at the named place"
    UnknownCaller "SK0620" Unexplained "nobody says who called"
        "let the server write down its caller's certificate, or give the mesh's access log"
    ClaimedCaller "SK0621" Unexplained "only the caller's own service.name says who called"
        "let the server write down its caller's certificate, or bind exporters to identities"
    UnknownCallee "SK0622" Unexplained "a server's span is of no workload of the policy"
        "name the workload for this service.name"
    UnclearCall "SK0623" Unexplained "nothing says whether a call that is not allowed got in"
        "let the server write down the status"
    Contradiction "SK0624" Unexplained "a span tells two stories"
        "its attributes for one thing differ between conventions; who wrote it hides something or is broken"
    MethodMismatch "SK0625" Unexplained "client and server of one call name different methods"
        "one of the two spans is untrue, or a proxy rewrites paths"
    UnknownMethod "SK0626" Unexplained "a method was called that the policy does not know"
        "declare it, or find out what it is"
    UncountedCalls "SK0627" Unexplained "there are more spans of calls than the server counted"
        "some of the spans are of calls that did not happen"
    UnrecordedAccess "SK0628" Unexplained "an access to classified data has no access record"
        "the span is of a call that did not happen, or the server does not record"
    UnknownStore "SK0629" Unexplained "a database was reached that the policy does not name"
        "declare the store"
    UnknownTopic "SK0630" Unexplained "a topic was used that the policy does not name"
        "declare the topic"
    SilentTraffic "SK0631" Unexplained "the network saw traffic without a call"
        "something that is not instrumented talks there"
    NoIds "SK0632" Unexplained "a span has no ids"
        "it cannot be joined with anything; find out who sends it"
    MissingSpans "SK0640" Incomplete "a server counted more calls than there are spans"
        "spans were lost; look at queues, collectors and retention"
    LostSpans "SK0641" Incomplete "a process recorded spans that never arrived"
        "look at its exporter; a process that was killed takes the last ones with it"
    DroppedSpans "SK0642" Incomplete "a process threw spans away"
        "give its exporter more room, or its collector more speed"
    MissingRefusals "SK0643" Incomplete "numbers of refused calls are missing"
        "spans of refusals were lost"
    RecordWithoutSpan "SK0644" Incomplete "an access record has no span"
        "the span was lost, or the trace was not sampled"
    ClientMissing "SK0645" Incomplete "the client's half of a call is missing"
        "its span was lost, or the client is not instrumented"
    ServerMissing "SK0646" Incomplete "the server's half of a call is missing"
        "its span was lost, or the server is not instrumented"
    Sampled "SK0647" Incomplete "only a sample of the calls is traced"
        "record all traces while an audit runs"
    DroppedContent "SK0648" Incomplete "attributes or links of spans were thrown away"
        "raise the library's limits"
    DanglingLink "SK0649" Incomplete "a span is linked to one that is not there"
        "it was lost, or lies before what was audited"
    ClockSkew "SK0650" Incomplete "clocks differ by more than is tolerated"
        "let the machines keep time; the windows of this audit are not exact"
    Truncated "SK0651" Incomplete "a source did not give all that it has"
        "raise its limits, or read OTLP files instead"
    BrokenTail "SK0652" Incomplete "a file ends within a message"
        "its writer was killed; what it had not written is lost"
    NoCounters "SK0653" Incomplete "nothing outside of the traces says how many calls there were"
        "give counters or access records; else a lost span cannot be told from silence"
    UnknownPath "SK0654" Incomplete "a server refused a path that it does not know, and nobody says which"
        "give the audit log; who probes hides there"
    TooManyNames "SK0655" Incomplete "there were more names than are told apart"
        "somebody invents names"
    EdgeUnused "SK0656" Incomplete "a declared edge was never used"
        "use it while the audit runs, or take it out of the policy"
    PairUntried "SK0657" Incomplete "a forbidden call was never tried"
        "probe it while the audit runs"
    NothingSeen "SK0658" Incomplete "there was no call"
        "give spans of a time in which something happened"
    ClaimAccepted "SK0660" Incomplete "a caller is taken at its word"
        "let the server write down its caller's certificate, or bind exporters to identities"
    UncountedEnd "SK0661" Incomplete "the last counters of a process are not there"
        "nobody counted what a killed process did last: stop it in order; of one that runs, ask again in five seconds"
    OldCounters "SK0659" Incomplete "counters are of the newest process only, and there were several"
        "keep the counters of each process"
}

/// One case of a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Witness {
    /// The trace, in hexadecimal; empty if the case is of no single trace.
    pub trace_id: String,
    /// The span, in hexadecimal; empty if the case is of no single span.
    pub span_id: String,
    /// When it began, in nanoseconds since the Unix epoch; 0 if that is unknown.
    pub at_ns: u64,
    /// Why it is one.
    pub why: String,
}

/// All cases of one kind on one edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The kind.
    pub what: What,
    /// Its stable code.
    pub code: &'static str,
    /// What it makes of the proof.
    pub verdict: Verdict,
    /// What it says.
    pub title: &'static str,
    /// Who called; a workload, an identity or a claim, empty if unknown.
    pub caller: String,
    /// Who was called, empty if unknown.
    pub callee: String,
    /// The method, topic or store, empty if there is none.
    pub method: String,
    /// How many cases there are.
    pub count: u64,
    /// The first of them.
    pub witnesses: Vec<Witness>,
    /// What to do about it.
    pub help: &'static str,
}

/// Cases that are kept of each finding.
const WITNESSES: usize = 3;
/// Findings that are told apart by edge; later ones of a kind are counted together.
const GROUPS: usize = 4_096;

/// Where a case is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub(crate) at_ns: u64,
    pub(crate) trace: u128,
    pub(crate) span: u64,
}

/// On which edge a case is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct On {
    pub(crate) caller: Name,
    pub(crate) callee: Name,
    pub(crate) method: Name,
}

#[derive(Debug, Default)]
struct Group {
    count: u64,
    /// Sorted, so that which are kept does not depend on the order in which they are found.
    witnesses: Vec<(At, String)>,
}

/// All findings so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    groups: BTreeMap<(What, On), Group>,
}

impl Findings {
    pub(crate) fn add(&mut self, what: What, on: On, at: At, why: impl Into<String>) {
        self.add_many(what, on, at, 1, why);
    }

    pub(crate) fn add_many(&mut self, what: What, on: On, at: At, count: u64, why: impl Into<String>) {
        let room = self.groups.len() < GROUPS || self.groups.contains_key(&(what, on));
        let on = if room { on } else { On { caller: Name::OTHER, callee: Name::OTHER, method: Name::OTHER } };
        let group = self.groups.entry((what, on)).or_default();
        group.count += count;
        let full = group.witnesses.len() >= WITNESSES;
        if full && group.witnesses.last().is_some_and(|(last, _)| *last <= at) {
            return;
        }
        let place = group.witnesses.partition_point(|(other, _)| *other <= at);
        group.witnesses.insert(place, (at, why.into()));
        group.witnesses.truncate(WITNESSES);
    }

    /// Takes back as many as something explains.
    pub(crate) fn explain(&mut self, what: What, on: On, count: u64) {
        if let Some(group) = self.groups.get_mut(&(what, on)) {
            group.count = group.count.saturating_sub(count);
            if group.count == 0 {
                self.groups.remove(&(what, on));
            }
        }
    }

    /// The findings, the worst first. Names of a claimed caller have that word in front.
    pub(crate) fn report(&self, names: &Names) -> Vec<Finding> {
        let finding = |(&(what, on), group): (&(What, On), &Group)| Finding {
            what,
            code: what.code(),
            verdict: what.verdict(),
            title: what.title(),
            caller: names.text(on.caller).to_owned(),
            callee: names.text(on.callee).to_owned(),
            method: names.text(on.method).to_owned(),
            count: group.count,
            witnesses: group.witnesses.iter().map(|(at, why)| witness(*at, why)).collect(),
            help: what.help(),
        };
        let mut findings: Vec<Finding> = self.groups.iter().map(finding).collect();
        findings.sort_by(|one, other| {
            let key = |it: &Finding| (it.verdict, it.what, it.caller.clone(), it.callee.clone(), it.method.clone());
            key(one).cmp(&key(other))
        });
        findings
    }
}

fn witness(at: At, why: &str) -> Witness {
    let hex = |bytes: &[u8]| if bytes.iter().all(|byte| *byte == 0) { String::new() } else { Hex(bytes).to_string() };
    Witness {
        trace_id: hex(&at.trace.to_be_bytes()),
        span_id: hex(&at.span.to_be_bytes()),
        at_ns: at.at_ns,
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_unique_and_kinds_stand_in_the_order_of_their_weight() {
        let codes: BTreeSet<&str> = What::ALL.iter().map(|what| what.code()).collect();
        assert_eq!(codes.len(), What::ALL.len());
        assert!(What::ALL.is_sorted_by_key(|what| what.verdict()));
    }

    #[test]
    fn the_earliest_cases_are_kept_whatever_the_order() {
        let mut findings = Findings::default();
        for at_ns in [5, 1, 9, 3, 7] {
            findings.add(What::ForbiddenCall, On::default(), At { at_ns, ..At::default() }, at_ns.to_string());
        }
        let report = findings.report(&Names::new());
        assert_eq!(report[0].count, 5);
        assert_eq!(report[0].witnesses.iter().map(|it| it.at_ns).collect::<Vec<_>>(), [1, 3, 5]);
    }

    #[test]
    fn findings_beyond_the_limit_are_counted_together() {
        let mut findings = Findings::default();
        for index in 0..GROUPS + 10 {
            let on = On { caller: Name(u32::try_from(index).unwrap()), ..On::default() };
            findings.add(What::ForbiddenCall, on, At::default(), "");
        }
        let report = findings.report(&Names::new());
        assert_eq!(report.len(), GROUPS + 1);
        assert_eq!(report.iter().map(|it| it.count).sum::<u64>(), u64::try_from(GROUPS + 10).unwrap());
    }
}
