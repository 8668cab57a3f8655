//! Overload and size: refused early, in the right words.

use std::sync::Arc;
use std::time::Duration;

use sekat_mesh::{MESSAGE_BYTES, refusal};
use tokio::sync::Semaphore;
use tokio_stream::StreamExt as _;
use tonic::Code;

use crate::harness::{ECHO, ECHO_ID, EagerLog, FRONT, Handlers, Process, World, call, echo, eventually, text, watch};
use crate::http2;

const ECHO_PATH: &str = "/test.v1.EchoService/Echo";

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_at_once_and_admitted_ones_finish() {
    let world = World::new();
    let service = gated(&world).await;
    let (_front, front) = world.client(FRONT, &service.server).await;

    let admitted: Vec<_> = (0..2)
        .map(|_| {
            let front = front.clone();
            tokio::spawn(async move { call(&front, ECHO_PATH, text("in")).await })
        })
        .collect();
    service.inside.acquire_many(2).await.unwrap().forget();

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
    eventually("it is refused once", async || service.refused() >= 2).await;
    service.gate.add_permits(3);
    assert_eq!(patient.await.unwrap().unwrap().text, "later");
    for call in admitted {
        assert_eq!(call.await.unwrap().unwrap().text, "in");
    }
}

/// A service that lets two calls in and keeps them until its gate opens.
struct Gated {
    server: Process,
    inside: Arc<Semaphore>,
    gate: Arc<Semaphore>,
}

async fn gated(world: &World) -> Gated {
    let (inside, gate) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (entered, opened) = (Arc::clone(&inside), Arc::clone(&gate));
    let handlers = Handlers::unary(move |call| {
        entered.add_permits(1);
        let gate = Arc::clone(&opened);
        async move {
            gate.acquire().await.unwrap().forget();
            Ok(text(call.text))
        }
    });
    let mesh = world.process(ECHO_ID, &[("SEKAT_TRUST_DIR", world.default_trust())]).await;
    let server = mesh.server().api(&ECHO, handlers.echo_routes()).access_log(Arc::new(EagerLog)).max_in_flight(2);
    Gated { server: Process::start(&mesh, server).await, inside, gate }
}

impl Gated {
    fn refused(&self) -> u64 {
        let counters = self.server.mesh.counters();
        counters.iter().filter(|count| count.status == "RESOURCE_EXHAUSTED").map(|count| count.count).sum()
    }

    /// Two calls that are inside.
    async fn admitted(&self, peer: &mut http2::Peer) -> [u32; 2] {
        let streams = [1, 3];
        for stream in streams {
            peer.send(&[http2::headers(stream, ECHO_PATH), http2::message(stream, &text("in"))].concat()).await;
        }
        self.inside.acquire_many(2).await.unwrap().forget();
        streams
    }
}

/// h2 forgets all but 50 of the calls that were answered before their message came; each message that comes for a
/// forgotten one is an error of the connection, and 1,024 errors end it.
#[tokio::test]
async fn refused_calls_do_not_end_the_connection_of_admitted_ones() {
    const REFUSED: usize = 1_500;
    const AT_ONCE: usize = 100;
    let world = World::new();
    let service = gated(&world).await;
    let mut peer = http2::Peer::connect(&world, FRONT, &service.server).await;
    let admitted = service.admitted(&mut peer).await;

    let streams: Vec<u32> = (5..).step_by(2).take(REFUSED).collect();
    let mut refused = 0;
    for batch in streams.chunks(AT_ONCE) {
        refused += AT_ONCE as u64;
        peer.send(&batch.iter().flat_map(|stream| http2::headers(*stream, ECHO_PATH)).collect::<Vec<_>>()).await;
        eventually("they are refused", async || service.refused() == refused).await;
        peer.send(&batch.iter().flat_map(|stream| http2::message(*stream, &text("late"))).collect::<Vec<_>>()).await;
        assert!(peer.answers(AT_ONCE).await.values().all(Vec::is_empty), "a status and nothing else");
    }
    service.gate.add_permits(2);
    let answers = peer.answers(2).await;
    assert_eq!(answers.into_iter().collect::<Vec<_>>(), admitted.map(|stream| (stream, http2::frame_of(&text("in")))));
}

#[tokio::test]
async fn a_refused_call_that_never_sends_its_message_is_answered_and_reset() {
    let world = World::new();
    let service = gated(&world).await;
    let mut peer = http2::Peer::connect(&world, FRONT, &service.server).await;
    let admitted = service.admitted(&mut peer).await;

    peer.send(&http2::headers(5, ECHO_PATH)).await;
    let answer = peer.receive().await;
    assert_eq!((answer.stream, answer.kind, answer.ends_stream()), (5, http2::HEADERS, true), "{answer:?}");
    let reset = peer.receive().await;
    assert_eq!((reset.stream, reset.kind, &*reset.payload), (5, http2::RST_STREAM, &http2::NO_ERROR[..]));

    service.gate.add_permits(2);
    assert_eq!(peer.answers(2).await.into_keys().collect::<Vec<_>>(), admitted);
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
