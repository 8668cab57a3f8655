//! Tokens: what is accepted, and for each rule one that breaks just this rule.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use ring::signature::Ed25519KeyPair;
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use sekat_identity::end_user::{self, Audience, EndUserClaims, Scope};
use sekat_identity::handoff::{self, Good, HandoffClaims};
use sekat_identity::jws::{JwsError, MAX_TOKEN_BYTES, SigningKey, VerifyingKeys};
use tempfile::TempDir;

use crate::harness::PATIENCE;

/// The key of RFC 8037, appendix A.1, as openssl writes it.
const RFC_8037_KEY: &str = "-----BEGIN PRIVATE KEY-----\n\
    MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
const RFC_8037_PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
/// [`handoff`] at [`ISSUED`], signed with that key by `openssl pkeyutl -sign -rawin`.
const SIGNED_BY_OPENSSL: &str = concat!(
    "eyJhbGciOiJFZERTQSIsInR5cCI6InNla2F0LWhhbmRvZmYrand0Iiwia2lkIjoiMjFmZTMxZGZhMTU0YTI2MSJ9.",
    "eyJqdGkiOiJoLTEiLCJpYXQiOjE3MDAwMDAwMDAsImV4cCI6MTcwMDAwMTgwMCwic2hvd2Nhc2UiOiJzaG93Y2FzZXMvYmF0aWsiLCJnb29kcyI6",
    "W3sicHJvZHVjdCI6InByb2R1Y3RzL3AxIiwic2t1IjoicHJvZHVjdHMvcDEvc2t1cy9zMSIsInF1YW50aXR5IjoyfV19.",
    "gQpy82dN6Yee5kGtCBXIO8mhurQLS0MZTs8Vo1xuXUescHI-GZTd84C_CnYlVme2VcZXhv5OO3ufqOy_z1NBCg",
);
const ISSUED: u64 = 1_700_000_000;
const HALF_AN_HOUR: u64 = 1800;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn handoff() -> HandoffClaims {
    HandoffClaims {
        jti: "h-1".into(),
        iat: ISSUED,
        exp: ISSUED + HALF_AN_HOUR,
        showcase: "showcases/batik".into(),
        pin: None,
        campaign: None,
        goods: vec![Good { product: "products/p1".into(), sku: "products/p1/skus/s1".into(), quantity: 2 }],
    }
}

fn buyer() -> EndUserClaims {
    EndUserClaims {
        iss: end_user::ISSUER.into(),
        aud: Audience::CommerceEdge,
        sub: "accounts/a1".into(),
        sid: "accounts/a1/sessions/s1".into(),
        scope: Scope::Buyer,
        merchant: None,
        exp: ISSUED + 900,
        iat: ISSUED,
    }
}

struct Keys {
    _dir: TempDir,
    path: PathBuf,
    keys: VerifyingKeys,
}

async fn keys(pem: &str) -> Keys {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("keys.pem");
    std::fs::write(&path, pem).unwrap();
    let keys = VerifyingKeys::open(&path).await.unwrap();
    Keys { _dir: dir, path, keys }
}

/// Signs any header and claims with the key of RFC 8037, past all rules of our own signer.
fn forge(header: &str, claims: &str) -> String {
    let der = PrivatePkcs8KeyDer::from_pem_slice(RFC_8037_KEY.as_bytes()).unwrap();
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der()).unwrap();
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

const HEADER: &str = r#"{"alg":"EdDSA","typ":"sekat-handoff+jwt","kid":"21fe31dfa154a261"}"#;

fn claims() -> String {
    let (_, rest) = SIGNED_BY_OPENSSL.split_once('.').unwrap();
    let (claims, _) = rest.split_once('.').unwrap();
    String::from_utf8(URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

#[tokio::test]
async fn openssl_and_we_make_the_same_token() {
    let key = SigningKey::from_pkcs8_pem(RFC_8037_KEY).unwrap();
    assert_eq!(key.public_pem(), RFC_8037_PUBLIC_KEY);
    assert_eq!(handoff().sign(&key).unwrap(), SIGNED_BY_OPENSSL);
    let keys = keys(RFC_8037_PUBLIC_KEY).await.keys;
    assert_eq!(HandoffClaims::verify(&keys, SIGNED_BY_OPENSSL, at(ISSUED)), Ok(handoff()));
}

#[tokio::test]
async fn a_token_that_is_not_exactly_right_is_refused() {
    let keys = keys(RFC_8037_PUBLIC_KEY).await.keys;
    let verify = |token: &str| HandoffClaims::verify(&keys, token, at(ISSUED));
    assert_eq!(verify(&forge(HEADER, &claims())), Ok(handoff()), "the forger signs right");
    let (good_header, good_claims, good_signature) = {
        let mut parts = SIGNED_BY_OPENSSL.split('.');
        (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap())
    };
    let header = |from: &str, to: &str| forge(&HEADER.replace(from, to), &claims());
    let with_claims = |from: &str, to: &str| forge(HEADER, &claims().replace(from, to));
    let swapped = URL_SAFE_NO_PAD.encode(claims().replace("\"quantity\":2", "\"quantity\":9"));
    let unsigned = URL_SAFE_NO_PAD.encode(HEADER.replace("EdDSA", "none"));
    // The last character of a 64-byte signature carries four bits that must be zero.
    let other_spelling = format!("{}h", SIGNED_BY_OPENSSL.strip_suffix('g').unwrap());
    let cases: &[(&str, String, JwsError)] = &[
        ("alg none, unsigned", format!("{unsigned}.{good_claims}."), JwsError::Algorithm),
        ("alg none, signed", header("EdDSA", "none"), JwsError::Algorithm),
        ("alg HS256", header("EdDSA", "HS256"), JwsError::Algorithm),
        ("alg in another case", header("EdDSA", "eddsa"), JwsError::Algorithm),
        ("another typ", header("sekat-handoff", "sekat-user"), JwsError::Type),
        ("no typ", header(r#""typ":"sekat-handoff+jwt","#, ""), JwsError::Header),
        ("no kid", header(r#","kid":"21fe31dfa154a261""#, ""), JwsError::Header),
        ("a crit header", header(r#"{"alg""#, r#"{"crit":["x"],"alg""#), JwsError::Header),
        ("an embedded key", header(r#"{"alg""#, r#"{"jwk":{},"alg""#), JwsError::Header),
        ("alg twice", header(r#"{"alg""#, r#"{"alg":"none","alg""#), JwsError::Header),
        ("an unknown key", header("21fe31dfa154a261", "21fe31dfa154a262"), JwsError::UnknownKey),
        ("swapped claims", format!("{good_header}.{swapped}.{good_signature}"), JwsError::Signature),
        ("no signature", format!("{good_header}.{good_claims}."), JwsError::Signature),
        ("two parts", format!("{good_header}.{good_claims}"), JwsError::Malformed),
        ("four parts", format!("{SIGNED_BY_OPENSSL}.AA"), JwsError::Malformed),
        ("padding", format!("{SIGNED_BY_OPENSSL}=="), JwsError::Malformed),
        ("a line break at the end", format!("{SIGNED_BY_OPENSSL}\n"), JwsError::Malformed),
        ("another spelling of the signature", other_spelling, JwsError::Malformed),
        ("more bytes in the signature", format!("{SIGNED_BY_OPENSSL}AA"), JwsError::Signature),
        ("nothing", String::new(), JwsError::Malformed),
        ("a huge token", "a".repeat(MAX_TOKEN_BYTES + 1), JwsError::TooLong),
        ("a person", with_claims("{\"jti\"", "{\"sub\":\"accounts/a1\",\"jti\""), JwsError::Claims),
        ("a device", with_claims("\"quantity\":2", "\"quantity\":2,\"device\":\"d1\""), JwsError::Claims),
        ("a claim is missing", with_claims("\"iat\":1700000000,", ""), JwsError::Claims),
        ("a claim twice", with_claims("{\"jti\"", "{\"jti\":\"h-2\",\"jti\""), JwsError::Claims),
        ("garbage after the claims", forge(HEADER, &format!("{}{{}}", claims())), JwsError::Claims),
        ("a negative quantity", with_claims("\"quantity\":2", "\"quantity\":-2"), JwsError::Claims),
    ];
    for (what, token, error) in cases {
        assert_eq!(verify(token), Err(*error), "{what}");
    }
}

#[tokio::test]
async fn a_handoff_keeps_its_limits_on_both_sides() {
    type Change = fn(&mut HandoffClaims);
    let key = SigningKey::from_pkcs8_pem(RFC_8037_KEY).unwrap();
    let keys = keys(RFC_8037_PUBLIC_KEY).await.keys;
    let cases: &[(&str, Change, Result<(), JwsError>)] = &[
        ("a right one", |_| {}, Ok(())),
        ("a pin of the showcase", |c| c.pin = Some("showcases/batik/pins/p1".into()), Ok(())),
        ("a pin of another showcase", |c| c.pin = Some("showcases/kopi/pins/p1".into()), Err(JwsError::Claim("pin"))),
        ("a campaign", |c| c.campaign = Some("campaigns/lokal-12-12".into()), Ok(())),
        ("an account as campaign", |c| c.campaign = Some("accounts/a1".into()), Err(JwsError::Claim("campaign"))),
        ("an account as showcase", |c| c.showcase = "accounts/a1".into(), Err(JwsError::Claim("showcase"))),
        ("an empty showcase", |c| c.showcase = "showcases/".into(), Err(JwsError::Claim("showcase"))),
        ("no identifier", |c| c.jti.clear(), Err(JwsError::Claim("jti"))),
        ("the longest identifier", |c| c.jti = "j".repeat(handoff::MAX_ID_BYTES), Ok(())),
        ("a longer one", |c| c.jti = "j".repeat(handoff::MAX_ID_BYTES + 1), Err(JwsError::Claim("jti"))),
        ("an identifier with a space", |c| c.jti = "j j".into(), Err(JwsError::Claim("jti"))),
        ("no goods", |c| c.goods.clear(), Err(JwsError::Claim("goods"))),
        ("20 goods", |c| c.goods = goods(20), Ok(())),
        ("21 goods", |c| c.goods = goods(21), Err(JwsError::Claim("goods"))),
        ("a good twice", |c| c.goods.extend_from_within(..), Err(JwsError::Claim("goods"))),
        ("99 of a good", |c| c.goods[0].quantity = 99, Ok(())),
        ("100 of a good", |c| c.goods[0].quantity = 100, Err(JwsError::Claim("goods"))),
        ("none of a good", |c| c.goods[0].quantity = 0, Err(JwsError::Claim("goods"))),
        ("another product's unit", |c| c.goods[0].sku = "products/p11/skus/s1".into(), Err(JwsError::Claim("goods"))),
        ("a product as unit", |c| c.goods[0].sku = "products/p1".into(), Err(JwsError::Claim("goods"))),
        ("a path that climbs", |c| c.goods[0].product = "products/../p".into(), Err(JwsError::Claim("goods"))),
    ];
    for (what, change, expected) in cases {
        let mut claims = handoff();
        change(&mut claims);
        assert_eq!(claims.sign(&key).map(drop), *expected, "signing: {what}");
        let token = forge(HEADER, &serde_json::to_string(&claims).unwrap());
        assert_eq!(HandoffClaims::verify(&keys, &token, at(ISSUED)).map(drop), *expected, "verifying: {what}");
    }
}

fn goods(count: usize) -> Vec<Good> {
    let good = |n| Good { product: format!("products/p{n}"), sku: format!("products/p{n}/skus/s"), quantity: 1 };
    (0..count).map(good).collect()
}

#[tokio::test]
async fn a_handoff_is_valid_from_issue_to_expiry_with_five_seconds_of_skew() {
    let key = SigningKey::from_pkcs8_pem(RFC_8037_KEY).unwrap();
    let keys = keys(RFC_8037_PUBLIC_KEY).await.keys;
    let end = ISSUED + HALF_AN_HOUR;
    for (now, expected) in [
        (ISSUED - 6, Err(JwsError::NotYetValid)),
        (ISSUED - 5, Ok(())),
        (end, Ok(())),
        (end + 4, Ok(())),
        (end + 5, Err(JwsError::Expired)),
        (0, Err(JwsError::NotYetValid)),
    ] {
        assert_eq!(HandoffClaims::verify(&keys, SIGNED_BY_OPENSSL, at(now)).map(drop), expected, "at {now}");
    }
    for (exp, expected) in [
        (end, Ok(())),
        (end + 1, Err(JwsError::Claim("exp"))),
        (ISSUED, Err(JwsError::Claim("exp"))),
        (ISSUED - 1, Err(JwsError::Claim("exp"))),
        (u64::MAX, Err(JwsError::Claim("exp"))),
    ] {
        let token = key.sign(handoff::TYPE, &HandoffClaims { exp, ..handoff() }).unwrap();
        assert_eq!(HandoffClaims::verify(&keys, &token, at(ISSUED)).map(drop), expected, "until {exp}");
    }
}

#[tokio::test]
async fn an_end_users_token_holds_for_one_edge_and_one_scope() {
    type Change = fn(&mut EndUserClaims);
    let key = SigningKey::from_pkcs8_pem(RFC_8037_KEY).unwrap();
    let keys = keys(RFC_8037_PUBLIC_KEY).await.keys;
    let seller: Change = |c| (c.scope, c.merchant) = (Scope::Seller, Some("merchants/m1".into()));
    let creator: Change = |c| {
        (c.scope, c.aud) = (Scope::Creator, Audience::ShowcaseEdge);
        (c.sub, c.sid) = ("ibu-batik".into(), "sessions/s1".into());
    };
    let cases: &[(&str, Change, Change, Result<(), JwsError>)] = &[
        ("a buyer", |_| {}, |_| {}, Ok(())),
        ("a buyer's session without account", |_| {}, |c| c.sid = "sessions/s1".into(), Ok(())),
        ("a seller", seller, |_| {}, Ok(())),
        ("a creator", creator, |_| {}, Ok(())),
        (
            "another issuer",
            |_| {},
            |c| c.iss = "spiffe://showcase.sekat.local/account".into(),
            Err(JwsError::Claim("iss")),
        ),
        ("a buyer at showcase", |_| {}, |c| c.aud = Audience::ShowcaseEdge, Err(JwsError::Claim("aud"))),
        ("a creator at commerce", creator, |c| c.aud = Audience::CommerceEdge, Err(JwsError::Claim("aud"))),
        ("a creator with an account", creator, |c| c.sub = "accounts/a1".into(), Err(JwsError::Claim("sub"))),
        (
            "a creator with an account's session",
            creator,
            |c| c.sid = "accounts/a1/sessions/s".into(),
            Err(JwsError::Claim("sub")),
        ),
        ("a buyer by handle", |_| {}, |c| c.sub = "ibu-batik".into(), Err(JwsError::Claim("sub"))),
        ("another account's session", |_| {}, |c| c.sid = "accounts/a2/sessions/s".into(), Err(JwsError::Claim("sub"))),
        ("a glued session", |_| {}, |c| c.sid = "accounts/a1sessions/s".into(), Err(JwsError::Claim("sub"))),
        ("no session", |_| {}, |c| c.sid.clear(), Err(JwsError::Claim("sub"))),
        ("a seller without merchant", seller, |c| c.merchant = None, Err(JwsError::Claim("merchant"))),
        (
            "a seller of an account",
            seller,
            |c| c.merchant = Some("accounts/a1".into()),
            Err(JwsError::Claim("merchant")),
        ),
        (
            "a buyer with merchant",
            |_| {},
            |c| c.merchant = Some("merchants/m".into()),
            Err(JwsError::Claim("merchant")),
        ),
    ];
    let kind = HEADER.replace("sekat-handoff+jwt", end_user::TYPE);
    for (what, base, change, expected) in cases {
        let mut claims = buyer();
        base(&mut claims);
        change(&mut claims);
        assert_eq!(claims.sign(&key).map(drop), *expected, "signing: {what}");
        let token = forge(&kind, &serde_json::to_string(&claims).unwrap());
        let verify = |audience| EndUserClaims::verify(&keys, &token, audience, at(ISSUED)).map(drop);
        assert_eq!(verify(claims.aud), *expected, "verifying: {what}");
        let other = match claims.aud {
            Audience::CommerceEdge => Audience::ShowcaseEdge,
            Audience::ShowcaseEdge => Audience::CommerceEdge,
        };
        assert!(verify(other).is_err(), "the other edge: {what}");
        assert_eq!(verify(other) == Err(JwsError::Audience), expected.is_ok(), "the other edge: {what}");
    }
    let claims = buyer();
    assert_eq!(claims.check_now(at(ISSUED)), Ok(()));
    assert_eq!(claims.check_now(at(ISSUED + 900 + 5)), Err(JwsError::Expired));
    let long = EndUserClaims { exp: ISSUED + 3601, ..buyer() };
    assert_eq!(long.check_now(at(ISSUED)), Err(JwsError::Claim("exp")));
    assert!(!format!("{claims:?}").contains("a1"), "a log line names nobody");
    let as_handoff = claims.sign(&key).unwrap();
    assert_eq!(HandoffClaims::verify(&keys, &as_handoff, at(ISSUED)), Err(JwsError::Type));
}

#[tokio::test]
async fn keys_rotate_by_overlap() {
    let (old, new) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
    let signed_by = |key: &SigningKey| handoff().sign(key).unwrap();
    let kept = keys(&old.public_pem()).await;
    let verify = |key: &SigningKey| HandoffClaims::verify(&kept.keys, &signed_by(key), at(ISSUED)).map(drop);
    assert_eq!((verify(&old), verify(&new)), (Ok(()), Err(JwsError::UnknownKey)));
    std::fs::write(&kept.path, old.public_pem() + &new.public_pem()).unwrap();
    kept.keys.refresh_now().await.unwrap();
    assert_eq!((verify(&old), verify(&new)), (Ok(()), Ok(())));
    for bad in ["", "-----BEGIN PUBLIC KEY-----\nAAAA", &old.pkcs8_pem()] {
        std::fs::write(&kept.path, bad).unwrap();
        assert!(kept.keys.refresh_now().await.is_err(), "{bad}");
        assert_eq!((verify(&old), verify(&new)), (Ok(()), Ok(())));
    }
    let mut generations = kept.keys.subscribe();
    std::fs::write(&kept.path, new.public_pem()).unwrap();
    tokio::time::timeout(PATIENCE, generations.changed()).await.unwrap().unwrap();
    assert_eq!((verify(&old), verify(&new)), (Err(JwsError::UnknownKey), Ok(())));
    let again = SigningKey::from_pkcs8_pem(&old.pkcs8_pem()).unwrap();
    assert_eq!(signed_by(&again), signed_by(&old), "a generated key survives its file");
}

#[tokio::test]
async fn only_ed25519_keys_are_read() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("keys.pem");
    let rsa_or_ec = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().public_key_pem();
    for (what, pem) in [
        ("another algorithm", rsa_or_ec.clone()),
        ("another algorithm beside a good key", format!("{RFC_8037_PUBLIC_KEY}{rsa_or_ec}")),
        ("nine keys", RFC_8037_PUBLIC_KEY.repeat(9)),
    ] {
        std::fs::write(&path, pem).unwrap();
        assert!(VerifyingKeys::open(&path).await.is_err(), "{what}");
    }
    assert!(SigningKey::from_pkcs8_pem(RFC_8037_PUBLIC_KEY).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_the_verifier_panic(text in "\\PC{0,80}(\\.\\PC{0,80}){0,3}", index in any::<prop::sample::Index>(), byte in 0x21_u8..0x7f) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let keys = runtime.block_on(keys(RFC_8037_PUBLIC_KEY)).keys;
        prop_assert!(HandoffClaims::verify(&keys, &text, at(ISSUED)).is_err());
        let mut altered = SIGNED_BY_OPENSSL.as_bytes().to_vec();
        let at_byte = index.index(altered.len());
        altered[at_byte] = byte;
        let altered = String::from_utf8(altered)?;
        let verdict = HandoffClaims::verify(&keys, &altered, at(ISSUED));
        prop_assert_eq!(verdict.is_ok(), altered == SIGNED_BY_OPENSSL);
    }
}
