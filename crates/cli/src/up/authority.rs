//! The small certificate authorities that `up` runs, and the keys and identities that they make.

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use ring::rand::SecureRandom;
use rsa::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};
use sekat_identity::SpiffeId;
use sekat_identity::ca::{CertificateAuthority, write_identity};
use sekat_identity::jws::SigningKey;

use super::network::Listeners;
use super::processes::{BANK, WITNESS, WORKLOADS};
use crate::layout::Layout;

/// How long an identity lives; `up` makes a new one at half of it.
pub(crate) const IDENTITY_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long the certificates of public addresses live; they are made at each start.
const WEB_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// RSA keys with the bank: SNAP BI demands at least 2,048 bits.
const BANK_KEY_BITS: usize = 2048;

/// The domains, each with a trust domain and an authority of its own.
const DOMAINS: [&str; 2] = ["commerce", "showcase"];

fn trust_domain(domain: &str) -> String {
    format!("{domain}.sekat.local")
}

/// The SPIFFE ID of whoever takes the spans, of neither domain.
pub(crate) fn witness_id() -> String {
    format!("spiffe://{}/{WITNESS}", trust_domain(WITNESS))
}

/// The identities that people hold rather than processes.
const PEOPLE: [(&str, &str); 1] = [("ops", "commerce")];

/// Makes everything that is missing: authorities, identities, keys. What exists is kept, identities are made anew.
pub(crate) fn prepare(layout: &Layout, listeners: &Listeners) -> anyhow::Result<()> {
    for directory in
        ["authorities", "identities", "trust", "secrets", "stores", "traces", "logs", "received", "evidence"]
    {
        private_directory(&layout.root().join(directory))?;
    }
    issue_identities(layout)?;
    prepare_signing_key(layout, "account", "account-token")?;
    prepare_signing_key(layout, "showcase", "showcase-handoff")?;
    prepare_bank_keys(layout)?;
    let web = authority(layout, "web", "web.sekat.local")?;
    for name in ["showcase-edge", "commerce-edge", "notify-ingress", BANK] {
        let listener = if name == BANK { BANK.to_owned() } else { format!("{name} public") };
        let addresses = [listeners.inside(&listener)?.ip(), listeners.address(&listener)?.ip()];
        let issued = web.issue_web_server(&["localhost"], &addresses, WEB_LIFE)?;
        let secrets = layout.secrets(name);
        private_directory(&secrets)?;
        private_file(&secrets.join("tls.key"), issued.key_pem.as_bytes())?;
        private_file(&secrets.join("tls.crt"), issued.chain_pem.as_bytes())?;
    }
    Ok(())
}

/// After each step, several times what a workload takes to see a new file, and enough for calls under way to end: then
/// the step holds everywhere.
const OVERLAP: Duration = Duration::from_secs(5);

/// Gives every workload a new certificate from its domain's authority.
pub(crate) fn issue_identities(layout: &Layout) -> anyhow::Result<()> {
    let mut issuers = Vec::new();
    for domain in DOMAINS {
        let authority = authority(layout, domain, &trust_domain(domain))?;
        issuers.push(Issuer { domain, bundle: authority.bundle_pem().to_owned(), authority });
    }
    issue(layout, &issuers)
}

/// Replaces every authority and every identity while the mesh runs: first everybody trusts old and new, then
/// everybody gets a new identity, then the old authorities are forgotten and what they signed is refused.
pub(crate) async fn roll(layout: &Layout) -> anyhow::Result<()> {
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for domain in DOMAINS {
        let authority = authority(layout, domain, &trust_domain(domain))?;
        let next = CertificateAuthority::new(&trust_domain(domain))?;
        let both = format!("{}{}", authority.bundle_pem(), next.bundle_pem());
        old.push(Issuer { domain, bundle: both.clone(), authority });
        new.push(Issuer { domain, bundle: both, authority: next });
    }
    issue(layout, &old)?;
    tokio::time::sleep(OVERLAP).await;
    // From here on a restart of `up` goes on with the new authorities.
    for issuer in &new {
        issuer.authority.save(&layout.authority(issuer.domain))?;
    }
    issue(layout, &new)?;
    tokio::time::sleep(OVERLAP).await;
    issue_identities(layout)?;
    tokio::time::sleep(OVERLAP).await;
    Ok(())
}

/// A domain's authority, and what its identities are to trust.
struct Issuer {
    domain: &'static str,
    authority: CertificateAuthority,
    bundle: String,
}

fn issue(layout: &Layout, issuers: &[Issuer]) -> anyhow::Result<()> {
    let workloads = WORKLOADS.iter().map(|workload| (workload.name, workload.domain));
    for (name, domain) in workloads.chain(PEOPLE) {
        let id: SpiffeId = format!("spiffe://{}/{name}", trust_domain(domain)).parse()?;
        let directory = layout.identity(name);
        private_directory(&directory)?;
        let (own, others): (Vec<&Issuer>, Vec<&Issuer>) = issuers.iter().partition(|issuer| issuer.domain == domain);
        let own = own.first().with_context(|| format!("the domain {domain} of {name} has no authority"))?;
        // Only the two ends of the product feed know the other domain's authority.
        let knows_others = name == "catalog" || name == "showcase";
        let federated: Vec<(String, String)> = others
            .into_iter()
            .filter(|_| knows_others)
            .map(|issuer| (trust_domain(issuer.domain), issuer.bundle.clone()))
            .collect();
        let issued = own.authority.issue(&id, IDENTITY_LIFE)?;
        write_identity(&directory, &issued, &own.bundle, &federated)
            .with_context(|| format!("the identity of {name} cannot be written"))?;
    }
    // It trusts everybody, for what they say of themselves; nobody lets it in.
    let witness = authority(layout, WITNESS, &trust_domain(WITNESS))?;
    let directory = layout.identity(WITNESS);
    private_directory(&directory)?;
    let everybody: Vec<(String, String)> =
        issuers.iter().map(|issuer| (trust_domain(issuer.domain), issuer.bundle.clone())).collect();
    let issued = witness.issue(&witness_id().parse()?, IDENTITY_LIFE)?;
    write_identity(&directory, &issued, witness.bundle_pem(), &everybody)
        .with_context(|| format!("the identity of {WITNESS} cannot be written"))?;
    private_file(&layout.witness_bundle(), witness.bundle_pem().as_bytes())
}

fn authority(layout: &Layout, name: &str, trust_domain: &str) -> anyhow::Result<CertificateAuthority> {
    let directory = layout.authority(name);
    CertificateAuthority::open_or_create(&directory, trust_domain).with_context(|| {
        format!("the authority in {} cannot be used: move it away and start again", directory.display())
    })
}

fn prepare_signing_key(layout: &Layout, owner: &str, name: &str) -> anyhow::Result<()> {
    let secrets = layout.secrets(owner);
    private_directory(&secrets)?;
    let key = secrets.join(format!("{name}.key"));
    let public = layout.trust().join(format!("{name}.pem"));
    if key.exists() && public.exists() {
        return Ok(());
    }
    let made = SigningKey::generate()?;
    private_file(&key, made.pkcs8_pem().as_bytes())?;
    private_file(&public, made.public_pem().as_bytes())
}

/// The keys that the connector and the bank would exchange on paper. Each side gets its private key and the other's
/// public one.
fn prepare_bank_keys(layout: &Layout) -> anyhow::Result<()> {
    let (ours, theirs) = (layout.secrets("psp-connector"), layout.secrets(BANK));
    if ours.join("client-secret").exists() && theirs.join("bank.key").exists() {
        return Ok(());
    }
    private_directory(&ours)?;
    private_directory(&theirs)?;
    for (private, public) in
        [(ours.join("client.key"), theirs.join("client.pem")), (theirs.join("bank.key"), ours.join("bank.pem"))]
    {
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, BANK_KEY_BITS)?;
        private_file(&private, key.to_pkcs8_pem(LineEnding::LF)?.as_bytes())?;
        private_file(&public, key.to_public_key().to_public_key_pem(LineEnding::LF)?.as_bytes())?;
    }
    let mut secret = [0_u8; 32];
    ring::rand::SystemRandom::new().fill(&mut secret).ok().context("the system gives no random bytes")?;
    let secret = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, secret);
    private_file(&theirs.join("client-secret"), secret.as_bytes())?;
    private_file(&ours.join("client-secret"), secret.as_bytes())
}

/// A directory for its owner alone.
pub(super) fn private_directory(path: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("the directory {} cannot be made", path.display()))
}

fn private_file(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let temporary = path.with_extension("tmp");
    let write = || -> std::io::Result<()> {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        std::io::Write::write_all(&mut file, content)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}
