//! `Debug` for the messages of a package: a classified field prints its class and never its value.

use std::fmt::Write as _;

use sekat_policy::DataClass;

use super::rust;
use crate::model::{Cardinality, Enum, Field, FieldType, Message, Model, Oneof};

/// `Debug` of all messages, oneofs and enums of the package.
pub(super) fn debug(model: &Model, package: &str) -> String {
    let mut code = String::new();
    for message in model.messages.values().filter(|message| message.package == package) {
        let mut body = format!("let mut out = f.debug_struct({:?});\n", rust::camel(last(&message.name)));
        for field in message.fields.iter().filter(|field| field.oneof.is_none()) {
            body += &print_field(package, field);
        }
        for oneof in &message.oneofs {
            let (name, label) = (rust::snake(&oneof.name), &oneof.name);
            let _ = writeln!(body, "if let Some(value) = &self.{name} {{ out.field({label:?}, value); }}");
        }
        body += "out.finish()\n";
        code += &implement(&rust::path(package, &message.name), &body);
        for oneof in &message.oneofs {
            code += &debug_oneof(model, package, message, oneof);
        }
    }
    for enumeration in model.enums.values().filter(|enumeration| enumeration.package == package) {
        code += &debug_enum(package, enumeration);
    }
    code
}

/// The class to print in place of the field's value.
pub(super) fn redacted(field: &Field) -> Option<DataClass> {
    field.class.filter(|class| matches!(class, DataClass::User | DataClass::Payment | DataClass::Merchant))
}

fn implement(path: &str, body: &str) -> String {
    format!(
        "impl ::core::fmt::Debug for {path} {{\n\
         fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {{\n{body}}}\n}}\n"
    )
}

fn print_field(package: &str, field: &Field) -> String {
    let (label, name) = (&field.name, format!("self.{}", rust::snake(&field.name)));
    let enumeration = field.ty.enumeration().filter(|_| !matches!(field.ty, FieldType::Map(_)));
    if let Some(class) = redacted(field) {
        let print = format!("out.field({label:?}, &::core::format_args!(\"<{class}>\"));");
        return match (field.cardinality, &field.ty) {
            (Cardinality::Optional, _) => format!("if {name}.is_some() {{ {print} }}\n"),
            // Whether a number, bool or enum is set tells its value: the class is printed in either case.
            (Cardinality::Implicit, FieldType::Scalar | FieldType::Enum(_)) => format!("{print}\n"),
            (Cardinality::Implicit | Cardinality::Repeated, _) => {
                format!("if !{name}.is_empty() {{ {print} }}\n")
            }
        };
    }
    match (field.cardinality, &field.ty) {
        (Cardinality::Optional, _) => {
            let value = enumeration.map_or_else(|| "value".to_owned(), |name| enum_text(package, name, "*value"));
            format!("if let Some(value) = &{name} {{ out.field({label:?}, {}); }}\n", reference(enumeration, &value))
        }
        (Cardinality::Implicit, FieldType::Text | FieldType::Bytes) => {
            format!("if !{name}.is_empty() {{ out.field({label:?}, &{name}); }}\n")
        }
        (Cardinality::Implicit, _) => {
            let value = enumeration.map_or_else(|| name.clone(), |enumeration| enum_text(package, enumeration, &name));
            format!("out.field({label:?}, &{value});\n")
        }
        (Cardinality::Repeated, _) => match enumeration {
            None => format!("if !{name}.is_empty() {{ out.field({label:?}, &{name}); }}\n"),
            Some(enumeration) => {
                let known = format!("{}::try_from(*value)", rust::path(package, enumeration));
                format!(
                    "if !{name}.is_empty() {{ out.field({label:?}, \
                     &{name}.iter().map(|value| {known}.ok()).collect::<::std::vec::Vec<_>>()); }}\n"
                )
            }
        },
    }
}

fn reference(enumeration: Option<&str>, value: &str) -> String {
    if enumeration.is_some() { format!("&{value}") } else { value.to_owned() }
}

/// An expression that prints an enum's number as its name.
fn enum_text(package: &str, enumeration: &str, number: &str) -> String {
    let known = format!("{}::try_from({number})", rust::path(package, enumeration));
    format!("::core::format_args!(\"{{}}\", {known}.map_or(\"UNRECOGNIZED\", |value| value.as_str_name()))")
}

fn debug_oneof(model: &Model, package: &str, message: &Message, oneof: &Oneof) -> String {
    let mut arms = String::new();
    for field in message.fields.iter().filter(|field| field.oneof.as_deref() == Some(&oneof.name)) {
        let variant = rust::camel(&field.name);
        let _ = match (redacted(field), &field.ty) {
            (Some(class), _) => writeln!(arms, "Self::{variant}(_) => f.write_str(\"{variant}(<{class}>)\"),"),
            (None, FieldType::Enum(name)) => writeln!(
                arms,
                "Self::{variant}(value) => f.debug_tuple(\"{variant}\").field(&{}).finish(),",
                enum_text(package, name, "*value")
            ),
            (None, _) => {
                writeln!(arms, "Self::{variant}(value) => f.debug_tuple(\"{variant}\").field(value).finish(),")
            }
        };
    }
    implement(&oneof_path(model, package, message, &oneof.name), &format!("match self {{\n{arms}}}\n"))
}

/// The path of a oneof's enum, which gets a suffix if a nested type has its name.
pub(super) fn oneof_path(model: &Model, package: &str, message: &Message, oneof: &str) -> String {
    let path = rust::path(package, &format!("{}.{}", message.name, oneof));
    let nested = |name: &String| {
        name.strip_prefix(&message.name)
            .and_then(|rest| rest.strip_prefix('.'))
            .is_some_and(|nested| rust::camel(nested) == rust::camel(oneof))
    };
    let taken = model.messages.keys().any(nested) || model.enums.keys().any(nested);
    if taken { path + "OneOf" } else { path }
}

fn debug_enum(package: &str, enumeration: &Enum) -> String {
    implement(&rust::path(package, &enumeration.name), "f.write_str(self.as_str_name())\n")
}

fn last(full_name: &str) -> &str {
    full_name.rsplit('.').next().unwrap_or(full_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lints::fixture::planted;

    /// How a field of this type and class is printed. That the code compiles and hides what it should is the test
    /// that each generated crate brings along.
    fn printed(ty: &str, class: &str) -> String {
        let line = planted(&[]).line("string buyer = 2");
        let field = format!("  {ty} buyer = 2 [(sekat.policy.v1.class) = DATA_CLASS_{class}];");
        let code = debug(&planted(&[(&line, &field)]).model(), "sekat.shop.v1");
        code.lines().find(|line| line.contains("\"buyer\"")).expect("the field is printed").to_owned()
    }

    #[test]
    fn a_classified_field_prints_its_class() {
        for class in ["USER", "PAYMENT", "MERCHANT"] {
            let print = format!("out.field(\"buyer\", &::core::format_args!(\"<{class}>\"));");
            assert_eq!(printed("string", class), format!("if !self.buyer.is_empty() {{ {print} }}"));
            assert_eq!(printed("repeated OrderState", class), format!("if !self.buyer.is_empty() {{ {print} }}"));
            assert_eq!(printed("map<string, int32>", class), format!("if !self.buyer.is_empty() {{ {print} }}"));
            assert_eq!(printed("google.type.Money", class), format!("if self.buyer.is_some() {{ {print} }}"));
            assert_eq!(printed("optional bool", class), format!("if self.buyer.is_some() {{ {print} }}"));
            assert_eq!(printed("bool", class), print, "false would tell as much as true");
            assert_eq!(printed("OrderState", class), print);
        }
    }

    #[test]
    fn other_fields_print_their_value() {
        for class in ["PUBLIC", "INTERNAL"] {
            let print = "out.field(\"buyer\", &self.buyer);";
            assert_eq!(printed("string", class), format!("if !self.buyer.is_empty() {{ {print} }}"));
            assert_eq!(printed("int64", class), print);
            let money = "if let Some(value) = &self.buyer { out.field(\"buyer\", value); }";
            assert_eq!(printed("google.type.Money", class), money);
            assert!(printed("OrderState", class).contains("value.as_str_name()"));
        }
    }
}
