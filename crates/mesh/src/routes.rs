//! What answers admitted calls: the generated services of a contract, by name, or an edge's forwarder. (tonic's own
//! router would match the path a second time, after the table, and wrap both bodies once more on the way.)

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::{Request, Response};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Code, Status};
use tower::{Service, ServiceExt as _};

/// What a generated service's `call` returns.
type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// The generated services of one contract.
#[derive(Clone, Debug)]
pub struct Routes {
    services: HashMap<&'static str, Handler>,
    /// For all that no service has.
    others: Handler,
}

/// Answers calls.
#[derive(Clone)]
pub(crate) struct Handler(Arc<dyn Fn(Request<Body>) -> Answer + Send + Sync>);

impl Routes {
    /// One service.
    pub fn new<S>(service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = Answer>,
        S: NamedService + Clone + Send + Sync + 'static,
    {
        let unimplemented = |_| -> Answer {
            let status = Status::new(Code::Unimplemented, "the contract has the method and the workload does not");
            Box::pin(std::future::ready(Ok(status.into_http())))
        };
        Self { services: HashMap::new(), others: Handler(Arc::new(unimplemented)) }.add_service(service)
    }

    /// One more service.
    #[must_use]
    pub fn add_service<S>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future = Answer>,
        S: NamedService + Clone + Send + Sync + 'static,
    {
        // Generated services are always ready.
        self.services.insert(S::NAME, Handler(Arc::new(move |request| service.clone().call(request))));
        self
    }

    /// Hands every call to `forwarder`, whatever its method.
    pub fn forward<S>(forwarder: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        let forward = move |request| -> Answer { Box::pin(forwarder.clone().oneshot(request)) };
        Self { services: HashMap::new(), others: Handler(Arc::new(forward)) }
    }

    /// What answers the method with this path.
    pub(crate) fn handler(&self, path: &str) -> Handler {
        let service = path.trim_start_matches('/').split_once('/').map_or("", |(service, _)| service);
        self.services.get(service).unwrap_or(&self.others).clone()
    }
}

impl Handler {
    pub(crate) async fn call(&self, request: Request<Body>) -> Response<Body> {
        let Ok(response) = (self.0)(request).await;
        response
    }
}

impl fmt::Debug for Handler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handler")
    }
}
