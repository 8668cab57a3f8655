//! The connector as a workload of the mesh: payment reaches the bank through it, nobody else does.

use std::path::Path;
use std::time::Duration;

use sekat_api_connector::v1::payment_connector_service_client::PaymentConnectorServiceClient;
use sekat_identity::SpiffeId;
use sekat_identity::ca::{CertificateAuthority, write_identity};
use sekat_mesh::{Env, Mesh, Settings};
use serde_json::json;
use tonic::Code;
use tracing_subscriber::layer::SubscriberExt as _;

use super::world::{World, create_request, rupiah};

/// A process of the mesh with an identity of its own.
async fn member(ca: &CertificateAuthority, directory: &Path, name: &'static str, env: &[(&str, String)]) -> Mesh {
    let id = SpiffeId::parse(&format!("spiffe://commerce.sekat.local/{name}")).unwrap();
    let identity = directory.join(name);
    let issued = ca.issue(&id, Duration::from_secs(600)).unwrap();
    write_identity(&identity, &issued, ca.bundle_pem(), &[]).unwrap();
    let own = ("SEKAT_IDENTITY_DIR", identity.display().to_string());
    let mut env = Env::from_vars(env.iter().cloned().chain([own]));
    let settings = Settings::read(&mut env);
    env.finish().unwrap();
    Mesh::open(name, settings).await.unwrap()
}

#[tokio::test]
async fn payment_reaches_the_bank_and_nobody_else_does() {
    let world = World::start().await;
    let directory = tempfile::tempdir().unwrap();
    let ca = CertificateAuthority::new("commerce.sekat.local").unwrap();
    let spans = directory.path().join("spans");
    let own = [("SEKAT_MESH_LISTEN", "127.0.0.1:0".to_owned()), ("SEKAT_OTLP", format!("file:{}", spans.display()))];
    let connector = member(&ca, directory.path(), "psp-connector", &own).await;
    let _spans = tracing::subscriber::set_default(tracing_subscriber::registry().with(connector.span_layer()));
    let upstream = [("SEKAT_UPSTREAM_PSP_CONNECTOR", connector.addresses()["mesh"].to_string())];
    let shutdown = connector.shutdown();
    let server = crate::build(world.config(), connector).await.unwrap();
    let serving = tokio::spawn(server.serve());
    let client = async |name| {
        let member = member(&ca, directory.path(), name, &upstream).await;
        PaymentConnectorServiceClient::new(member.client(&sekat_api_connector::API).unwrap())
    };

    let denied = client("order").await.create_charge(create_request("pi-0001")).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    assert!(world.charges().await.is_empty());

    // The reply of the bank is lost; the mesh asks again, as the contract allows, and the bank finds the same charge.
    world.arm(json!({ "fault": "lost-reply", "times": 1, "service": "create-va" })).await;
    let mut payment = client("payment").await;
    let charge = payment.create_charge(create_request("pi-0001")).await.unwrap().into_inner();
    assert_eq!(charge.amount, Some(rupiah(25_000)));
    assert_eq!(world.charges().await.len(), 1);

    let dearer = sekat_api_connector::v1::CreateChargeRequest { amount: Some(rupiah(1)), ..create_request("pi-0001") };
    let refused = payment.create_charge(dearer).await.unwrap_err();
    assert_eq!(refused.code(), Code::AlreadyExists);
    assert_eq!(sekat_mesh::refusal::reason(&refused).as_deref(), Some("CHARGE_TERMS_DIFFER"));

    shutdown.begin();
    serving.await.unwrap().unwrap();
    let spans = read_all(&spans);
    for name in ["snap access-token", "snap create-va"] {
        assert!(spans.contains(name), "no span {name}");
    }
    for classified in ["pi-0001", charge.account_number.as_str(), "25000"] {
        assert!(!spans.contains(classified), "a span holds {classified}");
    }
}

fn read_all(directory: &Path) -> String {
    let files = std::fs::read_dir(directory).unwrap();
    files.map(|file| String::from_utf8_lossy(&std::fs::read(file.unwrap().path()).unwrap()).into_owned()).collect()
}
