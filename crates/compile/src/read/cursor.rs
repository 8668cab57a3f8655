//! A place in a file while it is read: a node with the name of its file, so that every finding has both.

use sekat_policy::intent::Protocol;
use sekat_policy::{Diagnostic, Span};
use sekat_yaml::{Key, Node};

use crate::cidr::Cidr;
use crate::read::{NOT_UNDERSTOOD, TRAP};

/// A node in its file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    pub(crate) file: &'a str,
    pub(crate) node: &'a Node,
}

/// Where findings go.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    pub(crate) found: Vec<Diagnostic>,
}

pub(crate) type Reading<T> = Result<T, Diagnostic>;

impl Sink {
    /// Keeps what was read; what could not be is a finding, and reading goes on.
    pub(crate) fn keep<T>(&mut self, read: Reading<T>) -> Option<T> {
        read.map_err(|error| self.found.push(error)).ok()
    }

    pub(crate) fn trap(&mut self, at: Cursor<'_>, message: impl Into<String>, help: &str) {
        self.found.push(Diagnostic::error(TRAP, at.span(), message, help));
    }
}

impl<'a> Cursor<'a> {
    pub(crate) fn span(self) -> Span {
        self.node.span(self.file)
    }

    pub(crate) fn get(self, key: &str) -> Option<Self> {
        self.node.get(key).map(|node| Self { node, ..self })
    }

    pub(crate) fn required(self, key: &str) -> Reading<Self> {
        self.node.required(self.file, key).map(|node| Self { node, ..self })
    }

    pub(crate) fn text(self) -> Reading<&'a str> {
        self.node.text(self.file)
    }

    /// The text of a key, empty if there is none.
    pub(crate) fn text_of(self, key: &str) -> Reading<&'a str> {
        self.get(key).map_or(Ok(""), Self::text)
    }

    pub(crate) fn items(self) -> Reading<Vec<Self>> {
        Ok(self.node.list(self.file)?.iter().map(|node| Self { node, ..self }).collect())
    }

    /// The items of a key, each read by `read`; none if there is no such key.
    pub(crate) fn each<T>(self, key: &str, read: impl Fn(Self) -> Reading<T>) -> Reading<Option<Vec<T>>> {
        let Some(list) = self.get(key) else { return Ok(None) };
        list.items()?.into_iter().map(read).collect::<Reading<Vec<T>>>().map(Some)
    }

    pub(crate) fn texts(self, key: &str) -> Reading<Option<Vec<String>>> {
        self.each(key, |item| Ok(item.text()?.to_owned()))
    }

    pub(crate) fn entries(self) -> Reading<Vec<(&'a Key, Self)>> {
        Ok(self.node.map(self.file)?.iter().map(|(key, node)| (key, Self { node, ..self })).collect())
    }

    /// That there are no keys but `known`: of any other this reader cannot say what it does.
    pub(crate) fn only(self, known: &[&str]) -> Reading<()> {
        let unknown = self.entries()?.into_iter().find(|(key, _)| !known.contains(&key.name.as_str()));
        unknown.map_or(Ok(()), |(key, _)| {
            let message = format!("the field `{}` is not understood here", key.name);
            Err(Diagnostic::error(
                NOT_UNDERSTOOD,
                key.span(self.file),
                message,
                "remove it; what it does is not checked",
            ))
        })
    }

    pub(crate) fn not_understood(self, what: &str) -> Diagnostic {
        let message = format!("{what} is not understood");
        Diagnostic::error(NOT_UNDERSTOOD, self.span(), message, "write it another way; what it does is not checked")
    }

    /// A number that is written as such or as a text.
    pub(crate) fn port(self) -> Reading<u16> {
        let number = match self.node.int(self.file) {
            Ok(number) => u16::try_from(number).ok(),
            Err(_) => self.text()?.parse().ok(),
        };
        number.ok_or_else(|| self.not_understood("a port that is not a number from 0 to 65535"))
    }

    pub(crate) fn range(self) -> Reading<Cidr> {
        Cidr::parse(self.text()?).ok_or_else(|| self.not_understood("an address range that is not in CIDR notation"))
    }

    /// The protocol of the key `protocol`; TCP if there is none.
    pub(crate) fn protocol(self) -> Reading<Protocol> {
        let Some(at) = self.get("protocol") else { return Ok(Protocol::Tcp) };
        let name = at.text()?;
        let known = Protocol::ALL.into_iter().find(|protocol| protocol.name() == name);
        known.ok_or_else(|| at.not_understood("a protocol other than TCP, UDP and SCTP"))
    }

    pub(crate) fn kind(self) -> &'a str {
        self.get("kind").and_then(|kind| kind.text().ok()).unwrap_or_default()
    }

    pub(crate) fn name(self) -> &'a str {
        self.metadata("name")
    }

    pub(crate) fn namespace(self) -> &'a str {
        self.metadata("namespace")
    }

    fn metadata(self, key: &str) -> &'a str {
        self.get("metadata").and_then(|it| it.get(key)).and_then(|it| it.text().ok()).unwrap_or_default()
    }

    /// That nobody knows this kind of object.
    pub(crate) fn unknown_kind(self) -> Diagnostic {
        self.not_understood(&format!("an object of the kind `{}`", self.kind()))
    }
}
