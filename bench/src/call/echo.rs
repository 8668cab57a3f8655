//! The one method that all servers serve: it answers with what it was sent.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use sekat_identity::SpiffeId;
use sekat_policy::{Api, ClassSet, DataClass, Listener, MethodKind, MethodPolicy};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService, UnaryService};
use tonic_prost::ProstCodec;

use super::TRUST_DOMAIN;

/// The method's path; the bare server and both contracts have the same.
pub(super) const PATH: &str = "/bench.v1.EchoService/Echo";
pub(super) const ECHO_ID: &str = "spiffe://bench.sekat.local/echo";
const CALLER_ID: &str = "spiffe://bench.sekat.local/caller";

/// The identity of a name in this measurement.
pub(super) fn id(name: &str) -> anyhow::Result<SpiffeId> {
    Ok(format!("spiffe://{TRUST_DOMAIN}/{name}").parse()?)
}

/// Request and answer.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Blob {
    #[prost(bytes = "bytes", tag = "1")]
    pub(super) payload: bytes::Bytes,
}

const fn contract(methods: &'static [MethodPolicy]) -> Api {
    Api {
        package: "bench.v1",
        workload: "echo",
        domain: "bench",
        server_id: ECHO_ID,
        listener: Listener::Mesh,
        methods,
        service_config: "",
        descriptor_set: &[],
    }
}

const fn method(classes: ClassSet) -> MethodPolicy {
    MethodPolicy {
        path: PATH,
        callers: &[CALLER_ID],
        request: classes,
        response: classes,
        kind: MethodKind::Read,
        scopes: &[],
        deadline: Duration::from_secs(5),
    }
}

/// Data that anybody may see: no access record.
pub(super) static PUBLIC: Api = contract(&[method(ClassSet::EMPTY.with(DataClass::Public))]);
/// Data of a person: an access record before each answer.
pub(super) static RECORDED: Api = contract(&[method(ClassSet::EMPTY.with(DataClass::User))]);

/// The handler, as generated code would put it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Echo;

impl NamedService for Echo {
    const NAME: &'static str = "bench.v1.EchoService";
}

impl UnaryService<Blob> for Echo {
    type Response = Blob;
    type Future = Ready<Result<tonic::Response<Blob>, tonic::Status>>;

    fn call(&mut self, request: tonic::Request<Blob>) -> Self::Future {
        ready(Ok(tonic::Response::new(request.into_inner())))
    }
}

impl tower::Service<Request<Body>> for Echo {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(async move { Ok(Grpc::new(ProstCodec::default()).unary(Self, request).await) })
    }
}
