//! Turns compiled descriptors and their `sekat.policy.v1` options into a [`Model`].
//! What is missing or makes no sense stays visible in the model; judging it is left to the lints.

use prost_reflect::{
    Cardinality as ProtoCardinality, DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor,
    FieldDescriptor, FileDescriptor, Kind, MessageDescriptor, MethodDescriptor, ReflectMessage as _, ServiceDescriptor,
    Value,
};
use sekat_policy::{ClassSet, DataClass, EndUserScope, Listener};

use crate::model::{
    Cardinality, Domain, Effect, Enum, EnumValue, Field, FieldType, File, Message, Method, MethodPolicy, Model, Oneof,
    Service, ServicePolicy, Workload, is_own,
};
use crate::source::Places;

// Field numbers of `FileDescriptorProto`, which make up the paths of source positions.
const FILE_DEPENDENCY: i32 = 3;
const FILE_OPTIONS: i32 = 8;

/// Reads the model of all files of the pool.
pub(crate) fn model(pool: &DescriptorPool, places: &Places) -> Model {
    let reader = Reader { places, options: Options::of(pool) };
    let mut model = Model::default();
    let mut files: Vec<_> = pool.files().collect();
    files.sort_by(|left, right| left.name().cmp(right.name()));
    for file in &files {
        reader.topology(file, &mut model);
        for message in file.messages() {
            reader.message(&message, &mut model);
        }
        if is_own(file.package_name()) {
            model.files.push(reader.file(file));
            model.services.extend(file.services().map(|service| reader.service(&service)));
            for enumeration in file.enums() {
                reader.enumeration(&enumeration, &mut model);
            }
        }
    }
    model
}

/// The options' descriptors. A tree that does not import the policy has none, and then states nothing.
struct Options {
    topology: Option<ExtensionDescriptor>,
    service: Option<ExtensionDescriptor>,
    method: Option<ExtensionDescriptor>,
    class: Option<ExtensionDescriptor>,
    max_bytes: Option<ExtensionDescriptor>,
    field_behavior: Option<ExtensionDescriptor>,
}

impl Options {
    fn of(pool: &DescriptorPool) -> Self {
        Self {
            topology: pool.get_extension_by_name("sekat.policy.v1.topology"),
            service: pool.get_extension_by_name("sekat.policy.v1.service"),
            method: pool.get_extension_by_name("sekat.policy.v1.method"),
            class: pool.get_extension_by_name("sekat.policy.v1.class"),
            max_bytes: pool.get_extension_by_name("sekat.policy.v1.max_bytes"),
            field_behavior: pool.get_extension_by_name("google.api.field_behavior"),
        }
    }
}

struct Reader<'a> {
    places: &'a Places,
    options: Options,
}

impl Reader<'_> {
    fn file(&self, file: &FileDescriptor) -> File {
        let imports = file.file_descriptor_proto().dependency.iter().enumerate().map(|(index, import)| {
            let index = i32::try_from(index).unwrap_or(-1);
            (import.clone(), self.places.of(file.name(), &[FILE_DEPENDENCY, index]).0)
        });
        File { name: file.name().to_owned(), package: file.package_name().to_owned(), imports: imports.collect() }
    }

    fn topology(&self, file: &FileDescriptor, model: &mut Model) {
        let Some(topology) = stated(&file.options(), self.options.topology.as_ref()) else { return };
        let Some(topology) = topology.as_message() else { return };
        let number = self.options.topology.as_ref().and_then(|option| i32::try_from(option.number()).ok());
        model.topologies.push(self.places.of(file.name(), &[FILE_OPTIONS, number.unwrap_or(-1)]).0);
        let always = ClassSet::EMPTY.with(DataClass::Public).with(DataClass::Internal);
        model.domains.extend(messages(topology, "domains").map(|domain| Domain {
            name: text(&domain, "name"),
            trust_domain: text(&domain, "trust_domain"),
            may_hold: enums(&domain, "may_hold").into_iter().filter_map(data_class).fold(always, ClassSet::with),
        }));
        model.workloads.extend(messages(topology, "workloads").map(|workload| Workload {
            name: text(&workload, "name"),
            domain: text(&workload, "domain"),
            edge: flag(&workload, "edge"),
            egress: flag(&workload, "egress"),
        }));
    }

    fn service(&self, service: &ServiceDescriptor) -> Service {
        let (span, documented) = self.places.of(service.parent_file().name(), service.path());
        let policy = stated(&service.options(), self.options.service.as_ref());
        Service {
            name: service.full_name().to_owned(),
            package: service.package_name().to_owned(),
            span,
            documented,
            policy: policy.as_ref().and_then(Value::as_message).map(|policy| ServicePolicy {
                domain: text(policy, "domain"),
                workload: text(policy, "workload"),
                listener: if number(policy, "listener") == Some(2) { Listener::Feed } else { Listener::Mesh },
            }),
            methods: service.methods().map(|method| self.method(&method)).collect(),
        }
    }

    fn method(&self, method: &MethodDescriptor) -> Method {
        let (span, documented) = self.places.of(method.parent_file().name(), method.path());
        let policy = stated(&method.options(), self.options.method.as_ref());
        Method {
            name: method.name().to_owned(),
            path: format!("/{}/{}", method.parent_service().full_name(), method.name()),
            span,
            documented,
            request: method.input().full_name().to_owned(),
            response: method.output().full_name().to_owned(),
            client_streaming: method.is_client_streaming(),
            server_streaming: method.is_server_streaming(),
            policy: policy.as_ref().and_then(Value::as_message).map(|policy| MethodPolicy {
                callers: texts(policy, "callers"),
                kind: match number(policy, "kind") {
                    Some(1) => Some(Effect::Read),
                    Some(2) => Some(Effect::Write),
                    _ => None,
                },
                scopes: enums(policy, "scopes").into_iter().map(end_user_scope).collect(),
                deadline_ms: number(policy, "deadline_ms").and_then(|value| u32::try_from(value).ok()),
            }),
        }
    }

    fn message(&self, message: &MessageDescriptor, model: &mut Model) {
        if message.is_map_entry() {
            return;
        }
        let file = message.parent_file();
        let (span, documented) = self.places.of(file.name(), message.path());
        let oneofs = message.oneofs().filter(|oneof| !oneof.is_synthetic()).map(|oneof| {
            let (span, documented) = self.places.of(file.name(), oneof.path());
            Oneof { name: oneof.name().to_owned(), span, documented }
        });
        // `fields()` is in the order of numbers; generated code and readers follow the order of declaration.
        let mut fields: Vec<_> = message.fields().collect();
        fields.sort_by(|left, right| left.path().cmp(right.path()));
        let read = Message {
            name: message.full_name().to_owned(),
            package: message.package_name().to_owned(),
            span,
            documented,
            fields: fields.iter().map(|field| self.field(&file, field)).collect(),
            oneofs: oneofs.collect(),
            extensible: message.extension_ranges().len() > 0,
        };
        model.messages.insert(read.name.clone(), read);
        for child in message.child_messages() {
            self.message(&child, model);
        }
        if is_own(message.package_name()) {
            for child in message.child_enums() {
                self.enumeration(&child, model);
            }
        }
    }

    fn field(&self, file: &FileDescriptor, field: &FieldDescriptor) -> Field {
        let (span, documented) = self.places.of(file.name(), field.path());
        let options = field.options();
        let oneof = field.containing_oneof();
        let cardinality = match field.cardinality() {
            ProtoCardinality::Repeated => Cardinality::Repeated,
            _ if field.supports_presence() => Cardinality::Optional,
            _ => Cardinality::Implicit,
        };
        let class = stated(&options, self.options.class.as_ref());
        let max_bytes = stated(&options, self.options.max_bytes.as_ref());
        let behaviors = self.options.field_behavior.as_ref().and_then(|option| {
            let Kind::Enum(names) = option.kind() else { return None };
            let values = options.get_extension(option).as_list()?.to_vec();
            let values = values.iter().filter_map(Value::as_enum_number).filter_map(|value| names.get_value(value));
            Some(values.filter(|value| value.number() != 0).map(|value| value.name().to_owned()).collect())
        });
        Field {
            name: field.name().to_owned(),
            span,
            documented,
            ty: field_type(field),
            cardinality,
            oneof: oneof.filter(|oneof| !oneof.is_synthetic()).map(|oneof| oneof.name().to_owned()),
            class: class.and_then(|class| class.as_enum_number()).and_then(data_class),
            max_bytes: max_bytes.and_then(|limit| limit.as_u32()),
            behaviors: behaviors.unwrap_or_default(),
        }
    }

    fn enumeration(&self, enumeration: &EnumDescriptor, model: &mut Model) {
        let file = enumeration.parent_file();
        let (span, documented) = self.places.of(file.name(), enumeration.path());
        let mut values: Vec<_> = enumeration.values().collect();
        values.sort_by(|left, right| left.path().cmp(right.path()));
        let values = values.iter().map(|value| {
            let (span, documented) = self.places.of(file.name(), value.path());
            EnumValue { name: value.name().to_owned(), span, documented }
        });
        let read = Enum {
            name: enumeration.full_name().to_owned(),
            package: enumeration.package_name().to_owned(),
            span,
            documented,
            values: values.collect(),
        };
        model.enums.insert(read.name.clone(), read);
    }
}

fn field_type(field: &FieldDescriptor) -> FieldType {
    match field.kind() {
        Kind::String => FieldType::Text,
        Kind::Bytes => FieldType::Bytes,
        Kind::Enum(enumeration) => FieldType::Enum(enumeration.full_name().to_owned()),
        Kind::Message(entry) if field.is_map() => FieldType::Map(Box::new(field_type(&entry.map_entry_value_field()))),
        Kind::Message(message) => FieldType::Message(message.full_name().to_owned()),
        _ => FieldType::Scalar,
    }
}

/// The value of an option, if it is there.
fn stated(options: &DynamicMessage, option: Option<&ExtensionDescriptor>) -> Option<Value> {
    let option = option?;
    options.has_extension(option).then(|| options.get_extension(option).into_owned())
}

/// The value of a field of an option, if it is not its default.
fn value(message: &DynamicMessage, name: &str) -> Option<Value> {
    let field = message.descriptor().get_field_by_name(name)?;
    message.has_field(&field).then(|| message.get_field(&field).into_owned())
}

fn text(message: &DynamicMessage, name: &str) -> String {
    value(message, name).and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn flag(message: &DynamicMessage, name: &str) -> bool {
    value(message, name).and_then(|value| value.as_bool()).unwrap_or_default()
}

fn number(message: &DynamicMessage, name: &str) -> Option<i64> {
    let value = value(message, name)?;
    value.as_enum_number().map(i64::from).or_else(|| value.as_u32().map(i64::from))
}

fn list(message: &DynamicMessage, name: &str) -> Vec<Value> {
    value(message, name).and_then(|value| value.as_list().map(<[Value]>::to_vec)).unwrap_or_default()
}

fn texts(message: &DynamicMessage, name: &str) -> Vec<String> {
    list(message, name).iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

fn enums(message: &DynamicMessage, name: &str) -> Vec<i32> {
    list(message, name).iter().filter_map(Value::as_enum_number).collect()
}

fn messages(message: &DynamicMessage, name: &str) -> impl Iterator<Item = DynamicMessage> {
    list(message, name).into_iter().filter_map(|value| value.as_message().cloned())
}

fn data_class(number: i32) -> Option<DataClass> {
    match number {
        1 => Some(DataClass::Public),
        2 => Some(DataClass::User),
        3 => Some(DataClass::Payment),
        4 => Some(DataClass::Merchant),
        5 => Some(DataClass::Internal),
        _ => None,
    }
}

fn end_user_scope(number: i32) -> Option<EndUserScope> {
    match number {
        1 => Some(EndUserScope::Anonymous),
        2 => Some(EndUserScope::Buyer),
        3 => Some(EndUserScope::Seller),
        4 => Some(EndUserScope::Creator),
        _ => None,
    }
}
