//! Envoy's RBAC filters (v3): with the action ALLOW a request passes if some policy has a permission and a principal
//! that match. The network filter knows nothing of HTTP. The file stands at the listener that its name says.

use std::collections::BTreeMap;

use sekat_policy::Span;

use crate::attempt::{Attempt, Verdict};
use crate::cidr::Cidr;
use crate::read::Reader;
use crate::read::cursor::{Cursor, Reading, Sink};

/// Filters by the name of their listener.
#[derive(Debug)]
pub(crate) struct Filters {
    filters: BTreeMap<String, Filter>,
}

#[derive(Debug)]
struct Filter {
    reads_http: bool,
    policies: Vec<Policy>,
}

#[derive(Debug)]
struct Policy {
    span: Span,
    permissions: Vec<Permission>,
    principals: Vec<Principal>,
}

#[derive(Debug)]
enum Permission {
    Any,
    All(Vec<Permission>),
    OneOf(Vec<Permission>),
    Port(u16),
    Header(String, Text),
}

#[derive(Debug)]
enum Principal {
    Any,
    /// Whoever has a certificate, or one with that name.
    Authenticated(Option<Text>),
    From(Cidr),
}

#[derive(Debug)]
enum Text {
    Exact(String),
    Prefix(String),
    Suffix(String),
}

impl Filters {
    pub(crate) fn read(objects: &[Cursor<'_>], sink: &mut Sink) -> Self {
        let mut filters = BTreeMap::new();
        for object in objects {
            let filter = Filter::read(*object);
            let listener = object.file.strip_suffix(".yaml").unwrap_or(object.file);
            filters.extend(sink.keep(filter).map(|filter| (listener.to_owned(), filter)));
        }
        Self { filters }
    }
}

impl Reader for Filters {
    fn judge(&self, attempt: &Attempt<'_>) -> Verdict<'_> {
        let listener = format!("{}.{}", attempt.to.service, attempt.listener);
        let Some(filter) = self.filters.get(&listener) else { return Verdict::Allowed(None) };
        // The codec in front of the HTTP filter refuses what is no HTTP.
        if filter.reads_http && attempt.path.is_none() {
            return Verdict::Denied;
        }
        let path = attempt.path.filter(|_| filter.reads_http);
        let passes = |policy: &&Policy| {
            policy.permissions.iter().any(|permission| permission.holds(attempt.port, path))
                && policy.principals.iter().any(|principal| principal.holds(attempt))
        };
        let passing = filter.policies.iter().find(passes);
        passing.map_or(Verdict::Denied, |policy| Verdict::Allowed(Some(&policy.span)))
    }
}

impl Filter {
    fn read(at: Cursor<'_>) -> Reading<Self> {
        at.only(&["name", "typed_config"])?;
        let config = at.required("typed_config")?;
        let kind = config.required("@type")?;
        let reads_http = match kind.text()?.strip_prefix("type.googleapis.com/envoy.extensions.filters.") {
            Some("http.rbac.v3.RBAC") => true,
            Some("network.rbac.v3.RBAC") => false,
            _ => return Err(kind.not_understood("a filter other than RBAC")),
        };
        config.only(&["@type", "stat_prefix", "rules"])?;
        let rules = config.required("rules")?;
        rules.only(&["action", "policies"])?;
        if !matches!(rules.text_of("action")?, "" | "ALLOW") {
            return Err(rules.not_understood("an action other than ALLOW"));
        }
        let policies = rules.required("policies")?.entries()?.into_iter().map(|(_, policy)| Policy::read(policy));
        Ok(Self { reads_http, policies: policies.collect::<Reading<_>>()? })
    }
}

impl Policy {
    fn read(at: Cursor<'_>) -> Reading<Self> {
        at.only(&["permissions", "principals"])?;
        Ok(Self {
            span: at.span(),
            permissions: at.each("permissions", Permission::read)?.unwrap_or_default(),
            principals: at.each("principals", Principal::read)?.unwrap_or_default(),
        })
    }
}

impl Permission {
    fn read(at: Cursor<'_>) -> Reading<Self> {
        let [(key, value)] = at.entries()?.try_into().map_err(|_| at.not_understood("a permission of not one part"))?;
        let rules = |at: Cursor<'_>| {
            at.only(&["rules"])?;
            Ok(at.each("rules", Self::read)?.unwrap_or_default())
        };
        match key.name.as_str() {
            "any" if value.node.bool(value.file)? => Ok(Self::Any),
            "and_rules" => rules(value).map(Self::All),
            "or_rules" => rules(value).map(Self::OneOf),
            "destination_port" => value.port().map(Self::Port),
            "header" => {
                value.only(&["name", "string_match"])?;
                let name = value.required("name")?.text()?.to_owned();
                Ok(Self::Header(name, Text::read(value.required("string_match")?)?))
            }
            _ => Err(at.not_understood("this permission")),
        }
    }

    fn holds(&self, port: u16, path: Option<&str>) -> bool {
        match self {
            Self::Any => true,
            Self::All(all) => all.iter().all(|it| it.holds(port, path)),
            Self::OneOf(some) => some.iter().any(|it| it.holds(port, path)),
            Self::Port(number) => *number == port,
            Self::Header(name, text) => match name.as_str() {
                ":path" => path.is_some_and(|path| text.matches(path)),
                ":method" => path.is_some() && text.matches("POST"),
                _ => false,
            },
        }
    }
}

impl Principal {
    fn read(at: Cursor<'_>) -> Reading<Self> {
        let [(key, value)] = at.entries()?.try_into().map_err(|_| at.not_understood("a principal of not one part"))?;
        match key.name.as_str() {
            "any" if value.node.bool(value.file)? => Ok(Self::Any),
            "authenticated" => {
                value.only(&["principal_name"])?;
                Ok(Self::Authenticated(value.get("principal_name").map(Text::read).transpose()?))
            }
            "direct_remote_ip" => {
                value.only(&["address_prefix", "prefix_len"])?;
                let address = value.required("address_prefix")?.text()?;
                let prefix = value.get("prefix_len").map_or(Ok(0), Cursor::port)?;
                let range = Cidr::parse(&format!("{address}/{prefix}"));
                range.map(Self::From).ok_or_else(|| value.not_understood("this range of addresses"))
            }
            _ => Err(at.not_understood("this principal")),
        }
    }

    fn holds(&self, attempt: &Attempt<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::Authenticated(name) => {
                let identity = &attempt.from.identity;
                !identity.is_empty() && name.as_ref().is_none_or(|name| name.matches(identity))
            }
            Self::From(range) => range.contains(attempt.from.address),
        }
    }
}

impl Text {
    fn read(at: Cursor<'_>) -> Reading<Self> {
        let [(key, value)] = at.entries()?.try_into().map_err(|_| at.not_understood("a match of not one part"))?;
        let text = value.text()?.to_owned();
        match key.name.as_str() {
            "exact" => Ok(Self::Exact(text)),
            "prefix" => Ok(Self::Prefix(text)),
            "suffix" => Ok(Self::Suffix(text)),
            _ => Err(at.not_understood("this kind of match")),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => text == exact,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
        }
    }
}
