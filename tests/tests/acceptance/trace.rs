//! A purchase reads as one trace: who called whom, by certificate, in which domain, with which classes of data; and
//! the bank's notification is joined to it by a link.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;

use acceptance::golden::{assert_golden, rows};
use acceptance::shop::request;
use acceptance::{Mesh, Options, Story, eventually};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use sekat_api_payment::v1 as payment;
use sekat_api_payment::v1::ledger_service_client::LedgerServiceClient;

use crate::support::canaries::Search;
use crate::support::evidence;
use crate::support::spans::{self, Kind, Span};

/// The most that a person reads as one story.
const MOST_SPANS: usize = 40;

/// Where Jaeger's binary is; see `cargo xtask tools`.
const JAEGER: &str = "SEKAT_JAEGER";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purchase_reads_as_one_trace_in_jaeger() {
    let Some(binary) = std::env::var(JAEGER).ok().filter(|binary| !binary.is_empty()) else {
        let lost = format!("NOT RUN: the trace in a real Jaeger. Set {JAEGER} to a Jaeger v2 binary");
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{lost}");
        // Not `eprintln!`: of a test that passes nobody would see it.
        writeln!(std::io::stderr(), "\n######## {lost} ########\n").unwrap();
        return;
    };
    let mesh = Mesh::start(Options::seeded().argument("--jaeger").argument("--jaeger-binary").argument(&binary));
    let story = mesh.purchase();
    let jaeger = mesh.running().jaeger.expect("up says where Jaeger is");
    judge(&story, async |trace_id| {
        let (reply, text) = get(&format!("{jaeger}/api/v3/traces/{trace_id}")).await?;
        no_classified_value(&story, &text);
        Some(spans::of_jaeger(&reply))
    })
    .await;
}

/// The same without Jaeger: what leaves the processes is what it is made of.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_purchase_reads_as_one_trace_in_its_files() {
    let mut mesh = Mesh::start(Options::seeded());
    let story = mesh.purchase();
    let traces = mesh.data().join("traces");
    judge(&story, async |trace_id| {
        let spans = spans::in_files(&traces);
        Some(spans.into_iter().filter(|span| span.trace_id == trace_id).collect())
    })
    .await;
    assert!(mesh.stop().await.success());
    evidence::counters_records_and_spans_agree(&mesh);
}

/// Who calls is what the certificate says, whatever a caller says about itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_lies_about_itself_is_recorded_as_its_certificate_says() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const CALLER: &str = "b7ad6b7169203331";
    let mesh = Mesh::shared();
    let mut ledger = LedgerServiceClient::new(mesh.trusting_channel_as("ops", "payment").await);
    let asking = payment::GetLedgerAccountRequest { name: "ledgerAccounts/order-funds".to_owned() };
    let mut call = request(None, asking);
    let traceparent = format!("00-{TRACE}-{CALLER}-01");
    for (name, lie) in [
        ("traceparent", traceparent.as_str()),
        ("service.name", "order"),
        ("sekat.peer.id", "spiffe://commerce.sekat.local/order"),
        ("x-forwarded-client-cert", "URI=spiffe://commerce.sekat.local/order"),
        ("baggage", "service.name=order,sekat.peer.id=order"),
    ] {
        call.metadata_mut().insert(name, lie.parse().unwrap());
    }
    ledger.get_ledger_account(call).await.expect("ops may read the ledger");
    let traces = mesh.data().join("traces");
    let span = eventually("the call's span is exported", async || {
        spans::in_files(&traces).into_iter().find(|span| span.trace_id == TRACE)
    })
    .await;
    assert_eq!((span.service.as_str(), span.parent_id.as_str()), ("payment", CALLER));
    assert_eq!(span.attribute("sekat.peer.id"), "spiffe://commerce.sekat.local/ops");
    assert_eq!(span.attribute("sekat.data_class"), "PAYMENT");
    let lies: Vec<_> = span.attributes.iter().filter(|(_, value)| value.ends_with("order")).collect();
    assert!(lies.is_empty(), "{lies:?}");
}

pub(crate) async fn get(url: &str) -> Option<(serde_json::Value, Bytes)> {
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let response = client.get(url.parse().expect("a URL")).await.ok()?;
    // Jaeger does not know the trace before its first span has come.
    let body = response.into_body().collect().await.ok()?.to_bytes();
    Some((serde_json::from_slice(&body).ok()?, body))
}

/// What the story itself knows of the buyer and the payment is nowhere in what was exported.
fn no_classified_value(story: &Story, text: &[u8]) {
    let mut search = Search::default();
    search.add("the order", story.order.strip_prefix("orders/").unwrap());
    search.add("the payment", story.payment_intent.strip_prefix("paymentIntents/").unwrap());
    search.add("the buyer's name", "Sari Wulandari");
    search.add("the buyer's phone", "+6281234567890");
    search.add("the buyer's street", "Jl. Kaliurang");
    let hits = search.hits("the trace", text);
    assert!(hits.is_empty(), "{hits:?}");
}

/// Waits until the purchase's trace and the one that it links to are whole, and judges them.
async fn judge(story: &Story, read: impl AsyncFn(String) -> Option<Vec<Span>>) {
    let purchase = eventually("the purchase's trace is whole", async || {
        let spans = read(story.trace_id.clone()).await?;
        let has = |method: &str| spans.iter().any(|span| span.kind == Kind::Server && span.name.ends_with(method));
        // The app signs in and watches the order in traces of their own.
        let calls =
            story.steps.iter().filter(|step| step.method.contains('/') && !step.method.ends_with("/WatchOrder"));
        let has_calls = calls.map(|step| step.method.as_str()).chain(["/CapturePaymentIntent"]).all(has);
        (has_calls && is_whole(&spans)).then_some(spans)
    })
    .await;
    let roots: Vec<&Span> = purchase.iter().filter(|span| span.parent_id.is_empty()).collect();
    let [root] = roots[..] else { panic!("{} roots", roots.len()) };
    assert_eq!((root.service.as_str(), root.name.as_str()), ("app", "purchase"));
    assert!(purchase.len() <= MOST_SPANS, "{} spans", purchase.len());
    let domains: BTreeSet<&str> =
        purchase.iter().map(|span| span.domain.as_str()).filter(|it| !it.is_empty()).collect();
    assert_eq!(domains, BTreeSet::from(["commerce", "showcase"]));

    // One query for the purchase says where the notification is.
    let links: Vec<&(String, String)> = purchase.iter().flat_map(|span| &span.links).collect();
    let [(linked_trace, linked_span)] = links[..] else { panic!("{} links", links.len()) };
    assert_ne!(*linked_trace, story.trace_id);
    let notification = eventually("the notification's trace is whole", async || {
        read(linked_trace.clone()).await.filter(|spans| is_whole(spans))
    })
    .await;
    let end = notification.iter().find(|span| span.span_id == *linked_span).expect("the linked span is there");
    assert_eq!((end.service.as_str(), end.kind), ("payment", Kind::Server));
    assert!(end.name.ends_with("/IngestNotification"));

    for spans in [&purchase, &notification] {
        every_call_is_allowed_and_told_truly(spans);
    }
    let text = format!("{}\nlinked to\n\n{}", tree(&purchase), tree(&notification));
    assert_golden("purchase-trace.txt", &text);
}

/// Whether a trace has its root, the parent of each span, and both ends of each call between workloads, also of those
/// that an edge passes on.
fn is_whole(spans: &[Span]) -> bool {
    let ids: BTreeSet<&str> = spans.iter().map(|span| span.span_id.as_str()).collect();
    let parents: BTreeSet<&str> = spans.iter().map(|span| span.parent_id.as_str()).collect();
    let has_root = parents.contains("");
    let has_parents = parents.iter().all(|parent| parent.is_empty() || ids.contains(parent));
    let is_last = |span: &Span| span.kind != Kind::Client && !span.service.ends_with("-edge");
    has_root && has_parents && spans.iter().all(|span| is_last(span) || parents.contains(&*span.span_id))
}

/// Each server span names the caller whose span is its parent, as the certificate had it, and a method that the
/// contract lets this caller call; and says which classes of data that method has, and how it ended.
fn every_call_is_allowed_and_told_truly(spans: &[Span]) {
    let by_id: BTreeMap<&str, &Span> = spans.iter().map(|span| (span.span_id.as_str(), span)).collect();
    let contract = rows::<7>("edges.tsv");
    for span in spans.iter().filter(|span| span.name.starts_with("sekat.")) {
        let [caller, callee] = match (span.kind, span.attribute("sekat.peer.id").rsplit_once('/')) {
            (Kind::Server, Some((_, caller))) => {
                let parent = by_id[span.parent_id.as_str()];
                assert_eq!(caller, parent.service, "{} was called by the one whose span is its parent", span.name);
                [caller, span.service.as_str()]
            }
            (Kind::Client, Some((_, callee))) => [span.service.as_str(), callee],
            // A public listener's callers have no identity; what the edge passes on is in its own name.
            (_, None) => {
                assert_eq!(span.kind, Kind::Server, "{}", span.name);
                assert!(span.service.ends_with("-edge"), "{} has a caller without an identity", span.name);
                let served = |row: &&[String; 7]| row[0] == span.service && row[3] == format!("/{}", span.name);
                [span.service.as_str(), &contract.iter().find(served).expect("a method of this edge")[1]]
            }
            (Kind::Internal, _) => panic!("{} is no call", span.name),
        };
        let path = format!("/{}", span.name);
        let row = contract.iter().find(|row| row[0] == caller && row[1] == callee && row[3] == path);
        let row = row.unwrap_or_else(|| panic!("{caller} calls {path} of {callee}, which no contract allows"));
        let classes = |text: &str| text.split('|').filter(|it| *it != "-").map(str::to_owned).collect::<BTreeSet<_>>();
        let expected: BTreeSet<String> = classes(&row[5]).union(&classes(&row[6])).cloned().collect();
        assert_eq!(classes(span.attribute("sekat.data_class")), expected, "{path}");
        assert_eq!(span.attribute("rpc.grpc.status_code"), "0", "{path}");
        assert_eq!(span.attribute("rpc.response.status_code"), "OK", "{path}");
        if span.kind == Kind::Server {
            assert_eq!(span.attribute("sekat.decision"), "allow", "{path}");
            assert_eq!(span.attribute("sekat.domain"), span.domain, "{path}");
        }
    }
    for span in spans {
        assert!(!span.is_error, "{} of {} is an error", span.name, span.service);
    }
}

/// The trace as an indented list. Siblings are sorted by name: some of them run at the same time.
fn tree(spans: &[Span]) -> String {
    let mut children: BTreeMap<&str, Vec<&Span>> = BTreeMap::new();
    for span in spans {
        children.entry(&span.parent_id).or_default().push(span);
    }
    let mut text = String::new();
    let mut open = vec![("", 0)];
    let mut lines: Vec<(usize, &Span)> = Vec::new();
    while let Some((id, depth)) = open.pop() {
        if let Some(span) = spans.iter().find(|span| span.span_id == id) {
            lines.push((depth - 1, span));
        }
        let mut below = children.remove(id).unwrap_or_default();
        below.sort_by_key(|span| std::cmp::Reverse((&span.name, &span.service)));
        open.extend(below.into_iter().map(|span| (span.span_id.as_str(), depth + 1)));
    }
    for (depth, span) in lines {
        let kind = format!("{:?}", span.kind).to_lowercase();
        let _ = write!(text, "{:indent$}{} {kind} {}", "", span.service, span.name, indent = depth * 2);
        for (key, word) in [("sekat.peer.id", "with"), ("sekat.data_class", "touching")] {
            if !span.attribute(key).is_empty() {
                let _ = write!(text, " {word} {}", span.attribute(key));
            }
        }
        if !span.links.is_empty() {
            text.push_str(" linked");
        }
        text.push('\n');
    }
    text
}
