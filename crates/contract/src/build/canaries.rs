//! Tests for generated crates: each message, its classified fields filled with canaries, prints none of them by
//! `Debug`, and does not compile with `Display`.

use std::fmt::Write as _;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};

use super::messages::redacted;
use super::rust;
use crate::model::{Field, Message, Model, is_own};

/// What classified fields hold in the tests: as text or bytes, and as a number.
const CANARY: &str = "canary";
const CANARY_NUMBER: u8 = 173;
/// What other fields hold.
const PLAIN: &str = "plain";
const PLAIN_NUMBER: u8 = 42;
/// How deep messages are filled. Deeper ones are messages of their own, with tests of their own.
const DEPTH: usize = 4;

const HEAD: &str = "\
#[cfg(test)]
mod redaction {
    /// Whether `{}` prints a `T`: with `Display` the inherent constant hides that of the trait.
    struct Shown<T>(::core::marker::PhantomData<T>);
    trait Hidden {
        const BY_DISPLAY: bool = false;
    }
    impl<T> Hidden for Shown<T> {}
    impl<T: ::core::fmt::Display> Shown<T> {
        const BY_DISPLAY: bool = true;
    }
    const _: () = assert!(Shown::<String>::BY_DISPLAY, \"the check can fail\");

    type Text = ::core::result::Result<String, ::prost::DecodeError>;
    /// A message's printer, the message, and what its text must hold.
    type Case = (fn(&[u8]) -> Text, &'static [u8], &'static [&'static str]);

    fn print<M: ::prost::Message + Default + ::core::fmt::Debug>(encoded: &[u8]) -> Text {
        M::decode(encoded).map(|message| format!(\"{message:?}\"))
    }

    #[test]
    fn classified_fields_print_their_class_and_never_their_value() {
        for (print, encoded, expected) in CASES {
            let text = print(encoded).expect(\"the build script encoded it\");
            for canary in [CANARY, CANARY_NUMBER, CANARY_BYTES] {
                assert!(!text.contains(canary), \"{canary} in {text}\");
            }
            for part in *expected {
                assert!(text.contains(part), \"{part} in {text}\");
            }
        }
    }
";

/// A module with one test over all messages of the package.
pub(super) fn tests(model: &Model, pool: &DescriptorPool, package: &str) -> String {
    let mut code = HEAD.to_owned();
    let mut checks = String::new();
    let bytes: Vec<_> = CANARY.bytes().map(|byte| byte.to_string()).collect();
    let _ = write!(
        code,
        "\n    const CANARY: &str = {CANARY:?};\n    const CANARY_NUMBER: &str = \"{CANARY_NUMBER}\";\n    \
         const CANARY_BYTES: &str = {:?};\n    const CASES: &[Case] = &[\n",
        bytes.join(", ")
    );
    for message in model.messages.values().filter(|message| message.package == package) {
        let Some(descriptor) = pool.get_message_by_name(&message.name) else { continue };
        let in_oneofs = message.oneofs.iter().map(|oneof| members(message, &oneof.name).count());
        checks.push_str(&format!(
            "    const _: () = assert!(!Shown::<{0}>::BY_DISPLAY, \"{0}\");\n",
            rust::path(package, &message.name)
        ));
        for choice in 0..in_oneofs.max().unwrap_or(1) {
            let encoded = Filler { model, choice }.fill(&descriptor, None, DEPTH).encode_to_vec();
            let _ = writeln!(
                code,
                "        (print::<{}>, &{encoded:?}, &{:?}),",
                rust::path(package, &message.name),
                expected(message, choice)
            );
        }
    }
    code + "    ];\n" + &checks + "}\n"
}

fn members<'a>(message: &'a Message, oneof: &'a str) -> impl Iterator<Item = &'a Field> {
    message.fields.iter().filter(move |field| field.oneof.as_deref() == Some(oneof))
}

/// The parts that a message's text must hold: each classified field with its class.
fn expected(message: &Message, choice: usize) -> Vec<String> {
    let plain = message.fields.iter().filter(|field| field.oneof.is_none());
    let mut parts: Vec<_> =
        plain.filter_map(|field| redacted(field).map(|class| format!("{}: <{class}>", field.name))).collect();
    for oneof in &message.oneofs {
        let chosen = members(message, &oneof.name).nth(choice);
        let class = chosen.and_then(|field| redacted(field).map(|class| (field, class)));
        parts.extend(class.map(|(field, class)| format!("{}(<{class}>)", rust::camel(&field.name))));
    }
    parts
}

/// Fills messages; of each oneof, the field with the number `choice`.
struct Filler<'a> {
    model: &'a Model,
    choice: usize,
}

impl Filler<'_> {
    /// A message with all fields set. `canary` says whether everything in it is classified; `None` that each field
    /// says so itself.
    fn fill(&self, descriptor: &MessageDescriptor, canary: Option<bool>, depth: usize) -> DynamicMessage {
        let mut filled = DynamicMessage::new(descriptor.clone());
        let known = self.model.messages.get(descriptor.full_name()).filter(|message| is_own(&message.package));
        for field in descriptor.fields() {
            let stated = known.and_then(|message| message.fields.iter().find(|known| known.name == field.name()));
            if let (Some(message), Some(oneof)) = (known, stated.and_then(|field| field.oneof.as_deref()))
                && members(message, oneof).nth(self.choice).is_some_and(|chosen| chosen.name != field.name())
            {
                continue;
            }
            let canary = canary.or_else(|| stated.filter(|field| field.is_leaf()).map(|f| redacted(f).is_some()));
            if let Some(value) = self.value(&field, canary, depth) {
                filled.set_field(&field, value);
            }
        }
        filled
    }

    fn value(&self, field: &FieldDescriptor, canary: Option<bool>, depth: usize) -> Option<Value> {
        if field.is_map() {
            let kind = field.kind();
            let entry = kind.as_message()?;
            let key = match self.single(&entry.map_entry_key_field(), canary, depth)? {
                Value::String(key) => MapKey::String(key),
                Value::I32(key) => MapKey::I32(key),
                Value::I64(key) => MapKey::I64(key),
                Value::U32(key) => MapKey::U32(key),
                Value::U64(key) => MapKey::U64(key),
                _ => MapKey::Bool(true),
            };
            let value = self.single(&entry.map_entry_value_field(), canary, depth)?;
            return Some(Value::Map([(key, value)].into()));
        }
        let value = self.single(field, canary, depth)?;
        Some(if field.is_list() { Value::List(vec![value]) } else { value })
    }

    fn single(&self, field: &FieldDescriptor, canary: Option<bool>, depth: usize) -> Option<Value> {
        let canary_here = canary == Some(true);
        let text = if canary_here { CANARY } else { PLAIN };
        let number = if canary_here { CANARY_NUMBER } else { PLAIN_NUMBER };
        Some(match field.kind() {
            Kind::String => Value::String(text.to_owned()),
            Kind::Bytes => Value::Bytes(text.as_bytes().to_vec().into()),
            Kind::Bool => Value::Bool(true),
            Kind::Enum(values) => Value::EnumNumber(values.values().map(|value| value.number()).max()?),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number.into()),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number.into()),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(number.into()),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(number.into()),
            Kind::Float => Value::F32(number.into()),
            Kind::Double => Value::F64(number.into()),
            Kind::Message(message) => Value::Message(self.fill(&message, canary, depth.checked_sub(1)?)),
        })
    }
}
