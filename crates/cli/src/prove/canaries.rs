//! The layer of the canaries: values that only commerce may see, searched for in everything that the showcase keeps and
//! writes, and in everything that anybody writes about calls.

use std::path::PathBuf;

use sekat_evidence::canaries::{Canary, Search};
use sekat_evidence::{Check, Layer, LayerName};
use sekat_policy::Intent;

use super::identities::place;
use crate::layout::Layout;

/// Where one domain's private values are looked for.
struct Place {
    subject: String,
    path: PathBuf,
}

/// Searches for the values of a purchase that was made for this.
pub(super) fn layer(
    intent: &Intent,
    layout: &Layout,
    private: &[(&'static str, String)],
    trace_id: &str,
) -> anyhow::Result<Layer> {
    let canaries: Vec<Canary> = private.iter().map(|(field, value)| Canary::new(*field, value.as_str())).collect();
    let search = Search::new(&canaries)?;
    let mut checks = Vec::new();
    for Place { subject, path } in places(intent, layout) {
        if !path.exists() {
            continue;
        }
        let expected = format!("none of {} values in any encoding", canaries.len());
        let found = search.path(&path)?;
        if found.is_empty() {
            checks.push(Check::holds(&subject, &expected).at(place(layout, &path)));
        }
        checks.extend(found.into_iter().map(|hit| {
            let observed = format!("{} in {}, at byte {}", hit.label, hit.encoding, hit.offset);
            let at = place(layout, &hit.path);
            Check::violated(&subject, &expected, observed).at(format!("{at}:{}", hit.offset))
        }));
    }
    for workload in &intent.workloads {
        checks.extend(copied(layout, &workload.name, trace_id));
    }
    for workload in &intent.workloads {
        let log = layout.log(&workload.name);
        if !log.exists() {
            continue;
        }
        let subject = format!("the log of {}", workload.name);
        let found = sekat_evidence::canaries::card_numbers(&log)?;
        if found.is_empty() {
            checks.push(Check::holds(&subject, "no card number"));
        }
        checks.extend(found.into_iter().map(|hit| {
            let observed = format!("a card number at byte {}", hit.offset);
            Check::violated(&subject, "no card number", observed).at(place(layout, &log))
        }));
    }
    Ok(Layer::ran(LayerName::Canaries, checks))
}

/// That what a workload received was copied, and all of it: the trace of the purchase, which came in with each call, is in
/// the copy. A search of nothing finds nothing.
fn copied(layout: &Layout, workload: &str, trace_id: &str) -> Option<Check> {
    let path = layout.received(workload);
    let copy = std::fs::read(&path).ok()?;
    let subject = format!("the copy of what {workload} received");
    let expected = "complete, with the trace of the purchase in it";
    let contains = |text: &str| copy.windows(text.len()).any(|window| window == text.as_bytes());
    let check = if contains("sekat: this copy is not complete") {
        Check::unknown(subject, expected, "it is not complete")
    } else if contains(trace_id) {
        Check::holds(subject, expected)
    } else {
        Check::unknown(subject, expected, "the trace is not in it: what came in was not copied")
    };
    Some(check.at(place(layout, &path)))
}

/// All spans and all logs, and the stores of the domains that may hold nothing of the kind.
fn places(intent: &Intent, layout: &Layout) -> Vec<Place> {
    let mut places = vec![
        Place { subject: "all spans".to_owned(), path: layout.traces() },
        Place { subject: "all spans that a witness took".to_owned(), path: layout.witness() },
    ];
    for workload in &intent.workloads {
        let name = &workload.name;
        places.push(Place { subject: format!("the log of {name}"), path: layout.log(name) });
        let private = ["user", "payment"];
        let may = intent
            .domain(&workload.domain)
            .is_some_and(|domain| private.iter().any(|class| domain.may_hold.contains(*class)));
        if !may {
            places.push(Place { subject: format!("the store of {name}"), path: layout.store(name) });
            places.push(Place { subject: format!("what {name} received"), path: layout.received(name) });
        }
    }
    places
}
