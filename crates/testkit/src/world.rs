//! Two domains with their authorities, the keys that sign tokens, and the directories of their workloads.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rusqlite::OpenFlags;
use sekat_identity::SpiffeId;
use sekat_identity::ca::{CertificateAuthority, write_identity};
use sekat_identity::end_user::{EndUserClaims, ISSUER, Scope};
use sekat_identity::handoff::HandoffClaims;
use sekat_identity::jws::SigningKey;
use sekat_mesh::{BoxError, Env, Mesh, Routes, Server, Settings};
use sekat_policy::Api;
use tempfile::TempDir;

use crate::ports::Ports;
use crate::process::{Caller, Killable, Process};

/// The workloads that others call, and on which listeners.
const SERVERS: [(&str, &str); 8] = [
    ("account", "mesh"),
    ("catalog", "mesh"),
    ("catalog", "feed"),
    ("merchant", "mesh"),
    ("order", "mesh"),
    ("payment", "mesh"),
    ("psp-connector", "mesh"),
    ("showcase", "mesh"),
];
/// The workloads of the showcase domain; all others are of commerce.
const OF_SHOWCASE: [&str; 2] = ["showcase", "showcase-edge"];
/// No test takes as long.
const VALIDITY: Duration = Duration::from_secs(3_600);

/// A mesh of one test. All that it wrote is gone with it.
pub struct World {
    dir: TempDir,
    commerce: CertificateAuthority,
    showcase: CertificateAuthority,
    token_key: SigningKey,
    handoff_key: SigningKey,
    ports: Ports,
}

/// An end user's access token.
pub type Token = String;

/// A record of an access to classified data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The calling workload's SPIFFE ID.
    pub caller: String,
    /// The end user, or nothing.
    pub end_user: String,
    /// The gRPC path.
    pub method: String,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// A world in which nothing runs.
    ///
    /// # Panics
    /// If keys or files cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let world = Self {
            dir: tempfile::tempdir().unwrap(),
            commerce: CertificateAuthority::new("commerce.sekat.local").unwrap(),
            showcase: CertificateAuthority::new("showcase.sekat.local").unwrap(),
            token_key: SigningKey::generate().unwrap(),
            handoff_key: SigningKey::generate().unwrap(),
            ports: Ports::default(),
        };
        for (name, key) in [("account-token", &world.token_key), ("showcase-handoff", &world.handoff_key)] {
            write(&world.path("trust").join(format!("{name}.pem")), &key.public_pem());
            write(&world.path("keys").join(format!("{name}.key")), &key.pkcs8_pem());
        }
        world
    }

    /// A path in the world's own directory. `trust` has the public keys, `data/<workload>` the stores.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The SPIFFE ID of a workload.
    ///
    /// # Panics
    /// If the name cannot be part of one.
    #[must_use]
    pub fn id(&self, workload: &str) -> SpiffeId {
        let (own, _) = self.authorities(workload);
        SpiffeId::parse(&format!("spiffe://{}/{workload}", own.trust_domain())).unwrap()
    }

    /// The environment in which `sekat up` would start a workload: its identity, anew, its listeners, everybody's
    /// addresses, and the keys that are its own.
    ///
    /// # Panics
    /// If files cannot be written.
    pub fn env(&self, workload: &str) -> Env {
        Env::from_vars(self.variables(workload))
    }

    fn variables(&self, workload: &str) -> Vec<(String, String)> {
        let (own, other) = self.authorities(workload);
        let identity = self.path("identities").join(workload);
        let issued = own.issue(&self.id(workload), VALIDITY).unwrap();
        let federated = [(other.trust_domain().to_owned(), other.bundle_pem().to_owned())];
        write_identity(&identity, &issued, own.bundle_pem(), &federated).unwrap();
        let data = self.data(workload);
        std::fs::create_dir_all(&data).unwrap();

        let mut variables = vec![
            ("SEKAT_IDENTITY_DIR".to_owned(), identity.display().to_string()),
            ("SEKAT_TRUST_DIR".to_owned(), self.path("trust").display().to_string()),
            ("SEKAT_DATA_DIR".to_owned(), data.display().to_string()),
            ("SEKAT_HEALTH_LISTEN".to_owned(), "127.0.0.1:0".to_owned()),
            ("SEKAT_PROFILE".to_owned(), "dev".to_owned()),
        ];
        for (server, listener) in SERVERS {
            let address = self.ports.address(server, listener).to_string();
            if server == workload {
                variables.push((format!("SEKAT_{}_LISTEN", listener.to_uppercase()), address.clone()));
            }
            let suffix = if listener == "feed" { "_FEED" } else { "" };
            let name = server.to_uppercase().replace('-', "_");
            variables.push((format!("SEKAT_UPSTREAM_{name}{suffix}"), address));
        }
        let key = match workload {
            "account" => Some(("SEKAT_TOKEN_KEY_FILE", "account-token.key")),
            "showcase" => Some(("SEKAT_HANDOFF_KEY_FILE", "showcase-handoff.key")),
            _ => None,
        };
        variables.extend(key.map(|(name, file)| (name.to_owned(), self.path("keys").join(file).display().to_string())));
        variables
    }

    /// Starts a workload as its `main` would, and returns when it serves. After [`Process::stop`] it can be started
    /// again: at the same addresses, on the same store.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start<C>(
        &self,
        workload: &'static str,
        read: fn(&mut Env) -> C,
        build: impl AsyncFnOnce(C, Mesh) -> Result<Server, BoxError>,
    ) -> Process {
        let mut env = self.env(workload);
        let (settings, config) = (Settings::read(&mut env), read(&mut env));
        env.finish().unwrap();
        let mesh = Mesh::open(workload, settings).await.unwrap();
        let server = build(config, mesh.clone()).await.unwrap();
        Process::start(mesh, server, self.data(workload)).await
    }

    /// Starts a workload so that it can be killed, with some variables more than usual. It can be started again.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start_killable<C, F>(
        &self,
        workload: &'static str,
        variables: &[(&str, String)],
        read: fn(&mut Env) -> C,
        build: fn(C, Mesh) -> F,
    ) -> Killable
    where
        C: Send + 'static,
        F: Future<Output = Result<Server, BoxError>> + Send + 'static,
    {
        let more = variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let mut env = Env::from_vars(self.variables(workload).into_iter().chain(more));
        let (settings, config) = (Settings::read(&mut env), read(&mut env));
        env.finish().unwrap();
        Killable::start(async move {
            let mesh = Mesh::open(workload, settings).await.unwrap();
            build(config, mesh).await.unwrap()
        })
        .await
    }

    /// Starts a stand-in for a workload that others call. It has no store.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn stand_in(&self, workload: &'static str, api: &'static Api, routes: Routes) -> Process {
        let serve =
            async |(), mesh: Mesh| Ok(mesh.server().api(api, routes).records_at_peers("a stand-in has no store"));
        self.start(workload, |_| (), serve).await
    }

    /// A workload that only calls, such as an edge or `ops`.
    ///
    /// # Panics
    /// If its identity cannot be made.
    pub async fn caller(&self, workload: &'static str) -> Caller {
        let mut env = self.env(workload);
        let settings = Settings::read(&mut env);
        env.finish().unwrap();
        Caller { mesh: Mesh::open(workload, settings).await.unwrap() }
    }

    /// A token as account issues it to a buyer, `accounts/{account}`.
    #[must_use]
    pub fn buyer(&self, account: &str) -> Token {
        self.token(account, &format!("{account}/sessions/test"), Scope::Buyer, None)
    }

    /// A token as account issues it to the seller of `merchants/{merchant}`.
    #[must_use]
    pub fn seller(&self, account: &str, merchant: &str) -> Token {
        self.token(account, &format!("{account}/sessions/test"), Scope::Seller, Some(merchant))
    }

    /// A token as account issues it to a creator, for showcase-edge.
    #[must_use]
    pub fn creator(&self, handle: &str) -> Token {
        self.token(handle, "sessions/test", Scope::Creator, None)
    }

    /// A handoff as showcase issues it.
    ///
    /// # Panics
    /// If it cannot be signed.
    #[must_use]
    pub fn handoff(&self, claims: &HandoffClaims) -> Token {
        claims.sign(&self.handoff_key).unwrap()
    }

    fn token(&self, sub: &str, sid: &str, scope: Scope, merchant: Option<&str>) -> Token {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = EndUserClaims {
            iss: ISSUER.to_owned(),
            aud: scope.audience(),
            sub: sub.to_owned(),
            sid: sid.to_owned(),
            scope,
            merchant: merchant.map(str::to_owned),
            exp: now + 900,
            iat: now,
        };
        claims.sign(&self.token_key).unwrap()
    }

    /// The access records in the store of a workload, oldest first.
    ///
    /// # Panics
    /// If it has no store.
    #[must_use]
    pub fn accesses(&self, workload: &str) -> Vec<Access> {
        let file = self.data(workload).join(format!("{workload}.db"));
        let store = rusqlite::Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut select = store.prepare("SELECT caller, end_user, method FROM access_records ORDER BY seq").unwrap();
        let rows =
            select.query_map([], |row| Ok(Access { caller: row.get(0)?, end_user: row.get(1)?, method: row.get(2)? }));
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// The authority of a workload's domain, and the other one.
    fn authorities(&self, workload: &str) -> (&CertificateAuthority, &CertificateAuthority) {
        if OF_SHOWCASE.contains(&workload) {
            (&self.showcase, &self.commerce)
        } else {
            (&self.commerce, &self.showcase)
        }
    }

    fn data(&self, workload: &str) -> PathBuf {
        self.path("data").join(workload)
    }
}

/// A request of whom `token` was issued to.
///
/// # Panics
/// If the token cannot be a header.
pub fn signed_in<T>(token: &str, message: T) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    request
}

fn write(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}
