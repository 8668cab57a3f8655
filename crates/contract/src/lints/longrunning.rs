//! SK0023: long-running work has operation messages of its own; Google's hold an `Any`.

use sekat_policy::Diagnostic;

use super::Lint;
use crate::model::Model;

pub(super) const LINT: Lint = Lint {
    code: "SK0023",
    rule: "No file imports google.longrunning: operations are messages of the contracts with typed results.",
    check,
};

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    for file in &model.files {
        for (import, span) in file.imports.iter().filter(|(import, _)| import.starts_with("google/longrunning/")) {
            let text = format!("`{import}` is imported, whose results nobody can classify");
            let help = "write an operation message with a oneof of its result and its error";
            findings.push(Diagnostic::error(LINT.code, span.clone(), text, help));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn googles_operations_are_not_used() {
        let import = "import \"google/longrunning/operations.proto\";";
        planted(&[("import \"google/rpc/status.proto\";", import)]).finds("SK0023", import, "is imported");
        planted(&[]).finds_nothing();
    }
}
