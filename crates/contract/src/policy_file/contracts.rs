//! Which methods there are, who serves them and what they carry: from `.proto` files, from descriptor sets, or stated
//! one by one.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use prost_reflect::DescriptorPool;
use sekat_policy::intent::{Audience, Classes, Method};
use sekat_policy::{Intent, Span};
use sekat_yaml::Node;

use super::fields::Fields;
use super::reader::Reader;
use super::sections::class_set;
use super::{NO_DESCRIPTORS, UNSERVED, values};
use crate::intent_lints::UNKNOWN;
use crate::model::{Model, Service};
use crate::source::Source;
use crate::suggest::did_you_mean;

pub(super) const METHOD: [&str; 2] = ["request", "response"];

/// That a workload serves a gRPC service.
pub(super) struct Claim {
    pub(super) service: String,
    pub(super) workload: String,
    /// Nothing if it could not be told, which is a finding already.
    pub(super) port: Option<String>,
    pub(super) span: Span,
}

/// What `methods` states about a method; it overrides what its messages say.
struct Stated {
    request: Option<Classes>,
    response: Option<Classes>,
    span: Span,
}

/// All methods that somebody serves.
pub(super) fn methods(
    reader: &mut Reader<'_>,
    root: &Node,
    folder: &Path,
    intent: &Intent,
    claims: Vec<Claim>,
) -> Vec<Method> {
    let models = models(reader, root.get("protos"), folder);
    let stated = stated(reader, root.get("methods"), intent);
    let unserved = reader.set(root.get("unserved"), values::proto_name);
    let claims = by_service(reader, claims);
    let mut fields = Fields::read(reader, root.get("fields"), intent);
    let mut served = Served { intent, claims, stated, methods: Vec::new() };
    for model in &models {
        for service in &model.services {
            served.service(reader, model, service, &mut fields, &unserved);
        }
    }
    fields.report_unmatched(reader, &models);
    let known: BTreeSet<&str> = models.iter().flat_map(|model| &model.services).map(|it| it.name.as_str()).collect();
    served.without_contract(reader, &known);
    served.methods
}

/// The contracts that `protos` names: folders of `.proto` files, or files with an encoded `FileDescriptorSet`.
fn models(reader: &mut Reader<'_>, node: Option<&Node>, folder: &Path) -> Vec<Model> {
    let mut models = Vec::new();
    for (name, span) in reader.texts(node, values::any) {
        let path = folder.join(&name);
        let shown = path.display().to_string();
        let source = if path.extension().is_some_and(|extension| extension != "proto") && path.is_file() {
            match std::fs::read(&path)
                .map_err(|error| error.to_string())
                .and_then(|bytes| DescriptorPool::decode(bytes.as_slice()).map_err(|error| error.to_string()))
            {
                Ok(pool) => Source::of_pool(pool, &shown),
                Err(error) => {
                    let message = format!("`{name}` is no descriptor set: {error}");
                    let help = "write one with `buf build -o FILE.binpb` or `protoc --include_imports -o FILE`";
                    reader.report(NO_DESCRIPTORS, span, message, help);
                    continue;
                }
            }
        } else if path.is_dir() {
            Source::load(&path, &shown)
        } else {
            let message = format!("`{name}` is neither a folder of .proto files nor a descriptor set");
            reader.report(NO_DESCRIPTORS, span, message, "name one that exists, relative to the policy file");
            continue;
        };
        reader.findings.extend(source.findings.iter().cloned());
        models.push(crate::read::model(&source.pool, &source.places()));
    }
    models
}

fn stated(reader: &mut Reader<'_>, node: Option<&Node>, intent: &Intent) -> BTreeMap<String, Stated> {
    let mut stated = BTreeMap::new();
    for (key, value) in reader.entries(node) {
        if let Err(help) = values::method_path(&key.name) {
            reader.report(super::MALFORMED, key.span(reader.file), format!("`{}` is no method", key.name), help);
            continue;
        }
        if !reader.is_section(value, &METHOD) {
            continue;
        }
        let mut classes = |key| value.get(key).map(|node| class_set(reader, Some(node), intent));
        let (request, response) = (classes("request"), classes("response"));
        let path = format!("/{}", key.name.trim_start_matches('/'));
        stated.insert(path, Stated { request, response, span: key.span(reader.file) });
    }
    stated
}

fn by_service(reader: &mut Reader<'_>, claims: Vec<Claim>) -> BTreeMap<String, Claim> {
    let mut by_service: BTreeMap<String, Claim> = BTreeMap::new();
    for claim in claims {
        if let Some(first) = by_service.get(&claim.service) {
            let message = format!("`{}` is served by `{}` and by `{}`", claim.service, first.workload, claim.workload);
            let help = "keep one: a method has one server, or nobody knows where a call goes";
            reader.report(UNSERVED, claim.span, message, help);
        } else {
            by_service.insert(claim.service.clone(), claim);
        }
    }
    by_service
}

struct Served<'a> {
    intent: &'a Intent,
    claims: BTreeMap<String, Claim>,
    stated: BTreeMap<String, Stated>,
    methods: Vec<Method>,
}

impl Served<'_> {
    /// The methods of a service that a contract describes.
    fn service(
        &mut self,
        reader: &mut Reader<'_>,
        model: &Model,
        service: &Service,
        fields: &mut Fields,
        unserved: &BTreeSet<String>,
    ) {
        let claim = self.claims.remove(&service.name);
        let server = match &claim {
            Some(claim) => claim.port.clone().map(|port| (claim.workload.clone(), port)),
            None => self.by_option(service),
        };
        if server.is_none() && claim.is_none() && !unserved.contains(&service.name) {
            let message = format!("no service serves `{}`", service.name);
            let help = "add it to `proto` of its server, or to `unserved` if nobody in the mesh serves it";
            reader.report(UNSERVED, service.span.clone(), message, help);
        }
        for method in &service.methods {
            let stated = self.stated.remove(&method.path);
            let Some((workload, port)) = server.clone() else { continue };
            let (request, response) = stated.map_or((None, None), |stated| (stated.request, stated.response));
            let mut carried = |message: &str| self.intent.closed(&fields.classes(reader, model, message, self.intent));
            let request = request.unwrap_or_else(|| carried(&method.request));
            let response = response.unwrap_or_else(|| carried(&method.response));
            let (path, span) = (method.path.clone(), method.span.clone());
            self.methods.push(Method { path, workload, port, request, response, span });
        }
    }

    /// The server that the contract itself names by its options.
    fn by_option(&self, service: &Service) -> Option<(String, String)> {
        let workload = self.intent.workload(&service.policy.as_ref()?.workload)?;
        let mut ports = workload.ports.iter().filter(|port| port.audience == Audience::Callers);
        let port = ports.next()?;
        ports.next().is_none().then(|| (workload.name.clone(), port.name.clone()))
    }

    /// The methods that `methods` states of services without a contract, and the claims that come to nothing.
    fn without_contract(&mut self, reader: &mut Reader<'_>, described: &BTreeSet<&str>) {
        let mut found = BTreeSet::new();
        for (path, stated) in std::mem::take(&mut self.stated) {
            let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
            if described.contains(service) {
                let of_service = self.methods.iter().map(|method| method.path.as_str());
                let message = format!("`{path}` does not exist{}", did_you_mean(&path, of_service));
                reader.report(UNKNOWN, stated.span, message, "name a method of the contracts");
                continue;
            }
            let Some(claim) = self.claims.get(service) else {
                let known = self.claims.keys().map(String::as_str).chain(described.iter().copied());
                let message = format!("no service serves `{service}`{}", did_you_mean(service, known));
                reader.report(UNSERVED, stated.span, message, "add it to `proto` of its server");
                continue;
            };
            found.insert(service.to_owned());
            if stated.request.is_none() || stated.response.is_none() {
                let message = format!("`{path}` has no contract and does not say what it carries");
                let help = "state `request` and `response`, each a list of classes, perhaps an empty one";
                reader.report(super::OPAQUE, stated.span, message, help);
                continue;
            }
            if let Some(port) = &claim.port {
                self.methods.push(Method {
                    workload: claim.workload.clone(),
                    port: port.clone(),
                    request: stated.request.unwrap_or_default(),
                    response: stated.response.unwrap_or_default(),
                    path,
                    span: stated.span,
                });
            }
        }
        for claim in self.claims.values().filter(|claim| !found.contains(&claim.service)) {
            let near = did_you_mean(&claim.service, described.iter().copied());
            let message = format!("nothing says which methods `{}` has{near}", claim.service);
            let help = "add its contract to `protos`, or its methods to `methods`";
            reader.report(UNSERVED, claim.span.clone(), message, help);
        }
    }
}
