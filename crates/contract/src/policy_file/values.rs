//! What names, addresses and identities of a policy file look like. Each rule says what to write instead.

use std::net::IpAddr;

type Rule = Result<(), String>;

fn rule(holds: bool, help: &str) -> Rule {
    if holds { Ok(()) } else { Err(help.to_owned()) }
}

/// Any text but the empty one.
pub(super) fn any(text: &str) -> Rule {
    rule(!text.is_empty(), "write some text")
}

/// Names that the user chooses: of domains, classes, stores, topics.
pub(super) fn name(text: &str) -> Rule {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let holds = text.len() <= 253 && text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(allowed);
    rule(holds, "use letters, digits, `-`, `_` and `.`, 253 at most, with a letter or digit first")
}

/// A DNS label (RFC 1123), as Kubernetes names namespaces.
pub(super) fn dns_label(text: &str) -> Rule {
    rule(is_dns_label(text), "use a-z, 0-9 and `-`, 63 at most, with a letter or digit at both ends")
}

fn is_dns_label(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with('-') && !text.ends_with('-')
}

/// A DNS name in lower case (RFC 1123), as Kubernetes names service accounts.
pub(super) fn dns_name(text: &str) -> Rule {
    let holds = text.len() <= 253 && text.split('.').all(is_dns_label);
    rule(holds, "use a-z, 0-9, `-` and `.`, 253 at most, with a letter or digit at both ends of each part")
}

/// A SPIFFE trust domain (SPIFFE-ID, section 2.1).
pub(super) fn trust_domain(text: &str) -> Rule {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let holds = (1..=255).contains(&text.len()) && text.chars().all(allowed);
    rule(holds, "use a-z, 0-9, `-`, `_` and `.`, 255 at most, and no `spiffe://`")
}

/// The key of a label: `name` or `prefix/name`.
pub(super) fn label_key(text: &str) -> Rule {
    let (prefix, name) = text.split_once('/').map_or((None, text), |(prefix, name)| (Some(prefix), name));
    let holds = is_label_word(name) && !name.is_empty() && prefix.is_none_or(|prefix| dns_name(prefix).is_ok());
    rule(holds, "write a label's name, 63 characters at most, perhaps behind a DNS name and `/`")
}

/// The value of a label.
pub(super) fn label_value(text: &str) -> Rule {
    rule(is_label_word(text), "use letters, digits, `-`, `_` and `.`, 63 at most, with a letter or digit at both ends")
}

fn is_label_word(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let at_ends = |c: char| !c.is_ascii_alphanumeric();
    text.len() <= 63 && text.chars().all(allowed) && !text.starts_with(at_ends) && !text.ends_with(at_ends)
}

/// The name of a port (RFC 6335, section 5.1).
pub(super) fn port_name(text: &str) -> Rule {
    let holds = text.len() <= 15
        && is_dns_label(text)
        && !text.contains("--")
        && text.contains(|c: char| c.is_ascii_lowercase());
    rule(holds, "use a-z, 0-9 and single `-`, 15 at most, with a letter among them")
}

/// Addresses in CIDR notation, without bits beyond the prefix: what is written is what is meant.
pub(super) fn cidr(text: &str) -> Rule {
    const HELP: &str = "write an address and its prefix, for instance 203.0.113.0/24 or 2001:db8::/32";
    let parsed = parse_cidr(text).ok_or_else(|| HELP.to_owned())?;
    let network = parsed.network();
    rule(network == parsed.address, &format!("it has bits beyond its prefix; write {network}/{}", parsed.prefix))
}

/// Whether `inner` lies in `outer`, both in CIDR notation.
pub(super) fn contains(outer: &str, inner: &str) -> bool {
    parse_cidr(outer).zip(parse_cidr(inner)).is_some_and(|(outer, inner)| outer.contains(inner))
}

/// The addresses that two ranges share; ranges lie in each other or apart.
pub(super) fn overlap<'a>(one: &'a str, other: &'a str) -> Option<&'a str> {
    if contains(one, other) { Some(other) } else { contains(other, one).then_some(one) }
}

/// Whether `parts` together hold all of `range`.
pub(super) fn is_covered(range: &str, parts: &[String]) -> bool {
    let parts: Vec<Cidr> = parts.iter().filter_map(|part| parse_cidr(part)).collect();
    parse_cidr(range).is_some_and(|range| range.is_covered(&parts))
}

#[derive(Clone, Copy)]
struct Cidr {
    address: IpAddr,
    prefix: u32,
}

fn parse_cidr(text: &str) -> Option<Cidr> {
    let (address, prefix) = text.split_once('/')?;
    let digits = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
    let cidr = Cidr { address: address.parse().ok()?, prefix: prefix.parse().ok().filter(|_| digits)? };
    let bits = if cidr.address.is_ipv4() { 32 } else { 128 };
    (cidr.prefix <= bits).then_some(cidr)
}

impl Cidr {
    fn contains(self, inner: Self) -> bool {
        self.prefix <= inner.prefix && self.network() == Self { prefix: self.prefix, ..inner }.network()
    }

    /// A range that is in no part is cut in halves as long as a part lies within, which ends at that part's prefix.
    fn is_covered(self, parts: &[Self]) -> bool {
        let is_cut = || parts.iter().any(|part| self.contains(*part));
        parts.iter().any(|part| part.contains(self))
            || is_cut() && self.halves().into_iter().all(|half| half.is_covered(parts))
    }

    fn halves(self) -> [Self; 2] {
        let prefix = self.prefix.saturating_add(1);
        let upper = match self.network() {
            IpAddr::V4(address) => IpAddr::V4((address.to_bits() | 1_u32.checked_shl(32 - prefix).unwrap_or(0)).into()),
            IpAddr::V6(address) => {
                IpAddr::V6((address.to_bits() | 1_u128.checked_shl(128 - prefix).unwrap_or(0)).into())
            }
        };
        [Self { address: self.network(), prefix }, Self { address: upper, prefix }]
    }

    fn network(&self) -> IpAddr {
        match self.address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - self.prefix).unwrap_or(0);
                IpAddr::V4((address.to_bits() & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - self.prefix).unwrap_or(0);
                IpAddr::V6((address.to_bits() & mask).into())
            }
        }
    }
}

/// The full name of a protobuf service, for instance `shop.payment.v1.PaymentService`.
pub(super) fn proto_name(text: &str) -> Rule {
    let word = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    rule(text.split('.').all(word), "write the full name, for instance shop.payment.v1.PaymentService")
}

/// `package.Service/Method`, with stars or without, perhaps with a slash in front.
pub(super) fn method_pattern(text: &str) -> Rule {
    let path = text.strip_prefix('/').unwrap_or(text);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '*');
    let holds = path
        .split_once('/')
        .is_some_and(|(service, method)| [service, method].iter().all(|it| !it.is_empty() && it.chars().all(allowed)));
    rule(holds, "write package.Service/Method; `*` stands for any letters between dots and slashes")
}

/// The same without stars.
pub(super) fn method_path(text: &str) -> Rule {
    method_pattern(text)?;
    rule(!text.contains('*'), "name one method; patterns have no classes of their own")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn table(rule: fn(&str) -> Rule, good: &[&str], bad: &[&str]) {
        for text in good {
            assert_eq!(rule(text), Ok(()), "{text}");
        }
        for text in bad {
            assert!(rule(text).is_err_and(|help| !help.is_empty()), "{text}");
        }
    }

    #[test]
    fn each_rule_takes_its_own_and_refuses_its_neighbours() {
        let long = "a".repeat(64);
        table(name, &["payment.card", "order_events", "A-1"], &["", ".a", "a b", "ä", "a/b"]);
        table(dns_label, &["shop", "a-1", "1"], &["", "Shop", "-a", "a-", "a.b", &long]);
        table(dns_name, &["a.b-c", "default"], &["a..b", "", "a.-b", "A.b"]);
        table(trust_domain, &["commerce.shop.example", "a_b"], &["", "spiffe://a", "A", "a/b", "a:1"]);
        table(label_key, &["app", "app.kubernetes.io/name"], &["", "/a", "a/", "a/b/c", "Ä", &long]);
        table(label_value, &["", "web", "v1.2_3"], &["-a", "a b", &long]);
        table(port_name, &["grpc", "http-2"], &["", "1", "a--b", "Grpc", "abcdefghijklmnop"]);
        table(proto_name, &["a.B", "B"], &["", "a..B", "a.B/", "1a", "a.*"]);
        table(method_pattern, &["a.B/C", "/a.B/*", "a.*/Get*"], &["a.B", "/", "a/", "/b", "a/b/c", "a b/c"]);
        table(method_path, &["a.B/C"], &["a.B/*"]);
    }

    #[test]
    fn networks_are_networks() {
        let good = ["0.0.0.0/0", "10.0.0.0/8", "192.0.2.1/32", "2001:db8::/32", "::/0", "::1/128"];
        table(cidr, &good, &["", "10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/+8", "::/129", "a/8"]);
        assert_eq!(cidr("10.1.2.3/8"), Err("it has bits beyond its prefix; write 10.0.0.0/8".to_owned()));
        assert_eq!(cidr("2001:db8::1/32"), Err("it has bits beyond its prefix; write 2001:db8::/32".to_owned()));
        for (outer, inner, expected) in [
            ("0.0.0.0/0", "10.0.0.0/8", true),
            ("10.0.0.0/8", "10.0.0.0/8", true),
            ("10.0.0.0/8", "10.9.0.0/16", true),
            ("10.0.0.0/8", "11.0.0.0/16", false),
            ("10.0.0.0/16", "10.0.0.0/8", false),
            ("::/0", "10.0.0.0/8", false),
            ("2001:db8::/32", "2001:db8:1::/48", true),
        ] {
            assert_eq!(contains(outer, inner), expected, "{outer} {inner}");
        }
    }

    #[test]
    fn parts_that_together_hold_a_range_cover_it() {
        assert_eq!(overlap("10.0.0.0/8", "10.9.0.0/16"), Some("10.9.0.0/16"));
        assert_eq!(overlap("10.9.0.0/16", "10.0.0.0/8"), Some("10.9.0.0/16"));
        assert_eq!(overlap("10.0.0.0/9", "10.128.0.0/9"), None);
        for (range, parts, expected) in [
            ("10.0.0.0/8", &["10.0.0.0/8"][..], true),
            ("10.0.0.0/8", &[], false),
            ("10.0.0.0/8", &["10.0.0.0/9", "10.128.0.0/9"], true),
            ("10.0.0.0/8", &["10.0.0.0/9", "10.128.0.0/10"], false),
            ("192.0.2.0/30", &["192.0.2.0/32", "192.0.2.1/32", "192.0.2.2/31"], true),
            ("::/0", &["::/1", "8000::/1"], true),
            ("::/0", &["0.0.0.0/0"], false),
            ("192.0.2.1/32", &["192.0.2.0/24"], true),
        ] {
            let parts: Vec<String> = parts.iter().map(|part| (*part).to_owned()).collect();
            assert_eq!(is_covered(range, &parts), expected, "{range} {parts:?}");
        }
    }
}
