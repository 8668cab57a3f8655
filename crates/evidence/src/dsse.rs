//! DSSE envelopes (secure-systems-lab/dsse, protocol v1): the bytes are signed together with their type, and only bytes
//! whose signature holds are parsed.

use std::num::NonZeroUsize;

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde::{Deserialize, Serialize};

use crate::EvidenceError;
use crate::keys::{PublicKey, SigningKey};

/// The type of in-toto statements.
pub(crate) const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The most signatures of an envelope: each is tried with each key.
const SIGNATURES: usize = 64;

/// An envelope.
#[derive(Debug, Serialize, Deserialize)]
pub struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Signature {
    /// A hint and no more: whose a signature is, is tried.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    keyid: String,
    sig: String,
}

/// What an envelope holds, and who signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The bytes that were signed.
    pub payload: Vec<u8>,
    /// Those of the trusted keys that signed, each once.
    pub signers: Vec<PublicKey>,
    /// How many signatures are of no trusted key; they count for nothing.
    pub unknown: usize,
}

impl Envelope {
    /// Reads an envelope.
    ///
    /// # Errors
    /// If it is no envelope.
    pub fn from_json(bytes: &[u8]) -> Result<Self, EvidenceError> {
        Ok(serde_json::from_slice(bytes)?)
    }

    pub(crate) fn seal(payload: &[u8], key: &SigningKey) -> Result<Self, EvidenceError> {
        let (payload, payload_type) = (STANDARD.encode(payload), IN_TOTO.to_owned());
        let mut envelope = Self { payload, payload_type, signatures: Vec::new() };
        envelope.sign(key)?;
        Ok(envelope)
    }

    /// Adds the signature of `key`; false if it has signed already.
    pub(crate) fn sign(&mut self, key: &SigningKey) -> Result<bool, EvidenceError> {
        let public = key.public()?;
        let payload = self.payload().ok_or(EvidenceError::NotAnEnvelope)?;
        let signed = pre_authentication(&self.payload_type, &payload);
        if self.signatures.iter().any(|signature| signature.is_of(&public, &signed)) {
            return Ok(false);
        }
        self.signatures.push(Signature { keyid: public.fingerprint(), sig: STANDARD.encode(key.sign(&signed)) });
        Ok(true)
    }

    /// The payload, if at least `threshold` different keys of `keys` signed it.
    ///
    /// # Errors
    /// Why it is not to be believed.
    pub fn open(&self, keys: &[PublicKey], threshold: NonZeroUsize) -> Result<Opened, String> {
        if self.payload_type != IN_TOTO {
            return Err("its payload is no in-toto statement".to_owned());
        }
        if self.signatures.len() > SIGNATURES {
            return Err(format!("it has more than {SIGNATURES} signatures"));
        }
        let payload = self.payload().ok_or("its payload is not base64")?;
        let signed = pre_authentication(&self.payload_type, &payload);
        let mut signers: Vec<PublicKey> = Vec::new();
        let mut unknown = 0;
        for signature in &self.signatures {
            match keys.iter().find(|key| signature.is_of(key, &signed)) {
                None => unknown += 1,
                Some(key) if signers.contains(key) => {}
                Some(key) => signers.push(key.clone()),
            }
        }
        if signers.len() >= threshold.get() {
            Ok(Opened { payload, signers, unknown })
        } else if threshold.get() == 1 {
            Err("no signature in it is of the key".to_owned())
        } else {
            Err(format!("{} of the keys signed it, and {threshold} have to", signers.len()))
        }
    }

    /// Whether it is spelt as this crate spells it, each signature once and named after its key where that is known.
    pub(crate) fn is_canonical(&self, opened: &Opened) -> bool {
        let signed = pre_authentication(&self.payload_type, &opened.payload);
        let spelt = |signature: &Signature| {
            let of = opened.signers.iter().find(|key| signature.is_of(key, &signed));
            of.is_none_or(|key| signature.keyid == key.fingerprint())
                && decode(&signature.sig).is_some_and(|bytes| signature.sig == STANDARD.encode(bytes))
        };
        self.payload == STANDARD.encode(&opened.payload)
            && self.signatures.len() == opened.signers.len() + opened.unknown
            && self.signatures.iter().all(spelt)
    }

    /// The payload, whoever signed it.
    pub(crate) fn payload(&self) -> Option<Vec<u8>> {
        decode(&self.payload)
    }
}

impl Signature {
    fn is_of(&self, key: &PublicKey, signed: &[u8]) -> bool {
        decode(&self.sig).is_some_and(|signature| key.verifies(signed, &signature))
    }
}

/// What is signed: `DSSEv1`, type and payload, each with its length, so that no two pairs look the same.
fn pre_authentication(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// Both alphabets, with and without padding, as the protocol demands of verifiers.
fn decode(text: &str) -> Option<Vec<u8>> {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    [base64::alphabet::STANDARD, base64::alphabet::URL_SAFE]
        .into_iter()
        .find_map(|alphabet| GeneralPurpose::new(&alphabet, config).decode(text).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the protocol's description.
    #[test]
    fn what_is_signed_is_what_the_protocol_says() {
        let signed = pre_authentication("http://example.com/HelloWorld", b"hello world");
        assert_eq!(signed, b"DSSEv1 29 http://example.com/HelloWorld 11 hello world");
    }

    struct Keys(tempfile::TempDir);

    impl Keys {
        fn key(&self, name: &str) -> SigningKey {
            SigningKey::open_or_create(&self.0.path().join(name)).unwrap()
        }

        fn public(&self, names: &[&str]) -> Vec<PublicKey> {
            names.iter().map(|name| self.key(name).public().unwrap()).collect()
        }
    }

    fn keys() -> Keys {
        Keys(tempfile::tempdir().unwrap())
    }

    fn at_least(threshold: usize) -> NonZeroUsize {
        NonZeroUsize::new(threshold).unwrap()
    }

    #[test]
    fn only_the_signed_bytes_of_the_trusted_key_come_out() {
        let keys = keys();
        let (ours, theirs) = (keys.public(&["ours"]), keys.public(&["theirs"]));
        let mut envelope = Envelope::seal(b"{}?>", &keys.key("ours")).unwrap();
        let open = |envelope: &Envelope, of: &[PublicKey]| envelope.open(of, at_least(1)).map(|opened| opened.payload);
        assert_eq!(open(&envelope, &ours).unwrap(), b"{}?>");
        assert!(open(&envelope, &theirs).is_err());
        assert!(open(&envelope, &[]).is_err());
        envelope.payload = envelope.payload.replace('/', "_").trim_end_matches('=').to_owned();
        envelope.signatures.insert(0, Signature { keyid: String::new(), sig: "AAAA".to_owned() });
        assert_eq!(open(&envelope, &ours).unwrap(), b"{}?>", "the other alphabet, and a signature of somebody else");
        envelope.payload = STANDARD.encode(b"{} ");
        assert!(open(&envelope, &ours).is_err());
        envelope.payload_type = "text/plain".to_owned();
        assert!(open(&envelope, &ours).is_err());
    }

    #[test]
    fn each_key_counts_once_and_unknown_keys_for_nothing() {
        let keys = keys();
        let mut envelope = Envelope::seal(b"{}", &keys.key("a")).unwrap();
        assert!(!envelope.sign(&keys.key("a")).unwrap(), "signing twice adds nothing");
        assert!(envelope.sign(&keys.key("b")).unwrap() && envelope.sign(&keys.key("stranger")).unwrap());
        let a = Signature { keyid: "somebody-else".to_owned(), sig: envelope.signatures[0].sig.clone() };
        envelope.signatures.push(a);
        let (all, b) = (keys.public(&["c", "b", "a"]), keys.public(&["b", "b"]));
        for (trusted, threshold, counted) in [
            (&all, 1, Ok(2)),
            (&all, 2, Ok(2)),
            (&all, 3, Err("2 of the keys signed it, and 3 have to")),
            (&b, 1, Ok(1)),
            (&b, 2, Err("1 of the keys signed it, and 2 have to")),
        ] {
            let opened = envelope.open(trusted, at_least(threshold));
            assert_eq!(opened.map(|opened| opened.signers.len()), counted.map_err(str::to_owned), "{threshold}");
        }
        assert_eq!(envelope.open(&all, at_least(2)).unwrap().unknown, 1);
        for number in 0..SIGNATURES {
            envelope.signatures.insert(0, Signature { keyid: number.to_string(), sig: String::new() });
        }
        assert!(envelope.open(&all, at_least(1)).is_err(), "as many signatures as anybody likes");
    }

    #[test]
    fn an_envelope_has_one_spelling() {
        let keys = keys();
        let trusted = keys.public(&["a"]);
        let made = || {
            let mut envelope = Envelope::seal(b"{}?>", &keys.key("a")).unwrap();
            envelope.sign(&keys.key("stranger")).unwrap();
            envelope
        };
        let canonical = |envelope: &Envelope| envelope.is_canonical(&envelope.open(&trusted, at_least(1)).unwrap());
        assert!(canonical(&made()));
        let faults: [fn(&mut Envelope); 4] = [
            |envelope| envelope.payload = envelope.payload.trim_end_matches('=').to_owned(),
            |envelope| envelope.signatures[0].keyid.clear(),
            |envelope| envelope.signatures[1].sig = envelope.signatures[1].sig.trim_end_matches('=').to_owned(),
            |envelope| {
                let twice =
                    Signature { sig: envelope.signatures[0].sig.clone(), keyid: envelope.signatures[0].keyid.clone() };
                envelope.signatures.push(twice);
            },
        ];
        for (number, fault) in faults.into_iter().enumerate() {
            let mut envelope = made();
            fault(&mut envelope);
            assert!(!canonical(&envelope), "{number}");
        }
    }
}
