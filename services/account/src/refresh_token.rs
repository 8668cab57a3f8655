//! Refresh tokens: numbered within their session and made by a keyed hash, so that a repeated request gets the very
//! token that the first one got, and every token that was ever issued is recognized when somebody presents it again.
//! The key is no part of the store. A session goes on when the key is changed: its newest token is known by its digest.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use sekat_identity::jws::SigningKey;
use sha2::{Digest, Sha256};

/// Keeps this use of the key apart from every other.
const PURPOSE: &str = "sekat.refresh-token.v1";

/// Makes refresh tokens and recognizes them.
#[derive(Clone)]
pub(crate) struct RefreshTokens(hmac::Key);

/// A token that somebody presents.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Presented {
    pub(crate) session: String,
    /// Its number, if this service made it.
    pub(crate) generation: Option<i64>,
    pub(crate) digest: Vec<u8>,
}

impl RefreshTokens {
    /// With a key that follows from the one that signs access tokens: who has that needs no refresh token.
    pub(crate) fn new(key: &SigningKey) -> Self {
        let key = Sha256::digest(format!("{PURPOSE}\n{}", key.pkcs8_pem()));
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    /// The token of a session with this number.
    pub(crate) fn make(&self, session: &str, generation: i64) -> String {
        let name = format!("{session}.{generation}");
        let tag = hmac::sign(&self.0, name.as_bytes());
        format!("{name}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// What a token says; `None` if it has not the form of one.
    pub(crate) fn read(&self, token: &str) -> Option<Presented> {
        let (name, tag) = token.rsplit_once('.')?;
        let (session, generation) = name.split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        let is_ours = hmac::verify(&self.0, name.as_bytes(), &tag).is_ok();
        let generation = generation.parse().ok().filter(|_| is_ours);
        Some(Presented { session: session.to_owned(), generation, digest: digest(token) })
    }
}

/// What the store keeps of a token.
pub(crate) fn digest(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_is_recognized() {
        let tokens = RefreshTokens::new(&SigningKey::generate().unwrap());
        let token = tokens.make("s1", 3);
        assert_eq!(token, tokens.make("s1", 3), "a repetition makes the same");
        let presented = tokens.read(&token).unwrap();
        assert_eq!((presented.session.as_str(), presented.generation), ("s1", Some(3)));
        assert_eq!(presented.digest, digest(&token));

        let others = RefreshTokens::new(&SigningKey::generate().unwrap());
        let changed = [token.replacen("s1", "s2", 1), token.replacen(".3.", ".4.", 1), others.make("s1", 3)];
        for changed in changed {
            assert_eq!(tokens.read(&changed).unwrap().generation, None, "{changed}");
        }
        for malformed in ["", "s1", "s1.3", "s1.3.!", "a.b"] {
            assert_eq!(tokens.read(malformed).and_then(|presented| presented.generation), None, "{malformed}");
        }
    }
}
