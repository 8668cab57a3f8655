//! gRPC reflection, in the dev profile only: on the mesh port and for `ops` alone, through the same stack as
//! everything else.

use std::time::Duration;

use sekat_policy::{Api, ClassSet, Listener, MethodKind, MethodPolicy};

use crate::mesh::{ConfigError, Mesh};
use crate::routes::Routes;

const PATH: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
/// For the first answer; the exchange itself is a stream.
const DEADLINE: Duration = Duration::from_secs(5);

/// The reflection service over `apis`, and the rule that lets `ops` of the own domain call it.
pub(crate) fn service(mesh: &Mesh, apis: &[&'static Api]) -> Result<(&'static Api, Routes), ConfigError> {
    let mut builder = tonic_reflection::server::Builder::configure();
    for api in apis.iter().filter(|api| !api.descriptor_set.is_empty()) {
        builder = builder.register_encoded_file_descriptor_set(api.descriptor_set);
    }
    let service = builder.build_v1().map_err(|error| ConfigError::Server(format!("reflection: {error}")))?;
    Ok((rule(mesh), Routes::new(service)))
}

/// Rules live as long as the process and are shared by reference; this one is made at run time, once, and so leaks.
fn rule(mesh: &Mesh) -> &'static Api {
    let ops: &'static str = format!("spiffe://{}/ops", mesh.id().trust_domain()).leak();
    let method = MethodPolicy {
        path: PATH,
        callers: vec![ops].leak(),
        request: ClassSet::EMPTY,
        response: ClassSet::EMPTY,
        kind: MethodKind::ServerStream,
        scopes: &[],
        deadline: DEADLINE,
    };
    Box::leak(Box::new(Api {
        package: "grpc.reflection.v1",
        workload: mesh.workload(),
        domain: "",
        server_id: "",
        listener: Listener::Mesh,
        methods: vec![method].leak(),
        service_config: "{}",
        descriptor_set: &[],
    }))
}
