//! SK0022: a list that comes in pages has all that it takes to turn them. Short fixed lists need no pages.

use sekat_policy::Diagnostic;

use super::Lint;
use crate::model::Model;

pub(super) const LINT: Lint = Lint {
    code: "SK0022",
    rule: "A method that pages has page_size, page_token and next_page_token (AIP-158).",
    check,
};

fn check(model: &Model, findings: &mut Vec<Diagnostic>) {
    for (_, method) in model.methods().filter(|(_, method)| !method.server_streaming) {
        let has = |message: &str, name: &str| {
            model.messages.get(message).is_some_and(|message| message.fields.iter().any(|field| field.name == name))
        };
        let parts = [
            ("page_size", has(&method.request, "page_size")),
            ("page_token", has(&method.request, "page_token")),
            ("next_page_token", has(&method.response, "next_page_token")),
        ];
        let missing: Vec<_> = parts.iter().filter(|(_, there)| !there).map(|(name, _)| *name).collect();
        if !missing.is_empty() && missing.len() < parts.len() {
            let text = format!("`{}` lists without {}", method.path, missing.join(", "));
            let help =
                "add int32 page_size and string page_token to the request, string next_page_token to the response";
            findings.push(Diagnostic::error(LINT.code, method.span.clone(), text, help));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::lints::fixture::planted;

    #[test]
    fn a_list_comes_in_pages() {
        let parts = ["int32 page_size = 1", "string page_token = 2", "string next_page_token = 2"];
        for (part, name) in
            parts.into_iter().zip(["without page_size", "without page_token", "without next_page_token"])
        {
            let line = planted(&[]).line(part);
            planted(&[(&line, "")]).finds("SK0022", "rpc ListFeedProducts", name);
        }
        let all = parts.map(|part| planted(&[]).line(part));
        planted(&all.each_ref().map(|line| (line.as_str(), ""))).finds_nothing();
    }
}
