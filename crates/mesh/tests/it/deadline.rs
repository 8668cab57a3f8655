//! Every call ends in time, and says so in the right words.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio_stream::StreamExt as _;
use tonic::{Code, Request};

use crate::harness::{
    ECHO, ECHO_ID, EagerLog, FRONT, Handlers, LEAF, Process, World, call, echo, eventually, text, watch,
};

fn within(time: Duration) -> Request<crate::harness::Text> {
    let mut request = Request::new(text("a"));
    request.set_timeout(time);
    request
}

#[tokio::test]
async fn a_late_handler_is_dropped_and_answered_deadline_exceeded() {
    let world = World::new();
    let dropped = Arc::new(Mutex::new(false));
    struct Notes(Arc<Mutex<bool>>);
    impl Drop for Notes {
        fn drop(&mut self) {
            *self.0.lock().unwrap() = true;
        }
    }
    let seen = Arc::clone(&dropped);
    let server = world
        .echo(Handlers::unary(move |_| {
            let notes = Notes(Arc::clone(&seen));
            async move {
                let _notes = notes;
                std::future::pending().await
            }
        }))
        .await;
    let (front, channel) = world.client(FRONT, &server).await;
    let begun = Instant::now();
    let status = call(&channel, "/test.v1.EchoService/Echo", within(Duration::from_millis(150))).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(begun.elapsed() < Duration::from_secs(5));
    eventually("the handler is dropped", async || *dropped.lock().unwrap()).await;
    eventually("the server counts it", async || {
        server.mesh.counters().iter().any(|count| ["DEADLINE_EXCEEDED", "CANCELLED"].contains(&count.status))
    })
    .await;
    drop(front);
}

#[tokio::test]
async fn a_child_gets_less_time_than_its_parent() {
    let world = World::new();
    let left = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&left);
    let leaf = world.process("spiffe://commerce.sekat.local/leaf", &[]).await;
    let handlers = Handlers::unary(move |call| {
        let now = Instant::now();
        noted.lock().unwrap().push(call.permit.deadline().saturating_duration_since(now));
        async move { Ok(text(call.text)) }
    });
    let leaf = Process::start(&leaf, leaf.server().api(&LEAF, handlers.leaf_routes())).await;

    let mesh = world
        .process(ECHO_ID, &[("SEKAT_UPSTREAM_LEAF", leaf.address("mesh")), ("SEKAT_TRUST_DIR", world.default_trust())])
        .await;
    let to_leaf = mesh.client(&LEAF).unwrap();
    let noted = Arc::clone(&left);
    let handlers = Handlers::unary(move |request| {
        let to_leaf = to_leaf.clone();
        noted.lock().unwrap().push(request.permit.deadline().saturating_duration_since(Instant::now()));
        async move { call(&to_leaf, "/leaf.v1.LeafService/Leaf", text(request.text)).await }
    });
    let server = mesh.server().api(&ECHO, handlers.echo_routes()).access_log(Arc::new(EagerLog));
    let server = Process::start(&mesh, server).await;
    let (_front, front) = world.client(FRONT, &server).await;

    call(&front, "/test.v1.EchoService/Echo", within(Duration::from_secs(2))).await.unwrap();
    let [parent, child] = left.lock().unwrap()[..] else { panic!() };
    assert!(parent <= Duration::from_secs(2), "{parent:?}");
    assert!(child <= parent * 9 / 10, "{child:?} of {parent:?}");
    assert!(child > parent / 2, "{child:?} of {parent:?}");

    // Without a word from the caller: the method's own deadline, 10 s, and 90 % of it.
    call(&front, "/test.v1.EchoService/Echo", text("a")).await.unwrap();
    let (parent, child) = {
        let left = left.lock().unwrap();
        (left[2], left[3])
    };
    assert!(parent > Duration::from_secs(5) && parent <= Duration::from_secs(10));
    assert!(child <= Duration::from_secs(9), "{child:?}");
}

#[tokio::test]
async fn a_stream_outlives_the_methods_deadline_but_not_its_callers() {
    let world = World::new();
    let server = world.echo(echo()).await;
    let (_front, front) = world.client(FRONT, &server).await;
    let mut bounded = watch(&front, "/test.v1.EchoService/Watch", within(Duration::from_millis(300))).await.unwrap();
    assert_eq!(bounded.next().await.unwrap().unwrap().text, "a");
    let ended = bounded.next().await.unwrap().unwrap_err();
    assert_eq!(ended.code(), Code::DeadlineExceeded);

    let mut endless = watch(&front, "/test.v1.EchoService/Watch", text("b")).await.unwrap();
    assert_eq!(endless.next().await.unwrap().unwrap().text, "b");
    let still_open = tokio::time::timeout(Duration::from_millis(400), endless.next()).await;
    assert!(still_open.is_err(), "it ended by itself");
}

#[tokio::test]
async fn all_addresses_down_is_said_before_the_deadline() {
    let world = World::new();
    let server = world.echo(echo()).await;
    let (_front, front) = world.client(FRONT, &server).await;
    server.stop().await.unwrap();
    let begun = Instant::now();
    let status = call(&front, "/test.v1.EchoService/Echo", text("a")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
}
