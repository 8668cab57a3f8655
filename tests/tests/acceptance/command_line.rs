//! `sekat` as somebody in a shell meets it: what it prints, how it ends, and what it does when something is in the way.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::TcpListener;

use acceptance::cli::{Ran, is_alive, sekat};
use acceptance::golden::assert_golden;
use acceptance::shop::{Buyer, Goods, Shop, request};
use acceptance::{Mesh, Options, PATIENCE, eventually_blocking, free_block};
use sekat_api_order::v1::OrderState;
use sekat_api_payment::v1::ListLedgerTransfersRequest;
use sekat_api_payment::v1::ledger_service_client::LedgerServiceClient;

#[test]
fn help_and_mistakes_are_told_as_reviewed() {
    let mut transcript = String::new();
    for arguments in [
        &["--help"][..],
        &["up", "--help"],
        &["buy", "--help"],
        &["check", "--help"],
        &["reach", "--help"],
        &["packets", "--help"],
        &["audit", "--help"],
        &["prove", "--help"],
        &["verify", "--help"],
        &["sign", "--help"],
        &["witness", "--help"],
        &[],
        &["sell"],
        &["up", "--port-base", "80"],
        &["up", "--set", "PATH=/tmp"],
        &["up", "--jaeger", "--otlp", "http://127.0.0.1:4317"],
        &["buy", "--format", "xml"],
        &["buy", "--data", "/nonexistent/sekat"],
        &["reach"],
        &["explain", "-f", "/nonexistent/manifests", "a", "b"],
        &["compile", "--target", "iptables"],
        &["audit"],
        &["prove", "--data", "/nonexistent/sekat", "--out", "/nonexistent/evidence"],
        &["verify", "/nonexistent/evidence"],
        &["audit", "--proto", "/nonexistent/contracts", "--data", "/nonexistent/sekat"],
    ] {
        let Ran { code, stdout, stderr } = sekat(arguments);
        let code = code.expect("no signal ends it");
        let line = format!("$ sekat {}", arguments.join(" "));
        let _ = writeln!(transcript, "{}\n# exit code {code}", line.trim_end());
        for (stream, text) in [("stdout", stdout), ("stderr", stderr)] {
            for line in text.lines() {
                let _ = writeln!(transcript, "{}", format!("{stream}| {line}").trim_end());
            }
        }
        transcript.push('\n');
    }
    assert_golden("cli.txt", &transcript);
}

#[test]
fn a_second_up_in_the_same_folder_is_refused_and_the_first_goes_on() {
    let mesh = Mesh::shared();
    let data = mesh.data();
    let Ran { code, stdout, stderr } = sekat(&["up", "--data", data.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stdout.is_empty(), "{stdout}");
    assert!(stderr.contains("another `sekat up` runs in") && stderr.contains(data.to_str().unwrap()), "{stderr}");
    assert_eq!(mesh.purchase().steps.last().map(|step| step.domain.as_str()), Some("commerce"));
}

#[test]
fn a_taken_port_is_named_with_what_it_is_for() {
    let folder = tempfile::tempdir().unwrap();
    let base = free_block();
    let holder = TcpListener::bind(("127.0.0.1", base + 1)).unwrap();
    let data = folder.path().to_str().unwrap();
    let Ran { code, stderr, .. } = sekat(&["up", "--once", "--data", data, "--port-base", &base.to_string()]);
    assert_eq!(code, Some(1), "{stderr}");
    let port = holder.local_addr().unwrap().port().to_string();
    assert!(stderr.contains(&port) && stderr.contains("commerce-edge") && stderr.contains("--port-base"), "{stderr}");
}

#[test]
fn once_makes_one_purchase_tells_its_story_and_leaves_nothing_running() {
    let folder = tempfile::tempdir().unwrap();
    let (data, base) = (folder.path().to_str().unwrap(), free_block().to_string());
    let up = ["up", "--once", "--data", data, "--port-base", &base];
    let told = sekat(&up);
    assert_eq!(told.code, Some(0), "{}", told.stderr);
    for expected in ["crosses the boundary", "PAID", "ledger", "trace"] {
        assert!(told.stdout.contains(expected), "{expected} is not in\n{}", told.stdout);
    }
    assert!(!folder.path().join("up.ready.json").exists(), "nobody is told that it runs");
    // The ports are free and the folder is unlocked: a second time, the seed is there already.
    let again = sekat(&[&up[..], &["--format", "json"]].concat());
    assert_eq!(again.code, Some(0), "{}", again.stderr);
    let story: serde_json::Value = serde_json::from_str(&again.stdout).expect("stdout is one JSON document");
    assert!(story["order"].as_str().is_some_and(|order| order.starts_with("orders/")), "{story}");
    assert!(!again.stderr.contains("seeding"), "{}", again.stderr);
}

#[tokio::test]
async fn a_crashed_process_is_started_again_and_that_is_said() {
    let mesh = Mesh::start(Options::empty());
    let before = mesh.running().pids;
    let old = mesh.kill9("merchant");
    let new = mesh.restarted("merchant", old).await;
    assert!(is_alive(new) && !is_alive(old));
    assert!(mesh.up_said().contains("merchant was killed by signal 9; restarting it"), "{}", mesh.up_said());
    let changed: BTreeSet<_> =
        mesh.running().pids.into_iter().filter(|(name, pid)| before.get(name) != Some(pid)).collect();
    assert_eq!(changed, BTreeSet::from([("merchant".to_owned(), new)]), "nobody else was touched");
    // It serves what it served before.
    Shop::open(&mesh, &[Goods { code: "KOPI", rupiah: 25_000, stock: 1 }]).await;
}

#[tokio::test]
async fn state_survives_a_restart() {
    let mut mesh = Mesh::start(Options::empty());
    let shop = Shop::open(&mesh, &[Goods { code: "KOPI", rupiah: 25_000, stock: 10 }]).await;
    let buyer = Buyer::sign_up(&mesh).await;
    let paid = buyer.buy(&mesh, &[(&shop.skus[0], 3)]).await.expect("bought");
    let ledger = ledger(&mesh, &paid.payment_intent).await;
    assert!(!ledger.is_empty());

    let status = mesh.stop().await;
    assert!(status.success(), "{status}\n{}", mesh.log_tails());
    mesh.start_again();

    // The session, the order, the money and the stock are what they were.
    let found = buyer.look_at(&paid.name).await.expect("the order is there");
    assert_eq!(found, paid);
    assert_eq!(self::ledger(&mesh, &paid.payment_intent).await, ledger);
    let again = buyer.buy(&mesh, &[(&shop.skus[0], 7)]).await.expect("seven pieces are left");
    assert_eq!(again.state(), OrderState::Paid);
    let cart = buyer.cart(&[(&shop.skus[0], 1)]).await.expect("a cart may hold anything");
    let refused = buyer.order(&cart.name).await;
    let sold_out = refused.as_ref().map_or(true, |order| order.state() == OrderState::Failed);
    assert!(sold_out, "none is left: {refused:?}");
}

#[tokio::test]
async fn when_up_is_killed_its_processes_end_and_the_next_up_goes_on() {
    let mut mesh = Mesh::start(Options::empty());
    let pids = mesh.running().pids;
    assert_eq!(pids.len(), 11, "ten workloads and the bank: {pids:?}");
    mesh.kill9_up();
    for (name, pid) in pids {
        let ended = eventually_blocking(PATIENCE, || (!is_alive(pid)).then_some(()));
        assert!(ended.is_some(), "{name} outlives `sekat up`");
    }
    mesh.start_again();
    Shop::open(&mesh, &[Goods { code: "KOPI", rupiah: 25_000, stock: 1 }]).await;
}

/// The transfers of a payment, as `ops` reads them: kind and amount.
async fn ledger(mesh: &Mesh, payment_intent: &str) -> Vec<String> {
    let channel = mesh.trusting_channel_as("ops", "payment").await;
    let asking = ListLedgerTransfersRequest { payment_intent: payment_intent.to_owned(), ..Default::default() };
    let reply = LedgerServiceClient::new(channel).list_ledger_transfers(request(None, asking)).await;
    let transfers = reply.expect("ops may read the ledger").into_inner().transfers;
    transfers
        .iter()
        .map(|it| format!("{:?} {} {} {:?}", it.kind(), it.debit_account, it.credit_account, it.amount))
        .collect()
}
