//! Sessions: who gets one, how long it stands, and what ends it.

use sekat_api_account::v1::{
    RefreshSessionRequest, RevokeSessionRequest, Session, SessionClaims, SessionScope, VerifySessionRequest,
};
use sekat_identity::end_user::{Audience, EndUserClaims, Scope};
use sekat_identity::jws::VerifyingKeys;
use sekat_testkit::{refused, signed_in};
use tonic::{Code, Status};

use crate::{Shop, sign_in, sign_up};

impl Shop {
    async fn refresh(&self, token: &str, request_id: &str) -> Result<Session, Status> {
        let request = RefreshSessionRequest { refresh_token: token.to_owned(), request_id: request_id.to_owned() };
        Ok(self.sessions().refresh_session(request).await?.into_inner())
    }

    async fn verify(&self, token: &str) -> Result<SessionClaims, Status> {
        Ok(self.sessions().verify_session(signed_in(token, VerifySessionRequest {})).await?.into_inner())
    }

    async fn revoke(&self, by: &Session, name: &str, request_id: &str) -> Result<(), Status> {
        let request = RevokeSessionRequest { name: name.to_owned(), request_id: request_id.to_owned() };
        self.sessions().revoke_session(signed_in(&by.access_token, request)).await.map(drop)
    }
}

#[tokio::test]
async fn only_the_password_signs_in_and_a_stranger_learns_nothing() {
    let shop = Shop::open().await;
    shop.sign_up(sign_up("sari")).await.unwrap();
    let session = shop.sign_in(sign_in("sari", SessionScope::Buyer)).await.unwrap();
    assert_eq!(shop.verify(&session.access_token).await.unwrap().session, session.name);

    let mut wrong = sign_in("sari", SessionScope::Buyer);
    "rahasia-sekali2".clone_into(&mut wrong.password);
    let wrong = refused(shop.sign_in(wrong).await, Code::Unauthenticated, "BAD_CREDENTIALS");
    let unknown = shop.sign_in(sign_in("nobody", SessionScope::Buyer)).await;
    let unknown = refused(unknown, Code::Unauthenticated, "BAD_CREDENTIALS");
    assert_eq!((wrong.message(), wrong.details()), (unknown.message(), unknown.details()));

    let unstated = shop.sign_in(sign_in("sari", SessionScope::Unspecified)).await;
    refused(unstated, Code::InvalidArgument, "INVALID_ARGUMENT");
    let creator = shop.sign_in(sign_in("sari", SessionScope::Creator)).await;
    refused(creator, Code::FailedPrecondition, "NO_CREATOR_HANDLE");
}

#[tokio::test]
async fn a_repeated_sign_in_is_one_session_with_one_refresh_token() {
    let shop = Shop::open().await;
    let first = shop.buyer("sari").await;
    let again = shop.sign_in(sign_in("sari", SessionScope::Buyer)).await.unwrap();
    assert_eq!((&again.name, &again.refresh_token), (&first.name, &first.refresh_token));
    let mut other_scope = sign_in("sari", SessionScope::Seller);
    other_scope.request_id = sign_in("sari", SessionScope::Buyer).request_id;
    refused(shop.sign_in(other_scope).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    shop.refresh(&first.refresh_token, "r1").await.unwrap();
}

#[tokio::test]
async fn tokens_are_for_one_audience_and_a_creators_names_no_person() {
    let shop = Shop::open().await;
    let mut creator = sign_up("sari");
    creator.account.as_mut().unwrap().creator_handle = "batik.sari".to_owned();
    let account = shop.sign_up(creator).await.unwrap();
    let keys = VerifyingKeys::open(&shop.world.path("trust/account-token.pem")).await.unwrap();
    for (scope, audience, claimed) in [
        (SessionScope::Buyer, Audience::CommerceEdge, Scope::Buyer),
        (SessionScope::Seller, Audience::CommerceEdge, Scope::Seller),
        (SessionScope::Creator, Audience::ShowcaseEdge, Scope::Creator),
    ] {
        let session = shop.sign_in(sign_in("sari", scope)).await.unwrap();
        let now = std::time::SystemTime::now();
        let claims = EndUserClaims::verify(&keys, &session.access_token, audience, now).unwrap();
        assert_eq!((claims.scope, claims.merchant.unwrap_or_default()), (claimed, session.merchant.clone()));
        assert_eq!(session.merchant.starts_with("merchants/m-"), scope == SessionScope::Seller);
        let other = if audience == Audience::CommerceEdge { Audience::ShowcaseEdge } else { Audience::CommerceEdge };
        assert!(EndUserClaims::verify(&keys, &session.access_token, other, now).is_err());
        if scope == SessionScope::Creator {
            assert_eq!(claims.sub, "batik.sari");
            let id = account.name.strip_prefix("accounts/").unwrap();
            assert!(!claims.sid.contains(id));
        } else {
            assert_eq!((&claims.sub, &claims.sid), (&account.name, &session.name));
        }
    }
}

#[tokio::test]
async fn a_refresh_token_works_once_and_its_request_again() {
    let shop = Shop::open().await;
    let first = shop.buyer("sari").await;
    let second = shop.refresh(&first.refresh_token, "r1").await.unwrap();
    assert_ne!(second.refresh_token, first.refresh_token);
    // The reply was lost, or the request comes twice: the same token, and the session goes on.
    let repeated = shop.refresh(&first.refresh_token, "r1").await.unwrap();
    assert_eq!(repeated.refresh_token, second.refresh_token);
    let reused = shop.refresh(&second.refresh_token, "r1").await;
    refused(reused, Code::AlreadyExists, "REQUEST_ID_REUSED");
    let third = shop.refresh(&second.refresh_token, "r2").await.unwrap();
    shop.verify(&third.access_token).await.unwrap();

    for forged in ["", "x", "x.1.AAAA", &format!("{}x", third.refresh_token)] {
        refused(shop.refresh(forged, "r3").await, Code::Unauthenticated, "SESSION_ENDED");
    }
    shop.refresh(&third.refresh_token, "r3").await.expect("forgeries end nothing");
}

#[tokio::test]
async fn a_stolen_refresh_token_ends_the_session_however_late_it_is_noticed() {
    let shop = Shop::open().await;
    let victim = shop.buyer("sari").await;
    let stolen = victim.refresh_token.clone();
    let mut thief = shop.refresh(&stolen, "thief-1").await.unwrap();
    for number in 2..5 {
        thief = shop.refresh(&thief.refresh_token, &format!("thief-{number}")).await.unwrap();
    }
    shop.verify(&thief.access_token).await.unwrap();
    refused(shop.refresh(&stolen, "victim-1").await, Code::Unauthenticated, "SESSION_ENDED");
    refused(shop.verify(&thief.access_token).await, Code::Unauthenticated, "SESSION_ENDED");
    refused(shop.refresh(&thief.refresh_token, "thief-9").await, Code::Unauthenticated, "SESSION_ENDED");
    let ended = shop.sign_in(sign_in("sari", SessionScope::Buyer)).await;
    refused(ended, Code::Unauthenticated, "SESSION_ENDED");
    shop.sign_in(sign_in("sari", SessionScope::Seller)).await.expect("another session is not touched");
}

#[tokio::test]
async fn a_revoked_session_is_refused_and_only_its_owner_revokes_it() {
    let shop = Shop::open().await;
    let (sari, budi) = (shop.buyer("sari").await, shop.buyer("budi").await);
    refused(shop.revoke(&budi, &sari.name, "r").await, Code::NotFound, "NOT_FOUND");
    let under_own_name = sari.name.replace(&sari.account, &budi.account);
    refused(shop.revoke(&budi, &under_own_name, "r").await, Code::NotFound, "NOT_FOUND");
    shop.verify(&sari.access_token).await.unwrap();

    shop.revoke(&sari, &sari.name, "r").await.unwrap();
    shop.revoke(&sari, &sari.name, "r").await.expect("a repetition changes nothing");
    refused(shop.verify(&sari.access_token).await, Code::Unauthenticated, "SESSION_ENDED");
    refused(shop.refresh(&sari.refresh_token, "r1").await, Code::Unauthenticated, "SESSION_ENDED");
    shop.verify(&budi.access_token).await.unwrap();
}

#[tokio::test]
async fn a_session_outlives_a_restart() {
    let shop = Shop::open().await;
    let sari = shop.buyer("sari").await;
    let second = shop.refresh(&sari.refresh_token, "r1").await.unwrap();
    let Shop { world, account, edge } = shop;
    account.stop().await;
    let account = world.start("account", sekat_account::Config::read, sekat_account::build).await;
    let shop = Shop { world, account, edge };
    let repeated = shop.refresh(&sari.refresh_token, "r1").await.unwrap();
    assert_eq!(repeated.refresh_token, second.refresh_token);
    shop.verify(&sari.access_token).await.unwrap();
}
