//! Who may do what with whose payment, and that it is on record.

use sekat_api_payment::v1::{GetPaymentIntentRequest, ListLedgerTransfersRequest, ListPaymentMethodsRequest};
use sekat_payment::{MIGRATIONS, WORKLOAD};
use sekat_store::{Store, StoreConfig};
use tonic::{Code, Request};

use crate::world::{World, confirmation, fresh, name, refusal};

#[tokio::test(flavor = "multi_thread")]
async fn a_buyer_sees_and_confirms_their_own_payments_only() {
    let world = World::new().await;
    world.order.open("order-1").await.unwrap();
    let get = |id: &str| GetPaymentIntentRequest { name: name(id) };
    let mut edge = world.edge.clone();
    assert!(edge.get_payment_intent(world.of("accounts/a", get("order-1"))).await.is_ok());
    // Another's payment and one that does not exist look the same.
    let others = edge.get_payment_intent(world.of("accounts/b", get("order-1"))).await.unwrap_err();
    let nobodys = edge.get_payment_intent(world.of("accounts/b", get("order-9"))).await.unwrap_err();
    assert_eq!((others.code(), others.message()), (Code::NotFound, nobodys.message()));
    assert_eq!(others.details(), nobodys.details());
    let confirm = confirmation("order-1", &fresh());
    let others = edge.confirm_payment_intent(world.of("accounts/b", confirm.clone())).await;
    assert_eq!(refusal(others), (Code::NotFound, "PAYMENT_INTENT_NOT_FOUND".to_owned()));
    assert_eq!(world.connector.calls("CreateCharge"), 0);
    // Without an end user there is no buyer; the order service needs none.
    let nobody = edge.confirm_payment_intent(Request::new(confirm)).await;
    assert_eq!(nobody.unwrap_err().code(), Code::Unauthenticated);
    assert!(world.order.intents.clone().get_payment_intent(get("order-1")).await.is_ok());
    // Anybody may ask how one can pay.
    let methods = edge.list_payment_methods(ListPaymentMethodsRequest::default()).await.unwrap().into_inner();
    assert_eq!(methods.methods.iter().map(|method| method.id.as_str()).collect::<Vec<_>>(), ["virtual_account/bca"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_is_read_page_by_page() {
    let world = World::new().await;
    for id in ["order-1", "order-2", "order-3"] {
        world.order.open(id).await.unwrap();
        world.notify(&format!("{id} {id} 25000"), "genuine").await.unwrap();
    }
    let mut ops = world.ops.clone();
    let mut request = ListLedgerTransfersRequest { page_size: 2, ..Default::default() };
    let mut names = Vec::new();
    loop {
        let page = ops.list_ledger_transfers(request.clone()).await.unwrap().into_inner();
        names.extend(page.transfers.into_iter().map(|transfer| transfer.name));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    let expected = ["order-1", "order-2", "order-3"].map(|id| format!("ledgerTransfers/{id}-hold"));
    assert_eq!(names, expected);
    request.payment_intent = name("order-2");
    let foreign = ops.list_ledger_transfers(request.clone()).await;
    assert_eq!(foreign.unwrap_err().code(), Code::InvalidArgument, "a token belongs to its query");
    request.page_token = String::new();
    let one = ops.list_ledger_transfers(request).await.unwrap().into_inner();
    assert_eq!(one.transfers.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_access_is_on_record_before_its_answer() {
    let mut world = World::new().await;
    world.order.open("order-1").await.unwrap();
    world.confirm("order-1").await.unwrap();
    world.notify("order-1 n1 25000", "genuine").await.unwrap();
    world.order.capture("order-1").await.unwrap();
    world.seen("order-1").await;
    world.account("order-funds").await;
    world.kill().await;
    let config = StoreConfig::new(world.mesh.path("data/payment"), WORKLOAD, "payment-0", MIGRATIONS);
    let store = Store::open(config).await.unwrap();
    store.verify_access_chain().await.unwrap();
    let records = store.access_records(0..100).await.unwrap();
    let methods: Vec<&str> = records.iter().map(|record| record.method.rsplit('/').next().unwrap()).collect();
    assert_eq!(
        methods,
        [
            "CreatePaymentIntent",
            "ConfirmPaymentIntent",
            "IngestNotification",
            "CapturePaymentIntent",
            "GetPaymentIntent",
            "GetLedgerAccount"
        ]
    );
}
