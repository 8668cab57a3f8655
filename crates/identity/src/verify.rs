//! The X509-SVID checks: a leaf's profile, and its path to the bundle of its own trust domain.

use std::time::{Duration, SystemTime};

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, VerifiedPath};
use x509_parser::certificate::{BasicExtension, X509Certificate};
use x509_parser::extensions::{GeneralName, KeyUsage, ParsedExtension};
use x509_parser::prelude::FromDer as _;
use x509_parser::time::ASN1Time;
use x509_parser::x509::X509Version;

use crate::id::SpiffeId;
use crate::rejection::Rejection;
use crate::source::TrustBundle;

/// The longest accepted validity of an SVID. There is no revocation: an SVID that leaked is worth something for as
/// long as it is valid, or until its root leaves the bundle.
pub const MAX_SVID_LIFETIME: Duration = Duration::from_hours(7 * 24);

/// What a leaf says after its profile was checked; nothing is known about its issuer yet.
#[derive(Debug)]
pub(crate) struct Leaf {
    pub(crate) id: SpiffeId,
    pub(crate) not_after: SystemTime,
}

/// Checks everything of X509-SVID sections 2 to 5 that concerns the leaf alone, except the present time.
pub(crate) fn check_profile(der: &CertificateDer<'_>) -> Result<Leaf, Rejection> {
    let certificate = parse(der)?;
    let id = only_spiffe_id(&certificate)?;
    if basic_constraints_ca(&certificate)? {
        return Err(Rejection::SigningCertificate);
    }
    check_key_usage(key_usage(&certificate)?)?;
    let purposes = certificate.extended_key_usage().map_err(|_| Rejection::MalformedCertificate)?;
    if purposes.is_some_and(|found| !(found.value.server_auth && found.value.client_auth)) {
        return Err(Rejection::ExtendedKeyUsage);
    }
    let validity = certificate.validity();
    let (not_before, not_after) = (system_time(validity.not_before)?, system_time(validity.not_after)?);
    match not_after.duration_since(not_before) {
        Ok(lifetime) if lifetime <= MAX_SVID_LIFETIME => Ok(Leaf { id, not_after }),
        Ok(_) => Err(Rejection::LifetimeTooLong),
        Err(_) => Err(Rejection::MalformedCertificate),
    }
}

/// Checks a presented chain, leaf first, against the bundle of the leaf's own trust domain, which `bundle_of` finds
/// or refuses.
pub(crate) fn check_chain<'b>(
    chain: &[CertificateDer<'_>],
    bundle_of: impl FnOnce(&SpiffeId) -> Result<&'b TrustBundle, Rejection>,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
    now: UnixTime,
) -> Result<Leaf, Rejection> {
    let (der, intermediates) = chain.split_first().ok_or(Rejection::NoCertificate)?;
    let leaf = check_profile(der)?;
    let bundle = bundle_of(&leaf.id)?;
    let certificate = EndEntityCert::try_from(der)?;
    let signers_may_sign = |path: &VerifiedPath<'_>| {
        path.intermediate_certificates()
            .all(|signer| check_signing_certificate(&signer.der(), bundle.trust_domain()).is_ok())
            .then_some(())
            .ok_or(webpki::Error::EndEntityUsedAsCa)
    };
    certificate.verify_for_usage(
        algorithms,
        bundle.anchors(),
        intermediates,
        now,
        PeerPurposes,
        None,
        Some(&signers_may_sign),
    )?;
    Ok(leaf)
}

/// Checks that a root or intermediate may sign SVIDs of `trust_domain`: a certificate authority by its constraints
/// and its key usage, and of no other trust domain (X509-SVID, sections 3 and 4).
pub(crate) fn check_signing_certificate(der: &CertificateDer<'_>, trust_domain: &str) -> Result<(), &'static str> {
    let certificate = parse(der).map_err(|_| "it is malformed")?;
    if !basic_constraints_ca(&certificate).unwrap_or(false) {
        return Err("it is no certificate authority by its basic constraints");
    }
    if !key_usage(&certificate).is_ok_and(|found| found.is_some_and(|found| found.value.key_cert_sign())) {
        return Err("its key usage lacks keyCertSign");
    }
    let uris = uri_sans(&certificate).map_err(|_| "its subject alternative names are malformed")?;
    let own = |uri: &&str| {
        let name = uri.strip_prefix("spiffe://").unwrap_or_default();
        name.split_once('/').map_or(name, |(domain, _)| domain) == trust_domain
    };
    if uris.iter().all(own) { Ok(()) } else { Err("it names another trust domain") }
}

/// Both purposes if any is stated. `check_profile` holds this for the leaf; here it holds for intermediates too.
struct PeerPurposes;

impl ExtendedKeyUsageValidator for PeerPurposes {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        const SERVER: [usize; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 1];
        const CLIENT: [usize; 9] = [1, 3, 6, 1, 5, 5, 7, 3, 2];
        let (mut any, mut server, mut client) = (false, false, false);
        for purpose in purposes {
            let oid = purpose?.to_decoded_oid();
            any = true;
            server |= oid == SERVER;
            client |= oid == CLIENT;
        }
        if !any || (server && client) { Ok(()) } else { Err(webpki::Error::EndEntityUsedAsCa) }
    }
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Rejection> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| Rejection::MalformedCertificate)?;
    // An extension that cannot be parsed would otherwise read as an absent one.
    let unparsable = |parsed: &ParsedExtension<'_>| matches!(parsed, ParsedExtension::ParseError { .. });
    let malformed = !rest.is_empty()
        || certificate.version() != X509Version::V3
        || certificate.iter_extensions().any(|extension| unparsable(extension.parsed_extension()));
    if malformed { Err(Rejection::MalformedCertificate) } else { Ok(certificate) }
}

fn uri_sans<'a>(certificate: &'a X509Certificate<'a>) -> Result<Vec<&'a str>, Rejection> {
    let names = certificate.subject_alternative_name().map_err(|_| Rejection::MalformedCertificate)?;
    let mut uris = Vec::new();
    for name in names.iter().flat_map(|extension| &extension.value.general_names) {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            GeneralName::Invalid(..) => return Err(Rejection::MalformedCertificate),
            _ => {}
        }
    }
    Ok(uris)
}

fn only_spiffe_id(certificate: &X509Certificate<'_>) -> Result<SpiffeId, Rejection> {
    match uri_sans(certificate)?.as_slice() {
        [] => Err(Rejection::NoUriSan),
        [uri] => SpiffeId::parse(uri).map_err(Rejection::BadSpiffeId),
        _ => Err(Rejection::SeveralUriSans),
    }
}

fn basic_constraints_ca(certificate: &X509Certificate<'_>) -> Result<bool, Rejection> {
    let constraints = certificate.basic_constraints().map_err(|_| Rejection::MalformedCertificate)?;
    Ok(constraints.is_some_and(|found| found.value.ca))
}

fn key_usage<'a>(certificate: &'a X509Certificate<'a>) -> Result<Option<BasicExtension<&'a KeyUsage>>, Rejection> {
    certificate.key_usage().map_err(|_| Rejection::MalformedCertificate)
}

fn check_key_usage(found: Option<BasicExtension<&KeyUsage>>) -> Result<(), Rejection> {
    let usage = found.ok_or(Rejection::NoKeyUsage)?;
    if !usage.critical {
        Err(Rejection::KeyUsageNotCritical)
    } else if usage.value.key_cert_sign() || usage.value.crl_sign() {
        Err(Rejection::KeyUsageSigns)
    } else if !usage.value.digital_signature() {
        Err(Rejection::NoDigitalSignature)
    } else {
        Ok(())
    }
}

fn system_time(time: ASN1Time) -> Result<SystemTime, Rejection> {
    // A time before 1970 is of no use to anybody and is refused with the malformed ones.
    let seconds = u64::try_from(time.timestamp()).map_err(|_| Rejection::MalformedCertificate)?;
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// The end of a certificate's validity, of whatever profile.
pub(crate) fn leaf_not_after(der: &CertificateDer<'_>) -> Option<SystemTime> {
    parse(der).and_then(|certificate| system_time(certificate.validity().not_after)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ca::CertificateAuthority;
    use rustls::crypto::ring::default_provider;
    use rustls_pki_types::pem::PemObject as _;

    #[test]
    fn extensions_that_are_doubled_or_cannot_be_read_are_no_absent_ones() {
        const SUBJECT_ALT_NAME: [u64; 4] = [2, 5, 29, 17];
        const BASIC_CONSTRAINTS: [u64; 4] = [2, 5, 29, 19];
        const KEY_USAGE: [u64; 4] = [2, 5, 29, 15];
        let uri = "spiffe://commerce.sekat.local/order";
        let second_name = [&[0x30, 37, 0x86, 35], uri.as_bytes()].concat();
        let cases: &[(&str, &[u64], &[u8], bool)] = &[
            ("nothing more", &[1, 2, 3], &[5, 0], true),
            ("a second list of names", &SUBJECT_ALT_NAME, &second_name, false),
            ("a second key usage", &KEY_USAGE, &[3, 2, 7, 0x80], false),
            ("basic constraints that are none", &BASIC_CONSTRAINTS, &[0x04, 0x01, 0x00], false),
        ];
        for (what, oid, content, good) in cases {
            let mut params = rcgen::CertificateParams::default();
            params.subject_alt_names = vec![rcgen::SanType::URI(uri.try_into().unwrap())];
            params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
            (params.not_before, params.not_after) =
                (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2026, 1, 2));
            params.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(oid, content.to_vec())];
            let key = rcgen::KeyPair::generate().unwrap();
            let checked = check_profile(params.self_signed(&key).unwrap().der());
            let expected = if *good { Ok(()) } else { Err(Rejection::MalformedCertificate) };
            assert_eq!(checked.map(drop), expected, "{what}");
        }
    }

    #[test]
    fn no_altered_byte_survives() {
        let authority = CertificateAuthority::new("commerce.sekat.local").unwrap();
        let id = SpiffeId::parse("spiffe://commerce.sekat.local/order").unwrap();
        let issued = authority.issue(&id, Duration::from_hours(1)).unwrap();
        let bundle = TrustBundle::from_pem(authority.trust_domain(), authority.bundle_pem().as_bytes()).unwrap();
        let algorithms = default_provider().signature_verification_algorithms.all;
        let check = |der: &[u8]| {
            let chain = [CertificateDer::from(der)];
            check_chain(&chain, |_| Ok(&bundle), algorithms, UnixTime::now()).map(|leaf| leaf.id)
        };
        let der = CertificateDer::from_pem_slice(issued.chain_pem.as_bytes()).unwrap().to_vec();
        assert_eq!(check(&der), Ok(id));
        for position in 0..der.len() {
            for change in [0x01, 0x80, 0xff] {
                let mut altered = der.clone();
                altered[position] ^= change;
                assert!(check(&altered).is_err(), "byte {position} by {change:#x}");
            }
            assert!(check(&der[..position]).is_err(), "cut at {position}");
        }
        assert!(check(&[der.as_slice(), &[0]].concat()).is_err(), "a byte more");
    }
}
