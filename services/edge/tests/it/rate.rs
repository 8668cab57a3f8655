//! One who calls too often is refused, and nobody else is.

use std::time::{Duration, Instant};

use sekat_identity::end_user::Scope;
use sekat_mesh::refusal::{self, retry_delay};
use tonic::Code;

use crate::harness::{App, CREATE_SESSION, GET_ORDER, GET_PRODUCT, NO_LIMITS, World, empty, ok, until};

/// Calls until one is refused, as it must be when the limit is one a second: how many were admitted before.
async fn exhaust(app: &App, path: &str, headers: &[(&str, &str)]) -> u64 {
    let mut admitted = 0;
    let status = until("a call is refused", async || {
        let status = app.call(path, headers).await.status;
        let refused = status.code() != Code::Ok;
        admitted += u64::from(!refused);
        refused.then_some(status)
    })
    .await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(refusal::reason(&status).as_deref(), Some("RATE_LIMITED"));
    assert!(retry_delay(&status).is_some_and(|delay| delay <= Duration::from_secs(1)), "{status:?}");
    admitted
}

#[tokio::test]
async fn a_noisy_session_is_refused_until_its_bucket_has_a_call_again() {
    let world = World::new();
    let account = world.upstream("commerce-edge", "account", empty).await;
    let order = world.upstream("commerce-edge", "order", ok).await;
    let app = world.edge("commerce-edge", &[&account, &order], &[("SEKAT_RATE_PER_SECOND", "1")]).await.app().await;
    let (noisy, quiet) = (world.sign_in(Scope::Buyer), world.sign_in(Scope::Buyer));
    assert!(exhaust(&app, GET_ORDER, &[("authorization", &noisy)]).await >= 2, "two seconds' calls may come at once");
    assert_eq!(app.code(GET_ORDER, &quiet).await, Code::Ok, "the same address, another session");
    until("the noisy one is served again", async || (app.code(GET_ORDER, &noisy).await == Code::Ok).then_some(()))
        .await;
}

#[tokio::test]
async fn signing_in_has_a_limit_of_its_own_that_a_token_does_not_lift() {
    let world = World::new();
    let account = world.upstream("commerce-edge", "account", empty).await;
    let catalog = world.upstream("commerce-edge", "catalog", ok).await;
    let limits = [NO_LIMITS[0], NO_LIMITS[1], ("SEKAT_SIGN_IN_PER_SECOND", "1")];
    let app = world.edge("commerce-edge", &[&account, &catalog], &limits).await.app().await;
    exhaust(&app, CREATE_SESSION, &[]).await;
    exhaust(&app, CREATE_SESSION, &[("authorization", &world.sign_in(Scope::Buyer))]).await;
    assert_eq!(app.call(GET_PRODUCT, &[]).await.status.code(), Code::Ok, "the same address may browse");
}

#[tokio::test]
async fn those_who_are_not_signed_in_share_the_limit_of_their_address() {
    let world = World::new();
    let account = world.upstream("commerce-edge", "account", empty).await;
    let catalog = world.upstream("commerce-edge", "catalog", ok).await;
    let limit = ("SEKAT_ANONYMOUS_PER_SECOND", "1");
    let edge = world.edge("commerce-edge", &[&account, &catalog], &[limit]).await;
    let (one, other) = (edge.app().await, edge.app().await);
    exhaust(&one, GET_PRODUCT, &[]).await;
    let begun = Instant::now();
    let admitted = exhaust(&other, GET_PRODUCT, &[]).await;
    assert!(admitted <= 1 + begun.elapsed().as_secs(), "a bucket of its own would have held two calls: {admitted}");
    assert_eq!(other.code(GET_PRODUCT, &world.sign_in(Scope::Buyer)).await, Code::Ok);
}
