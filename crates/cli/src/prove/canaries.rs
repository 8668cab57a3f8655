//! The layer of the canaries: values that only commerce may see, searched for in everything that the showcase keeps and
//! writes, and in everything that anybody writes about calls.

use std::path::{Path, PathBuf};

use sekat_evidence::canaries::{Canary, Search};
use sekat_evidence::{Check, Layer, LayerName};
use sekat_policy::Intent;

use super::identities::place;
use super::planting::Sent;
use crate::layout::Layout;
use crate::story::Story;

/// In a bundle: everything that the edges said about planted requests.
pub(super) const ANSWERS: &str = "canaries/answers.txt";

/// Where one domain's private values are looked for.
struct Place {
    subject: String,
    path: PathBuf,
}

/// Searches for the values of a purchase that was made for this, and for those of requests that were planted.
pub(super) fn layer(
    intent: &Intent,
    layout: &Layout,
    story: &Story,
    sent: &Sent,
    bundle: &Path,
) -> anyhow::Result<Layer> {
    let answers = bundle.join(ANSWERS);
    let of_requests = sent.values.iter().map(|(leaf, value)| Canary::new(leaf.as_str(), value.as_str()));
    let of_purchase = story.private.iter().map(|(leaf, value)| Canary::new(*leaf, value.as_str()));
    let canaries: Vec<Canary> = of_purchase.chain(of_requests).collect();
    let search = Search::new(&canaries)?;
    let subject = "requests with a value of its own in every private leaf of text";
    let mut checks = vec![match sent.requests {
        0 => Check::unknown(subject, "sent to the edges", "none: the contracts are not sound"),
        requests => Check { observed: format!("{requests} sent"), ..Check::holds(subject, "sent to the edges") },
    }];
    let of_answers = "what the edges answered to requests that were refused";
    let of_answers = Place { subject: of_answers.to_owned(), path: answers.clone() };
    for Place { subject, path } in places(intent, layout).into_iter().chain([of_answers]) {
        if !path.exists() {
            continue;
        }
        let expected = format!("none of {} values in any encoding", canaries.len());
        let found = search.path(&path)?;
        if found.is_empty() {
            let at = if path == answers { ANSWERS.to_owned() } else { place(layout, &path) };
            checks.push(Check::holds(&subject, &expected).at(at));
        }
        checks.extend(found.into_iter().map(|hit| {
            let observed = format!("{} in {}, at byte {}", hit.label, hit.encoding, hit.offset);
            let at = if hit.path == answers { ANSWERS.to_owned() } else { place(layout, &hit.path) };
            Check::violated(&subject, &expected, observed).at(format!("{at}:{}", hit.offset))
        }));
    }
    for workload in &intent.workloads {
        checks.extend(copied(layout, &workload.name, &story.trace_id));
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
