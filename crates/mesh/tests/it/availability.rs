//! Rotation, drain, balancing: what operators do all day fails no call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use sekat_identity::ca::{CertificateAuthority, write_identity};
use sekat_mesh::Channel;
use tokio::task::JoinSet;
use tokio_stream::StreamExt as _;
use tonic::Code;

use crate::harness::{
    COMMERCE, ECHO, ECHO_ID, EagerLog, FRONT, Handlers, PATIENCE, Process, STRANGER, World, call, echo, eventually,
    serving, text, watch,
};

const ECHO_PATH: &str = "/test.v1.EchoService/Echo";
const HOUR: Duration = Duration::from_secs(3_600);

/// Callers that go on until they are stopped; each failure is kept.
struct Load {
    running: JoinSet<Vec<tonic::Status>>,
    over: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
}

impl Load {
    fn start(channel: &Channel, callers: usize) -> Self {
        let (over, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut running = JoinSet::new();
        for _ in 0..callers {
            let (channel, over, done) = (channel.clone(), Arc::clone(&over), Arc::clone(&done));
            running.spawn(async move {
                let mut failures = Vec::new();
                while !over.load(Ordering::Relaxed) {
                    match call(&channel, ECHO_PATH, text("a")).await {
                        Ok(_) => done.fetch_add(1, Ordering::Relaxed),
                        Err(status) => {
                            failures.push(status);
                            0
                        }
                    };
                }
                failures
            });
        }
        Self { running, over, done }
    }

    /// Waits until so many more calls were answered.
    async fn proceeds(&self, calls: u64) {
        let target = self.done.load(Ordering::Relaxed) + calls;
        eventually("the load goes on", async || self.done.load(Ordering::Relaxed) >= target).await;
    }

    async fn failures(self) -> Vec<tonic::Status> {
        self.over.store(true, Ordering::Relaxed);
        self.running.join_all().await.concat()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rotating_certificates_and_authorities_under_load_fails_no_call() {
    let world = World::new();
    let server = world.echo(echo()).await;
    let (front, channel) = world.client(FRONT, &server).await;
    let load = Load::start(&channel, 8);
    load.proceeds(100).await;
    for _ in 0..5 {
        for (mesh, id) in [(&server.mesh, ECHO_ID), (&front, FRONT)] {
            world.issue(id, HOUR);
            mesh.source().refresh_now().await.unwrap();
            load.proceeds(100).await;
        }
    }
    // A new authority: first everybody trusts both, then certificates change, then the old one goes.
    let successor = CertificateAuthority::new(COMMERCE).unwrap();
    let both = format!("{}{}", world.commerce.bundle_pem(), successor.bundle_pem());
    for (issuer, bundle) in
        [(&world.commerce, &both), (&successor, &both), (&successor, &successor.bundle_pem().to_owned())]
    {
        for (mesh, name) in [(&server.mesh, "echo"), (&front, "front")] {
            write_identity(&world.path(name), &issuer.issue(mesh.id(), HOUR).unwrap(), bundle, &[]).unwrap();
            mesh.source().refresh_now().await.unwrap();
            load.proceeds(100).await;
        }
    }
    let failures = load.failures().await;
    assert!(failures.is_empty(), "{} failed, first {:?}", failures.len(), failures.first());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_idle_during_a_roll_fails_no_call() {
    let world = World::new();
    let server = world.echo(echo()).await;
    let (front, channel) = world.client(FRONT, &server).await;
    call(&channel, ECHO_PATH, text("a")).await.unwrap();
    let successor = CertificateAuthority::new(COMMERCE).unwrap();
    let both = format!("{}{}", world.commerce.bundle_pem(), successor.bundle_pem());
    for (issuer, bundle) in
        [(&world.commerce, &both), (&successor, &both), (&successor, &successor.bundle_pem().to_owned())]
    {
        for (mesh, name) in [(&server.mesh, "echo"), (&front, "front")] {
            write_identity(&world.path(name), &issuer.issue(mesh.id(), HOUR).unwrap(), bundle, &[]).unwrap();
            mesh.source().refresh_now().await.unwrap();
        }
    }
    call(&channel, ECHO_PATH, text("a")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_renewed_long_before_their_certificates_end() {
    let world = World::new();
    let server = world.echo(echo()).await;
    let (front, channel) = world.client(FRONT, &server).await;
    world.issue(FRONT, Duration::from_secs(3));
    front.source().refresh_now().await.unwrap();
    let first_ends = front.source().not_after();
    let load = Load::start(&channel, 4);
    while SystemTime::now() <= first_ends {
        load.proceeds(200).await;
        world.issue(FRONT, Duration::from_secs(3));
        front.source().refresh_now().await.unwrap();
    }
    load.proceeds(200).await;
    let failures = load.failures().await;
    assert!(failures.is_empty(), "{} failed, first {:?}", failures.len(), failures.first());
}

#[tokio::test]
async fn a_workload_is_found_by_its_name() {
    let world = World::new();
    let server = world.echo(echo()).await;
    let port = server.mesh.addresses()["mesh"].port();
    let front = world.process(FRONT, &[("SEKAT_UPSTREAM_ECHO", format!("localhost:{port}"))]).await;
    assert!(call(&front.client(&ECHO).unwrap(), ECHO_PATH, text("a")).await.is_ok());
    let lost = world.process(FRONT, &[("SEKAT_UPSTREAM_ECHO", format!("nowhere.invalid:{port}"))]).await;
    let mut hurried = tonic::Request::new(text("a"));
    hurried.set_timeout(Duration::from_millis(200));
    let status = call(&lost.client(&ECHO).unwrap(), ECHO_PATH, hurried).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    let unknown = world.process(STRANGER, &[]).await.client(&ECHO).unwrap_err();
    assert!(unknown.to_string().starts_with("SEKAT_UPSTREAM_ECHO is required"), "{unknown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rolling_restarts_under_load_fail_no_call() {
    let world = World::new();
    let servers = [world.echo(echo()).await, world.echo(echo()).await, world.echo(echo()).await];
    let (_front, channel) = world.client_of(FRONT, &servers.each_ref()).await;
    let load = Load::start(&channel, 8);
    load.proceeds(200).await;
    let [first, second, third] = servers;
    for leaving in [first, second] {
        leaving.stop().await.unwrap();
        load.proceeds(200).await;
    }
    let failures = load.failures().await;
    assert!(failures.is_empty(), "{} failed, first {:?}", failures.len(), failures.first());
    drop(third);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_spread_and_go_elsewhere_when_a_server_dies() {
    let world = World::new();
    let servers = [world.echo(echo()).await, world.echo(echo()).await];
    let (_front, channel) = world.client_of(FRONT, &servers.each_ref()).await;
    for _ in 0..200 {
        call(&channel, ECHO_PATH, text("a")).await.unwrap();
    }
    let served = |process: &Process| process.mesh.counters().iter().map(|count| count.count).sum::<u64>();
    for server in &servers {
        assert!((50..=150).contains(&served(server)), "{}", served(server));
    }

    // Killed, not drained: running calls break and are made again.
    let [dying, staying] = servers;
    let load = Load::start(&channel, 8);
    load.proceeds(100).await;
    dying.kill();
    load.proceeds(300).await;
    let failures = load.failures().await;
    assert!(failures.is_empty(), "{} failed, first {:?}", failures.len(), failures.first());
    assert!(served(&staying) > 300);
}

#[tokio::test]
async fn draining_lets_calls_finish_ends_streams_and_closes_the_port() {
    let world = World::new();
    let (entered, go) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (inside, gate) = (Arc::clone(&entered), Arc::clone(&go));
    let server = world
        .echo(Handlers::unary(move |call| {
            let gate = Arc::clone(&gate);
            inside.notify_one();
            async move {
                gate.notified().await;
                Ok(text(call.text))
            }
        }))
        .await;
    let (address, health) = (server.address("mesh"), server.mesh.addresses()["health"]);
    let (_front, front) = world.client(FRONT, &server).await;
    let mut stream = watch(&front, "/test.v1.EchoService/Watch", text("s")).await.unwrap();
    stream.next().await.unwrap().unwrap();
    let running = tokio::spawn({
        let front = front.clone();
        async move { call(&front, ECHO_PATH, text("a")).await }
    });
    entered.notified().await;

    let shutdown = server.mesh.shutdown();
    shutdown.begin();
    let ended = tokio::time::timeout(PATIENCE, stream.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::Unavailable, "{ended:?}");
    eventually("the port is closed", async || tokio::net::TcpStream::connect(&address).await.is_err()).await;
    assert!(!serving(health).await);
    assert!(!running.is_finished());
    go.notify_one();
    assert_eq!(running.await.unwrap().unwrap().text, "a");
    server.ended().await.unwrap();
}

#[tokio::test]
async fn something_fatal_stops_the_server_with_its_error() {
    let world = World::new();
    let mesh = world.process(ECHO_ID, &[("SEKAT_TRUST_DIR", world.default_trust())]).await;
    let (break_it, broken) = tokio::sync::oneshot::channel::<()>();
    let fatal = async move {
        let _ = broken.await;
        "the store broke".into()
    };
    let server = mesh.server().api(&ECHO, echo().echo_routes()).access_log(Arc::new(EagerLog)).fatal(fatal);
    let server = Process::start(&mesh, server).await;
    break_it.send(()).unwrap();
    assert_eq!(server.ended().await.unwrap_err().to_string(), "the store broke");
}

#[tokio::test]
async fn a_background_task_runs_until_the_end_and_its_panic_is_fatal() {
    struct Ended(Arc<AtomicBool>);
    impl Drop for Ended {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let world = World::new();
    let ended = Arc::new(AtomicBool::new(false));
    let mark = Ended(Arc::clone(&ended));
    let mesh = world.process(ECHO_ID, &[("SEKAT_TRUST_DIR", world.default_trust())]).await;
    let server = mesh.server().api(&ECHO, echo().echo_routes()).access_log(Arc::new(EagerLog)).task("t", async move {
        let _mark = mark;
        std::future::pending().await
    });
    let server = Process::start(&mesh, server).await;
    assert!(!ended.load(Ordering::SeqCst));
    server.stop().await.unwrap();
    assert!(ended.load(Ordering::SeqCst));

    let mesh = world.process(ECHO_ID, &[]).await;
    let server = mesh.server().task("broken", async { panic!("a mistake") });
    assert!(server.serve().await.is_err());
}

#[tokio::test]
async fn the_health_port_answers_nothing_but_health() {
    let world = World::new();
    let server = world.echo(echo()).await;
    let health = format!("http://{}", server.address("health"));
    let channel = tonic::transport::Endpoint::from_shared(health).unwrap().connect().await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel);
    for path in [ECHO_PATH, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"] {
        grpc.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static(path);
        let codec = tonic_prost::ProstCodec::<crate::harness::Text, crate::harness::Text>::default();
        let status = grpc.unary(tonic::Request::new(text("a")), path, codec).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented);
    }
    assert!(serving(server.mesh.addresses()["health"]).await);
}
