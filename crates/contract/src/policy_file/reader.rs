//! Reads values of a policy file and keeps what is wrong with them. What cannot be used is left out, which denies.

use std::collections::{BTreeMap, BTreeSet};

use sekat_policy::{Diagnostic, Span};
use sekat_yaml::{Key, Node, Value};

use super::{MALFORMED, UNKNOWN_KEY};
use crate::suggest::did_you_mean;

/// The file that is read, and what was found in it so far.
pub(super) struct Reader<'a> {
    pub(super) file: &'a str,
    pub(super) findings: Vec<Diagnostic>,
}

impl Reader<'_> {
    pub(super) fn report(&mut self, code: &'static str, span: Span, message: String, help: impl Into<String>) {
        self.findings.push(Diagnostic::error(code, span, message, help));
    }

    /// The value of `result`, or nothing and a finding.
    pub(super) fn take<T>(&mut self, result: Result<T, Diagnostic>) -> Option<T> {
        result.map_err(|finding| self.findings.push(finding)).ok()
    }

    /// The entries of a mapping with names that the user chose.
    pub(super) fn entries<'n>(&mut self, node: Option<&'n Node>) -> &'n [(Key, Node)] {
        node.and_then(|node| self.take(node.map(self.file))).unwrap_or_default()
    }

    /// The items of a list.
    pub(super) fn items<'n>(&mut self, node: Option<&'n Node>) -> &'n [Node] {
        node.and_then(|node| self.take(node.list(self.file))).unwrap_or_default()
    }

    /// Whether `node` is a mapping. Reports each of its keys that is none of `keys`.
    pub(super) fn is_section(&mut self, node: &Node, keys: &[&str]) -> bool {
        let Some(entries) = self.take(node.map(self.file)) else { return false };
        for (key, _) in entries {
            if !keys.contains(&key.name.as_str()) {
                let message = format!("unknown key `{}`{}", key.name, did_you_mean(&key.name, keys.iter().copied()));
                let help = format!("the keys here are {}", keys.join(", "));
                self.report(UNKNOWN_KEY, key.span(self.file), message, help);
            }
        }
        true
    }

    /// The value of a key that has to be there.
    pub(super) fn required<'n>(&mut self, node: &'n Node, key: &str) -> Option<&'n Node> {
        self.take(node.required(self.file, key))
    }

    pub(super) fn text(&mut self, node: Option<&Node>) -> Option<String> {
        node.and_then(|node| self.take(node.text(self.file))).map(str::to_owned)
    }

    /// Text that `rule` accepts; `rule` says what is wrong with it.
    pub(super) fn checked(&mut self, node: Option<&Node>, rule: fn(&str) -> Result<(), String>) -> Option<String> {
        let node = node?;
        let text = self.text(Some(node))?;
        match rule(&text) {
            Ok(()) => Some(text),
            Err(help) => {
                self.report(MALFORMED, node.span(self.file), format!("`{text}` cannot stand here"), help);
                None
            }
        }
    }

    pub(super) fn required_checked(
        &mut self,
        node: &Node,
        key: &str,
        rule: fn(&str) -> Result<(), String>,
    ) -> Option<String> {
        let value = self.required(node, key);
        self.checked(value, rule)
    }

    /// Texts of a list, or one text that stands for a list of one.
    pub(super) fn texts(&mut self, node: Option<&Node>, rule: fn(&str) -> Result<(), String>) -> Vec<(String, Span)> {
        let Some(node) = node else { return Vec::new() };
        let items = match &node.value {
            Value::Text(_) => std::slice::from_ref(node),
            _ => self.items(Some(node)),
        };
        items.iter().filter_map(|item| Some((self.checked(Some(item), rule)?, item.span(self.file)))).collect()
    }

    /// The same without places, each once.
    pub(super) fn set(&mut self, node: Option<&Node>, rule: fn(&str) -> Result<(), String>) -> BTreeSet<String> {
        self.texts(node, rule).into_iter().map(|(text, _)| text).collect()
    }

    /// Labels of pods; at least one, because none would mean every pod of the namespace.
    pub(super) fn labels(&mut self, node: Option<&Node>) -> BTreeMap<String, String> {
        let Some(node) = node else { return BTreeMap::new() };
        let entries = self.entries(Some(node));
        if entries.is_empty() {
            let message = "an empty selector, which means every pod of the namespace".to_owned();
            self.report(MALFORMED, node.span(self.file), message, "state the labels that its pods have and no others");
        }
        let mut labels = BTreeMap::new();
        for (key, value) in entries {
            if let Err(help) = super::values::label_key(&key.name) {
                self.report(MALFORMED, key.span(self.file), format!("`{}` is no label", key.name), help);
            } else if let Some(value) = self.checked(Some(value), super::values::label_value) {
                labels.insert(key.name.clone(), value);
            }
        }
        labels
    }

    pub(super) fn flag(&mut self, node: Option<&Node>, default: bool) -> bool {
        node.and_then(|node| self.take(node.bool(self.file))).unwrap_or(default)
    }
}
