//! A witness of the spans: who sent them is known by certificate, nobody can change what it wrote without its showing, and
//! what it passes on says who sent it.

use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};

use acceptance::cli::{self, Ran, tool};
use acceptance::wire::{Identity, call, channel, handshake, loopback_name, mint, tls};
use acceptance::{Mesh, Options, eventually, free_block};
use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;
use sekat_identity::ca::CertificateAuthority;
use tonic::Code;

use crate::trace::get;

/// The method of OTLP over gRPC.
const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
const JAEGER: &str = "SEKAT_JAEGER";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_witness_wrote_is_bound_to_certificates_and_cannot_be_changed() {
    let mut mesh = Mesh::start(Options::seeded().argument("--witness"));
    let _paid = mesh.purchase();
    let address = mesh.running().witness.unwrap().strip_prefix("https://").unwrap().to_owned();
    let (showcase, witness) = (Identity::read(&mesh.identity("showcase")), mesh.data().join("witness"));

    let second = cli::run(
        cli::command().arg("witness").arg("--identity").arg(mesh.identity("witness")).arg("--out").arg(&witness),
    );
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains("another witness writes into"), "{}", second.stderr);

    let stranger = CertificateAuthority::new(mesh.authority("commerce").trust_domain()).unwrap();
    handshake(&address, tls(None)).await.unwrap_err();
    handshake(&address, tls(Some(&mint(&stranger, "commerce", "payment", |_| {})))).await.unwrap_err();
    let server = handshake(&address, tls(Some(&showcase))).await.unwrap();
    assert_eq!(server, "spiffe://witness.sekat.local/witness");

    let as_showcase = channel(&address, tls(Some(&showcase)), loopback_name());
    let refused = call(&as_showcase, EXPORT, None, Bytes::from_static(b"\x0a\x05")).await;
    assert_eq!(refused.code(), Some(Code::InvalidArgument), "{refused:?}");
    let refused =
        call(&as_showcase, "/opentelemetry.proto.collector.logs.v1.LogsService/Export", None, Bytes::new()).await;
    assert_eq!(refused.code(), Some(Code::Unimplemented), "{refused:?}");
    assert!(mesh.stop().await.success());

    let Ran { code, stdout, stderr } = audit(&mesh);
    assert_eq!(code, Some(0), "spans, counters and records agree: {stdout}{stderr}");

    // The same bytes, one of them changed, in the middle of the first file.
    let file = witness.join("00000001.segment");
    let whole = fs::read(&file).unwrap();
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    fs::write(&file, changed).unwrap();
    let Ran { code, stdout, .. } = audit(&mesh);
    assert_eq!(code, Some(3), "{stdout}");
    assert!(stdout.contains("SK0612") && stdout.contains("00000001.segment"), "the place is named: {stdout}");
    fs::write(&file, whole).unwrap();
    assert_eq!(audit(&mesh).code, Some(0));

    mesh.start_again();
    let address = mesh.running().witness.unwrap().strip_prefix("https://").unwrap().to_owned();
    let as_showcase = channel(&address, tls(Some(&Identity::read(&mesh.identity("showcase")))), loopback_name());
    let taken = call(&as_showcase, EXPORT, None, of("payment", &[])).await;
    assert_eq!(taken.code(), Some(Code::Ok), "who sends may say what they like: {taken:?}");
    assert!(mesh.stop().await.success());
    let Ran { code, stdout, .. } = audit(&mesh);
    assert_eq!(code, Some(3), "{stdout}");
    let named = "`payment` came from spiffe://showcase.sekat.local/showcase";
    assert!(stdout.contains(named), "{named}: {stdout}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_passed_on_says_who_sent_it() {
    let Some(jaeger) = tool(JAEGER, "passing spans on to a real Jaeger") else { return };
    let binary = jaeger.to_str().unwrap();
    let mesh = Mesh::start(Options::empty().argument("--jaeger").argument("--jaeger-binary").argument(binary));
    let running = mesh.running();
    let address = format!("127.0.0.1:{}", free_block());
    let folder = tempfile::tempdir().unwrap();
    let mut witness = witness(&mesh.identity("witness"), &address, folder.path(), &running.otlp);
    let payment = tls(Some(&Identity::read(&mesh.identity("payment"))));
    eventually("the witness takes connections", async || handshake(&address, payment.clone()).await.ok()).await;
    let message = of("payment", &[("sekat.exporter.id", "spiffe://commerce.sekat.local/somebody-else")]);
    let taken = call(&channel(&address, payment, loopback_name()), EXPORT, None, message).await;
    assert_eq!(taken.code(), Some(Code::Ok), "{taken:?}");

    let query = format!("{}/api/v3/traces/{}", running.jaeger.unwrap(), "07".repeat(16));
    let found = eventually("Jaeger has the span", async || {
        let (_, text) = get(&query).await?;
        let text = String::from_utf8_lossy(&text).into_owned();
        text.contains("sekat.exporter.id").then_some(text)
    })
    .await;
    assert!(found.contains("spiffe://commerce.sekat.local/payment") && !found.contains("somebody-else"), "{found}");
    drop(witness.stdin.take());
    assert!(witness.wait().unwrap().success());
}

fn audit(mesh: &Mesh) -> Ran {
    let proto = cli::repository().join("proto");
    cli::run(cli::command().arg("audit").arg("--proto").arg(proto).arg("--data").arg(mesh.data()))
}

fn witness(identity: &Path, listen: &str, out: &Path, forward: &str) -> Child {
    let mut command = cli::command();
    command.arg("witness").arg("--identity").arg(identity).args(["--listen", listen, "--forward", forward]);
    // When this test ends, however it does, so does the pipe, and with it the witness.
    command.arg("--out").arg(out).arg("--exit-with-stdin").stdin(Stdio::piped()).spawn().unwrap()
}

/// A call to payment's ledger, as spans of a service say it.
fn of(service: &str, more: &[(&str, &str)]) -> Bytes {
    let text = |(key, value): (&str, &str)| KeyValue {
        key: key.to_owned(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) }),
        ..KeyValue::default()
    };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = u64::try_from(now.as_nanos()).unwrap();
    let attributes = [
        ("rpc.system.name", "grpc"),
        ("rpc.method", "sekat.payment.v1.LedgerService/GetLedgerAccount"),
        ("rpc.response.status_code", "OK"),
        ("sekat.peer.id", "spiffe://commerce.sekat.local/ops"),
    ];
    let span = Span {
        trace_id: vec![7; 16],
        span_id: vec![7; 8],
        name: "sekat.payment.v1.LedgerService/GetLedgerAccount".to_owned(),
        kind: 2,
        start_time_unix_nano: now,
        end_time_unix_nano: now + 1000,
        attributes: attributes.map(text).to_vec(),
        ..Span::default()
    };
    let attributes = [("service.name", service)].iter().chain(more).map(|pair| text(*pair)).collect();
    let resource = Resource { attributes, ..Resource::default() };
    let scope = ScopeSpans { spans: vec![span], ..ScopeSpans::default() };
    let spans = ResourceSpans { resource: Some(resource), scope_spans: vec![scope], ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![spans] }.encode_to_vec().into()
}
