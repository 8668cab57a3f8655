//! What edges forward, as Rust code that names methods and identities but no message.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{policy, rust};
use crate::model::{Method, Model, Service};

/// The types and lookups that do not depend on the contracts.
const HEAD: &str = "\
/// A method that an edge forwards.
#[derive(Debug)]
pub struct Route {
    /// The rules of the method.
    pub policy: &'static ::sekat_policy::MethodPolicy,
    /// Who serves it: package, workload, identity, listener. Its `methods` are those that the edge may call; it has
    /// no descriptors.
    pub api: &'static ::sekat_policy::Api,
}

/// What the edge with that workload name may call, in the order of paths. Nothing, if it is no edge of this binary.
#[must_use]
pub fn routes(caller: &str) -> &'static [Route] {
    ROUTES.iter().find(|(name, _)| *name == caller).map_or(&[], |(_, routes)| routes)
}

/// The route of a gRPC path among `routes`, which are in the order of paths.
#[must_use]
pub fn route(routes: &'static [Route], path: &str) -> Option<&'static Route> {
    let index = routes.binary_search_by(|route| route.policy.path.cmp(path)).ok()?;
    routes.get(index)
}
";

/// The code of `routes.rs` for these workloads.
pub(super) fn table(model: &Model, callers: &[&str]) -> Option<String> {
    let mut code = HEAD.to_owned();
    let mut tables = String::new();
    for caller in callers {
        model.workload(caller)?;
        let constant = rust::shouting(caller);
        let mut packages: BTreeMap<&str, Vec<(&Service, &Method)>> = BTreeMap::new();
        for edge in model.edges().filter(|edge| edge.caller.name == *caller) {
            packages.entry(&edge.service.package).or_default().push((edge.service, edge.method));
        }
        let mut routes = BTreeMap::new();
        for (package, methods) in packages {
            let api = format!("{constant}_{}", rust::shouting(package));
            code += &package_statics(model, &api, package, &methods)?;
            for (index, (_, method)) in methods.iter().enumerate() {
                routes.insert(&method.path, (api.clone(), index));
            }
        }
        let _ = writeln!(tables, "    ({caller:?}, &[");
        for (api, index) in routes.values() {
            let _ = writeln!(tables, "        Route {{ policy: &{api}_METHODS[{index}], api: &{api} }},");
        }
        tables += "    ]),\n";
    }
    let _ = write!(
        code,
        "/// What each edge of this binary may call, in the order of paths.\n\
         pub static ROUTES: &[(&str, &[Route])] = &[\n{tables}];\n"
    );
    Some(code)
}

fn package_statics(model: &Model, name: &str, package: &str, methods: &[(&Service, &Method)]) -> Option<String> {
    let served_by = methods.first()?.0.policy.as_ref()?;
    let config = format!("{:?}", policy::service_config(methods)?);
    let api = policy::api_value(model, served_by, package, &format!("&{name}_METHODS"), &config, "&[]")?;
    let values: Option<Vec<_>> = methods.iter().map(|(_, method)| policy::method_value(model, method)).collect();
    let values = values?;
    Some(format!(
        "static {name}_METHODS: [::sekat_policy::MethodPolicy; {}] = [\n{},\n];\n\
         static {name}: ::sekat_policy::Api = {api};\n",
        values.len(),
        values.join(",\n"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lints::fixture::planted;

    #[test]
    fn an_edge_has_the_methods_that_it_may_call_in_the_order_of_paths() {
        let code = table(&planted(&[]).model(), &["shop-edge"]).expect("lawful");
        let (statics, routes) = code.split_once("pub static ROUTES").expect("a table");
        let paths: Vec<_> = statics.split("path: \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
        assert_eq!(paths, ["/sekat.shop.v1.OrderService/UpdateOrder", "/sekat.shop.v1.OrderService/GetOrder"]);
        let order: Vec<_> = routes.split("METHODS[").skip(1).filter_map(|rest| rest.split(']').next()).collect();
        assert_eq!(order, ["1", "0"], "GetOrder comes before UpdateOrder");
    }

    #[test]
    fn a_caller_that_does_not_exist_has_no_table() {
        assert!(table(&planted(&[]).model(), &["shop-edge", "side-door"]).is_none());
    }
}
