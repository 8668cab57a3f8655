//! The edge on which faults are planted, and spans of calls on it, in the manner of the spans around them.

use sekat_policy::Intent;
use sekat_policy::intent::{Audience, Workload};

use super::{Kind, Options, OwnedSpan, PEER, Role, dialect};
use crate::span::Span;

/// Who plays.
pub(super) struct Stage<'a> {
    pub(super) caller: &'a Workload,
    pub(super) callee: &'a str,
    callee_identity: &'a str,
    /// The path of a method that the caller may call.
    pub(super) method: &'a str,
    /// A workload and the path of a method of the callee, or one that does not exist, that it may not call.
    rogue: (&'a Workload, String),
    /// The identity of somebody who is not the caller.
    pub(super) stranger: &'a str,
    caller_service: &'a str,
    callee_service: &'a str,
    rogue_service: &'a str,
    /// The service.name of somebody who is not the callee.
    pub(super) other_service: &'a str,
    policy: Option<&'a str>,
    /// Whether servers write down their callers' certificates here.
    pub(super) certificates: bool,
    /// Whether spans come with their exporter's certificate here.
    exporters: bool,
}

/// When planted spans begin: before all real ones, so that they are among the witnesses that are kept.
const BEGIN_NS: u64 = 1_000_000_000;

impl<'a> Stage<'a> {
    /// The first edge between two workloads, one whose callee everybody needs a certificate for if there is one.
    pub(super) fn choose(intent: &'a Intent, options: &'a Options) -> Option<Self> {
        let edges = intent.edges.iter().filter_map(|edge| {
            let method = intent.method(&edge.method)?;
            let (caller, callee) = (intent.workload(&edge.caller)?, intent.workload(&method.workload)?);
            (caller.name != callee.name).then_some((caller, callee, method.path.as_str()))
        });
        let is_public = |workload: &Workload| workload.ports.iter().any(|port| port.audience == Audience::Public);
        let (caller, callee, method) = edges.min_by_key(|(_, callee, _)| is_public(callee))?;
        let service = |workload: &'a Workload| {
            let mapped = options.services.iter().find(|(_, name)| **name == workload.name);
            mapped.map_or(workload.name.as_str(), |(service, _)| service.as_str())
        };
        let forbidden = intent.methods.iter().filter(|method| method.workload == callee.name).find_map(|method| {
            let may_not = |who: &&Workload| who.name != callee.name && !intent.allows(&who.name, &method.path);
            intent.workloads.iter().find(may_not).map(|who| (who, method.path.clone()))
        });
        let rogue = forbidden.unwrap_or((caller, "/sekat.selftest.v1.Rogue/Call".to_owned()));
        let stranger = intent.workloads.iter().find(|who| who.name != caller.name && who.name != callee.name);
        Some(Self {
            caller,
            callee: &callee.name,
            callee_identity: &callee.identity,
            method,
            rogue_service: service(rogue.0),
            rogue,
            stranger: stranger.map_or("spiffe://self-test.invalid/stranger", |who| who.identity.as_str()),
            caller_service: service(caller),
            callee_service: service(callee),
            other_service: stranger.map_or("sekat-self-test-stranger", service),
            policy: options.policy_digests.first().map(String::as_str),
            certificates: true,
            exporters: false,
        })
    }

    pub(super) fn in_the_manner_of(self, spans: &[OwnedSpan], certificates: bool) -> Self {
        let exporters = spans.iter().any(|span| !span.exporter.is_empty());
        Self { certificates, exporters, ..self }
    }

    /// Both halves of a good call, in a trace of its own.
    pub(super) fn pair(&self, number: u8) -> [OwnedSpan; 2] {
        self.call(number, self.caller, self.caller_service, self.method)
    }

    /// Both halves of a call that is not allowed and got in.
    pub(super) fn rogue_pair(&self, number: u8) -> [OwnedSpan; 2] {
        self.call(number, self.rogue.0, self.rogue_service, &self.rogue.1)
    }

    fn call(&self, number: u8, caller: &Workload, service: &str, path: &str) -> [OwnedSpan; 2] {
        let name = path.trim_start_matches('/');
        let package = name.split_once('/').map_or(name, |(service, _)| service);
        let at = BEGIN_NS + u64::from(number) * 1_000_000;
        let mut client = OwnedSpan {
            service: service.to_owned(),
            instance: format!("sekat-self-test-{}", caller.name),
            exporter: self.exporter(&caller.identity),
            trace_id: [number; 16],
            span_id: [0xc0, 0, 0, 0, 0, 0, 0, number],
            flags: 0x101,
            name: name.to_owned(),
            kind: Kind::Client,
            start_ns: at,
            end_ns: at + 900_000,
            grpc_status_code: Some(0),
            ..OwnedSpan::default()
        };
        let [system, system_name, rpc_service, method, _, status, ..] = &mut client.texts;
        (*system, *system_name) = ("grpc".to_owned(), "grpc".to_owned());
        (*rpc_service, *method, *status) = (package.to_owned(), name.to_owned(), "OK".to_owned());
        let mut server = OwnedSpan {
            service: self.callee_service.to_owned(),
            instance: format!("sekat-self-test-{}", self.callee),
            exporter: self.exporter(self.callee_identity),
            span_id: [0x50, 0, 0, 0, 0, 0, 0, number],
            parent_id: client.span_id,
            flags: 0x301,
            kind: Kind::Server,
            start_ns: at + 100_000,
            end_ns: at + 800_000,
            ..client.clone()
        };
        if self.certificates {
            let [.., peer, decision, policy, _] = &mut server.texts;
            (*peer, *decision) = (caller.identity.clone(), "allow".to_owned());
            *policy = self.policy.unwrap_or("sekat-self-test").to_owned();
        }
        [client, server]
    }

    fn exporter(&self, identity: &str) -> String {
        if self.exporters { identity.to_owned() } else { String::new() }
    }

    /// Caller, method and status of a span, if it is one that the callee's counters count.
    pub(super) fn counted(&self, span: &OwnedSpan) -> Option<(String, String, String)> {
        let texts = span.texts.each_ref().map(String::as_str);
        let mut attributes = super::Attributes { rpc_grpc_status_code: span.grpc_status_code, ..Default::default() };
        [
            attributes.rpc_system,
            attributes.rpc_system_name,
            attributes.rpc_service,
            attributes.rpc_method,
            attributes.rpc_method_original,
            attributes.rpc_response_status_code,
            attributes.rpc_status_code,
            ..,
        ] = texts;
        let mine = Span {
            name: &span.name,
            kind: span.kind,
            failed: span.failed,
            status_message: &span.status_message,
            attributes,
            ..Span::default()
        };
        let call =
            dialect::read(&mine).filter(|call| call.role == Role::Server && span.service == self.callee_service)?;
        let method = call.method.filter(|_| !call.unknown);
        let path = method.map_or("_OTHER".to_owned(), |method| format!("/{}/{}", method.service, method.method));
        let status = call.status.map_or(String::new(), |status| status.name().to_owned());
        let peer = texts.get(PEER).copied().unwrap_or_default();
        Some((peer.to_owned(), path, status))
    }
}
