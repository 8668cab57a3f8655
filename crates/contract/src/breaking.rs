//! What a change of the contracts breaks for those who were built with the old ones.

use std::collections::BTreeSet;

use prost_reflect::{Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, MessageDescriptor};
use sekat_policy::{DataClass, Diagnostic, Severity, Span};

use crate::model::{Method, Model};
use crate::read;
use crate::source::Places;

const UNREADABLE: &str = "SK0101";
const DELETED: &str = "SK0102";
const FIELD_CHANGED: &str = "SK0103";
const METHOD_CHANGED: &str = "SK0104";
const CLASS_LOOSENED: &str = "SK0105";
const POLICY_CHANGED: &str = "SK0106";

/// The codes of this comparison, each with what it says in one sentence.
pub static CODES: &[(&str, &str)] = &[
    (UNREADABLE, "An image to compare is no encoded FileDescriptorSet."),
    (DELETED, "A service, method, message, enum, or an unreserved field or enum value is gone."),
    (FIELD_CHANGED, "A field changed its number, name, type, label or oneof, or an enum value its name."),
    (METHOD_CHANGED, "A method changed its types or its streaming, or a service its workload or port."),
    (CLASS_LOOSENED, "A field's data lost protection: classified data became MERCHANT, INTERNAL or PUBLIC."),
    (POLICY_CHANGED, "Callers, kinds, scopes or classes changed in a way that breaks no client."),
];

/// What `new` breaks of `old`, both encoded as [`crate::image`] makes them: errors for what old clients or servers
/// would misread or miss, or for data that loses protection; warnings for changes of policy that a reviewer should
/// see. Spans name files without lines, which images do not hold.
#[must_use]
pub fn compare(old: &[u8], new: &[u8]) -> Vec<Diagnostic> {
    let decoded = (DescriptorPool::decode(old), DescriptorPool::decode(new));
    let (Ok(old), Ok(new)) = decoded else {
        let which = if decoded.0.is_err() { "old" } else { "new" };
        let text = format!("the {which} image is no FileDescriptorSet");
        return vec![Diagnostic::error(UNREADABLE, Span::default(), text, "write it again with `image`")];
    };
    let mut findings = Vec::new();
    for message in old.all_messages().filter(|message| is_ours(message.package_name())) {
        compare_message(&message, new.get_message_by_name(message.full_name()).as_ref(), &mut findings);
    }
    for enumeration in old.all_enums().filter(|enumeration| is_ours(enumeration.package_name())) {
        compare_enum(&enumeration, new.get_enum_by_name(enumeration.full_name()).as_ref(), &mut findings);
    }
    let (old, new) = (read::model(&old, &Places::none()), read::model(&new, &Places::none()));
    compare_services(&old, &new, &mut findings);
    compare_classes(&old, &new, &mut findings);
    findings
}

fn is_ours(package: &str) -> bool {
    package != "google" && !package.starts_with("google.")
}

fn place(file: &FileDescriptor) -> Span {
    Span { file: file.name().to_owned(), ..Span::default() }
}

fn deleted(span: Span, what: &str, help: &str) -> Diagnostic {
    Diagnostic::error(DELETED, span, format!("{what} was deleted"), help)
}

fn compare_message(old: &MessageDescriptor, new: Option<&MessageDescriptor>, findings: &mut Vec<Diagnostic>) {
    let span = place(&old.parent_file());
    let Some(new) = new else {
        if !old.is_map_entry() {
            findings.push(deleted(span, &format!("the message `{}`", old.full_name()), "keep it"));
        }
        return;
    };
    for field in old.fields() {
        let name = format!("`{}`", field.full_name());
        let number = field.number();
        let Some(same_number) = new.get_field(number) else {
            if let Some(moved) = new.get_field_by_name(field.name()) {
                let text = format!("the number of {name} changed from {number} to {}", moved.number());
                findings.push(Diagnostic::error(FIELD_CHANGED, span.clone(), text, "give it its old number back"));
            } else if !(new.reserved_ranges().any(|range| range.contains(&number))
                && new.reserved_names().any(|reserved| reserved == field.name()))
            {
                let help =
                    format!("reserve its number and its name: `reserved {number};` `reserved \"{}\";`", field.name());
                findings.push(deleted(span.clone(), &format!("the field {name}"), &help));
            }
            continue;
        };
        let changes = field_changes(&field, &same_number);
        if !changes.is_empty() {
            let text = format!("{name}, number {number}, changed {}", changes.join(" and "));
            let help = "keep the field, and add another one with a number of its own";
            findings.push(Diagnostic::error(FIELD_CHANGED, span.clone(), text, help));
        }
    }
}

fn field_changes(old: &FieldDescriptor, new: &FieldDescriptor) -> Vec<String> {
    let label = |field: &FieldDescriptor| match field.cardinality() {
        Cardinality::Repeated => "repeated",
        _ if field.supports_presence() => "optional",
        _ => "singular",
    };
    let oneof = |field: &FieldDescriptor| {
        let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic());
        oneof.map_or_else(|| "no oneof".to_owned(), |oneof| format!("the oneof `{}`", oneof.name()))
    };
    [
        ("its name", old.name().to_owned(), new.name().to_owned()),
        ("its type", type_name(old), type_name(new)),
        ("its label", label(old).to_owned(), label(new).to_owned()),
        ("its oneof", oneof(old), oneof(new)),
    ]
    .into_iter()
    .filter(|(_, old, new)| old != new)
    .map(|(what, old, new)| format!("{what} from {old} to {new}"))
    .collect()
}

fn type_name(field: &FieldDescriptor) -> String {
    let kind = field.kind();
    match (kind.as_message(), kind.as_enum()) {
        (Some(entry), _) if field.is_map() => {
            format!("map<{}, {}>", type_name(&entry.map_entry_key_field()), type_name(&entry.map_entry_value_field()))
        }
        (Some(message), _) => message.full_name().to_owned(),
        (_, Some(enumeration)) => enumeration.full_name().to_owned(),
        _ => format!("{kind:?}").to_lowercase(),
    }
}

fn compare_enum(old: &EnumDescriptor, new: Option<&EnumDescriptor>, findings: &mut Vec<Diagnostic>) {
    let span = place(&old.parent_file());
    let Some(new) = new else {
        findings.push(deleted(span, &format!("the enum `{}`", old.full_name()), "keep it"));
        return;
    };
    for value in old.values() {
        let reserved = new.reserved_ranges().any(|range| range.contains(&value.number()))
            && new.reserved_names().any(|name| name == value.name());
        match new.get_value(value.number()) {
            Some(kept) if kept.name() != value.name() => {
                let text = format!("`{}` = {} is now `{}`", value.full_name(), value.number(), kept.name());
                findings.push(Diagnostic::error(FIELD_CHANGED, span.clone(), text, "add another value instead"));
            }
            None if !reserved => {
                let what = format!("the enum value `{}` = {}", value.full_name(), value.number());
                findings.push(deleted(span.clone(), &what, "keep it, or reserve its number and its name"));
            }
            _ => {}
        }
    }
}

fn compare_services(old: &Model, new: &Model, findings: &mut Vec<Diagnostic>) {
    for service in &old.services {
        let Some(kept) = new.services.iter().find(|kept| kept.name == service.name) else {
            findings.push(deleted(service.span.clone(), &format!("the service `{}`", service.name), "keep it"));
            continue;
        };
        let served = |policy: Option<&crate::model::ServicePolicy>| {
            policy.map(|policy| format!("`{}` on {:?}", policy.workload, policy.listener)).unwrap_or_default()
        };
        let (was, is) = (served(service.policy.as_ref()), served(kept.policy.as_ref()));
        if was != is {
            let text = format!("the server of `{}` changed from {was} to {is}", service.name);
            findings.push(Diagnostic::error(
                METHOD_CHANGED,
                kept.span.clone(),
                text,
                "callers look for it where it was",
            ));
        }
        for method in &service.methods {
            match kept.methods.iter().find(|kept| kept.name == method.name) {
                None => {
                    findings.push(deleted(method.span.clone(), &format!("the method `{}`", method.path), "keep it"))
                }
                Some(kept) => compare_method(method, kept, findings),
            }
        }
    }
}

fn compare_method(old: &Method, new: &Method, findings: &mut Vec<Diagnostic>) {
    let streaming = |streams: bool| if streams { "a stream" } else { "one message" };
    for (what, was, is) in [
        ("request type", old.request.as_str(), new.request.as_str()),
        ("response type", &old.response, &new.response),
        ("request", streaming(old.client_streaming), streaming(new.client_streaming)),
        ("response", streaming(old.server_streaming), streaming(new.server_streaming)),
    ] {
        if was != is {
            let text = format!("the {what} of `{}` changed from {was} to {is}", old.path);
            let help = "keep the method, and add another one";
            findings.push(Diagnostic::error(METHOD_CHANGED, new.span.clone(), text, help));
        }
    }
    let (Some(was), Some(is)) = (&old.policy, &new.policy) else { return };
    let mut note = |text: String| {
        let help = "no client breaks by itself; review who gains or loses what".to_owned();
        let (code, severity, span) = (POLICY_CHANGED, Severity::Warning, new.span.clone());
        findings.push(Diagnostic { code, severity, span, message: text, help });
    };
    let (old_callers, new_callers): (BTreeSet<_>, BTreeSet<_>) =
        (was.callers.iter().collect(), is.callers.iter().collect());
    for caller in new_callers.difference(&old_callers) {
        note(format!("`{caller}` may now call `{}`", old.path));
    }
    for caller in old_callers.difference(&new_callers) {
        note(format!("`{caller}` may no longer call `{}`", old.path));
    }
    if was.kind != is.kind || was.scopes != is.scopes {
        note(format!("the kind or the end-user scopes of `{}` changed", old.path));
    }
}

/// How well data of a class is protected: who may hold it, whether each access is recorded, whether it may cross.
const fn protection(class: DataClass) -> u8 {
    match class {
        DataClass::Public => 0,
        DataClass::Internal => 1,
        DataClass::Merchant => 2,
        DataClass::User | DataClass::Payment => 3,
    }
}

fn compare_classes(old: &Model, new: &Model, findings: &mut Vec<Diagnostic>) {
    for message in old.own_messages() {
        let Some(kept) = new.messages.get(&message.name) else { continue };
        for field in &message.fields {
            let now = kept.fields.iter().find(|now| now.name == field.name).and_then(|now| now.class);
            let (Some(was), Some(is)) = (field.class, now) else { continue };
            if was == is {
                continue;
            }
            let (code, severity, help) = if protection(is) < protection(was) {
                (CLASS_LOOSENED, Severity::Error, "who holds the data gave it under the old class: add another field")
            } else {
                (POLICY_CHANGED, Severity::Warning, "no client breaks by itself; review who may hold it now")
            };
            let text = format!("the class of `{}.{}` changed from {was} to {is}", message.name, field.name);
            let span = kept.span.clone();
            findings.push(Diagnostic { code, severity, span, message: text, help: help.to_owned() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lints::fixture::planted;

    fn changed(edits: &[(&str, &str)]) -> Vec<(&'static str, Severity, String)> {
        let findings = compare(&planted(&[]).source().image, &planted(edits).source().image);
        findings.into_iter().map(|finding| (finding.code, finding.severity, finding.message)).collect()
    }

    #[track_caller]
    fn breaks(edits: &[(&str, &str)], code: &str, part: &str) {
        let found = changed(edits);
        assert!(
            matches!(found.as_slice(), [(found, Severity::Error, text)] if *found == code && text.contains(part)),
            "{found:#?}"
        );
    }

    #[test]
    fn nothing_breaks_without_a_change_or_by_an_addition() {
        assert_eq!(changed(&[]), []);
        let field = "// Marks.\n  repeated int64 marks = 5";
        let added = format!("// New.\n  string hue = 8 [(sekat.policy.v1.class) = DATA_CLASS_PUBLIC];\n  {field}");
        assert_eq!(changed(&[(field, &added)]), []);
        assert_eq!(changed(&[("// It is paid.\n", "// It waits.\n  ORDER_STATE_WAITS = 2;\n  // It is paid.\n")]), []);
    }

    #[test]
    fn a_field_keeps_its_number_name_type_label_and_oneof() {
        breaks(&[("string buyer = 2", "string buyer = 12")], FIELD_CHANGED, "from 2 to 12");
        breaks(&[("string buyer = 2", "string owner = 2")], FIELD_CHANGED, "its name from buyer to owner");
        breaks(&[("string buyer = 2", "bytes buyer = 2")], FIELD_CHANGED, "its type from string to bytes");
        breaks(&[("string buyer = 2", "repeated string buyer = 2")], FIELD_CHANGED, "its label from singular");
        breaks(&[("string buyer = 2", "optional string buyer = 2")], FIELD_CHANGED, "its label from singular");
        let account = planted(&[]).line("string account = 3");
        breaks(
            &[(&account, ""), ("// How it is paid.", &format!("// Out of it.\n{account}\n  // How it is paid."))],
            FIELD_CHANGED,
            "its oneof from the oneof `means` to no oneof",
        );
    }

    #[test]
    fn what_goes_is_reserved() {
        let buyer = planted(&[]).line("string buyer = 2");
        breaks(&[(&buyer, "")], DELETED, "the field `sekat.shop.v1.Order.buyer`");
        breaks(&[(&buyer, "  reserved 2;")], DELETED, "the field");
        assert_eq!(changed(&[(&buyer, "  reserved 2;\n  reserved \"buyer\";")]), []);
        let paid = planted(&[]).line("ORDER_STATE_PAID = 1");
        breaks(&[(&paid, "")], DELETED, "the enum value");
        breaks(&[(&paid, "  ORDER_STATE_SETTLED = 1;")], FIELD_CHANGED, "is now `ORDER_STATE_SETTLED`");
        assert_eq!(changed(&[(&paid, "  reserved 1;\n  reserved \"ORDER_STATE_PAID\";")]), []);
    }

    #[test]
    fn methods_stay_what_they_are() {
        breaks(&[("rpc GetOrder(", "rpc FindOrder(")], DELETED, "the method `/sekat.shop.v1.OrderService/GetOrder`");
        breaks(&[("service BankService", "service MoneyService")], DELETED, "the service");
        breaks(
            &[("rpc GetOrder(GetOrderRequest)", "rpc GetOrder(DeleteOrderRequest)")],
            METHOD_CHANGED,
            "the request type",
        );
        breaks(&[("returns (stream Order)", "returns (Order)")], METHOD_CHANGED, "from a stream to one message");
    }

    #[test]
    fn data_does_not_lose_its_protection() {
        let line = planted(&[]).line("int64 amount = 2");
        let with = |class: &str| line.replace("PAYMENT", class);
        for class in ["PUBLIC", "INTERNAL", "MERCHANT"] {
            breaks(&[(&line, &with(class))], CLASS_LOOSENED, &format!("from PAYMENT to {class}"));
        }
        assert!(matches!(changed(&[(&line, &with("USER"))]).as_slice(), [(POLICY_CHANGED, Severity::Warning, _)]));
        let title = planted(&[]).line("string title = 2");
        let tighter = changed(&[(&title, &title.replace("PUBLIC", "USER"))]);
        assert!(matches!(tighter.as_slice(), [(POLICY_CHANGED, Severity::Warning, _)]), "{tighter:?}");
    }

    #[test]
    fn callers_are_noted() {
        let found = changed(&[(r#"callers: ["shop"]"#, r#"callers: ["ledger"]"#)]);
        let texts: Vec<_> = found.iter().map(|(_, severity, text)| (*severity, text.as_str())).collect();
        let path = "`/sekat.bank.v1.BankService/CreateCharge`";
        assert_eq!(
            texts,
            [
                (Severity::Warning, &*format!("`ledger` may now call {path}")),
                (Severity::Warning, &*format!("`shop` may no longer call {path}")),
            ]
        );
    }

    #[test]
    fn what_is_no_image_is_said_so() {
        let found = compare(b"\xff", &planted(&[]).source().image);
        assert!(found.iter().any(|finding| finding.message == "the old image is no FileDescriptorSet"));
    }
}
