//! Who may call what: the table made of the registered contracts, exact and denying by default, and the [`Permit`]
//! that only this module makes.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use ring::digest::{SHA256, digest};
use sekat_identity::SpiffeId;
use sekat_identity::end_user::{EndUserClaims, Scope};
use sekat_policy::{Access, Api, MethodPolicy};
use tonic::{Code, Status};

use crate::context::{TraceContext, push_hex};
use crate::end_user::wrong_scope;
use crate::refusal::refuse;
use crate::routes::{Handler, Routes};
use crate::telemetry::call::MethodSpan;
use crate::telemetry::counters::OTHER;
use crate::telemetry::otlp::{Attributes, Kind};

/// One method of the table.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) policy: &'static MethodPolicy,
    pub(crate) span: MethodSpan,
    /// The row of the method in counters.
    pub(crate) index: usize,
    pub(crate) handler: Handler,
}

/// All methods of one listener. What is not in it is denied.
#[derive(Debug)]
pub(crate) struct Table {
    rules: HashMap<&'static str, Arc<Rule>>,
    pub(crate) methods: Arc<[&'static str]>,
    /// Of all its contracts, for refusals; a method's span names the digest of its own contract.
    pub(crate) digest: String,
    pub(crate) unknown: MethodSpan,
}

impl Table {
    pub(crate) fn new(domain: &str, served: Vec<(&'static Api, Routes)>) -> Self {
        let apis: Vec<&'static Api> = served.iter().map(|(api, _)| *api).collect();
        let digest = policy_digest(&apis);
        let methods: Arc<[&'static str]> = apis.iter().flat_map(|api| api.methods).map(|method| method.path).collect();
        let common =
            |digest: &str| Attributes::default().text("sekat.domain", domain).text("sekat.policy.digest", digest);
        let unknown = MethodSpan::new(OTHER, Kind::Server, &common(&digest));
        let policies = served.into_iter().flat_map(|(api, routes)| {
            let attributes = common(&policy_digest(&[api]));
            api.methods.iter().map(move |method| (method, attributes.clone(), routes.handler(method.path)))
        });
        let rules = policies.enumerate().map(|(index, (policy, attributes, handler))| {
            let attributes = attributes.text("sekat.data_class", &policy.classes().to_string());
            let span = MethodSpan::new(policy.path, Kind::Server, &attributes);
            (policy.path, Arc::new(Rule { policy, span, index, handler }))
        });
        Self { rules: rules.collect(), methods, digest, unknown }
    }

    /// The rule of exactly this path.
    pub(crate) fn rule(&self, path: &str) -> Option<&Arc<Rule>> {
        self.rules.get(path)
    }
}

/// The digest of the rules of some contracts, as spans and audit events name them: the first half of the SHA-256, in
/// hexadecimal, of one line a method, sorted by path, of its path, callers, kind, scopes and classes.
#[must_use]
pub fn policy_digest(apis: &[&Api]) -> String {
    let mut lines: Vec<String> = apis
        .iter()
        .flat_map(|api| api.methods)
        .map(|method| {
            let MethodPolicy { path, callers, kind, scopes, request, response, .. } = method;
            format!("{path}\t{}\t{kind:?}\t{scopes:?}\t{request}\t{response}\n", callers.join(","))
        })
        .collect();
    lines.sort();
    let digest = digest(&SHA256, lines.concat().as_bytes());
    let mut text = String::with_capacity(32);
    push_hex(&mut text, digest.as_ref().get(..16).unwrap_or_default());
    text
}

/// The one answer to every caller that the policy does not name, whether or not the method exists.
pub(crate) fn policy_denied() -> Status {
    refuse(Code::PermissionDenied, "POLICY_DENIED", "the policy does not allow this call")
}

/// Proof that the policy admitted a call. Handlers hand it to whatever touches classified data; nothing but the
/// stack makes one.
#[derive(Clone, Debug)]
pub struct Permit(Arc<Grant>);

#[derive(Debug)]
struct Grant {
    caller: SpiffeId,
    access: Arc<Access>,
    end_user: Option<Arc<EndUserClaims>>,
    deadline: Instant,
    trace: TraceContext,
}

impl Permit {
    pub(crate) fn grant(
        caller: &SpiffeId,
        policy: &'static MethodPolicy,
        end_user: Option<Arc<EndUserClaims>>,
        deadline: Instant,
        trace: TraceContext,
    ) -> Self {
        let access = Access::new(
            caller.as_str().to_owned(),
            end_user.as_ref().map(|claims| claims.sub.clone()).unwrap_or_default(),
            policy.path,
            policy.classes(),
            trace.trace_id,
            // A span that nobody records is none.
            if trace.sampled { trace.span_id } else { [0; 8] },
        );
        Self(Arc::new(Grant { caller: caller.clone(), access: Arc::new(access), end_user, deadline, trace }))
    }

    /// The permit of a request. Take it before `into_inner`.
    ///
    /// # Errors
    /// `INTERNAL` if the request did not come through the stack, which is a mistake in the program.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<Self, Status> {
        request
            .extensions()
            .get::<Self>()
            .cloned()
            .ok_or_else(|| refuse(Code::Internal, "NO_PERMIT", "the request did not pass the authorization layer"))
    }

    /// The calling workload, from its certificate.
    #[must_use]
    pub fn caller(&self) -> &SpiffeId {
        &self.0.caller
    }

    /// The access to be recorded; hand it to the store's write so that both are durable in one transaction.
    #[must_use]
    pub fn access(&self) -> &Arc<Access> {
        &self.0.access
    }

    /// The end user on whose behalf the caller calls, if it forwarded a token.
    #[must_use]
    pub fn end_user(&self) -> Option<&EndUserClaims> {
        self.0.end_user.as_deref()
    }

    /// The account that is signed in as a buyer or as a seller, `accounts/{account}`.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without an end user, `PERMISSION_DENIED` for a creator.
    pub fn account(&self) -> Result<&str, Status> {
        let claims = self.signed_in()?;
        if claims.scope == Scope::Creator { Err(wrong_scope()) } else { Ok(&claims.sub) }
    }

    /// The account that is signed in as a buyer, `accounts/{account}`.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without an end user, `PERMISSION_DENIED` for another scope.
    pub fn buyer(&self) -> Result<&str, Status> {
        let claims = self.signed_in()?;
        if claims.scope == Scope::Buyer { Ok(&claims.sub) } else { Err(wrong_scope()) }
    }

    /// The account that is signed in as a seller and its merchant: `accounts/{account}`, `merchants/{merchant}`.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without an end user, `PERMISSION_DENIED` for another scope.
    pub fn seller(&self) -> Result<(&str, &str), Status> {
        let claims = self.signed_in()?;
        match (claims.scope, &claims.merchant) {
            (Scope::Seller, Some(merchant)) => Ok((&claims.sub, merchant)),
            _ => Err(wrong_scope()),
        }
    }

    /// The public handle that is signed in as a creator.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` without an end user, `PERMISSION_DENIED` for another scope.
    pub fn creator(&self) -> Result<&str, Status> {
        let claims = self.signed_in()?;
        if claims.scope == Scope::Creator { Ok(&claims.sub) } else { Err(wrong_scope()) }
    }

    /// When the caller stops waiting for the response.
    #[must_use]
    pub fn deadline(&self) -> Instant {
        self.0.deadline
    }

    /// The place of the call's server span; store it with work that goes on after the response.
    #[must_use]
    pub fn trace(&self) -> TraceContext {
        self.0.trace
    }

    fn signed_in(&self) -> Result<&EndUserClaims, Status> {
        self.end_user().ok_or_else(|| refuse(Code::Unauthenticated, "END_USER_REQUIRED", "sign in first"))
    }
}

/// Who is at the other end of a call to a public listener; in the extensions of the requests that a forwarder gets.
#[derive(Clone)]
pub struct Visitor {
    /// Where the connection comes from; for rate limits, never for logs.
    pub address: SocketAddr,
    /// The signed-in end user.
    pub end_user: Option<Arc<EndUserClaims>>,
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor").finish_non_exhaustive()
    }
}
