//! DSSE envelopes (secure-systems-lab/dsse, protocol v1): the bytes are signed together with their type, and only bytes
//! whose signature holds are parsed.

use base64::Engine as _;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde::{Deserialize, Serialize};

use crate::EvidenceError;
use crate::keys::{PublicKey, SigningKey};

/// The type of in-toto statements.
pub(crate) const IN_TOTO: &str = "application/vnd.in-toto+json";
/// The most signatures that are looked at.
const SIGNATURES: usize = 64;

/// An envelope.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Envelope {
    payload: String,
    #[serde(rename = "payloadType")]
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Signature {
    /// A hint and no more: it is not looked at.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    keyid: String,
    sig: String,
}

impl Envelope {
    /// Signs.
    pub(crate) fn seal(payload: &[u8], key: &SigningKey) -> Result<Self, EvidenceError> {
        let signature = key.sign(&pre_authentication(IN_TOTO, payload));
        Ok(Self {
            payload: STANDARD.encode(payload),
            payload_type: IN_TOTO.to_owned(),
            signatures: vec![Signature { keyid: key.public()?.fingerprint(), sig: STANDARD.encode(signature) }],
        })
    }

    /// The payload, if `key` signed it.
    pub(crate) fn open(&self, key: &PublicKey) -> Result<Vec<u8>, &'static str> {
        if self.payload_type != IN_TOTO {
            return Err("its payload is no in-toto statement");
        }
        let payload = decode(&self.payload).ok_or("its payload is not base64")?;
        let signed = pre_authentication(&self.payload_type, &payload);
        let signatures = self.signatures.iter().take(SIGNATURES).filter_map(|signature| decode(&signature.sig));
        let mut signatures = signatures.filter(|signature| key.verifies(&signed, signature));
        signatures.next().map(|_| payload).ok_or("no signature in it is of the key")
    }
}

impl Envelope {
    /// Whether it is spelt as [`seal`](Self::seal) spells it.
    pub(crate) fn is_canonical(&self, key: &PublicKey, payload: &[u8]) -> bool {
        let signature = self.signatures.first().and_then(|signature| Some((signature, decode(&signature.sig)?)));
        self.payload == STANDARD.encode(payload)
            && self.signatures.len() == 1
            && signature
                .is_some_and(|(spelt, bytes)| spelt.sig == STANDARD.encode(bytes) && spelt.keyid == key.fingerprint())
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

    #[test]
    fn only_the_signed_bytes_of_the_trusted_key_come_out() {
        let folder = tempfile::tempdir().unwrap();
        let key = |name: &str| SigningKey::open_or_create(&folder.path().join(name)).unwrap();
        let (ours, theirs) = (key("ours"), key("theirs"));
        let mut envelope = Envelope::seal(b"{}?>", &ours).unwrap();
        let public = ours.public().unwrap();
        assert_eq!(envelope.open(&public).unwrap(), b"{}?>");
        assert!(envelope.open(&theirs.public().unwrap()).is_err());
        envelope.payload = envelope.payload.replace('/', "_").trim_end_matches('=').to_owned();
        envelope.signatures.insert(0, Signature { keyid: String::new(), sig: "AAAA".to_owned() });
        assert_eq!(envelope.open(&public).unwrap(), b"{}?>", "the other alphabet, and a signature of somebody else");
        envelope.payload = STANDARD.encode(b"{} ");
        assert!(envelope.open(&public).is_err());
        envelope.payload_type = "text/plain".to_owned();
        assert!(envelope.open(&public).is_err());
    }
}
