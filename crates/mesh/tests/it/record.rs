//! No access without a record: the reply waits for it, and without it there is none.

use std::sync::{Arc, Mutex};

use sekat_policy::{Access, AccessLog, AccessLogError, Recording};
use tokio::sync::Notify;
use tokio_stream::StreamExt as _;
use tonic::Code;

use crate::harness::{ECHO, ECHO_ID, FRONT, Handlers, Process, World, call, echo, eventually, text, watch};

const PRIVATE: &str = "/test.v1.EchoService/Private";

/// A log that records when it is told to.
#[derive(Default)]
struct SlowLog {
    asked: Mutex<Vec<Arc<Access>>>,
    go: Notify,
    broken: bool,
}

impl AccessLog for SlowLog {
    fn record<'a>(&'a self, access: &'a Arc<Access>) -> Recording<'a> {
        self.asked.lock().unwrap().push(Arc::clone(access));
        Box::pin(async move {
            if self.broken {
                return Err(AccessLogError("the disk is full".into()));
            }
            self.go.notified().await;
            access.mark_recorded();
            Ok(())
        })
    }
}

async fn server(world: &World, handlers: Handlers, log: &Arc<SlowLog>) -> Process {
    let mesh = world.process(ECHO_ID, &[("SEKAT_TRUST_DIR", world.default_trust())]).await;
    let log: Arc<dyn AccessLog> = Arc::clone(log) as _;
    let server = mesh.server().api(&ECHO, handlers.echo_routes()).access_log(log);
    Process::start(&mesh, server).await
}

#[tokio::test]
async fn the_reply_waits_for_the_record() {
    let world = World::new();
    let log = Arc::new(SlowLog::default());
    let server = server(&world, echo(), &log).await;
    let (_front, front) = world.client(FRONT, &server).await;
    for path in [PRIVATE, "/test.v1.EchoService/WatchPrivate"] {
        log.asked.lock().unwrap().clear();
        let channel = front.clone();
        let mut waiting = tokio::spawn(async move {
            if path == PRIVATE {
                return call(&channel, path, text("a")).await;
            }
            watch(&channel, path, text("a")).await?.next().await.unwrap()
        });
        eventually("the record is asked for", async || !log.asked.lock().unwrap().is_empty()).await;
        let early = tokio::time::timeout(std::time::Duration::from_millis(100), &mut waiting).await;
        assert!(early.is_err(), "the reply left before its record was durable");
        log.go.notify_one();
        assert_eq!(waiting.await.unwrap().unwrap().text, "a");

        let asked = log.asked.lock().unwrap();
        let [access] = asked.as_slice() else { panic!() };
        assert_eq!((access.caller.as_str(), access.method), (FRONT, path));
        assert!(access.is_recorded() && access.trace_id != [0; 16]);
    }
}

#[tokio::test]
async fn without_a_record_there_is_no_reply_and_public_data_needs_none() {
    let world = World::new();
    let log = Arc::new(SlowLog { broken: true, ..SlowLog::default() });
    let server = server(&world, echo(), &log).await;
    let (_front, front) = world.client(FRONT, &server).await;
    let status = call(&front, PRIVATE, text("secret")).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(!format!("{status:?}").contains("secret"));
    assert!(call(&front, "/test.v1.EchoService/Echo", text("a")).await.is_ok());
    assert_eq!(log.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_record_made_with_the_effect_is_not_made_again_and_refusals_are_recorded_too() {
    let world = World::new();
    let log = Arc::new(SlowLog { broken: true, ..SlowLog::default() });
    let handlers = Handlers::unary(async |call| {
        if call.text == "missing" {
            return Err(sekat_mesh::refusal::refuse(Code::NotFound, "MISSING", "there is no such thing"));
        }
        // As a store does after COMMIT.
        call.permit.access().mark_recorded();
        Ok(text(call.text))
    });
    let server = server(&world, handlers, &log).await;
    let (_front, front) = world.client(FRONT, &server).await;
    assert!(call(&front, PRIVATE, text("a")).await.is_ok());
    assert!(log.asked.lock().unwrap().is_empty());
    // Also "not found" tells something about somebody.
    assert_eq!(call(&front, PRIVATE, text("missing")).await.unwrap_err().code(), Code::Internal);
    assert_eq!(log.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_server_of_classified_data_without_a_log_does_not_start() {
    let world = World::new();
    let mesh = world.process(ECHO_ID, &[("SEKAT_TRUST_DIR", world.default_trust())]).await;
    let error = mesh.server().api(&ECHO, echo().echo_routes()).serve().await.unwrap_err();
    assert!(error.to_string().contains("access_log"), "{error}");

    let stated = mesh.server().api(&ECHO, echo().echo_routes()).records_at_peers("a test");
    Process::start(&mesh, stated).await.stop().await.unwrap();
}

#[tokio::test]
async fn a_server_for_end_users_without_their_keys_does_not_start() {
    let world = World::new();
    let mesh = world.process(ECHO_ID, &[]).await;
    let server = mesh.server().api(&ECHO, echo().echo_routes()).records_at_peers("a test");
    let error = server.serve().await.unwrap_err();
    assert!(error.to_string().starts_with("SEKAT_TRUST_DIR is required"), "{error}");
}
