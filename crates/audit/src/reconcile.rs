//! Spans against what did not come through the trace pipeline: spans may be lost, a counter is not.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::dialect::Status;
use crate::finding::{At, On, What};
use crate::input::{Count, Counters, Flow};
use crate::names::{Name, Names};
use crate::plan::{Plan, Who};
use crate::tally::Tally;

/// By status, how often; 255 stands for no status.
type ByStatus = BTreeMap<u8, u64>;

/// Each set of counters against the spans of its time, and against the policy.
pub(crate) fn counters(tally: &mut Tally, plan: &Plan, names: &mut Names, inputs: &[Counters]) {
    let intervals = std::mem::take(&mut tally.intervals);
    for (callee, intervals) in intervals {
        let instances = processes_of(tally, plan, callee);
        for interval in intervals {
            let Some(input) = inputs.get(interval.input) else { continue };
            let window = window(input);
            let mut counted: BTreeMap<(Name, Name), ByStatus> = BTreeMap::new();
            for count in input.served.iter().filter(|count| count.count > 0) {
                let key = (names.number(&count.caller), names.number(&count.method));
                let status = Status::of_name(&count.status);
                *counted.entry(key).or_default().entry(status.map_or(u8::MAX, Status::number)).or_default() +=
                    count.count;
                policy(tally, plan, callee, key, count, status);
            }
            let mut seen: BTreeMap<(Name, Name), ByStatus> = BTreeMap::new();
            for ((caller, method, status), count) in &interval.seen {
                *seen.entry((*caller, *method)).or_default().entry(*status).or_default() += count;
            }
            without_callers(&mut counted, &mut seen);
            let keys: BTreeSet<_> = counted.keys().chain(seen.keys()).copied().collect();
            for key in keys {
                let (counted, seen) = (counted.remove(&key).unwrap_or_default(), seen.remove(&key).unwrap_or_default());
                let on = On { caller: caller_name(plan, key.0), callee: plan.name(callee), method: key.1 };
                compare(tally, on, &counted, &seen, &window, instances);
            }
        }
    }
}

/// Where spans of a method do not say who called, only the calls of all callers together can be compared.
fn without_callers(counted: &mut BTreeMap<(Name, Name), ByStatus>, seen: &mut BTreeMap<(Name, Name), ByStatus>) {
    let silent: BTreeSet<Name> =
        seen.keys().filter(|(caller, _)| caller.is_none()).map(|(_, method)| *method).collect();
    for of in [counted, seen] {
        let merged: Vec<_> = of.extract_if(.., |(_, method), _| silent.contains(method)).collect();
        for ((_, method), by_status) in merged {
            let all = of.entry((Name::NONE, method)).or_default();
            for (status, count) in by_status {
                *all.entry(status).or_default() += count;
            }
        }
    }
}

/// What counters say about one caller and method against what spans say.
fn compare(tally: &mut Tally, on: On, counted: &ByStatus, seen: &ByStatus, window: &str, instances: usize) {
    let total = |of: &ByStatus| of.values().sum::<u64>();
    let (calls, spans) = (total(counted), total(seen));
    if calls > spans {
        let why = format!("{calls} calls counted {window}, {spans} with a span");
        tally.findings.add_many(What::MissingSpans, on, At::default(), calls - spans, why);
    } else if spans > calls {
        let why = format!("{calls} calls counted {window}, {spans} with a span");
        let what = if instances > 1 { What::OldCounters } else { What::UncountedCalls };
        tally.findings.add_many(what, on, At::default(), spans - calls, why);
    } else if !seen.contains_key(&u8::MAX) && counted != seen {
        let words = |of: &ByStatus| {
            let word = |(status, count): (&u8, &u64)| {
                format!("{count} {}", Status::of_number(i64::from(*status)).map_or("unknown", Status::name))
            };
            of.iter().map(word).collect::<Vec<_>>().join(", ")
        };
        let why = format!("counted {window}: {}; by spans: {}", words(counted), words(seen));
        tally.findings.add(What::Contradiction, on, At::default(), why);
    }
}

/// A counter is an observation of its own: a call that it counted happened, span or not.
fn policy(tally: &mut Tally, plan: &Plan, callee: Who, key: (Name, Name), count: &Count, status: Option<Status>) {
    let (peer, path) = key;
    let method = plan.method(path);
    if plan.is_platform(path) {
        return;
    }
    let allowed = if peer == Name::PUBLIC {
        method.is_some_and(|method| method.workload == callee || plan.allows(callee, path))
            && plan.workload(callee).is_some_and(|workload| workload.public)
    } else {
        method.is_some() && plan.by_identity(peer).is_some_and(|caller| plan.allows(caller, path))
    };
    // Other statuses a server may also give at its door; which it was, only the span of the call says, and that there is
    // one for each call is checked beside this.
    if !allowed && status == Some(Status::OK) {
        let on = On { caller: caller_name(plan, peer), callee: plan.name(callee), method: path };
        let why = format!("{} of them ended with {}", count.count, count.status);
        tally.findings.add_many(What::CountedCall, on, At::default(), count.count, why);
    }
}

/// Traffic between two workloads that no call between them explains.
pub(crate) fn flows(tally: &mut Tally, names: &mut Names, flows: &[Flow]) {
    let edges: HashSet<(Name, Name)> = tally.edges.keys().map(|edge| (edge.caller, edge.callee)).collect();
    for flow in flows {
        let (caller, callee) = (names.number(&flow.caller), names.number(&flow.callee));
        if flow.count > 0 && !edges.contains(&(caller, callee)) {
            let on = On { caller, callee, method: Name::NONE };
            let why = format!("the network counted {}", flow.count);
            tally.findings.add_many(What::SilentTraffic, on, At::default(), flow.count, why);
        }
    }
}

/// What processes say about their own spans and refusals, against what came.
pub(crate) fn processes(tally: &mut Tally, names: &Names, counters: &[Counters], recording: &HashSet<Who>) {
    let mut newest: HashMap<&str, (u64, usize)> = HashMap::new();
    let mut said = !counters.is_empty() || !recording.is_empty();
    let mut found = Vec::new();
    for ((service, instance), process) in &tally.processes {
        let on = On { caller: Name::NONE, callee: *service, method: Name::NONE };
        let who = names.text(*instance);
        said |= process.recorded.is_some();
        let dropped = process.dropped.unwrap_or(0);
        if dropped > 0 {
            found.push((What::DroppedSpans, on, dropped, format!("`{who}` says so")));
        }
        // What a process dropped was recorded before.
        let arrived = process.spans.saturating_add(dropped);
        if let Some(recorded) = process.recorded.filter(|recorded| *recorded > arrived) {
            let why = format!("`{who}` recorded {recorded}, of which {} came", process.spans);
            found.push((What::LostSpans, on, recorded - arrived, why));
        }
        if process.highest_refusal > process.refusals {
            let missing = process.highest_refusal - process.refusals;
            let why = format!("`{who}` numbered its refusals up to {}", process.highest_refusal);
            found.push((What::MissingRefusals, on, missing, why));
        }
        let refusals = newest.entry(names.text(*service)).or_default();
        (refusals.0, refusals.1) = (refusals.0 + process.refusals, refusals.1 + 1);
    }
    for counters in counters {
        let on = On { callee: names.known(&counters.workload).unwrap_or(Name::OTHER), ..On::default() };
        let (seen, processes) = newest.get(counters.workload.as_str()).copied().unwrap_or_default();
        if let Some(counted) = counters.refusals.filter(|counted| *counted > seen && processes <= 1) {
            let why = format!("{counted} refusals counted {}, {seen} with a span", window(counters));
            found.push((What::MissingRefusals, on, counted - seen, why));
        }
        if let Some(dropped) = counters.spans_dropped.filter(|dropped| *dropped > 0) {
            found.push((What::DroppedSpans, on, dropped, "its counters say so".to_owned()));
        }
    }
    for (what, on, count, why) in found {
        tally.findings.add_many(what, on, At::default(), count, why);
    }
    if !said && tally.calls > 0 {
        let why = "neither counters nor access records nor a process's own count was given";
        tally.findings.add(What::NoCounters, On::default(), At::default(), why);
    }
}

fn processes_of(tally: &Tally, plan: &Plan, who: Who) -> usize {
    tally.processes.keys().filter(|(service, _)| plan.by_service(*service) == Some(who)).count()
}

fn caller_name(plan: &Plan, peer: Name) -> Name {
    plan.by_identity(peer).map_or(peer, |who| plan.name(who))
}

fn window(counters: &Counters) -> String {
    match (counters.from_ns, counters.to_ns) {
        (0, u64::MAX) => "since its start".to_owned(),
        (from, u64::MAX) => format!("since {}", crate::time::utc(from)),
        (from, to) => format!("from {} to {}", crate::time::utc(from), crate::time::utc(to)),
    }
}
