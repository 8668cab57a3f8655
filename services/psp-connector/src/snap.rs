//! Signatures of SNAP BI, Bank Indonesia's standard for open payment APIs: what is signed, with which key, and how a
//! signature is checked.
//!
//! Sources: the standard's technical guidelines on security, as providers document them (access token and transaction
//! recipes, minification). Where dialects differ, [`Dialect`] says which one is meant.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::SystemRandom;
use ring::rsa::KeyPair;
use ring::{digest, hmac, signature};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};
use time::format_description::well_known::Rfc3339;
use time::macros::offset;
use time::{Duration, OffsetDateTime};

/// How far a signature's timestamp may be from our clock, either way.
const CLOCK_WINDOW: Duration = Duration::minutes(5);
/// A shorter secret can be guessed from one signature that somebody saw.
const MIN_SECRET_BYTES: usize = 16;

/// What SNAP BI signs of a request.
#[derive(Clone, Copy)]
pub(crate) struct Message<'a> {
    /// In upper case.
    pub(crate) method: &'a str,
    /// Without host and query.
    pub(crate) path: &'a str,
    /// As sent; white space between its tokens does not count.
    pub(crate) body: &'a [u8],
    /// The `X-TIMESTAMP` header.
    pub(crate) timestamp: &'a str,
}

/// How a provider signs transactions and notifications.
#[derive(Clone, Copy)]
pub(crate) enum Dialect<'a> {
    /// HMAC-SHA512 with the shared secret; the access token is part of what is signed.
    Token(&'a str),
    /// RSA with the sender's key; nobody needs a token.
    Tokenless,
}

/// The keys of one relation with one provider.
pub(crate) struct Keys {
    secret: hmac::Key,
    own: KeyPair,
    provider: SubjectPublicKeyInfoDer<'static>,
    random: SystemRandom,
}

/// Why keys cannot be used. Nothing of a key is in the text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The shared secret is too short.
    #[error("the client secret must have at least {MIN_SECRET_BYTES} bytes")]
    WeakSecret,
    /// Our own key is not what is needed.
    #[error("the private key must be one PKCS #8 PEM block of an RSA key of 2048 to 8192 bits")]
    Own,
    /// The provider's key is not what is needed.
    #[error("the provider's public key must be one PEM block of type PUBLIC KEY")]
    Provider,
}

/// The system's random number generator, which blinds the private key, failed.
#[derive(Debug, thiserror::Error)]
#[error("a request could not be signed: the system has no random numbers")]
pub(crate) struct SigningFailed;

/// A signature is not one of the stated message by the stated key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not fit")]
pub(crate) struct Mismatch;

impl Keys {
    /// Keys from the contents of their files; white space around the secret does not count.
    pub(crate) fn new(secret: &[u8], own_pem: &[u8], provider_pem: &[u8]) -> Result<Self, KeyError> {
        let secret = secret.trim_ascii();
        if secret.len() < MIN_SECRET_BYTES {
            return Err(KeyError::WeakSecret);
        }
        let own = PrivatePkcs8KeyDer::from_pem_slice(own_pem).map_err(|_| KeyError::Own)?;
        let own = KeyPair::from_pkcs8(own.secret_pkcs8_der()).map_err(|_| KeyError::Own)?;
        let provider = SubjectPublicKeyInfoDer::from_pem_slice(provider_pem).map_err(|_| KeyError::Provider)?;
        webpki::RawPublicKeyEntity::try_from(&provider).map_err(|_| KeyError::Provider)?;
        Ok(Self { secret: hmac::Key::new(hmac::HMAC_SHA512, secret), own, provider, random: SystemRandom::new() })
    }

    /// `X-SIGNATURE` of a request for an access token.
    pub(crate) fn sign_token_request(&self, client_id: &str, timestamp: &str) -> Result<String, SigningFailed> {
        self.sign_rsa(&format!("{client_id}|{timestamp}"))
    }

    /// `X-SIGNATURE` of a message that we send.
    pub(crate) fn sign(&self, dialect: Dialect<'_>, message: &Message<'_>) -> Result<String, SigningFailed> {
        let signed = message.string_to_sign(dialect);
        match dialect {
            Dialect::Token(_) => Ok(BASE64.encode(hmac::sign(&self.secret, signed.as_bytes()))),
            Dialect::Tokenless => self.sign_rsa(&signed),
        }
    }

    /// Checks `X-SIGNATURE` of a message that the provider sent. The HMAC is compared in constant time.
    pub(crate) fn verify(&self, dialect: Dialect<'_>, message: &Message<'_>, signature: &str) -> Result<(), Mismatch> {
        let signature = BASE64.decode(signature).map_err(|_| Mismatch)?;
        let signed = message.string_to_sign(dialect);
        match dialect {
            Dialect::Token(_) => hmac::verify(&self.secret, signed.as_bytes(), &signature).map_err(|_| Mismatch),
            Dialect::Tokenless => webpki::RawPublicKeyEntity::try_from(&self.provider)
                .and_then(|key| {
                    key.verify_signature(webpki::ring::RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &signature)
                })
                .map_err(|_| Mismatch),
        }
    }

    fn sign_rsa(&self, signed: &str) -> Result<String, SigningFailed> {
        let mut signature = vec![0; self.own.public().modulus_len()];
        self.own
            .sign(&signature::RSA_PKCS1_SHA256, &self.random, signed.as_bytes(), &mut signature)
            .map_err(|_| SigningFailed)?;
        Ok(BASE64.encode(signature))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(..)")
    }
}

impl Message<'_> {
    fn string_to_sign(&self, dialect: Dialect<'_>) -> String {
        let Message { method, path, body, timestamp } = self;
        let digest = hex(digest::digest(&digest::SHA256, &minify(body)).as_ref());
        match dialect {
            Dialect::Token(token) => format!("{method}:{path}:{token}:{digest}:{timestamp}"),
            Dialect::Tokenless => format!("{method}:{path}:{digest}:{timestamp}"),
        }
    }
}

/// JSON without the white space between its tokens. Key order, `null`, escapes and the form of numbers stay, since
/// both sides digest bytes, not values. What is not JSON is stripped by the same rule, and its signature then fails.
fn minify(json: &[u8]) -> Vec<u8> {
    let mut minified = Vec::with_capacity(json.len());
    let mut bytes = json.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            // RFC 8259, section 2: these four and no others.
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b'"' => {
                minified.push(byte);
                copy_string(&mut bytes, &mut minified);
            }
            _ => minified.push(byte),
        }
    }
    minified
}

/// Copies what remains of a string, up to and with its closing quotation mark.
fn copy_string(bytes: &mut impl Iterator<Item = u8>, minified: &mut Vec<u8>) {
    while let Some(byte) = bytes.next() {
        minified.push(byte);
        match byte {
            b'"' => return,
            // Whatever is escaped does not end the string.
            b'\\' => minified.extend(bytes.next()),
            _ => {}
        }
    }
}

/// Whether a timestamp, such as `2025-01-31T10:55:00+07:00` or in UTC with `Z`, is close enough to `now`.
pub(crate) fn is_fresh(timestamp: &str, now: OffsetDateTime) -> bool {
    OffsetDateTime::parse(timestamp, &Rfc3339).is_ok_and(|at| (now - at).abs() <= CLOCK_WINDOW)
}

/// A point in time as SNAP BI writes it: seconds, in Jakarta's time.
pub(crate) fn jakarta(at: OffsetDateTime) -> String {
    let at = at.to_offset(offset!(+7));
    let (date, (hour, minute, second)) = (at.date(), at.to_hms());
    format!("{date}T{hour:02}:{minute:02}:{second:02}+07:00")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use time::macros::datetime;

    macro_rules! vector {
        ($file:literal) => {
            include_str!(concat!("../tests/vectors/", $file))
        };
    }

    /// The relation of the vectors, seen from our side or from the bank's.
    fn keys(own: &str, other: &str) -> Keys {
        let secret = json(vector!("cases.json"))["client_secret"].as_str().unwrap().to_owned();
        Keys::new(secret.as_bytes(), own.as_bytes(), other.as_bytes()).unwrap()
    }

    fn ours() -> Keys {
        keys(vector!("partner.key.pem"), vector!("bank.pub.pem"))
    }

    fn banks() -> Keys {
        keys(vector!("bank.key.pem"), vector!("partner.pub.pem"))
    }

    fn json(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    fn message(case: &Value) -> Message<'_> {
        let text = |name: &str| case[name].as_str().unwrap();
        Message {
            method: text("method"),
            path: text("path"),
            body: text("body").as_bytes(),
            timestamp: text("timestamp"),
        }
    }

    fn dialect(case: &Value) -> Dialect<'_> {
        case["token"].as_str().map_or(Dialect::Tokenless, Dialect::Token)
    }

    #[test]
    fn signatures_are_those_of_openssl_and_of_kamu_snap_crypto() {
        let (cases, openssl, kamu) =
            (json(vector!("cases.json")), json(vector!("openssl.json")), json(vector!("kamu.json")));
        let cases = cases["cases"].as_array().unwrap();
        assert_eq!((openssl.as_object().unwrap().len(), kamu.as_object().unwrap().len()), (cases.len(), cases.len()));
        for case in cases {
            let name = case["name"].as_str().unwrap();
            let signature = match case["kind"].as_str().unwrap() {
                "access-token" => {
                    let text = |name: &str| case[name].as_str().unwrap();
                    ours().sign_token_request(text("client_id"), text("timestamp")).unwrap()
                }
                "transaction" => ours().sign(dialect(case), &message(case)).unwrap(),
                "tokenless" => banks().sign(dialect(case), &message(case)).unwrap(),
                kind => panic!("{kind}"),
            };
            assert_eq!(openssl[name], signature, "{name}");
            assert_eq!(kamu[name], signature, "{name}");
            if case["kind"] != "access-token" {
                let minified = String::from_utf8(minify(case["body"].as_str().unwrap().as_bytes())).unwrap();
                assert_eq!(case["minified"], minified, "{name}");
                assert_eq!(ours().verify(dialect(case), &message(case), &signature), Ok(()), "{name}");
            }
        }
    }

    /// One bit wrong anywhere, in the signature or in what it covers, and the message is refused.
    #[test]
    fn one_flipped_bit_is_refused() {
        let cases = json(vector!("cases.json"));
        for (name, key) in [("notification", banks()), ("spaces, tabs and line ends between tokens", ours())] {
            let case = cases["cases"].as_array().unwrap().iter().find(|case| case["name"] == name).unwrap();
            let (dialect, message) = (dialect(case), message(case));
            let signature = key.sign(dialect, &message).unwrap();
            let refused = |message: &Message<'_>, signature: &str| {
                assert_eq!(ours().verify(dialect, message, signature), Err(Mismatch), "{name}");
            };
            let bytes = BASE64.decode(&signature).unwrap();
            for flipped in flips(&bytes) {
                refused(&message, &BASE64.encode(flipped));
            }
            let significant = minify(message.body);
            for flipped in flips(&significant) {
                if minify(&flipped) != significant {
                    refused(&Message { body: &flipped, ..message }, &signature);
                }
            }
            for path in flips(message.path.as_bytes()).filter_map(|flipped| String::from_utf8(flipped).ok()) {
                refused(&Message { path: &path, ..message }, &signature);
            }
            for timestamp in flips(message.timestamp.as_bytes()).filter_map(|flipped| String::from_utf8(flipped).ok()) {
                refused(&Message { timestamp: &timestamp, ..message }, &signature);
            }
            refused(&Message { method: "PUT", ..message }, &signature);
            refused(&message, "");
            refused(&message, "not base64");
        }
    }

    #[test]
    fn a_signature_holds_for_one_token_one_key_and_one_dialect() {
        let message = Message { method: "POST", path: "/v", body: b"{}", timestamp: "2025-03-01T12:00:00+07:00" };
        let signature = ours().sign(Dialect::Token("one"), &message).unwrap();
        assert_eq!(ours().verify(Dialect::Token("one"), &message, &signature), Ok(()));
        assert_eq!(ours().verify(Dialect::Token("two"), &message, &signature), Err(Mismatch));
        assert_eq!(ours().verify(Dialect::Tokenless, &message, &signature), Err(Mismatch));
        let other = Keys::new(
            b"another secret, as long",
            vector!("bank.key.pem").as_bytes(),
            vector!("bank.pub.pem").as_bytes(),
        );
        assert_eq!(other.unwrap().verify(Dialect::Token("one"), &message, &signature), Err(Mismatch));
        let by_us = ours().sign(Dialect::Tokenless, &message).unwrap();
        assert_eq!(banks().verify(Dialect::Tokenless, &message, &by_us), Ok(()));
        assert_eq!(ours().verify(Dialect::Tokenless, &message, &by_us), Err(Mismatch));
    }

    fn flips(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
        (0..bytes.len() * 8).map(|bit| {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            flipped
        })
    }

    #[test]
    fn minifying_removes_white_space_between_tokens_only() {
        let table = [
            ("", ""),
            (" \t\r\n", ""),
            ("{ }", "{}"),
            ("{\"a\" : [ 1 , null,\ttrue ] }\r\n", "{\"a\":[1,null,true]}"),
            (r#"{"b":1, "a":2}"#, r#"{"b":1,"a":2}"#),
            (r#"" a  b ""#, r#"" a  b ""#),
            (r#"{"a":"\" ", "b" : 1}"#, r#"{"a":"\" ","b":1}"#),
            (r#"{"a":"\\", "b" : 1}"#, r#"{"a":"\\","b":1}"#),
            (r#"{"a":"\\\" ", "b" : 1}"#, r#"{"a":"\\\" ","b":1}"#),
            (r#"{"a":"\u0020 \u0022 ", "b" : 1}"#, r#"{"a":"\u0020 \u0022 ","b":1}"#),
            ("{\"k\u{00a0}\" : \"—\u{2003}\"}", "{\"k\u{00a0}\":\"—\u{2003}\"}"),
            ("\u{00a0}1", "\u{00a0}1"),
            (r#"{"open": "never ends  "#, r#"{"open":"never ends  "#),
            (r#"{"open": "ends in an escape \"#, r#"{"open":"ends in an escape \"#),
        ];
        for (json, minified) in table {
            assert_eq!(String::from_utf8(minify(json.as_bytes())).unwrap(), minified, "{json:?}");
            assert_eq!(minify(minified.as_bytes()), minified.as_bytes(), "twice: {json:?}");
        }
    }

    #[test]
    fn timestamps_are_fresh_for_five_minutes_either_way() {
        let now = datetime!(2025-03-01 05:00 UTC);
        for fresh in ["2025-03-01T12:05:00+07:00", "2025-03-01T04:55:00Z", "2025-03-01T05:00:00.123Z"] {
            assert!(is_fresh(fresh, now), "{fresh}");
        }
        for stale in ["2025-03-01T12:05:01+07:00", "2025-03-01T04:54:59Z", "2025-03-01T05:00:00", "1740805200", ""] {
            assert!(!is_fresh(stale, now), "{stale}");
        }
        assert!(is_fresh(&jakarta(now), now));
        assert_eq!(jakarta(datetime!(2024-12-31 20:04:05.9 UTC)), "2025-01-01T03:04:05+07:00");
    }

    #[test]
    fn unusable_keys_are_named_and_none_is_printed() {
        let (own, provider) = (vector!("partner.key.pem").as_bytes(), vector!("bank.pub.pem").as_bytes());
        let secret = b"a secret that is long enough";
        assert_eq!(Keys::new(b" short \n", own, provider).unwrap_err(), KeyError::WeakSecret);
        assert_eq!(Keys::new(secret, provider, provider).unwrap_err(), KeyError::Own);
        assert_eq!(Keys::new(secret, own, own).unwrap_err(), KeyError::Provider);
        assert_eq!(format!("{:?}", Keys::new(secret, own, provider).unwrap()), "Keys(..)");
    }
}
