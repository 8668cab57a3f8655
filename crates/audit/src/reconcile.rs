//! Spans against what did not come through the trace pipeline: spans may be lost, a counter is not.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use crate::dialect::Status;
use crate::finding::{At, On, What};
use crate::input::{Count, Counters, Flow, Run};
use crate::names::{Name, Names};
use crate::plan::{Plan, Who};
use crate::tally::{Interval, Seen, Tally};
use crate::time::utc;

/// By status, how often; 255 stands for no status.
type ByStatus = BTreeMap<u8, u64>;
/// By caller and method.
type Calls = BTreeMap<(Name, Name), ByStatus>;

/// Each set of counters against the spans of its run and time, and against the policy.
pub(crate) fn counters(tally: &mut Tally, plan: &Plan, names: &mut Names, inputs: &[Counters]) {
    let intervals = std::mem::take(&mut tally.intervals);
    let own: HashSet<(Who, Name)> = intervals.keys().copied().collect();
    for ((callee, _), intervals) in intervals {
        let processes = processes_of(tally, plan, callee, &own);
        for interval in intervals {
            let Some(input) = inputs.get(interval.input) else { continue };
            end(tally, plan, callee, &interval, input);
            for count in input.open.iter().filter(|_| input.run == Run::GoesOn) {
                let (caller, method) = (names.number(&count.caller), names.number(&count.method));
                let on = On { caller: caller_name(plan, caller), callee: plan.name(callee), method };
                tally.findings.explain(What::RecordWithoutSpan, on, count.count);
            }
            let window = window(input);
            let mut counted = Calls::new();
            for count in input.served.iter().filter(|count| count.count > 0) {
                let key = (names.number(&count.caller), names.number(&count.method));
                let status = Status::of_name(&count.status);
                *counted.entry(key).or_default().entry(status.map_or(u8::MAX, Status::number)).or_default() +=
                    count.count;
                policy(tally, plan, callee, key, count, status);
            }
            let (mut seen, mut unsure) = (calls(&interval.seen), calls(&interval.unsure));
            without_callers(&mut counted, &mut seen, &mut unsure);
            settle(&counted, &mut seen, &unsure);
            let keys: BTreeSet<_> = counted.keys().chain(seen.keys()).copied().collect();
            for key in keys {
                let (counted, seen) = (counted.remove(&key).unwrap_or_default(), seen.remove(&key).unwrap_or_default());
                let on = On { caller: caller_name(plan, key.0), callee: plan.name(callee), method: key.1 };
                compare(tally, on, &counted, &seen, &window, processes);
            }
        }
    }
    for ((callee, instance), calls) in std::mem::take(&mut tally.uncounted) {
        let on = On { callee: plan.name(callee), ..On::default() };
        let why = format!("`{}` has {calls} calls with a span and no counters", names.text(instance));
        tally.findings.add_many(What::UncountedCalls, on, At::default(), calls, why);
    }
}

fn calls(seen: &Seen) -> Calls {
    let mut calls = Calls::new();
    for ((caller, method, status), count) in seen {
        *calls.entry((*caller, *method)).or_default().entry(*status).or_default() += count;
    }
    calls
}

/// Calls that may be in the counters are taken to be, as far as the counters have them.
fn settle(counted: &Calls, seen: &mut Calls, unsure: &Calls) {
    for (key, by_status) in unsure {
        for (status, most) in by_status {
            let counted = counted.get(key).and_then(|counted| counted.get(status)).copied().unwrap_or(0);
            let sure = seen.get(key).and_then(|seen| seen.get(status)).copied().unwrap_or(0);
            let taken = counted.saturating_sub(sure).min(*most);
            if taken > 0 {
                *seen.entry(*key).or_default().entry(*status).or_default() += taken;
            }
        }
    }
}

/// What a run did after it last wrote its counters is a gap, of that run and of no other.
fn end(tally: &mut Tally, plan: &Plan, callee: Who, interval: &Interval, input: &Counters) {
    let ending = match input.run {
        Run::Ended => return,
        Run::GoesOn if interval.later == 0 => return,
        Run::GoesOn => "it goes on",
        Run::Killed => "it was killed",
    };
    let on = On { callee: plan.name(callee), ..On::default() };
    let (until, later) = (utc(input.to_ns), interval.later);
    let why = format!("`{}` counted until {until}, then {ending}; {later} of its spans are later", input.instance);
    tally.findings.add_many(What::UncountedEnd, on, At { at_ns: input.to_ns, ..At::default() }, later.max(1), why);
}

/// Where spans of a method do not say who called, only the calls of all callers together can be compared.
fn without_callers(counted: &mut Calls, seen: &mut Calls, unsure: &mut Calls) {
    let of_nobody = seen.keys().chain(unsure.keys()).filter(|(caller, _)| caller.is_none());
    let silent: BTreeSet<Name> = of_nobody.map(|(_, method)| *method).collect();
    for of in [counted, seen, unsure] {
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
fn compare(tally: &mut Tally, on: On, counted: &ByStatus, seen: &ByStatus, window: &str, processes: usize) {
    let total = |of: &ByStatus| of.values().sum::<u64>();
    let (calls, spans) = (total(counted), total(seen));
    if calls > spans {
        let why = format!("{calls} calls counted {window}, {spans} with a span");
        tally.findings.add_many(What::MissingSpans, on, At::default(), calls - spans, why);
    } else if spans > calls {
        let why = format!("{calls} calls counted {window}, {spans} with a span");
        let what = if processes > 1 { What::OldCounters } else { What::UncountedCalls };
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
    let mut refusals: HashMap<&str, (u64, usize)> = HashMap::new();
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
        let all = refusals.entry(names.text(*service)).or_default();
        (all.0, all.1) = (all.0 + process.refusals, all.1 + 1);
    }
    for counters in counters {
        let workload = names.known(&counters.workload).unwrap_or(Name::OTHER);
        let on = On { callee: workload, ..On::default() };
        let (seen, processes) = if counters.instance.is_empty() {
            refusals.get(counters.workload.as_str()).copied().unwrap_or_default()
        } else {
            (refusals_of(tally, names.known(&counters.instance)), 1)
        };
        if let Some(counted) = counters.refusals.filter(|counted| *counted > seen && processes <= 1) {
            let why = format!("{counted} refusals counted {}, {seen} with a span", window(counters));
            found.push((What::MissingRefusals, on, counted - seen, why));
        }
        if let Some(dropped) = counters.spans_dropped.filter(|dropped| *dropped > 0) {
            found.push((What::DroppedSpans, on, dropped, format!("its counters say so {}", window(counters))));
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

/// Refusals with a span that one run numbered, whatever its service is called there.
fn refusals_of(tally: &Tally, instance: Option<Name>) -> u64 {
    let of_run = tally.processes.iter().filter(|((_, of), _)| Some(*of) == instance);
    of_run.map(|(_, process)| process.refusals).sum()
}

/// Processes of a workload that have no counters of their own.
fn processes_of(tally: &Tally, plan: &Plan, who: Who, own: &HashSet<(Who, Name)>) -> usize {
    let all = tally.processes.keys().filter(|(service, _)| plan.by_service(*service) == Some(who));
    all.filter(|(_, instance)| instance.is_none() || !own.contains(&(who, *instance))).count()
}

fn caller_name(plan: &Plan, peer: Name) -> Name {
    plan.by_identity(peer).map_or(peer, |who| plan.name(who))
}

fn window(counters: &Counters) -> String {
    let by = if counters.instance.is_empty() { String::new() } else { format!("by `{}` ", counters.instance) };
    match (counters.from_ns, counters.to_ns) {
        (0, u64::MAX) => format!("{by}since its start"),
        (0, to) => format!("{by}until {}", utc(to)),
        (from, u64::MAX) => format!("{by}since {}", utc(from)),
        (from, to) => format!("{by}from {} to {}", utc(from), utc(to)),
    }
}
