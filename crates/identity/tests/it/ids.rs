//! The grammar of SPIFFE IDs.

use proptest::prelude::*;
use sekat_identity::{SpiffeId, SpiffeIdError};

#[test]
fn each_rule_of_the_grammar_has_its_refusal() {
    let long_domain = |length: usize| format!("spiffe://{}/order", "a".repeat(length));
    let long_path = |length: usize| format!("spiffe://a/{}", "p".repeat(length - "spiffe://a/".len()));
    let good: &[&str] = &[
        "spiffe://commerce.sekat.local/payment",
        "spiffe://a/b",
        "spiffe://a_b-c.9/Path/with.dots/_-/...",
        &long_domain(255),
        &long_path(2048),
    ];
    for text in good {
        let id = SpiffeId::parse(text).unwrap();
        assert_eq!((id.as_str(), id.to_string().as_str()), (*text, *text));
        assert_eq!(format!("spiffe://{}{}", id.trust_domain(), id.path()), *text);
    }
    use SpiffeIdError as E;
    let bad: &[(&str, E)] = &[
        (&long_path(2049), E::TooLong),
        ("", E::Scheme),
        ("payment", E::Scheme),
        ("SPIFFE://a/b", E::Scheme),
        ("https://a/b", E::Scheme),
        ("spiffe:/a/b", E::Scheme),
        (" spiffe://a/b", E::Scheme),
        ("spiffe://", E::NoTrustDomain),
        ("spiffe:///b", E::NoTrustDomain),
        (&long_domain(256), E::TrustDomainTooLong),
        ("spiffe://A/b", E::TrustDomainCharacter),
        ("spiffe://user@a/b", E::TrustDomainCharacter),
        ("spiffe://a:443/b", E::TrustDomainCharacter),
        ("spiffe://a%2eb/c", E::TrustDomainCharacter),
        ("spiffe://a?q/b", E::TrustDomainCharacter),
        ("spiffe://bücher/b", E::TrustDomainCharacter),
        ("spiffe://[::1]/b", E::TrustDomainCharacter),
        ("spiffe://a", E::NoPath),
        ("spiffe://a/", E::NoPath),
        ("spiffe://a//b", E::EmptySegment),
        ("spiffe://a/b/", E::EmptySegment),
        ("spiffe://a/b//c", E::EmptySegment),
        ("spiffe://a/./b", E::DotSegment),
        ("spiffe://a/b/..", E::DotSegment),
        ("spiffe://a/b?c", E::PathCharacter),
        ("spiffe://a/b#c", E::PathCharacter),
        ("spiffe://a/b%20c", E::PathCharacter),
        ("spiffe://a/b:c", E::PathCharacter),
        ("spiffe://a/b\0", E::PathCharacter),
        ("spiffe://a/b ", E::PathCharacter),
    ];
    for (text, error) in bad {
        assert_eq!(SpiffeId::parse(text), Err(*error), "{text}");
    }
}

proptest! {
    #[test]
    fn an_id_is_its_text(text in "spiffe://[a-z0-9._-]{1,40}(/[a-zA-Z0-9_-][a-zA-Z0-9._-]{0,20}){1,5}") {
        let id = SpiffeId::parse(&text)?;
        prop_assert_eq!(id.to_string(), text.as_str());
        prop_assert_eq!(SpiffeId::parse(&id.to_string())?, id);
    }

    #[test]
    fn nothing_else_is_an_id(text in "(spiffe://)?\\PC{0,60}") {
        if let Ok(id) = SpiffeId::parse(&text) {
            prop_assert!(text.is_ascii() && text.starts_with("spiffe://"));
            prop_assert!(!text.contains(['?', '#', '%', '@', ':', ' ']) || text.matches(':').count() == 1);
            prop_assert_eq!(id.as_str(), text.as_str());
        }
    }
}
