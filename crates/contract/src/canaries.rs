//! Requests in which every leaf of a private class holds a value that exists nowhere else: whoever sends them and then finds
//! such a value in a log, a span or a store knows which leaf it came from. They need not be requests that succeed: a value
//! in an error text is a leak like any other.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use prost_reflect::prost::Message as _;
use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use sekat_policy::{DataClass, Diagnostic, Severity};

use crate::model::{Field, FieldType, Message, Model};
use crate::source::Source;

/// What nobody outside of its domain may see.
const PRIVATE: [DataClass; 2] = [DataClass::User, DataClass::Payment];
/// Shorter values would be found by accident.
const SHORTEST: usize = 12;
/// Messages within messages; types that contain themselves end here.
const DEPTH: usize = 8;
/// The field that every write takes, in a form that its server accepts.
const REQUEST_ID: &str = "request_id";

/// A request with planted values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planted {
    /// The edge that forwards the method for end users.
    pub edge: String,
    /// The gRPC path.
    pub path: String,
    /// The encoded request.
    pub message: Vec<u8>,
    /// Full names of leaves, each with its value.
    pub leaves: Vec<(String, String)>,
}

/// Everything that can be planted, and what cannot.
#[derive(Clone, Debug, Default)]
pub struct Planting {
    /// The requests.
    pub requests: Vec<Planted>,
    /// Full names of private leaves that no request holds, each with the reason.
    pub unplanted: BTreeMap<String, &'static str>,
}

/// Plants into all requests that an edge forwards, by the contracts below `proto_root`. `unique` makes texts of at least 32
/// letters and digits, never the same twice.
///
/// # Errors
/// The findings, if the contracts are not sound.
pub fn plant(proto_root: &Path, mut unique: impl FnMut() -> String) -> Result<Planting, Vec<Diagnostic>> {
    let source = Source::load(proto_root, &proto_root.display().to_string());
    let (model, findings) = crate::check(&source);
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return Err(findings);
    }
    let mut planting = Planting::default();
    let mut planted = BTreeSet::new();
    let forwarded = model.edges().filter(|edge| edge.caller.edge && !edge.method.client_streaming);
    for edge in forwarded {
        let Some(request) = source.pool.get_message_by_name(&edge.method.request) else { continue };
        // One request a branch, for the message with the most.
        for branch in 0..branches(&model, &edge.method.request, DEPTH) {
            let mut planter = Planter { model: &model, branch, unique: &mut unique, leaves: Vec::new() };
            let message = planter.message(&request, DEPTH).encode_to_vec();
            let leaves = planter.leaves;
            if leaves.is_empty() {
                break;
            }
            planted.extend(leaves.iter().map(|(leaf, _)| leaf.clone()));
            let (edge, path) = (edge.caller.name.clone(), edge.method.path.clone());
            planting.requests.push(Planted { edge, path, message, leaves });
        }
    }
    planting.unplanted = private_leaves(&model);
    planting.unplanted.retain(|leaf, _| !planted.contains(leaf));
    Ok(planting)
}

/// How many variants of a message it takes to set each branch of each oneof once.
fn branches(model: &Model, message: &str, depth: usize) -> usize {
    let Some(message) = model.messages.get(message).filter(|_| depth > 0) else { return 1 };
    let own = message
        .oneofs
        .iter()
        .map(|oneof| message.fields.iter().filter(|field| field.oneof.as_ref() == Some(&oneof.name)).count());
    let within = message.fields.iter().filter_map(|field| match &field.ty {
        FieldType::Message(name) => Some(branches(model, name, depth - 1)),
        _ => None,
    });
    own.chain(within).max().unwrap_or(1).max(1)
}

struct Planter<'a> {
    model: &'a Model,
    /// Which branch of each oneof is set.
    branch: usize,
    unique: &'a mut dyn FnMut() -> String,
    leaves: Vec<(String, String)>,
}

impl Planter<'_> {
    fn message(&mut self, descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut built = DynamicMessage::new(descriptor.clone());
        let Some(stated) = self.model.messages.get(descriptor.full_name()).filter(|_| depth > 0) else { return built };
        for field in &stated.fields {
            let Some(descriptor) = descriptor.get_field_by_name(&field.name) else { continue };
            if self.is_chosen(stated, field)
                && let Some(value) = self.value(stated, field, &descriptor, depth)
            {
                built.set_field(&descriptor, value);
            }
        }
        built
    }

    fn is_chosen(&self, message: &Message, field: &Field) -> bool {
        let Some(oneof) = &field.oneof else { return true };
        let branches: Vec<&Field> = message.fields.iter().filter(|other| other.oneof.as_ref() == Some(oneof)).collect();
        branches.get(self.branch % branches.len().max(1)).is_some_and(|chosen| chosen.name == field.name)
    }

    fn value(&mut self, message: &Message, field: &Field, descriptor: &FieldDescriptor, depth: usize) -> Option<Value> {
        let one = match descriptor.kind() {
            // A message of somebody else is a leaf, and no text.
            Kind::Message(_) if field.class.is_some() || descriptor.is_map() => return None,
            Kind::Message(inner) => {
                let before = self.leaves.len();
                let built = self.message(&inner, depth - 1);
                (self.leaves.len() > before).then_some(Value::Message(built))?
            }
            Kind::String if field.name == REQUEST_ID => Value::String(uuid_of(&(self.unique)())),
            Kind::String => Value::String(self.leaf(message, field)?),
            Kind::Bytes => Value::Bytes(self.leaf(message, field)?.into_bytes().into()),
            _ => return None,
        };
        Some(if descriptor.is_list() { Value::List(vec![one]) } else { one })
    }

    fn leaf(&mut self, message: &Message, field: &Field) -> Option<String> {
        if why_not(field).is_some() {
            return None;
        }
        let mut value = (self.unique)();
        value.truncate(most_bytes(field));
        self.leaves.push((format!("{}.{}", message.name, field.name), value.clone()));
        Some(value)
    }
}

/// A UUID with these digits, of the version and variant that are checked (RFC 9562, section 5.4).
fn uuid_of(unique: &str) -> String {
    let digits: String =
        unique.chars().filter(char::is_ascii_hexdigit).chain("0".repeat(32).chars()).take(32).collect();
    let part = |from: usize, to: usize| digits.get(from..to).unwrap_or_default();
    format!("{}-{}-4{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

fn most_bytes(field: &Field) -> usize {
    field.max_bytes.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX)
}

/// Why no value can be planted into a field, if none can.
fn why_not(field: &Field) -> Option<&'static str> {
    if !field.class.is_some_and(|class| PRIVATE.contains(&class)) {
        return Some("it is not private");
    }
    if !matches!(field.ty, FieldType::Text | FieldType::Bytes) {
        return Some("its values are no text: a number, a moment or a choice has none that exists nowhere else");
    }
    (most_bytes(field) < SHORTEST).then_some("it is too short for a value that exists nowhere else")
}

/// All private leaves of messages that methods take or give, with the reason why one might not be planted.
fn private_leaves(model: &Model) -> BTreeMap<String, &'static str> {
    let messages = model.methods().flat_map(|(_, method)| [&method.request, &method.response]);
    let leaves = messages.flat_map(|message| model.leaves(message));
    let private = leaves.filter(|(_, field)| field.class.is_some_and(|class| PRIVATE.contains(&class)));
    let why = |field| why_not(field).unwrap_or("no request that an edge forwards holds it");
    private.map(|(message, field)| (format!("{}.{}", message.name, field.name), why(field))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> Planting {
        let mut number = 0_u64;
        let unique = || {
            number += 1;
            format!("{number:032x}")
        };
        plant(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../proto")), unique).unwrap()
    }

    #[test]
    fn every_private_text_of_a_request_holds_a_value_of_its_own() {
        let planting = own();
        let values: Vec<&String> = planting.requests.iter().flat_map(|it| &it.leaves).map(|(_, value)| value).collect();
        let distinct: BTreeSet<&String> = values.iter().copied().collect();
        assert!(values.len() > 35 && distinct.len() == values.len(), "{} values", values.len());
        for request in &planting.requests {
            let text = String::from_utf8_lossy(&request.message).into_owned();
            for (leaf, value) in &request.leaves {
                assert!(text.contains(value.as_str()), "{} has {leaf}", request.path);
            }
        }
        let street = |it: &Planted| it.leaves.iter().any(|(leaf, _)| leaf == "sekat.account.v1.Address.street");
        assert!(planting.requests.iter().any(|it| it.path.ends_with("/CreateAddress") && street(it)));
    }

    #[test]
    fn what_cannot_be_planted_is_named_with_its_reason() {
        let planting = own();
        let planted: BTreeSet<&String> =
            planting.requests.iter().flat_map(|it| &it.leaves).map(|(leaf, _)| leaf).collect();
        assert!(planting.unplanted.keys().all(|leaf| !planted.contains(leaf)));
        assert!(planting.unplanted.values().any(|why| why.contains("no text")), "{:?}", planting.unplanted);
    }

    #[test]
    fn a_request_id_is_one_that_servers_take() {
        assert_eq!(uuid_of("0123456789abcdef0123456789abcdef"), "01234567-89ab-4def-8123-456789abcdef");
    }
}
