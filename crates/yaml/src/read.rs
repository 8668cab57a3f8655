//! From a parser's events to nodes.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span as Range, StrInput, Tag};
use sekat_policy::{Diagnostic, Span};

use crate::{Key, MALFORMED, Node, Value};

/// Deeper than any manifest, shallower than any stack.
const MAX_DEPTH: usize = 128;
/// Values that aliases may bring into one document; a chain of aliases to aliases multiplies.
const MAX_REPEATED: usize = 100_000;
/// Up to so many keys, looking through them is cheaper than a set.
const SMALL: usize = 32;

/// The documents of a text, in their order. After an error there is no further one.
pub struct Documents<'a> {
    file: &'a str,
    parser: Parser<'a, StrInput<'a>>,
    over: bool,
}

/// Reads `text`, which `file` names in findings.
#[must_use]
pub fn documents<'a>(file: &'a str, text: &'a str) -> Documents<'a> {
    Documents { file, parser: Parser::new_from_str(text), over: false }
}

impl Iterator for Documents<'_> {
    type Item = Result<Node, Diagnostic>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let document = self.document();
        self.over = !matches!(document, Some(Ok(_)));
        document
    }
}

impl<'a> Documents<'a> {
    fn document(&mut self) -> Option<Result<Node, Diagnostic>> {
        loop {
            match self.event() {
                Ok(None | Some((Event::StreamEnd, _))) => return None,
                Ok(Some((Event::DocumentStart(_), _))) => {}
                Ok(Some((Event::DocumentEnd | Event::StreamStart | Event::Nothing, _))) => continue,
                Ok(Some((event, range))) => return Some(self.tree(event, range)),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    fn event(&mut self) -> Result<Option<(Event<'a>, Range)>, Diagnostic> {
        self.parser.next_event().transpose().map_err(|error| {
            self.malformed(*error.marker(), error.info().to_owned(), "mend the YAML; nothing of this file was used")
        })
    }

    fn malformed(&self, at: Marker, message: String, help: &str) -> Diagnostic {
        let (line, column) = place(at);
        Diagnostic::error(MALFORMED, Span { file: self.file.to_owned(), line, column }, message, help)
    }

    /// The node that `event` begins. It does not recurse, so that nesting costs no stack here.
    fn tree(&mut self, event: Event<'a>, range: Range) -> Result<Node, Diagnostic> {
        let mut anchors: HashMap<usize, Node> = HashMap::new();
        let mut repeated = 0;
        let mut open: Vec<Open> = Vec::new();
        let mut next = (event, range);
        loop {
            let (event, range) = next;
            let (line, column) = place(range.start);
            let done = match event {
                Event::Scalar(text, style, anchor, tag) => {
                    let value = scalar(text.into_owned(), style, tag.as_deref());
                    Some((anchor, Node { value, line, column }))
                }
                Event::SequenceStart(anchor, _) => {
                    open.push(Open::new(anchor, line, column, Collected::List(Vec::new())));
                    None
                }
                Event::MappingStart(anchor, _) => {
                    open.push(Open::new(anchor, line, column, Collected::Map(Vec::new(), None, HashSet::new())));
                    None
                }
                Event::SequenceEnd | Event::MappingEnd => open.pop().map(Open::close),
                Event::Alias(anchor) => {
                    let Some(node) = anchors.get(&anchor) else {
                        let message = "an alias inside of what it names".to_owned();
                        return Err(self.malformed(range.start, message, "a value cannot hold itself"));
                    };
                    repeated += count(node);
                    if repeated > MAX_REPEATED {
                        let message = format!("aliases repeat more than {MAX_REPEATED} values");
                        return Err(self.malformed(range.start, message, "write the values out, or split the file"));
                    }
                    Some((0, Node { line, column, ..node.clone() }))
                }
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) => None,
                Event::DocumentEnd => {
                    return Err(self.malformed(range.start, "the document ends too early".to_owned(), "complete it"));
                }
            };
            if open.len() > MAX_DEPTH {
                let message = format!("more than {MAX_DEPTH} levels of nesting");
                return Err(self.malformed(range.start, message, "flatten it"));
            }
            if let Some((anchor, node)) = done {
                if anchor > 0 {
                    anchors.insert(anchor, node.clone());
                }
                match open.last_mut() {
                    None => return Ok(node),
                    Some(parent) => parent.take(node).map_err(|duplicate| {
                        let message = format!("the key `{}` stands twice in one mapping", duplicate.name);
                        let help = "remove one: which of them counts would depend on the reader";
                        Diagnostic::error(MALFORMED, duplicate.span(self.file), message, help)
                    })?,
                }
            }
            next = match self.event()? {
                Some(next) => next,
                None => return Err(self.malformed(range.end, "the file ends too early".to_owned(), "complete it")),
            };
        }
    }
}

/// A collection whose end has not come yet.
struct Open {
    anchor: usize,
    line: u32,
    column: u32,
    collected: Collected,
}

enum Collected {
    List(Vec<Node>),
    /// With the key whose value comes next, and the names of a mapping too large to look through for each key.
    Map(Vec<(Key, Node)>, Option<Key>, HashSet<String>),
}

impl Open {
    const fn new(anchor: usize, line: u32, column: u32, collected: Collected) -> Self {
        Self { anchor, line, column, collected }
    }

    /// Takes the next node; gives back a key that is there already.
    fn take(&mut self, node: Node) -> Result<(), Key> {
        match &mut self.collected {
            Collected::List(items) => items.push(node),
            Collected::Map(entries, waiting, names) => match waiting.take() {
                Some(key) => entries.push((key, node)),
                None => {
                    let key = Key { name: key_name(node.value), line: node.line, column: node.column };
                    if entries.len() == SMALL {
                        names.extend(entries.iter().map(|(known, _)| known.name.clone()));
                    }
                    let is_known = if entries.len() < SMALL {
                        entries.iter().any(|(known, _)| known.name == key.name)
                    } else {
                        !names.insert(key.name.clone())
                    };
                    if is_known {
                        return Err(key);
                    }
                    *waiting = Some(key);
                }
            },
        }
        Ok(())
    }

    fn close(self) -> (usize, Node) {
        let value = match self.collected {
            Collected::List(items) => Value::List(items),
            Collected::Map(entries, ..) => Value::Map(entries),
        };
        (self.anchor, Node { value, line: self.line, column: self.column })
    }
}

fn key_name(value: Value) -> String {
    match value {
        Value::Text(text) => text,
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        // No document of ours has such keys; nobody will find them under this name.
        Value::List(_) => "?list".to_owned(),
        Value::Map(_) => "?map".to_owned(),
    }
}

fn count(node: &Node) -> usize {
    match &node.value {
        Value::List(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, node)| count(node)).sum::<usize>(),
        _ => 1,
    }
}

/// YAML 1.2's core schema: only plain scalars are anything but text.
fn scalar(text: String, style: ScalarStyle, tag: Option<&Tag>) -> Value {
    let as_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
    if style != ScalarStyle::Plain || as_text {
        return Value::Text(text);
    }
    match text.as_str() {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(&text);
    let whole = |digits: &str, radix| i64::from_str_radix(digits, radix).ok();
    let int = match (unsigned.strip_prefix("0x"), unsigned.strip_prefix("0o")) {
        (Some(digits), _) => whole(digits, 16),
        (_, Some(digits)) => whole(digits, 8),
        _ if unsigned.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    };
    if let Some(int) = int {
        return Value::Int(int);
    }
    // What Rust takes beyond YAML (`inf`, `nan`, `infinity`) is text there.
    let numeric =
        unsigned.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    match text.parse() {
        Ok(float) if numeric => Value::Float(float),
        _ => Value::Text(text),
    }
}

fn place(at: Marker) -> (u32, u32) {
    let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    (narrow(at.line()), narrow(at.col()).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Node {
        let mut all = documents("f.yaml", text);
        let node = all.next().expect("a document").expect("sound YAML");
        assert!(all.next().is_none());
        node
    }

    fn error(text: &str) -> (u32, u32, String) {
        let found = documents("f.yaml", text).find_map(Result::err).expect("an error");
        (found.span.line, found.span.column, found.message)
    }

    #[test]
    fn scalars_follow_the_core_schema() {
        for (text, value) in [
            ("~", Value::Null),
            ("true", Value::Bool(true)),
            ("yes", Value::Text("yes".to_owned())),
            ("\"true\"", Value::Text("true".to_owned())),
            ("!!str 80", Value::Text("80".to_owned())),
            ("80", Value::Int(80)),
            ("-7", Value::Int(-7)),
            ("0x1F", Value::Int(31)),
            ("0o17", Value::Int(15)),
            ("1.5", Value::Float(1.5)),
            ("10.0.0.0/8", Value::Text("10.0.0.0/8".to_owned())),
            ("1.2.3", Value::Text("1.2.3".to_owned())),
            ("nan", Value::Text("nan".to_owned())),
            ("99999999999999999999", Value::Float(1e20)),
        ] {
            assert_eq!(one(text).value, value, "{text}");
        }
    }

    #[test]
    fn every_value_knows_its_place() {
        let node = one("kind: Pod\nspec:\n  ports:\n    - 80\n    - \"443\"\n");
        assert_eq!((node.line, node.column), (1, 1));
        let ports = node.at(&["spec", "ports"]).expect("ports").list("f.yaml").expect("a list");
        assert_eq!(ports.iter().map(|port| (port.line, port.column)).collect::<Vec<_>>(), [(4, 7), (5, 7)]);
        assert_eq!(ports[0].text("f.yaml").expect_err("a number").help, "put it in quotes");
        assert_eq!(ports[1].text("f.yaml"), Ok("443"));
        assert_eq!(node.required("f.yaml", "metadata").expect_err("missing").message, "`metadata` is missing");
    }

    #[test]
    fn a_stream_is_read_document_by_document() {
        let found: Vec<_> = documents("f.yaml", "# nothing\n---\na: 1\n---\n---\nb: 2\n...\n").collect();
        let found: Vec<_> = found.into_iter().map(|node| node.expect("sound").value.kind()).collect();
        assert_eq!(found, ["a mapping", "nothing", "a mapping"]);
        assert_eq!(documents("f.yaml", "").count(), 0);
        let json = one(r#"{"kind": "List", "items": [{"a": null}]}"#);
        assert!(json.get("items").is_some_and(|items| items.list("f").expect("a list")[0].get("a").is_none()));
    }

    #[test]
    fn aliases_repeat_values_but_not_without_limit() {
        let node = one("a: &x {n: 1}\nb: *x\n");
        assert_eq!(node.at(&["b", "n"]).map(|n| n.value.clone()), Some(Value::Int(1)));
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let one = format!("*a{}, ", level - 1);
            bomb += &format!("a{level}: &a{level} [{}]\n", one.repeat(10));
        }
        assert!(error(&bomb).2.contains("aliases repeat more than"), "{:?}", error(&bomb));
        assert!(!error("a: &a [*a]").2.is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        assert_eq!(error("a: 1\nb: 2\na: 3\n"), (3, 1, "the key `a` stands twice in one mapping".to_owned()));
        assert_eq!(error("a: [1, 2\nb: 3\n").0, 2);
        let many: String = (0..100).map(|n| format!("k{n}: 1\n")).collect();
        assert_eq!(one(&many).map("f.yaml").expect("a mapping").len(), 100);
        for twice in [0, 31, 32, 33, 99] {
            assert_eq!(error(&format!("{many}k{twice}: 2\n")).0, 101);
        }
        assert!(error(&"[".repeat(200)).2.contains("nesting"));
        let nested = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        assert_eq!(one(&nested).value.kind(), "a list");
    }
}
