//! Sessions that stand, that ended, and that nobody can be asked about.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http::header;
use sekat_identity::end_user::Scope;
use sekat_mesh::refusal::{self, refuse};
use tonic::Code;

use crate::harness::{
    CREATE_SESSION, GET_ORDER, GET_PRODUCT, NO_LIMITS, Seen, VERIFY_SESSION, World, empty, ok, refused, until,
};

/// ACC-1.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);
#[tokio::test]
async fn a_revoked_session_is_refused_within_a_second_and_another_is_not() {
    let world = World::new();
    let (revoked, other) = (world.sign_in(Scope::Buyer), world.sign_in(Scope::Buyer));
    let is_revoked = Arc::new(AtomicBool::new(false));
    let (flag, its_token) = (Arc::clone(&is_revoked), revoked.clone());
    let account = move |call: &Seen| {
        let its_own = call.headers[header::AUTHORIZATION] == its_token.as_str();
        if its_own && flag.load(Ordering::SeqCst) {
            return refused(&refuse(Code::Unauthenticated, "SESSION_REVOKED", "revoked"));
        }
        empty(call)
    };
    let account = world.upstream("commerce-edge", "account", account).await;
    let order = world.upstream("commerce-edge", "order", ok).await;
    let app = world.edge("commerce-edge", &[&account, &order], &NO_LIMITS).await.app().await;
    assert_eq!(app.code(GET_ORDER, &revoked).await, Code::Ok);

    is_revoked.store(true, Ordering::SeqCst);
    let revoked_at = Instant::now();
    let mut last_admitted = Duration::ZERO;
    let status = until("the session is refused", async || {
        let begun = revoked_at.elapsed();
        let status = app.call(GET_ORDER, &[("authorization", &revoked)]).await.status;
        if status.code() == Code::Ok {
            last_admitted = begun;
            return None;
        }
        Some(status)
    })
    .await;
    assert!(last_admitted < REFUSED_WITHIN, "admitted {last_admitted:?} after it was revoked");
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(refusal::reason(&status).as_deref(), Some("SESSION_ENDED"));
    assert_eq!(app.code(GET_ORDER, &other).await, Code::Ok);
}

#[tokio::test]
async fn many_calls_ask_account_once() {
    let world = World::new();
    let account = world.upstream("commerce-edge", "account", empty).await;
    let order = world.upstream("commerce-edge", "order", ok).await;
    let app = world.edge("commerce-edge", &[&account, &order], &NO_LIMITS).await.app().await;
    let buyer = world.sign_in(Scope::Buyer);
    let begun = Instant::now();
    let calls = (0..32).map(|_| {
        let (app, buyer) = (app.clone(), buyer.clone());
        tokio::spawn(async move { app.code(GET_ORDER, &buyer).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap(), Code::Ok);
    }
    // Each half second that this took allows one more question.
    let halves = usize::try_from(begun.elapsed().as_millis() / 500).unwrap();
    let asked = account.seen();
    assert!((1..=1 + halves).contains(&asked.len()), "{} questions", asked.len());
    for question in &asked {
        assert_eq!((question.path.as_str(), question.body.as_ref()), (VERIFY_SESSION, &[0; 5][..]));
        assert_eq!(question.headers[header::AUTHORIZATION], buyer.as_str());
    }
}

#[tokio::test]
async fn without_account_no_session_stands_and_those_who_need_none_are_served() {
    let world = World::new();
    let order = world.upstream("commerce-edge", "order", ok).await;
    let catalog = world.upstream("commerce-edge", "catalog", ok).await;
    let app = world.edge("commerce-edge", &[&order, &catalog], &[]).await.app().await;
    let buyer = world.sign_in(Scope::Buyer);
    let status = app.call(GET_ORDER, &[("authorization", &buyer)]).await.status;
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(refusal::reason(&status).as_deref(), Some("SESSION_NOT_VERIFIED"));
    assert!(order.seen().is_empty());
    // A token that was shown is verified, needed or not.
    assert_eq!(app.code(GET_PRODUCT, &buyer).await, Code::Unavailable);
    assert_eq!(app.call(GET_PRODUCT, &[]).await.status.code(), Code::Ok);
}

#[tokio::test]
async fn an_answer_that_account_did_not_give_is_not_kept() {
    let world = World::new();
    let away = Arc::new(AtomicBool::new(true));
    let flag = Arc::clone(&away);
    let account = move |call: &Seen| {
        let internal = refuse(Code::Internal, "INTERNAL", "internal error");
        if flag.load(Ordering::SeqCst) { refused(&internal) } else { empty(call) }
    };
    let account = world.upstream("commerce-edge", "account", account).await;
    let order = world.upstream("commerce-edge", "order", ok).await;
    let app = world.edge("commerce-edge", &[&account, &order], &[]).await.app().await;
    let buyer = world.sign_in(Scope::Buyer);
    assert_eq!(app.code(GET_ORDER, &buyer).await, Code::Unavailable);
    away.store(false, Ordering::SeqCst);
    assert_eq!(app.code(GET_ORDER, &buyer).await, Code::Ok);
}

#[tokio::test]
async fn accounts_own_question_and_anonymous_calls_are_not_preceded_by_one() {
    let world = World::new();
    let account = world.upstream("commerce-edge", "account", empty).await;
    let app = world.edge("commerce-edge", &[&account], &[]).await.app().await;
    assert_eq!(app.code(VERIFY_SESSION, &world.sign_in(Scope::Seller)).await, Code::Ok);
    assert_eq!(app.call(CREATE_SESSION, &[]).await.status.code(), Code::Ok);
    let paths: Vec<_> = account.seen().into_iter().map(|call| call.path).collect();
    assert_eq!(paths, [VERIFY_SESSION, CREATE_SESSION]);
}
