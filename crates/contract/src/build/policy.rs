//! The rules of a package as Rust code: `static API: sekat_policy::Api` and the gRPC service config.

use std::fmt::Write as _;

use sekat_policy::{ClassSet, EndUserScope, Listener};

use super::rust;
use crate::model::{Effect, Method, Model, Service, ServicePolicy};

/// The file that `API.descriptor_set` includes.
pub(super) const DESCRIPTOR_SET: &str = "descriptor_set.binpb";

// Deadlines in milliseconds where a method states none. A read that takes longer than a second, or a write that
// takes longer than three, leaves its user waiting; a stream lives as long as any call may and is opened again.
const READ_DEADLINE_MS: u32 = 1_000;
const WRITE_DEADLINE_MS: u32 = 3_000;
const STREAM_DEADLINE_MS: u32 = 30_000;

/// Four attempts within about a second (50, 100 and 200 ms, jittered by the client), as AIP-194 has it only for
/// UNAVAILABLE: nothing else says that a call may be repeated.
const RETRY_POLICY: &str = "{\"maxAttempts\":4,\"initialBackoff\":\"0.05s\",\"maxBackoff\":\"1s\",\
                            \"backoffMultiplier\":2,\"retryableStatusCodes\":[\"UNAVAILABLE\"]}";

/// Ten failures without a success in between stop retries; ten successes pay for one.
const RETRY_THROTTLING: &str = "{\"maxTokens\":10,\"tokenRatio\":0.1}";

/// The statics of a package: `API`, `METHODS`, `SERVICE_CONFIG`, `DESCRIPTOR_SET`.
pub(super) fn api(model: &Model, package: &str) -> Option<String> {
    let services: Vec<_> = model.services.iter().filter(|service| service.package == package).collect();
    let policy = services.first()?.policy.as_ref()?;
    let methods: Vec<_> =
        services.iter().flat_map(|service| service.methods.iter().map(move |method| (*service, method))).collect();
    let mut code = format!(
        "/// Who may call the methods of `{package}`, as its contracts state it.\n\
         pub static API: ::sekat_policy::Api = {};\n",
        api_value(model, policy, package, "METHODS", "SERVICE_CONFIG", "DESCRIPTOR_SET")?,
    );
    code += "/// The rules of each method.\npub static METHODS: &[::sekat_policy::MethodPolicy] = &[\n";
    for (_, method) in &methods {
        code += &method_value(model, method)?;
        code += ",\n";
    }
    code += "];\n";
    let config = service_config(&methods)?;
    let _ = write!(
        code,
        "/// Deadlines and retries of each method, as a gRPC service config.\n\
         pub const SERVICE_CONFIG: &str = {config:?};\n\
         /// The package's files and their imports with all options, as an encoded `FileDescriptorSet`.\n\
         pub const DESCRIPTOR_SET: &[u8] = \
         ::core::include_bytes!(::core::concat!(::core::env!(\"OUT_DIR\"), \"/{DESCRIPTOR_SET}\"));\n"
    );
    Some(code)
}

/// An expression of type `sekat_policy::Api`; the last three arguments are expressions.
pub(super) fn api_value(
    model: &Model,
    policy: &ServicePolicy,
    package: &str,
    methods: &str,
    service_config: &str,
    descriptor_set: &str,
) -> Option<String> {
    let listener = match policy.listener {
        Listener::Mesh => "Mesh",
        Listener::Feed => "Feed",
    };
    Some(format!(
        "::sekat_policy::Api {{ package: {package:?}, workload: {:?}, domain: {:?}, server_id: {:?}, \
         listener: ::sekat_policy::Listener::{listener}, methods: {methods}, service_config: {service_config}, \
         descriptor_set: {descriptor_set} }}",
        policy.workload,
        policy.domain,
        model.spiffe_id(&policy.workload)?,
    ))
}

/// An expression of type `sekat_policy::MethodPolicy`.
pub(super) fn method_value(model: &Model, method: &Method) -> Option<String> {
    let policy = method.policy.as_ref()?;
    let callers: Option<Vec<_>> = policy.callers.iter().map(|caller| model.spiffe_id(caller)).collect();
    let kind = match policy.kind? {
        Effect::Read if method.server_streaming => "ServerStream",
        Effect::Read => "Read",
        Effect::Write => "Write",
    };
    let scopes: Option<Vec<_>> = policy.scopes.iter().map(|scope| scope.map(scope_path)).collect();
    Some(format!(
        "::sekat_policy::MethodPolicy {{ path: {:?}, callers: &{:?}, request: {}, response: {}, \
         kind: ::sekat_policy::MethodKind::{kind}, scopes: &[{}], \
         deadline: ::core::time::Duration::from_millis({}) }}",
        method.path,
        callers?,
        class_set(model.classes(&method.request)),
        class_set(model.classes(&method.response)),
        scopes?.join(", "),
        deadline_ms(method)?,
    ))
}

/// The service config of some methods, as JSON.
pub(super) fn service_config(methods: &[(&Service, &Method)]) -> Option<String> {
    let mut configs = Vec::new();
    for (service, method) in methods {
        let deadline_ms = deadline_ms(method)?;
        // A stream is resumed by its reader, from the last token that it took in, and never by the transport.
        let retry = if method.server_streaming { String::new() } else { format!(",\"retryPolicy\":{RETRY_POLICY}") };
        configs.push(format!(
            "{{\"name\":[{{\"service\":\"{}\",\"method\":\"{}\"}}],\"timeout\":\"{}.{:03}s\"{retry}}}",
            service.name,
            method.name,
            deadline_ms / 1_000,
            deadline_ms % 1_000,
        ));
    }
    Some(format!("{{\"methodConfig\":[{}],\"retryThrottling\":{RETRY_THROTTLING}}}", configs.join(",")))
}

fn deadline_ms(method: &Method) -> Option<u32> {
    let policy = method.policy.as_ref()?;
    policy.deadline_ms.or(Some(match policy.kind? {
        Effect::Read if method.server_streaming => STREAM_DEADLINE_MS,
        Effect::Read => READ_DEADLINE_MS,
        Effect::Write => WRITE_DEADLINE_MS,
    }))
}

fn class_set(classes: ClassSet) -> String {
    let with = classes.iter().map(|class| format!(".with(::sekat_policy::DataClass::{})", rust::camel(class.name())));
    format!("::sekat_policy::ClassSet::EMPTY{}", with.collect::<String>())
}

const fn scope_path(scope: EndUserScope) -> &'static str {
    match scope {
        EndUserScope::Anonymous => "::sekat_policy::EndUserScope::Anonymous",
        EndUserScope::Buyer => "::sekat_policy::EndUserScope::Buyer",
        EndUserScope::Seller => "::sekat_policy::EndUserScope::Seller",
        EndUserScope::Creator => "::sekat_policy::EndUserScope::Creator",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lints::fixture::planted;

    fn method<'a>(model: &'a Model, name: &str) -> (&'a Service, &'a Method) {
        model.methods().find(|(_, method)| method.name == name).expect("the fixture has it")
    }

    #[test]
    fn a_method_states_its_callers_classes_scopes_and_deadline() {
        let model = planted(&[]).model();
        let value = method_value(&model, method(&model, "GetOrder").1).expect("lawful");
        for part in [
            r#"path: "/sekat.shop.v1.OrderService/GetOrder""#,
            r#"callers: &["spiffe://commerce.test/shop-edge", "spiffe://commerce.test/ledger"]"#,
            "request: ::sekat_policy::ClassSet::EMPTY.with(::sekat_policy::DataClass::User)",
            "kind: ::sekat_policy::MethodKind::Read,",
            "scopes: &[::sekat_policy::EndUserScope::Buyer]",
            "from_millis(1000)",
        ] {
            assert!(value.contains(part), "{part} in {value}");
        }
        let watch = method_value(&model, method(&model, "WatchOrders").1).expect("lawful");
        assert!(watch.contains("MethodKind::ServerStream") && watch.contains("from_millis(30000)"), "{watch}");
    }

    #[test]
    fn an_api_names_its_server_and_its_port() {
        let model = planted(&[]).model();
        let code = api(&model, "sekat.shop.feed.v1").expect("lawful");
        assert!(code.contains(r#"server_id: "spiffe://commerce.test/shop", listener: ::sekat_policy::Listener::Feed"#));
    }

    #[test]
    fn calls_repeat_by_the_service_config_and_streams_do_not() {
        let policy = r#"callers: ["shop"] kind: METHOD_KIND_WRITE"#;
        let model = planted(&[(policy, &format!("{policy} deadline_ms: 8250"))]).model();
        let config = service_config(&[method(&model, "CreateCharge"), method(&model, "WatchOrders")]).expect("lawful");
        let retry = concat!(
            r#"{"maxAttempts":4,"initialBackoff":"0.05s","maxBackoff":"1s","#,
            r#""backoffMultiplier":2,"retryableStatusCodes":["UNAVAILABLE"]}"#
        );
        let charge = r#"{"name":[{"service":"sekat.bank.v1.BankService","method":"CreateCharge"}],"timeout":"8.250s""#;
        let charge = format!(r#"{charge},"retryPolicy":{retry}}}"#);
        let watch = r#"{"name":[{"service":"sekat.shop.v1.OrderService","method":"WatchOrders"}],"timeout":"30.000s"}"#;
        let throttling = r#"{"maxTokens":10,"tokenRatio":0.1}"#;
        assert_eq!(config, format!(r#"{{"methodConfig":[{charge},{watch}],"retryThrottling":{throttling}}}"#));
    }
}
