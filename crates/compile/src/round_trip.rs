//! The comparison of what is meant with what is enforced: both are asked about the same attempts.

use std::collections::BTreeMap;

use sekat_policy::{Diagnostic, Intent, Span};

use crate::Compiled;
use crate::attempt::{Attempt, Verdict};
use crate::meant::Meant;
use crate::read;
use crate::world::World;

/// Something passes that is not meant to.
pub const WIDER: &str = "SK0410";
/// Something is meant to pass and does not.
pub const NARROWER: &str = "SK0411";

/// Reads the files of a target back and compares what they enforce with `intent`, as far as the target can tell calls
/// apart. The files may come from anywhere, for instance from a folder that somebody has edited.
///
/// Findings: what a reader does not understand, what a target is known to enforce differently than it reads, and one
/// for each caller and listener between which more or less passes than is meant. Where a target enforces at both ends,
/// each end has to be right alone: otherwise a fault in one would hide behind the other.
#[must_use]
pub fn round_trip(intent: &Intent, compiled: &Compiled) -> Vec<Diagnostic> {
    compare(intent, compiled).0
}

/// How many attempts were asked about.
#[derive(Clone, Copy, Debug, Default)]
struct Asked {
    meant: u64,
    not_meant: u64,
}

fn compare(intent: &Intent, compiled: &Compiled) -> (Vec<Diagnostic>, Asked) {
    let (reader, mut found) = read::reader(compiled.target, &compiled.files);
    let sight = compiled.target.sight();
    let world = World::of(intent, sight);
    let mut differences = Differences::new();
    let mut asked = Asked::default();
    let meant = Meant::of(intent, sight);
    for attempt in world.attempts(intent) {
        let wanted = meant.passes(&attempt);
        *(if wanted { &mut asked.meant } else { &mut asked.not_meant }) += 1;
        note(&mut differences, &attempt, "", reader.judge(&attempt), wanted);
        if let Some([callee, caller]) = reader.ends(&attempt) {
            note(&mut differences, &attempt, " where it arrives", callee, meant.arrives(&attempt));
            note(&mut differences, &attempt, " where it leaves", caller, meant.leaves(&attempt));
        }
    }
    let target = compiled.target.name();
    found.extend(differences.into_iter().map(|((from, to, port, end, wanted), difference)| {
        difference.diagnostic(target, &format!("{from} reach {to} at port {port}{end}"), wanted)
    }));
    (found, asked)
}

/// By caller, callee, port, end, and whether it is meant.
type Differences<'a> = BTreeMap<(&'a str, &'a str, u16, &'static str, bool), Difference>;

fn note<'a>(all: &mut Differences<'a>, attempt: &Attempt<'a>, end: &'static str, verdict: Verdict<'_>, wanted: bool) {
    if verdict.is_allowed() != wanted {
        let key = (attempt.from.title.as_str(), attempt.to.title.as_str(), attempt.port, end, wanted);
        all.entry(key).or_insert_with(|| Difference::first(attempt, verdict)).count += 1;
    }
}

/// What differs between a caller and a listener.
struct Difference {
    count: usize,
    /// The first method that differs.
    path: Option<String>,
    /// The rule that lets it through.
    rule: Option<Span>,
}

impl Difference {
    fn first(attempt: &Attempt<'_>, verdict: Verdict<'_>) -> Self {
        let rule = match verdict {
            Verdict::Allowed(rule) => rule.cloned(),
            Verdict::Denied => None,
        };
        Self { count: 0, path: attempt.path.map(str::to_owned), rule }
    }

    fn diagnostic(self, target: &str, who: &str, wanted: bool) -> Diagnostic {
        let mut what = self.path.map(|path| format!(" with {path}")).unwrap_or_default();
        if self.count > 1 {
            what = format!("{what} and {} more", self.count - 1);
        }
        let nowhere = || Span { file: target.to_owned(), ..Span::default() };
        if wanted {
            let message = format!("{target} does not let {who}{what}, which is meant");
            let help = "compile again; if it stays, the target's files were made for another policy";
            return Diagnostic::error(NARROWER, nowhere(), message, help);
        }
        let help = match self.rule {
            Some(_) => "narrow this rule, or compile again",
            None => "nothing closes it: compile again, and apply all files",
        };
        let message = format!("{target} lets {who}{what}, which is not meant");
        Diagnostic::error(WIDER, self.rule.unwrap_or_else(nowhere), message, help)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{random, shop};
    use crate::{Target, compile};

    fn sound(intent: &Intent, target: Target) -> Compiled {
        let (compiled, found) = compile(intent, target);
        assert!(found.is_empty(), "{target}: {found:#?}");
        compiled
    }

    /// Compiles and reads back many intents; says the first that differs with its seed.
    fn hold_for_random_intents(target: Target) {
        let mut all = Asked::default();
        for seed in 0..1_000 {
            let intent = random(seed);
            let compiled = sound(&intent, target);
            let (found, asked) = compare(&intent, &compiled);
            all.meant += asked.meant;
            all.not_meant += asked.not_meant;
            if !found.is_empty() {
                let files: String =
                    compiled.files.iter().map(|file| format!("== {}\n{}", file.name, file.text)).collect();
                let found: String = found.iter().map(|it| format!("{it}\n")).collect();
                panic!("{target}, seed {seed}:\n{found}\n{files}");
            }
        }
        println!("{target}: {all:?}");
        assert!(all.meant > 4_000 && all.not_meant > 20_000, "{target}: {all:?} show little");
    }

    #[test]
    fn the_shop_round_trips_for_every_target() {
        for target in Target::ALL {
            let intent = shop();
            let compiled = sound(&intent, target);
            let found = round_trip(&intent, &compiled);
            assert!(found.is_empty(), "{target}: {}", found.iter().map(|it| format!("{it}\n")).collect::<String>());
        }
    }

    #[test]
    fn kubernetes_enforces_what_is_meant() {
        hold_for_random_intents(Target::Kubernetes);
    }

    #[test]
    fn cnp_enforces_what_is_meant() {
        hold_for_random_intents(Target::Cnp);
    }

    #[test]
    fn istio_enforces_what_is_meant() {
        hold_for_random_intents(Target::Istio);
    }

    #[test]
    fn istio_ambient_enforces_what_is_meant() {
        hold_for_random_intents(Target::IstioAmbient);
    }

    #[test]
    fn linkerd_enforces_what_is_meant() {
        hold_for_random_intents(Target::Linkerd);
    }

    #[test]
    fn cilium_enforces_what_is_meant() {
        hold_for_random_intents(Target::Cilium);
    }

    #[test]
    fn grpc_enforces_what_is_meant() {
        hold_for_random_intents(Target::GrpcRbac);
    }

    #[test]
    fn envoy_enforces_what_is_meant() {
        hold_for_random_intents(Target::Envoy);
    }
}
