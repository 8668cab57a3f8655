//! Overload and size: refused early, in the right words.

use std::sync::Arc;
use std::time::Duration;

use sekat_mesh::{MESSAGE_BYTES, refusal};
use tokio::sync::Semaphore;
use tokio_stream::StreamExt as _;
use tonic::Code;

use crate::harness::{ECHO, ECHO_ID, EagerLog, FRONT, Handlers, Process, World, call, echo, eventually, text, watch};

const ECHO_PATH: &str = "/test.v1.EchoService/Echo";

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_at_once_and_admitted_ones_finish() {
    let world = World::new();
    let gate = Arc::new(Semaphore::new(0));
    let (inside, opened) = (Arc::new(Semaphore::new(0)), Arc::clone(&gate));
    let entered = Arc::clone(&inside);
    let handlers = Handlers::unary(move |call| {
        entered.add_permits(1);
        let gate = Arc::clone(&gate);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(text(call.text))
        }
    });
    let mesh = world.process(ECHO_ID, &[("SEKAT_TRUST_DIR", world.default_trust())]).await;
    let server = mesh.server().api(&ECHO, handlers.echo_routes()).access_log(Arc::new(EagerLog)).max_in_flight(2);
    let server = Process::start(&mesh, server).await;
    let (_front, front) = world.client(FRONT, &server).await;

    let admitted: Vec<_> = (0..2)
        .map(|_| {
            let front = front.clone();
            tokio::spawn(async move { call(&front, ECHO_PATH, text("in")).await })
        })
        .collect();
    inside.acquire_many(2).await.unwrap().forget();

    // This client repeats what it is invited to repeat; the shortest deadline shows the refusal itself.
    let mut hurried = tonic::Request::new(text("out"));
    hurried.set_timeout(Duration::from_millis(40));
    let refused = call(&front, ECHO_PATH, hurried).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refusal::reason(&refused).as_deref(), Some("OVERLOADED"));
    assert!(refusal::retry_delay(&refused).is_some());

    // With time, the same call waits its turn.
    let patient = tokio::spawn({
        let front = front.clone();
        async move { call(&front, ECHO_PATH, text("later")).await }
    });
    eventually("it is refused once", async || {
        server.mesh.counters().iter().any(|count| count.status == "RESOURCE_EXHAUSTED" && count.count >= 2)
    })
    .await;
    opened.add_permits(3);
    assert_eq!(patient.await.unwrap().unwrap().text, "later");
    for call in admitted {
        assert_eq!(call.await.unwrap().unwrap().text, "in");
    }
}

#[tokio::test]
async fn messages_up_to_the_limit_pass_and_larger_ones_are_refused_in_both_directions() {
    let world = World::new();
    let server = world
        .echo(Handlers::unary(async |call| {
            let answer = if call.text == "much" { "x".repeat(MESSAGE_BYTES) } else { call.text };
            Ok(text(answer))
        }))
        .await;
    let (_front, front) = world.client(FRONT, &server).await;
    // Four bytes of protobuf around the text.
    let largest = "x".repeat(MESSAGE_BYTES - 4);
    assert_eq!(call(&front, ECHO_PATH, text(&largest)).await.unwrap().text, largest);

    let generous = front.clone().max_message_bytes(2 * MESSAGE_BYTES);
    let too_much = text("x".repeat(MESSAGE_BYTES));
    for (channel, request) in [(&front, too_much.clone()), (&generous, too_much), (&generous, text("much"))] {
        let status = call(channel, ECHO_PATH, request).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
        assert_eq!(refusal::reason(&status).as_deref(), Some("MESSAGE_TOO_LARGE"));
    }
    let refused = server.mesh.counters().iter().find(|c| c.status == "RESOURCE_EXHAUSTED").unwrap().count;
    assert_eq!(refused, 2, "the third was refused by the client itself");
}

#[tokio::test]
async fn a_message_in_a_stream_that_is_too_large_ends_it() {
    let world = World::new();
    let handlers = echo().stream(|_| {
        Box::pin(tokio_stream::iter([Ok(text("small")), Ok(text("x".repeat(MESSAGE_BYTES))), Ok(text("never"))]))
    });
    let server = world.echo(handlers).await;
    let (_front, front) = world.client(FRONT, &server).await;
    let mut texts = watch(&front, "/test.v1.EchoService/Watch", text("")).await.unwrap();
    // What was to leave in one piece with it is cut too.
    let first = texts.next().await.unwrap();
    let ended = if first.is_ok() { texts.next().await.unwrap() } else { first };
    assert_eq!(ended.unwrap_err().code(), Code::ResourceExhausted);
    assert!(texts.next().await.is_none());
}

#[tokio::test]
async fn headers_beyond_the_limit_do_not_reach_the_handler() {
    let world = World::new();
    let server = world.echo(echo()).await;
    let (_front, front) = world.client(FRONT, &server).await;
    let with_header = |bytes: usize| {
        let mut request = tonic::Request::new(text("a"));
        request.metadata_mut().insert("x-filler", "x".repeat(bytes).parse().unwrap());
        request
    };
    assert!(call(&front, ECHO_PATH, with_header(4_096)).await.is_ok());
    assert!(call(&front, ECHO_PATH, with_header(16_384)).await.is_err());
    let served: u64 = server.mesh.counters().iter().map(|count| count.count).sum();
    assert_eq!(served, 1);
}

#[tokio::test]
async fn a_panic_in_a_handler_is_an_internal_error_of_that_call_only() {
    let world = World::new();
    let server = world
        .echo(Handlers::unary(async |call| {
            assert_ne!(call.text, "boom");
            Ok(text(call.text))
        }))
        .await;
    let (_front, front) = world.client(FRONT, &server).await;
    let status = call(&front, ECHO_PATH, text("boom")).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Internal, "internal error"));
    assert!(call(&front, ECHO_PATH, text("fine")).await.is_ok());
}
