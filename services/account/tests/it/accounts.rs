//! Accounts: signing up, changing one's own, and nobody else's.

use prost_types::FieldMask;
use sekat_api_account::API;
use sekat_api_account::v1::account_service_client::AccountServiceClient;
use sekat_api_account::v1::{
    Account, GetAccountRequest, GetAccountStandingRequest, SessionScope, Standing, UpdateAccountRequest,
};
use sekat_testkit::{refused, signed_in};
use tonic::Code;

use crate::{Shop, sign_in, sign_up};

#[tokio::test]
async fn signing_up_is_done_once_and_told_only_to_who_knows_the_password() {
    let shop = Shop::open().await;
    let first = shop.sign_up(sign_up("sari")).await.unwrap();
    assert_eq!((first.email.as_str(), first.locale.as_str()), ("sari@contoh.id", "id-ID"));
    assert_eq!(shop.sign_up(sign_up("sari")).await.unwrap(), first, "a repetition");

    let mut other_password = sign_up("sari");
    "sesuatu-lain".clone_into(&mut other_password.password);
    refused(shop.sign_up(other_password).await, Code::AlreadyExists, "EMAIL_TAKEN");
    let mut other_request = sign_up("sari");
    "another".clone_into(&mut other_request.request_id);
    refused(shop.sign_up(other_request).await, Code::AlreadyExists, "EMAIL_TAKEN");
    let mut other_case = sign_up("SARI");
    "a-third".clone_into(&mut other_case.request_id);
    refused(shop.sign_up(other_case).await, Code::AlreadyExists, "EMAIL_TAKEN");

    let mut other_name = sign_up("sari");
    other_name.account.as_mut().unwrap().display_name = "Budi".to_owned();
    refused(shop.sign_up(other_name).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    let mut other_person = sign_up("budi");
    other_person.request_id = sign_up("sari").request_id;
    refused(shop.sign_up(other_person).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    shop.sign_up(sign_up("budi")).await.unwrap();
}

#[tokio::test]
async fn many_at_once_make_one_account() {
    let shop = Shop::open().await;
    let replies = futures_util::future::join_all((0..8).map(|_| shop.sign_up(sign_up("sari")))).await;
    let first = replies.first().unwrap().as_ref().unwrap();
    assert!(replies.iter().all(|reply| reply.as_ref().unwrap() == first));
}

#[tokio::test]
async fn what_is_wrong_is_named_all_at_once_and_not_repeated() {
    let shop = Shop::open().await;
    let mut bad = sign_up("sari");
    bad.account = Some(Account { email: "canary".to_owned(), phone: "canary".to_owned(), ..Account::default() });
    "short".clone_into(&mut bad.password);
    let status = refused(shop.sign_up(bad).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    for field in ["account.display_name", "account.email", "account.phone", "password"] {
        assert!(status.message().contains(field), "{field}: {}", status.message());
    }
    assert!(!status.message().contains("canary"));
    let mut no_id = sign_up("sari");
    no_id.request_id.clear();
    refused(shop.sign_up(no_id).await, Code::InvalidArgument, "INVALID_ARGUMENT");
}

#[tokio::test]
async fn an_account_is_its_owners_alone() {
    let shop = Shop::open().await;
    let (sari, budi) = (shop.buyer("sari").await, shop.buyer("budi").await);
    let get = async |token: &str, name: &str| {
        let request = GetAccountRequest { name: name.to_owned() };
        shop.accounts().get_account(signed_in(token, request)).await.map(tonic::Response::into_inner)
    };
    assert_eq!(get(&sari.access_token, &sari.account).await.unwrap().display_name, "sari");
    refused(get(&budi.access_token, &sari.account).await, Code::NotFound, "NOT_FOUND");
    refused(get(&budi.access_token, "accounts/nobody").await, Code::NotFound, "NOT_FOUND");
    refused(get("not a token", &sari.account).await, Code::Unauthenticated, "END_USER_TOKEN");
    let unsigned = GetAccountRequest { name: sari.account.clone() };
    refused(shop.accounts().get_account(unsigned).await, Code::Unauthenticated, "END_USER_REQUIRED");
    let creator = shop.world.creator("sari");
    refused(get(&creator, &sari.account).await, Code::Unauthenticated, "END_USER_TOKEN");
}

#[tokio::test]
async fn a_masked_update_changes_its_fields_alone() {
    let shop = Shop::open().await;
    let sari = shop.buyer("sari").await;
    let mut number = 0;
    let mut update = async |account: Account, paths: &[&str], etag: &str| {
        number += 1;
        let request = UpdateAccountRequest {
            account: Some(Account { name: sari.account.clone(), ..account }),
            update_mask: Some(FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }),
            etag: etag.to_owned(),
            request_id: format!("update-{number}"),
        };
        let reply = shop.accounts().update_account(signed_in(&sari.access_token, request)).await;
        reply.map(tonic::Response::into_inner)
    };
    let named = |display_name: &str, etag: &str| Account {
        display_name: display_name.to_owned(),
        etag: etag.to_owned(),
        ..Account::default()
    };

    let first = update(named("Sari B.", ""), &["display_name"], "1").await.unwrap();
    assert_eq!((first.display_name.as_str(), first.phone.as_str()), ("Sari B.", "+6281234567890"));
    let second = update(named("", ""), &["phone"], "").await.unwrap();
    assert_eq!((second.display_name.as_str(), second.phone.as_str()), ("Sari B.", ""), "both changes survive");

    for (account, paths, etag, code, reason) in [
        (named("x", ""), &["display_name"][..], first.etag.as_str(), Code::Aborted, "ETAG_MISMATCH"),
        (named("x", &first.etag), &["display_name"], "", Code::Aborted, "ETAG_MISMATCH"),
        (named("x", ""), &["email"], "", Code::InvalidArgument, "INVALID_ARGUMENT"),
        (named("x", ""), &["display_name", "password"], "", Code::InvalidArgument, "INVALID_ARGUMENT"),
        (named("x", ""), &[], "", Code::InvalidArgument, "INVALID_ARGUMENT"),
        (named("", ""), &["display_name"], "", Code::InvalidArgument, "INVALID_ARGUMENT"),
    ] {
        refused(update(account, paths, etag).await, code, reason);
    }
    let third = update(named("Sari", &second.etag), &["display_name"], "").await.unwrap();
    assert_eq!(third.display_name, "Sari");
}

#[tokio::test]
async fn a_handle_is_one_persons_for_ever() {
    let shop = Shop::open().await;
    let (sari, budi) = (shop.buyer("sari").await, shop.buyer("budi").await);
    let take = async |person: &sekat_api_account::v1::Session, handle: &str| {
        let request = UpdateAccountRequest {
            account: Some(Account {
                name: person.account.clone(),
                creator_handle: handle.to_owned(),
                ..Account::default()
            }),
            update_mask: Some(FieldMask { paths: vec!["creator_handle".to_owned()] }),
            etag: String::new(),
            request_id: format!("take-{}", handle.replace('.', "-")),
        };
        shop.accounts().update_account(signed_in(&person.access_token, request)).await
    };
    take(&sari, "batik.sari").await.unwrap();
    refused(take(&budi, "batik.sari").await, Code::AlreadyExists, "CREATOR_HANDLE_TAKEN");
    take(&sari, "sari.batik").await.unwrap();
    refused(take(&budi, "batik.sari").await, Code::AlreadyExists, "CREATOR_HANDLE_TAKEN");
    for number in 3..=5 {
        take(&sari, &format!("sari_{number}")).await.unwrap();
    }
    refused(take(&sari, "sari_6").await, Code::ResourceExhausted, "TOO_MANY_CREATOR_HANDLES");
    take(&sari, "sari_3").await.unwrap();
}

#[tokio::test]
async fn order_learns_who_may_order_and_where_to_and_nobody_else_does() {
    let shop = Shop::open().await;
    let (sari, budi) = (shop.buyer("sari").await, shop.buyer("budi").await);
    let address = shop.add_address(&sari, &sari.account, 1).await.unwrap();
    let order = shop.world.caller("order").await;
    let mut order = AccountServiceClient::new(order.channel(&API));
    let asked = |account: &str, address: &str| GetAccountStandingRequest {
        name: account.to_owned(),
        address: address.to_owned(),
    };

    let request = asked(&sari.account, &address.name);
    let standing = order.get_account_standing(request.clone()).await.unwrap().into_inner();
    assert_eq!((standing.standing(), standing.address), (Standing::Good, Some(address.clone())));
    let under_own_name = address.name.replace(&sari.account, &budi.account);
    for (account, address) in [(&budi.account, &address.name), (&budi.account, &under_own_name)] {
        let standing = order.get_account_standing(asked(account, address)).await.unwrap().into_inner();
        assert_eq!((standing.standing(), standing.address), (Standing::Good, None), "it is another's address");
    }
    let nobody = asked("accounts/nobody", &address.name);
    refused(order.get_account_standing(nobody).await, Code::NotFound, "NOT_FOUND");
    order.get_account_standing(signed_in(&sari.access_token, request.clone())).await.unwrap();
    let for_another = order.get_account_standing(signed_in(&budi.access_token, request.clone())).await;
    refused(for_another, Code::NotFound, "NOT_FOUND");
    let from_edge = shop.accounts().get_account_standing(signed_in(&sari.access_token, request.clone())).await;
    refused(from_edge, Code::PermissionDenied, "POLICY_DENIED");

    // No method blocks an account yet: an operator does, in the store.
    let store = rusqlite::Connection::open(shop.world.path("data/account/account.db")).unwrap();
    store.execute("UPDATE accounts SET blocked = 1 WHERE email = 'sari@contoh.id'", []).unwrap();
    let standing = order.get_account_standing(request).await.unwrap().into_inner();
    assert_eq!((standing.standing(), standing.address), (Standing::Blocked, None));
}

#[tokio::test]
async fn every_touch_of_personal_data_leaves_one_record() {
    let shop = Shop::open().await;
    let sari = shop.buyer("sari").await;
    refused(shop.sign_in(sign_in("nobody", SessionScope::Buyer)).await, Code::Unauthenticated, "BAD_CREDENTIALS");
    let request = GetAccountRequest { name: sari.account.clone() };
    shop.accounts().get_account(signed_in(&sari.access_token, request)).await.unwrap();
    shop.add_address(&sari, &sari.account, 1).await.unwrap();
    shop.add_address(&sari, &sari.account, 1).await.unwrap();
    let Shop { world, account, .. } = shop;
    account.stop().await;

    let edge = world.id("commerce-edge").to_string();
    let accesses = world.accesses("account");
    assert!(accesses.iter().all(|access| access.caller == edge));
    let seen: Vec<_> = accesses
        .iter()
        .map(|access| (access.method.rsplit('/').next().unwrap(), access.end_user == sari.account))
        .collect();
    assert_eq!(
        seen,
        [
            ("CreateAccount", false),
            ("CreateSession", false),
            ("CreateSession", false),
            ("GetAccount", true),
            ("CreateAddress", true),
            ("CreateAddress", true),
        ]
    );
}
