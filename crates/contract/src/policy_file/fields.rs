//! What messages carry: by the classes that contracts state in options, and by the patterns of `fields` over those.

use std::collections::{BTreeSet, HashMap, HashSet};

use sekat_policy::intent::Classes;
use sekat_policy::{DataClass, Intent, Span};
use sekat_yaml::Node;

use super::reader::Reader;
use super::sections::class_set;
use super::{OPAQUE, UNMATCHED};
use crate::glob;
use crate::model::{Field, FieldType, Message, Model};
use crate::own::class_name;
use crate::suggest::did_you_mean;

/// How a pattern names the fields that others may add to a message. No field can have this name.
const EXTENSIONS: &str = "[extensions]";

/// Google's messages in which anything can be, as in bytes.
const ANYTHING: [&str; 5] = [
    "google.protobuf.Any",
    "google.protobuf.Struct",
    "google.protobuf.Value",
    "google.protobuf.ListValue",
    "google.protobuf.BytesValue",
];

/// The patterns, in their order: the first that matches a field counts.
pub(super) struct Fields {
    patterns: Vec<Pattern>,
    /// The first pattern of each name without a star, by its place: most patterns are names, and there are as many as
    /// a mesh has messages.
    names: HashMap<String, usize>,
    /// The places of the patterns with stars.
    globs: Vec<usize>,
    /// Fields that were found to be opaque already; each is reported once.
    reported: BTreeSet<String>,
}

struct Pattern {
    text: String,
    classes: Classes,
    span: Span,
}

impl Fields {
    pub(super) fn read(reader: &mut Reader<'_>, node: Option<&Node>, intent: &Intent) -> Self {
        let mut patterns = Vec::new();
        for (key, value) in reader.entries(node) {
            if value.is_null() {
                let finding = value.unexpected(reader.file, "a class, a list of classes, or [] for none");
                reader.findings.push(finding);
                continue;
            }
            let classes = class_set(reader, Some(value), intent);
            patterns.push(Pattern { text: key.name.clone(), classes, span: key.span(reader.file) });
        }
        let (mut names, mut globs) = (HashMap::new(), Vec::new());
        for (at, pattern) in patterns.iter().enumerate() {
            if glob::is_pattern(&pattern.text) {
                globs.push(at);
            } else {
                names.entry(pattern.text.clone()).or_insert(at);
            }
        }
        Self { patterns, names, globs, reported: BTreeSet::new() }
    }

    /// Everything that a message can hold, its parts included.
    pub(super) fn classes(
        &mut self,
        reader: &mut Reader<'_>,
        model: &Model,
        message: &str,
        intent: &Intent,
    ) -> Classes {
        let (mut classes, mut seen, mut open) = (Classes::new(), BTreeSet::new(), vec![message.to_owned()]);
        while let Some(name) = open.pop() {
            if is_anything(&name) && name == message {
                self.opaque(
                    reader,
                    &name,
                    &format!("a method takes or returns {name}, in which anything can be"),
                    None,
                );
            }
            let Some(message) = model.messages.get(&name).filter(|_| !is_builtin(&name) && seen.insert(name.clone()))
            else {
                continue;
            };
            if message.extensible {
                match self.stated(message, EXTENSIONS) {
                    Some(stated) => classes.extend(stated.iter().cloned()),
                    None => {
                        let text = format!("`{name}` has extensions and does not say what they hold");
                        let full = format!("{name}.{EXTENSIONS}");
                        self.opaque(reader, &full, &text, Some(&message.span));
                    }
                }
            }
            for field in &message.fields {
                match self.stated(message, &field.name) {
                    Some(stated) => classes.extend(stated.iter().cloned()),
                    None => self.by_contract(reader, intent, message, field, &mut classes),
                }
                open.extend(field.ty.message().map(str::to_owned));
            }
        }
        classes
    }

    /// The class of a field about which the policy file says nothing.
    fn by_contract(
        &mut self,
        reader: &mut Reader<'_>,
        intent: &Intent,
        message: &Message,
        field: &Field,
        classes: &mut Classes,
    ) {
        match field.class {
            Some(class) => {
                let name = class_name(class);
                // These two protect nothing; a policy file that does not name them does not need them.
                let is_plain = matches!(class, DataClass::Public | DataClass::Internal);
                if !is_plain || intent.classes.contains_key(&name) {
                    classes.insert(name);
                }
            }
            None => {
                if let Some(kind) = opaque_kind(&field.ty) {
                    let full = format!("{}.{}", message.name, field.name);
                    let text = format!("`{full}` is {kind} and does not say what it holds");
                    self.opaque(reader, &full, &text, Some(&field.span));
                }
            }
        }
    }

    fn opaque(&mut self, reader: &mut Reader<'_>, name: &str, text: &str, span: Option<&Span>) {
        if self.reported.insert(name.to_owned()) {
            let span = span.cloned().unwrap_or_else(|| Span { file: reader.file.to_owned(), ..Span::default() });
            let help = format!("state its class under `fields`: `{name}: CLASS`, or `[]` if it carries none");
            reader.report(OPAQUE, span, text.to_owned(), help);
        }
    }

    /// What the first matching pattern says. A pattern that matches a message's name means all its fields.
    fn stated(&self, message: &Message, field: &str) -> Option<&Classes> {
        let full = format!("{}.{field}", message.name);
        let named = [self.names.get(&message.name), self.names.get(&full)].into_iter().flatten().copied();
        let mut globs = self.globs.iter().copied();
        let globbed = globs.find(|at| self.patterns.get(*at).is_some_and(|it| it.matches(&message.name, &full)));
        let first = named.chain(globbed).min()?;
        self.patterns.get(first).map(|pattern| &pattern.classes)
    }

    /// Reports patterns that match no field of any message: most likely a class was meant to be where it is not.
    pub(super) fn report_unmatched(&self, reader: &mut Reader<'_>, models: &[Model]) {
        let messages = || models.iter().flat_map(|model| model.messages.values());
        let mut known = HashSet::new();
        let mut fields = Vec::new();
        for message in messages() {
            let extensions = message.extensible.then_some(EXTENSIONS);
            for field in message.fields.iter().map(|field| field.name.as_str()).chain(extensions) {
                let full = format!("{}.{field}", message.name);
                known.extend([message.name.clone(), full.clone()]);
                fields.push((message.name.as_str(), full));
            }
        }
        let suggested: Vec<String> = messages()
            .flat_map(|message| {
                let fields = message.fields.iter().map(|field| format!("{}.{}", message.name, field.name));
                fields.chain([message.name.clone()])
            })
            .collect();
        for pattern in &self.patterns {
            let is_used = known.contains(&pattern.text)
                || glob::is_pattern(&pattern.text)
                    && fields.iter().any(|(message, full)| pattern.matches(message, full));
            if !is_used {
                let near = did_you_mean(&pattern.text, suggested.iter().map(String::as_str));
                let message = format!("no message or field matches `{}`{near}", pattern.text);
                reader.report(UNMATCHED, pattern.span.clone(), message, "correct it, or remove it");
            }
        }
    }
}

impl Pattern {
    fn matches(&self, message: &str, field: &str) -> bool {
        glob::matches(&self.text, field, '.') || glob::matches(&self.text, message, '.')
    }
}

/// Google's own messages are leaves: what they hold is classified where they are used.
fn is_builtin(message: &str) -> bool {
    message.starts_with("google.protobuf.")
}

fn is_anything(message: &str) -> bool {
    ANYTHING.contains(&message)
}

fn opaque_kind(ty: &FieldType) -> Option<&str> {
    match ty {
        FieldType::Bytes => Some("bytes"),
        FieldType::Map(_) => Some("a map"),
        FieldType::Message(name) if is_anything(name) => Some(name),
        _ => None,
    }
}
