//! Which processes the mesh consists of, and what each of them is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;

use super::authority::private_directory;
use super::network::Listeners;
use super::supervisor::Process;
use crate::layout::Layout;

/// A workload of the mesh.
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    pub(crate) domain: &'static str,
    /// The program's name, beside `sekat` itself.
    program: &'static str,
    /// The workloads whose methods it calls; `catalog-feed` is catalog's feed port.
    upstreams: &'static [&'static str],
    public: bool,
    mesh: bool,
}

/// All workloads, in the order in which they are started. They are stopped in the reverse order.
pub(crate) const WORKLOADS: [Workload; 10] = [
    workload("psp-connector", "commerce", "sekat-psp-connector", &[], [false, true]),
    workload("account", "commerce", "sekat-account", &[], [false, true]),
    workload("catalog", "commerce", "sekat-catalog", &[], [false, true]),
    workload("merchant", "commerce", "sekat-merchant", &["catalog"], [false, true]),
    workload("payment", "commerce", "sekat-payment", &["psp-connector"], [false, true]),
    workload("order", "commerce", "sekat-order", &["account", "catalog", "payment"], [false, true]),
    workload("showcase", "showcase", "sekat-showcase", &["catalog-feed"], [false, true]),
    workload("notify-ingress", "commerce", "sekat-edge", &["payment"], [true, false]),
    workload(
        "commerce-edge",
        "commerce",
        "sekat-edge",
        &["account", "catalog", "order", "payment", "merchant"],
        [true, false],
    ),
    workload("showcase-edge", "showcase", "sekat-edge", &["showcase"], [true, false]),
];

const fn workload(
    name: &'static str,
    domain: &'static str,
    program: &'static str,
    upstreams: &'static [&'static str],
    [public, mesh]: [bool; 2],
) -> Workload {
    Workload { name, domain, program, upstreams, public, mesh }
}

/// The bank simulator's name among the processes.
pub(crate) const BANK: &str = "bank";

/// The witness's name among the processes, and that of its verb.
pub(crate) const WITNESS: &str = "witness";

/// The name under which the bank knows us.
const BANK_CLIENT_ID: &str = "sekat";
/// The company code under which the bank numbers our virtual accounts.
const PARTNER_SERVICE_ID: &str = "88899";

/// What all processes share.
pub(crate) struct Surroundings<'a> {
    pub(crate) layout: &'a Layout,
    pub(crate) listeners: &'a Listeners,
    /// `file:DIR` or the URL of an OTLP receiver.
    pub(crate) otlp: &'a str,
    /// Where the programs are.
    pub(crate) programs: PathBuf,
    /// Further environment for every process, `NAME=VALUE`.
    pub(crate) extra: &'a [(String, String)],
}

impl Surroundings<'_> {
    /// The process of a workload.
    pub(crate) fn process(&self, workload: &Workload) -> anyhow::Result<Process> {
        let layout = self.layout;
        let name = workload.name;
        let mut environment = BTreeMap::new();
        let mut set = |key: &str, value: String| environment.insert(key.to_owned(), value);
        set("SEKAT_IDENTITY_DIR", text(layout.identity(name))?);
        set("SEKAT_TRUST_DIR", text(layout.trust())?);
        set("SEKAT_DATA_DIR", text(layout.store(name))?);
        set("SEKAT_OTLP", self.otlp.to_owned());
        set("SEKAT_PROFILE", "dev".to_owned());
        set("SEKAT_EXIT_WITH_STDIN", "true".to_owned());
        set("SEKAT_HEALTH_LISTEN", self.listeners.inside(&format!("{name} health"))?.to_string());
        if workload.mesh {
            set("SEKAT_MESH_LISTEN", self.listeners.inside(&format!("{name} mesh"))?.to_string());
        }
        // So that a proof can show what is not in it.
        if workload.domain == "showcase" {
            set("SEKAT_RECEIVED_FILE", text(layout.received(name))?);
        }
        if name == "catalog" {
            set("SEKAT_FEED_LISTEN", self.listeners.inside("catalog feed")?.to_string());
        }
        if workload.public {
            set("SEKAT_PUBLIC_LISTEN", self.listeners.inside(&format!("{name} public"))?.to_string());
            set("SEKAT_WEB_TLS_DIR", text(layout.secrets(name))?);
            set("SEKAT_ROLE", name.to_owned());
        }
        for upstream in workload.upstreams {
            let (key, listener) = match upstream.strip_suffix("-feed") {
                Some(owner) => (format!("{owner}_FEED"), format!("{owner} feed")),
                None => ((*upstream).to_owned(), format!("{upstream} mesh")),
            };
            let key = format!("SEKAT_UPSTREAM_{}", key.to_uppercase().replace('-', "_"));
            set(&key, self.listeners.inside(&listener)?.to_string());
        }
        match name {
            "account" => {
                set("SEKAT_TOKEN_KEY_FILE", text(layout.secrets(name).join("account-token.key"))?);
            }
            "showcase" => {
                set("SEKAT_HANDOFF_KEY_FILE", text(layout.secrets(name).join("showcase-handoff.key"))?);
            }
            "psp-connector" => {
                let secrets = layout.secrets(name);
                set("SEKAT_PSP_BCA_URL", format!("https://{}", self.listeners.inside("bank")?));
                set("SEKAT_PSP_BCA_CA", text(layout.authority("web").join("authority.pem"))?);
                set("SEKAT_PSP_BCA_CLIENT_ID", BANK_CLIENT_ID.to_owned());
                set("SEKAT_PSP_BCA_PARTNER_SERVICE_ID", PARTNER_SERVICE_ID.to_owned());
                set("SEKAT_PSP_BCA_CLIENT_SECRET_FILE", text(secrets.join("client-secret"))?);
                set("SEKAT_PSP_BCA_PRIVATE_KEY", text(secrets.join("client.key"))?);
                set("SEKAT_PSP_BCA_BANK_PUBLIC_KEY", text(secrets.join("bank.pem"))?);
            }
            _ => {}
        }
        environment.extend(self.extra.iter().cloned());
        private_directory(&layout.store(name))?;
        self.listeners.place(Process {
            name,
            program: self.programs.join(workload.program),
            arguments: Vec::new(),
            environment,
            log: layout.log(name),
        })
    }

    /// The witness of the spans, which is a verb of this program.
    pub(crate) fn witness(&self, listen: SocketAddr) -> anyhow::Result<Process> {
        let layout = self.layout;
        let flag = |name: &str, value: String| [format!("--{name}"), value];
        let arguments = [
            flag("identity", text(layout.identity(WITNESS))?),
            flag("listen", listen.to_string()),
            flag("out", text(layout.witness())?),
        ];
        let arguments = arguments.into_iter().flatten();
        Ok(Process {
            name: WITNESS,
            program: std::env::current_exe()?,
            arguments: [WITNESS.to_owned()]
                .into_iter()
                .chain(arguments)
                .chain(["--exit-with-stdin".to_owned()])
                .collect(),
            environment: BTreeMap::new(),
            log: layout.log(WITNESS),
        })
    }

    /// The bank simulator, which is no part of the mesh.
    pub(crate) fn bank(&self) -> anyhow::Result<Process> {
        let secrets = self.layout.secrets(BANK);
        let flag = |name: &str, value: String| [format!("--{name}"), value];
        let arguments = [
            flag("listen", self.listeners.inside("bank")?.to_string()),
            flag("control-listen", self.listeners.inside("bank control")?.to_string()),
            flag("tls-cert", text(secrets.join("tls.crt"))?),
            flag("tls-key", text(secrets.join("tls.key"))?),
            flag("client-id", BANK_CLIENT_ID.to_owned()),
            flag("client-secret-file", text(secrets.join("client-secret"))?),
            flag("partner-service-id", PARTNER_SERVICE_ID.to_owned()),
            flag("partner-public-key", text(secrets.join("client.pem"))?),
            flag("private-key", text(secrets.join("bank.key"))?),
            flag("notify-url", format!("https://{}", self.listeners.inside("notify-ingress public")?)),
            flag("notify-ca", text(self.layout.authority("web").join("authority.pem"))?),
            flag("journal", text(self.layout.store(BANK).join("journal.jsonl"))?),
        ];
        private_directory(&self.layout.store(BANK))?;
        self.listeners.place(Process {
            name: BANK,
            program: self.programs.join("sekat-psp-simulator"),
            arguments: arguments.into_iter().flatten().chain(["--exit-with-stdin".to_owned()]).collect(),
            environment: BTreeMap::new(),
            log: self.layout.log(BANK),
        })
    }
}

fn text(path: PathBuf) -> anyhow::Result<String> {
    path.into_os_string()
        .into_string()
        .ok()
        .context("the data directory's path is not UTF-8: choose another with --data")
}
