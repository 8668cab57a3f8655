//! The workloads behind this edge: what the compiled method table names, and a channel to each.

use std::collections::BTreeMap;

use http::uri::PathAndQuery;
use sekat_mesh::{Channel, ConfigError, Mesh};
use sekat_policy::Api;
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

use crate::config::Role;
use crate::missing_method;
use crate::routes::{Route, route, routes};

/// The methods that this edge may call, and where.
#[derive(Debug)]
pub(crate) struct Upstreams {
    routes: &'static [Route],
    /// By package.
    channels: BTreeMap<&'static str, (&'static Api, Channel)>,
}

impl Upstreams {
    /// # Errors
    /// If the process has another identity than its role, or an upstream's address is missing.
    pub(crate) fn connect(mesh: &Mesh, role: Role) -> Result<Self, ConfigError> {
        let routes = routes(role.workload());
        if let Some(route) = routes.iter().find(|route| !route.policy.allows(mesh.id().as_str())) {
            return Err(ConfigError::Server(format!(
                "SEKAT_ROLE is {}, but SEKAT_IDENTITY_DIR holds {}, which may not call {}: set one of them right",
                role.workload(),
                mesh.id(),
                route.policy.path,
            )));
        }
        let mut channels = BTreeMap::new();
        for Route { api, .. } in routes {
            if !channels.contains_key(api.package) {
                channels.insert(api.package, (*api, mesh.client(api)?));
            }
        }
        Ok(Self { routes, channels })
    }

    /// The contracts, each reduced to what this edge may call.
    pub(crate) fn apis(&self) -> Vec<&'static Api> {
        self.channels.values().map(|(api, _)| *api).collect()
    }

    /// The method of a path, and the channel to the workload that serves it.
    pub(crate) fn find(&self, path: &str) -> Option<(&'static Route, &Channel)> {
        let route = route(self.routes, path)?;
        let (_, channel) = self.channels.get(route.api.package)?;
        Some((route, channel))
    }

    /// A method that this edge calls by itself.
    ///
    /// # Errors
    /// If the contracts do not have it.
    pub(crate) fn own(&self, path: &'static str) -> Result<Method, ConfigError> {
        let (route, channel) = self.find(path).ok_or_else(|| missing_method(path))?;
        Ok(Method { path: PathAndQuery::from_static(route.policy.path), channel: channel.clone() })
    }
}

/// A unary method whose outcome matters and whose answer's content does not.
#[derive(Clone, Debug)]
pub(crate) struct Method {
    path: PathAndQuery,
    channel: Channel,
}

impl Method {
    /// # Errors
    /// The status of the answer, if it is not OK.
    pub(crate) async fn call<M: prost::Message + 'static>(&self, request: Request<M>) -> Result<(), Status> {
        // `()` is a message of which every field is unknown and skipped.
        let codec = ProstCodec::<M, ()>::default();
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        let Ok(()) = client.ready().await;
        client.unary(request, self.path.clone(), codec).await.map(drop)
    }
}
