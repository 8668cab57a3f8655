//! Which address a call goes to: of two drawn at random the less busy one, and one that fails only if all do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use sekat_identity::tls::client_config;
use sekat_identity::{Source, SpiffeId};
use tokio::sync::watch;

use super::address::{Address, Addresses};
use super::endpoint::{Connector, Endpoint};
use super::wire::Failure;

/// Between two look-ups of names: new replicas get their share this soon.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(30);
/// Between two look-ups while there is no address at all.
const RESOLVE_RETRY: Duration = Duration::from_secs(1);
/// Addresses of one workload.
const ENDPOINTS: usize = 256;

type Endpoints = Arc<[Arc<Endpoint>]>;

/// The addresses of one workload and their connections.
pub(super) struct Balancer {
    /// None until names were looked up for the first time.
    endpoints: watch::Receiver<Option<Endpoints>>,
}

impl Balancer {
    pub(super) fn new(addresses: &Addresses, source: &Source, server: &SpiffeId) -> Self {
        let connector = Arc::new(Connector::new(client_config(source, server.clone()), source, server));
        let (set, endpoints) = watch::channel(None);
        match addresses.fixed() {
            Some(fixed) => {
                set.send_replace(Some(reuse(&[], &fixed, &connector)));
            }
            None => {
                tokio::spawn(resolve_forever(addresses.clone(), connector, set));
            }
        }
        Self { endpoints }
    }

    /// An address to try.
    pub(super) async fn pick(&self) -> Result<Arc<Endpoint>, Failure> {
        let known = self.endpoints.borrow().clone();
        let endpoints = match known {
            Some(endpoints) => endpoints,
            None => self.first_endpoints().await?,
        };
        choose(&endpoints).cloned().ok_or_else(Failure::unreachable)
    }

    async fn first_endpoints(&self) -> Result<Endpoints, Failure> {
        let mut endpoints = self.endpoints.clone();
        let found = endpoints.wait_for(Option::is_some).await.map_err(|_| Failure::unreachable())?;
        found.clone().ok_or_else(Failure::unreachable)
    }
}

/// The less busy of two usable endpoints drawn at random.
fn choose(endpoints: &[Arc<Endpoint>]) -> Option<&Arc<Endpoint>> {
    let count = endpoints.len();
    let first = rand::random_range(0..count.max(1));
    // Two different ones, if there are two.
    let second = if count > 1 { (first + rand::random_range(1..count)) % count } else { first };
    let drawn = [endpoints.get(first)?, endpoints.get(second)?];
    let usable = |endpoint: &&Arc<Endpoint>| !endpoint.is_failing();
    drawn.into_iter().filter(usable).min_by_key(|endpoint| endpoint.busy()).or_else(|| endpoints.iter().find(usable))
}

/// Endpoints for `addresses`; those that were there before keep their connections.
fn reuse(before: &[Arc<Endpoint>], addresses: &[SocketAddr], connector: &Arc<Connector>) -> Endpoints {
    let endpoint = |address: &SocketAddr| {
        let known = before.iter().find(|endpoint| endpoint.address() == *address);
        known.cloned().unwrap_or_else(|| Endpoint::new(*address, Arc::clone(connector)))
    };
    addresses.iter().take(ENDPOINTS).map(endpoint).collect()
}

async fn resolve_forever(addresses: Addresses, connector: Arc<Connector>, set: watch::Sender<Option<Endpoints>>) {
    while !set.is_closed() {
        let mut found = resolve(&addresses).await;
        found.sort_unstable();
        found.dedup();
        if !found.is_empty() {
            let before = set.borrow().clone().unwrap_or_default();
            set.send_replace(Some(reuse(&before, &found, &connector)));
        }
        // Names that no longer resolve leave the old addresses in place: a resolver's trouble is not the callee's.
        let pause = if set.borrow().is_some() { RESOLVE_INTERVAL } else { RESOLVE_RETRY };
        tokio::time::sleep(pause).await;
    }
}

async fn resolve(addresses: &Addresses) -> Vec<SocketAddr> {
    let mut found = Vec::new();
    for address in addresses.iter() {
        match address {
            Address::Fixed(address) => found.push(*address),
            Address::Name(name) => match tokio::net::lookup_host(name).await {
                Ok(resolved) => found.extend(resolved),
                Err(error) => {
                    tracing::warn!(name, error = &error as &dyn std::error::Error, "a name could not be looked up");
                }
            },
        }
    }
    found
}
