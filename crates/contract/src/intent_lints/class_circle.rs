//! SK0322: a class does not imply itself. In a circle all classes are one, and each grants all the others.

use sekat_policy::intent::Classes;
use sekat_policy::{Diagnostic, Intent, Span};

use super::IntentLint;

pub(super) const LINT: IntentLint =
    IntentLint { code: "SK0322", rule: "No class implies itself, directly or through others.", check };

fn check(intent: &Intent, findings: &mut Vec<Diagnostic>) {
    let in_circle = |class: &&String| {
        let implied = intent.classes.get(*class).into_iter().flatten().cloned().collect::<Classes>();
        intent.closed(&implied).contains(*class)
    };
    let circle: Vec<_> = intent.classes.keys().filter(in_circle).map(|class| format!("`{class}`")).collect();
    if !circle.is_empty() {
        // Classes have no places of their own; the file is that of the first domain.
        let file = intent.domains.first().map(|domain| domain.span.file.clone()).unwrap_or_default();
        let text = format!("the classes {} imply themselves", circle.join(", "));
        let help = "make `children` a tree: broad classes above, narrow ones below";
        findings.push(Diagnostic::error(LINT.code, Span { file, ..Span::default() }, text, help));
    }
}

#[cfg(test)]
mod tests {
    use crate::intent_lints::fixture::planted;

    #[test]
    fn a_circle_is_found() {
        let user = "user: {children: [user.address]}";
        let circle = format!("{user}\n  user.address: {{children: [user]}}");
        planted(&[(user, &circle)]).finds_among_others("SK0322", "`user`, `user.address` imply themselves");
        let deeper = format!("{user}\n  user.address: {{children: [user.address.street]}}");
        planted(&[(user, &deeper)]).finds_nothing();
    }
}
