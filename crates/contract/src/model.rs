//! A contract tree as plain values: domains, workloads, services, messages, and what they state about themselves.
//! It knows no protobuf library; what a contract leaves out is `None` here, and it is a lint's task to say so.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sekat_policy::{ClassSet, DataClass, EndUserScope, Listener, Span};

/// Everything that a tree of contracts states.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The domains, in the order of the topology.
    pub domains: Vec<Domain>,
    /// The workloads, in the order of the topology.
    pub workloads: Vec<Workload>,
    /// Where topologies are declared; a sound tree has exactly one.
    pub topologies: Vec<Span>,
    /// The files, in the order of their names.
    pub files: Vec<File>,
    /// The services, in the order of file name and declaration.
    pub services: Vec<Service>,
    /// All messages by full name, the imported `google.*` ones among them.
    pub messages: BTreeMap<String, Message>,
    /// The enums of the contracts by full name.
    pub enums: BTreeMap<String, Enum>,
}

/// A part of the mesh under one owner.
#[derive(Clone, Debug)]
pub struct Domain {
    /// Its name, for instance `commerce`.
    pub name: String,
    /// Its SPIFFE trust domain.
    pub trust_domain: String,
    /// The classes that its workloads may hold, PUBLIC and INTERNAL always among them.
    pub may_hold: ClassSet,
}

/// A process of the mesh.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its name, unique in the mesh.
    pub name: String,
    /// The name of its domain.
    pub domain: String,
    /// Whether it forwards the calls of end users.
    pub edge: bool,
    /// Whether it may open connections to hosts outside of the mesh.
    pub egress: bool,
}

/// A file of the tree.
#[derive(Clone, Debug)]
pub struct File {
    /// Its path below the root of the tree, with slashes.
    pub name: String,
    /// Its package.
    pub package: String,
    /// What it imports, by name, each with its place.
    pub imports: Vec<(String, Span)>,
}

/// A gRPC service.
#[derive(Clone, Debug)]
pub struct Service {
    /// The full name, for instance `sekat.order.v1.OrderService`.
    pub name: String,
    /// The package of its file.
    pub package: String,
    /// Where it is declared.
    pub span: Span,
    /// Whether it has a comment.
    pub documented: bool,
    /// Who serves it, if it says so.
    pub policy: Option<ServicePolicy>,
    /// Its methods, in the order of declaration.
    pub methods: Vec<Method>,
}

/// Who serves a service.
#[derive(Clone, Debug)]
pub struct ServicePolicy {
    /// The name of the domain.
    pub domain: String,
    /// The name of the workload.
    pub workload: String,
    /// The port.
    pub listener: Listener,
}

/// A method of a service.
#[derive(Clone, Debug)]
pub struct Method {
    /// The name without the service's, for instance `CreateOrder`.
    pub name: String,
    /// The gRPC path, for instance `/sekat.order.v1.OrderService/CreateOrder`.
    pub path: String,
    /// Where it is declared.
    pub span: Span,
    /// Whether it has a comment.
    pub documented: bool,
    /// The full name of the request's type.
    pub request: String,
    /// The full name of the response's type.
    pub response: String,
    /// Whether the request streams.
    pub client_streaming: bool,
    /// Whether the response streams.
    pub server_streaming: bool,
    /// Who may call it, if it says so.
    pub policy: Option<MethodPolicy>,
}

/// Who may call a method, and how.
#[derive(Clone, Debug)]
pub struct MethodPolicy {
    /// The names of the workloads that may call it.
    pub callers: Vec<String>,
    /// Whether it has effects, if it says so.
    pub kind: Option<Effect>,
    /// The end-user scopes of which one suffices. `None` is a scope that says nothing.
    pub scopes: Vec<Option<EndUserScope>>,
    /// The deadline in milliseconds, if it states one.
    pub deadline_ms: Option<u32>,
}

/// Whether a method has effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It changes nothing.
    Read,
    /// It has an effect at most once for each `request_id`.
    Write,
}

/// A message type.
#[derive(Clone, Debug)]
pub struct Message {
    /// The full name.
    pub name: String,
    /// The package of its file.
    pub package: String,
    /// Where it is declared.
    pub span: Span,
    /// Whether it has a comment.
    pub documented: bool,
    /// Its fields in the order of declaration, those of its oneofs among them.
    pub fields: Vec<Field>,
    /// Its oneofs in the order of declaration, without those that only make a field optional.
    pub oneofs: Vec<Oneof>,
    /// Whether files that this one does not know may add fields to it, as proto2 allows.
    pub extensible: bool,
}

/// A oneof of a message.
#[derive(Clone, Debug)]
pub struct Oneof {
    /// The name.
    pub name: String,
    /// Where it is declared.
    pub span: Span,
    /// Whether it has a comment.
    pub documented: bool,
}

/// A field of a message.
#[derive(Clone, Debug)]
pub struct Field {
    /// The name.
    pub name: String,
    /// Where it is declared.
    pub span: Span,
    /// Whether it has a comment.
    pub documented: bool,
    /// The type, of each element if it repeats.
    pub ty: FieldType,
    /// How often it occurs.
    pub cardinality: Cardinality,
    /// The oneof to which it belongs.
    pub oneof: Option<String>,
    /// What it holds, if it says so.
    pub class: Option<DataClass>,
    /// The most bytes that it may hold, if it says so.
    pub max_bytes: Option<u32>,
    /// The names of its field behaviours, for instance `REQUIRED`.
    pub behaviors: Vec<String>,
}

/// The type of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// Any number or bool.
    Scalar,
    /// Unicode text.
    Text,
    /// Uninterpreted bytes.
    Bytes,
    /// The enum of that full name.
    Enum(String),
    /// The message of that full name.
    Message(String),
    /// A map with values of that type.
    Map(Box<FieldType>),
}

/// How often a field occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cardinality {
    /// Always there; a scalar that was not set is its default.
    Implicit,
    /// There or not.
    Optional,
    /// Any number of times. Maps too.
    Repeated,
}

/// An enum type.
#[derive(Clone, Debug)]
pub struct Enum {
    /// The full name.
    pub name: String,
    /// The package of its file.
    pub package: String,
    /// Where it is declared.
    pub span: Span,
    /// Whether it has a comment.
    pub documented: bool,
    /// The values in the order of declaration.
    pub values: Vec<EnumValue>,
}

/// A value of an enum.
#[derive(Clone, Debug)]
pub struct EnumValue {
    /// The name.
    pub name: String,
    /// Where it is declared.
    pub span: Span,
    /// Whether it has a comment.
    pub documented: bool,
}

/// One workload's right to call one method.
#[derive(Clone, Copy, Debug)]
pub struct Edge<'a> {
    /// Who may call.
    pub caller: &'a Workload,
    /// Who serves.
    pub callee: &'a Workload,
    /// The method's service.
    pub service: &'a Service,
    /// The method.
    pub method: &'a Method,
}

impl Model {
    /// The domain of that name.
    #[must_use]
    pub fn domain(&self, name: &str) -> Option<&Domain> {
        self.domains.iter().find(|domain| domain.name == name)
    }

    /// The workload of that name.
    #[must_use]
    pub fn workload(&self, name: &str) -> Option<&Workload> {
        self.workloads.iter().find(|workload| workload.name == name)
    }

    /// The identity of a workload, for instance `spiffe://commerce.sekat.local/order`.
    #[must_use]
    pub fn spiffe_id(&self, workload: &str) -> Option<String> {
        let workload = self.workload(workload)?;
        let domain = self.domain(&workload.domain)?;
        Some(format!("spiffe://{}/{}", domain.trust_domain, workload.name))
    }

    /// All methods with their services.
    pub fn methods(&self) -> impl Iterator<Item = (&Service, &Method)> {
        self.services.iter().flat_map(|service| service.methods.iter().map(move |method| (service, method)))
    }

    /// All rights to call. Callers and servers that the topology does not know are left out.
    pub fn edges(&self) -> impl Iterator<Item = Edge<'_>> {
        // The first of a name counts, as in `workload`.
        let workloads: HashMap<_, _> = self.workloads.iter().rev().map(|it| (it.name.as_str(), it)).collect();
        let named = |name: &String| workloads.get(name.as_str()).copied();
        let mut edges = Vec::new();
        for (service, method) in self.methods() {
            let Some(callee) = service.policy.as_ref().and_then(|policy| named(&policy.workload)) else { continue };
            let callers = method.policy.iter().flat_map(|policy| &policy.callers).filter_map(named);
            edges.extend(callers.map(|caller| Edge { caller, callee, service, method }));
        }
        edges.into_iter()
    }

    /// The messages of the contracts themselves, without imported ones.
    pub fn own_messages(&self) -> impl Iterator<Item = &Message> {
        self.messages.values().filter(|message| is_own(&message.package))
    }

    /// What a message can hold, its parts included.
    #[must_use]
    pub fn classes(&self, message: &str) -> ClassSet {
        self.leaves(message).filter_map(|(_, field)| field.class).collect()
    }

    /// The fields without fields of their own that a message can hold, each with the message that declares it.
    pub fn leaves(&self, message: &str) -> impl Iterator<Item = (&Message, &Field)> {
        let messages = self.reach(message).into_iter();
        messages.flat_map(|message| message.fields.iter().filter(|field| field.is_leaf()).map(move |f| (message, f)))
    }

    /// The message and all messages of the contracts that it can hold, in the order of their names.
    /// Imported messages are leaves, and not among them.
    #[must_use]
    pub fn reach(&self, message: &str) -> Vec<&Message> {
        let mut seen = BTreeSet::new();
        let mut queue = vec![message];
        while let Some(name) = queue.pop() {
            let Some(found) = self.messages.get(name).filter(|found| is_own(&found.package)) else { continue };
            if seen.insert(name) {
                queue.extend(found.fields.iter().filter_map(|field| field.ty.message()));
            }
        }
        seen.into_iter().filter_map(|name| self.messages.get(name)).collect()
    }
}

impl Field {
    /// Whether the field states its own class: everything but a message of the contracts. A map states the class
    /// of its keys, which is that of its values too if they are leaves.
    #[must_use]
    pub fn is_leaf(&self) -> bool {
        match &self.ty {
            FieldType::Message(name) => !is_own(name),
            _ => true,
        }
    }
}

impl FieldType {
    /// The message that a field or a map's values hold.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Message(name) => Some(name),
            Self::Map(value) => value.message(),
            _ => None,
        }
    }

    /// The enum that a field or a map's values hold.
    #[must_use]
    pub fn enumeration(&self) -> Option<&str> {
        match self {
            Self::Enum(name) => Some(name),
            Self::Map(value) => value.enumeration(),
            _ => None,
        }
    }
}

/// Whether a package or a type in it is of the contracts: neither imported from Google nor the policy's own options.
#[must_use]
pub fn is_own(name: &str) -> bool {
    let within =
        |package: &str| name.strip_prefix(package).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    !within("google") && !within("sekat.policy.v1")
}
