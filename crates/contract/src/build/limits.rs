//! `max_bytes` as code: for each message that crosses the wire, what `sekat_codec` checks when it decodes a request.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::messages::oneof_path;
use super::rust;
use crate::model::{Cardinality, Field, FieldType, Message, Model, is_own};

/// `sekat_codec::Bounded` of the package's requests and responses.
pub(super) fn bounded(model: &Model, package: &str) -> String {
    let methods = || model.services.iter().filter(|service| service.package == package).flat_map(|it| &it.methods);
    let requests: BTreeSet<&str> = methods().map(|method| method.request.as_str()).collect();
    let crossing = methods().flat_map(|method| [method.request.as_str(), method.response.as_str()]);
    let mut code = String::new();
    for name in crossing.filter(|name| is_own(name)).collect::<BTreeSet<_>>() {
        let check = if requests.contains(name) && is_limited(model, name) {
            "fn check(&self) -> ::core::result::Result<(), ::sekat_codec::TooLong> { self.check_lengths() }"
        } else {
            ""
        };
        let _ = writeln!(code, "impl ::sekat_codec::Bounded for {} {{ {check} }}", rust::path(package, name));
    }
    let reached = requests.into_iter().flat_map(|request| model.reach(request));
    let limited: BTreeSet<_> = reached.map(|message| &message.name).filter(|name| is_limited(model, name)).collect();
    for message in limited.into_iter().filter_map(|name| model.messages.get(name)) {
        let _ = writeln!(
            code,
            "impl {} {{ fn check_lengths(&self) -> ::core::result::Result<(), ::sekat_codec::TooLong> {{\n{}Ok(())\n}} }}",
            rust::path(package, &message.name),
            checks(model, package, message)
        );
    }
    code
}

/// Whether a message or one within it has a field with a limit.
fn is_limited(model: &Model, message: &str) -> bool {
    model.reach(message).iter().any(|message| message.fields.iter().any(|field| field.max_bytes.is_some()))
}

fn checks(model: &Model, package: &str, message: &Message) -> String {
    let mut code = String::new();
    for field in &message.fields {
        let Some(check) = check(model, field) else { continue };
        let (label, name) = (&field.name, rust::snake(&field.name));
        let _ = match (&field.oneof, field.cardinality, &field.ty) {
            (Some(oneof), ..) => {
                let variant = format!("{}::{}", oneof_path(model, package, message, oneof), rust::camel(label));
                let oneof = rust::snake(oneof);
                writeln!(code, "if let Some({variant}(value)) = &self.{oneof} {{ let field = {label:?}; {check} }}")
            }
            (None, Cardinality::Implicit, _) => {
                writeln!(code, "{{ let (field, value) = ({label:?}, &self.{name}); {check} }}")
            }
            (None, Cardinality::Optional, _) => {
                writeln!(code, "if let Some(value) = &self.{name} {{ let field = {label:?}; {check} }}")
            }
            (None, Cardinality::Repeated, ty) => {
                let values = if matches!(ty, FieldType::Map(_)) { ".values()" } else { ".iter()" };
                writeln!(
                    code,
                    "for (index, value) in self.{name}{values}.enumerate() {{ \
                     let field = &::std::format!(\"{label}[{{index}}]\"); {check} }}"
                )
            }
        };
    }
    code
}

/// A statement that checks `value`, which is one value of `field`; `None` if there is nothing to check.
fn check(model: &Model, field: &Field) -> Option<String> {
    if let Some(message) = field.ty.message().filter(|name| is_own(name)) {
        let check = "value.check_lengths().map_err(|long| long.within(field))?;";
        return is_limited(model, message).then(|| check.to_owned());
    }
    let most = field.max_bytes?;
    Some(format!("::sekat_codec::at_most({most}, field, value)?;"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lints::fixture::planted;

    #[test]
    fn requests_are_checked_with_all_that_they_hold_and_responses_are_not() {
        let limit = ", (sekat.policy.v1.max_bytes) = 64]";
        let etag = planted(&[]).line("string etag = 2");
        let model = planted(&[(&etag, &etag.replace(']', limit))]).model();
        let code = bounded(&model, "sekat.shop.v1");
        let impls = |name: &str| format!("impl ::sekat_codec::Bounded for crate::v1::{name} {{");
        let line = |start: &str| code.lines().find(|line| line.starts_with(start)).expect("it crosses the wire");
        assert!(line(&impls("UpdateOrderRequest")).contains("self.check_lengths()"));
        assert!(!line(&impls("GetOrderRequest")).contains("check_lengths"), "it states no limit");
        assert!(!line(&impls("Order")).contains("check_lengths"), "it only answers");
        for check in [
            r#"if let Some(value) = &self.order { let field = "order"; value.check_lengths()"#,
            r#"{ let (field, value) = ("etag", &self.etag); ::sekat_codec::at_most(64, field, value)?; }"#,
        ] {
            assert!(code.contains(check), "{check} in {code}");
        }
    }

    #[test]
    fn repeated_fields_maps_and_choices_are_checked_one_by_one() {
        let sku = planted(&[]).line("string sku = 1");
        let limit = ", (sekat.policy.v1.max_bytes) = 64]";
        let code = |field: &str| bounded(&planted(&[(&sku, &field.replace(']', limit))]).model(), "sekat.shop.v1");
        let repeated = code(&sku.replace("string", "repeated string"));
        assert!(repeated.contains("for (index, value) in self.sku.iter().enumerate()"), "{repeated}");
        assert!(repeated.contains("for (index, value) in self.lines.iter().enumerate()"), "{repeated}");
        let map = code(&sku.replace("string", "map<string, string>"));
        assert!(map.contains("in self.sku.values().enumerate()"), "{map}");
        let optional = code(&sku.replace("string", "optional string"));
        assert!(optional.contains("if let Some(value) = &self.sku {"), "{optional}");
        let choice = code(&format!("oneof what {{ {} }}", sku.trim()));
        assert!(choice.contains("if let Some(crate::v1::order_line::What::Sku(value)) = &self.what {"), "{choice}");
    }
}
