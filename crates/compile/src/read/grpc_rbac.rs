//! gRFC A43: deny rules first, then allow rules; a rule without a source is for everybody and one without a request for
//! everything. A field that the library does not know makes the whole policy invalid. The file stands at the listener
//! that its name says.

use std::collections::BTreeMap;

use sekat_policy::Span;

use crate::attempt::{Attempt, Verdict};
use crate::read::Reader;
use crate::read::cursor::{Cursor, Reading, Sink};
use crate::read::pattern::Pattern;

/// Policies by the name of their listener.
#[derive(Debug)]
pub(crate) struct Guards {
    policies: BTreeMap<String, Policy>,
}

#[derive(Debug)]
struct Policy {
    deny: Vec<Rule>,
    allow: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    span: Span,
    principals: Vec<Pattern>,
    paths: Vec<Pattern>,
}

impl Guards {
    pub(crate) fn read(objects: &[Cursor<'_>], sink: &mut Sink) -> Self {
        let mut policies = BTreeMap::new();
        for object in objects {
            let policy = Policy::read(*object, sink);
            let listener = object.file.strip_suffix(".json").unwrap_or(object.file);
            policies.extend(sink.keep(policy).map(|policy| (listener.to_owned(), policy)));
        }
        Self { policies }
    }
}

impl Reader for Guards {
    fn judge(&self, attempt: &Attempt<'_>) -> Verdict<'_> {
        // A server without a policy lets everybody in.
        let listener = format!("{}.{}", attempt.to.service, attempt.listener);
        let Some(policy) = self.policies.get(&listener) else { return Verdict::Allowed(None) };
        let identity = attempt.from.identity.as_str();
        // Bytes that are no call reach no method; they are as good as a call of none.
        let path = attempt.path.unwrap_or_default();
        if policy.deny.iter().any(|rule| rule.matches(identity, path)) {
            return Verdict::Denied;
        }
        let allowing = policy.allow.iter().find(|rule| rule.matches(identity, path));
        allowing.map_or(Verdict::Denied, |rule| Verdict::Allowed(Some(&rule.span)))
    }
}

impl Policy {
    fn read(at: Cursor<'_>, sink: &mut Sink) -> Reading<Self> {
        at.only(&["name", "deny_rules", "allow_rules"])?;
        at.required("name")?.text()?;
        let allow = rules(at.required("allow_rules")?, sink)?;
        if allow.is_empty() {
            return Err(at.not_understood("a policy without allow_rules, which libraries refuse,"));
        }
        Ok(Self { deny: at.get("deny_rules").map_or(Ok(Vec::new()), |it| rules(it, sink))?, allow })
    }
}

fn rules(at: Cursor<'_>, sink: &mut Sink) -> Reading<Vec<Rule>> {
    at.items()?.into_iter().map(|rule| Rule::read(rule, sink)).collect()
}

impl Rule {
    fn read(at: Cursor<'_>, sink: &mut Sink) -> Reading<Self> {
        at.only(&["name", "source", "request"])?;
        at.required("name")?.text()?;
        let part = |part: &str, key: &str| {
            let Some(part) = at.get(part) else { return Ok(Vec::new()) };
            part.only(&[key])?;
            Ok(part.texts(key)?.unwrap_or_default())
        };
        let principals: Vec<String> = part("source", "principals")?;
        for name in principals.iter().filter(|name| name.is_empty() || name.contains('*')) {
            let whom = if name.is_empty() { "whoever shows no certificate" } else { "more than one certificate" };
            sink.trap(at, format!("the principal `{name}` is {whom}"), "write one SPIFFE ID in full");
        }
        let patterns = |texts: Vec<String>| texts.iter().map(|text| Pattern::new(text)).collect();
        Ok(Self { span: at.span(), principals: patterns(principals), paths: patterns(part("request", "paths")?) })
    }

    fn matches(&self, identity: &str, path: &str) -> bool {
        // An empty principal matches an empty identity: that of a peer without a certificate.
        let is_one = |patterns: &[Pattern], text| patterns.is_empty() || patterns.iter().any(|it| it.matches(text));
        is_one(&self.principals, identity) && is_one(&self.paths, path)
    }
}
