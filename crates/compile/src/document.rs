//! Documents as text: YAML in block style and JSON, the same bytes for the same values on every run.
//!
//! Quoting is decided for the strictest reader: a text that any version of YAML could take for something else
//! (`no`, `1e3`, `0o7`, `12:30`, a CIDR) stands in quotes.

use std::fmt::Write as _;

/// A value of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Text(String),
    Int(i64),
    Bool(bool),
    List(Vec<Value>),
    /// Keys in the order in which they are written.
    Map(Vec<(String, Value)>),
}

/// One document with what its reader should know first.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    pub(crate) comment: String,
    pub(crate) root: Value,
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<u16> for Value {
    fn from(number: u16) -> Self {
        Self::Int(number.into())
    }
}

impl<T: Into<Self>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self::List(items.into_iter().map(Into::into).collect())
    }
}

/// A mapping.
pub(crate) fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// A list.
pub(crate) fn list<const N: usize>(items: [Value; N]) -> Value {
    Value::List(items.into())
}

/// A mapping of texts.
pub(crate) fn texts<'a>(entries: impl IntoIterator<Item = (&'a String, &'a String)>) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect())
}

/// A Kubernetes object. An empty `namespace` stands for an object of the cluster.
pub(crate) fn object(comment: &str, api: &str, kind: &str, name: &str, namespace: &str, spec: Value) -> Document {
    let mut metadata = vec![("name".to_owned(), name.into())];
    if !namespace.is_empty() {
        metadata.push(("namespace".to_owned(), namespace.into()));
    }
    let root =
        map([("apiVersion", api.into()), ("kind", kind.into()), ("metadata", Value::Map(metadata)), ("spec", spec)]);
    Document { comment: comment.to_owned(), root }
}

/// A stream of YAML documents under a heading.
pub(crate) fn yaml(heading: &str, documents: &[Document]) -> String {
    let mut out = comment(heading);
    for document in documents {
        out.push_str("---\n");
        out.push_str(&comment(&document.comment));
        block(&mut out, &document.root, 0);
    }
    out
}

/// One JSON document.
pub(crate) fn json(root: &Value) -> String {
    let mut out = String::new();
    flow(&mut out, root, 0);
    out.push('\n');
    out
}

fn comment(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "#\n".to_owned() } else { format!("# {line}\n") }).collect()
}

/// Writes a value whose first line begins at `indent`, and ends that line.
fn block(out: &mut String, value: &Value, indent: usize) {
    let pad = " ".repeat(indent);
    match value {
        Value::Map(entries) if !entries.is_empty() => {
            for (number, (key, value)) in entries.iter().enumerate() {
                if number > 0 {
                    out.push_str(&pad);
                }
                out.push_str(&scalar(key));
                out.push(':');
                nested(out, value, indent + 2);
            }
        }
        Value::List(items) if !items.is_empty() => {
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    out.push_str(&pad);
                }
                out.push_str("- ");
                block(out, item, indent + 2);
            }
        }
        other => {
            out.push_str(&inline(other));
            out.push('\n');
        }
    }
}

/// Writes the value behind a key: a collection on lines of its own.
fn nested(out: &mut String, value: &Value, indent: usize) {
    let is_collection = match value {
        Value::Map(entries) => !entries.is_empty(),
        Value::List(items) => !items.is_empty(),
        _ => false,
    };
    out.push_str(if is_collection { "\n" } else { " " });
    if is_collection {
        out.push_str(&" ".repeat(indent));
    }
    block(out, value, indent);
}

fn inline(value: &Value) -> String {
    match value {
        Value::Text(text) => scalar(text),
        Value::Int(number) => number.to_string(),
        Value::Bool(value) => value.to_string(),
        Value::List(_) => "[]".to_owned(),
        Value::Map(_) => "{}".to_owned(),
    }
}

fn flow(out: &mut String, value: &Value, indent: usize) {
    let (open, close, count) = match value {
        Value::List(items) if !items.is_empty() => ('[', ']', items.len()),
        Value::Map(entries) if !entries.is_empty() => ('{', '}', entries.len()),
        Value::Text(text) => return out.push_str(&quoted(text)),
        other => return out.push_str(&inline(other)),
    };
    out.push(open);
    for number in 0..count {
        out.push_str(if number == 0 { "\n" } else { ",\n" });
        out.push_str(&" ".repeat(indent + 2));
        match value {
            Value::Map(entries) => {
                if let Some((key, value)) = entries.get(number) {
                    out.push_str(&quoted(key));
                    out.push_str(": ");
                    flow(out, value, indent + 2);
                }
            }
            Value::List(items) => {
                if let Some(item) = items.get(number) {
                    flow(out, item, indent + 2);
                }
            }
            _ => {}
        }
    }
    out.push('\n');
    out.push_str(&" ".repeat(indent));
    out.push(close);
}

/// A text, plain where no reader can take it for something else.
fn scalar(text: &str) -> String {
    /// What some version of YAML does not take for text.
    const WORDS: [&str; 13] =
        ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "inf", "nan", "infinity", "merge"];
    let begins_plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/');
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/'));
    if begins_plain && is_plain && !WORDS.contains(&text.to_ascii_lowercase().as_str()) {
        text.to_owned()
    } else {
        quoted(text)
    }
}

/// A text in double quotes, by the escapes that JSON and YAML share.
fn quoted(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Also what YAML takes for the end of a line, and the mark that it drops at the beginning of a stream.
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                // Writing into a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn back(node: &sekat_yaml::Node) -> Value {
        match &node.value {
            sekat_yaml::Value::Text(text) => Value::Text(text.clone()),
            sekat_yaml::Value::Int(number) => Value::Int(*number),
            sekat_yaml::Value::Bool(value) => Value::Bool(*value),
            sekat_yaml::Value::List(items) => Value::List(items.iter().map(back).collect()),
            sekat_yaml::Value::Map(entries) => {
                Value::Map(entries.iter().map(|(key, value)| (key.name.clone(), back(value))).collect())
            }
            other => panic!("{other:?} was never written"),
        }
    }

    fn read(text: &str) -> Value {
        let all: Vec<_> = sekat_yaml::documents("x", text).map(|node| back(&node.expect("sound"))).collect();
        assert_eq!(all.len(), 1, "{text}");
        all.into_iter().next().expect("one")
    }

    #[test]
    fn what_is_written_is_read_back() {
        let odd = [
            "",
            " ",
            "a",
            "no",
            "Yes",
            "NULL",
            "~",
            "1",
            "-1",
            "1e3",
            "0x1f",
            "0o7",
            "10.0.0.0/8",
            "12:30:45",
            "a: b",
            "a #b",
            "#a",
            "- a",
            "*",
            "&a",
            "!a",
            "%a",
            "@a",
            "`a",
            "'a'",
            "\"a\"",
            "a\nb",
            "a\\b",
            "\t",
            "{a}",
            "[a]",
            "a,b",
            "é",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\u{0}",
            "=",
            "<<",
            "?",
            ":",
            "a:",
            ".",
            "..",
            "---",
            "...",
            "/a.B/C",
            "^/a\\.B/C$",
            "a b",
            "Off",
            "nan",
            "y",
            "2001-01-01",
            "0b1",
            "1_000",
        ];
        let texts: Value = odd.iter().copied().collect();
        let keys = Value::Map(odd.iter().map(|text| ((*text).to_owned(), Value::Int(1))).collect());
        let nested = map([
            ("list", list([list([map([("a", list([])), ("b", map([]))]), 7_u16.into()]), true.into()])),
            ("texts", texts),
            ("keys", keys),
            ("deep", map([("map", map([("of", map([("maps", (-3_i64).to_string().into())]))]))])),
        ]);
        let text = yaml("Heading\n\nsecond", &[Document { comment: "why".to_owned(), root: nested.clone() }]);
        assert_eq!(read(&text), nested, "{text}");
        assert_eq!(read(&json(&nested)), nested);
    }

    #[test]
    fn text_is_plain_only_where_nobody_mistakes_it() {
        for plain in ["TCP", "payment", "kube-system", "networking.k8s.io/v1", "/shop.v1.Service/Call"] {
            assert_eq!(scalar(plain), plain);
        }
        for not in ["no", "On", "7000", "10.0.0.0/8", "^a$", "a:b", "", "-a", "@type"] {
            assert_eq!(scalar(not), format!("\"{not}\""));
        }
    }
}
