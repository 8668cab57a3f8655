//! Holds on stock: every state met by every command, and never a piece sold twice.

use std::sync::Arc;

use futures_util::stream::{self, StreamExt as _};
use sekat_api_catalog::API;
use sekat_api_catalog::v1::inventory_service_client::InventoryServiceClient;
use sekat_api_catalog::v1::{
    CommitReservationRequest, CreateReservationRequest, ReleaseReservationRequest, Reservation, ReservationLine,
    ReservationState,
};
use sekat_mesh::{Channel, refusal};
use sekat_testkit::{eventually, refused};
use tonic::{Code, Status};

use crate::{SARI, Shop, request_id, shirt};

/// A hold that outlives the test.
const LONG: i64 = 3_600;

impl Shop {
    fn inventory(&self) -> InventoryServiceClient<Channel> {
        InventoryServiceClient::new(self.order.channel(&API))
    }

    pub(crate) async fn hold(&self, id: &str, lines: &[(&str, i32)], seconds: i64) -> Result<Reservation, Status> {
        Ok(self.inventory().create_reservation(hold(id, lines, seconds)).await?.into_inner())
    }

    pub(crate) async fn commit(&self, id: &str) -> Result<Reservation, Status> {
        let request = CommitReservationRequest { name: format!("reservations/{id}"), request_id: request_id() };
        Ok(self.inventory().commit_reservation(request).await?.into_inner())
    }

    pub(crate) async fn release(&self, id: &str) -> Result<Reservation, Status> {
        let request = ReleaseReservationRequest { name: format!("reservations/{id}"), request_id: request_id() };
        Ok(self.inventory().release_reservation(request).await?.into_inner())
    }

    /// Pieces on hand and pieces held, by setting what is there already.
    async fn levels(&self, sku: &str, on_hand: i64) -> (i64, i64) {
        let level = self.set_stock(SARI, sku, on_hand, "").await.unwrap();
        (level.on_hand, level.reserved)
    }
}

fn hold(id: &str, lines: &[(&str, i32)], seconds: i64) -> CreateReservationRequest {
    CreateReservationRequest {
        reservation_id: id.to_owned(),
        lines: lines
            .iter()
            .map(|(sku, quantity)| ReservationLine { sku: (*sku).to_owned(), quantity: *quantity })
            .collect(),
        ttl: Some(prost_types::Duration { seconds, nanos: 0 }),
        request_id: request_id(),
    }
}

#[tokio::test]
async fn every_state_answers_every_command_as_the_table_says() {
    use ReservationState::{Committed, Held, Lapsed, Released};
    let shop = Shop::open().await;
    let made = shop.offer(SARI, shirt(&["A"], 1_000)).await.unwrap();
    let sku = made.skus[0].sku.as_str();
    /// A command's outcome: the state that it leaves, or its refusal.
    type Outcome = Result<ReservationState, &'static str>;
    let table: [(Option<ReservationState>, [Outcome; 4]); 5] = [
        // the state                    the same hold             another hold                commit             release
        (None, [Ok(Held), Ok(Held), Err("NOT_FOUND"), Ok(Released)]),
        (Some(Held), [Ok(Held), Err("RESERVATION_DIFFERS"), Ok(Committed), Ok(Released)]),
        (
            Some(Committed),
            [Err("RESERVATION_COMMITTED"), Err("RESERVATION_COMMITTED"), Ok(Committed), Err("RESERVATION_COMMITTED")],
        ),
        (Some(Released), [Err("RESERVATION_GONE"), Err("RESERVATION_GONE"), Err("RESERVATION_GONE"), Ok(Released)]),
        (Some(Lapsed), [Err("RESERVATION_GONE"), Err("RESERVATION_GONE"), Err("RESERVATION_GONE"), Ok(Lapsed)]),
    ];
    let shop = &shop;
    let cells = table.iter().flat_map(|(state, outcomes)| {
        outcomes.iter().enumerate().map(move |(command, expected)| async move {
            let id = format!("{}-{command}", state.map_or("none", |state| state.as_str_name()));
            let id = id.to_lowercase().replace('_', "-");
            shop.bring_to(&id, sku, *state).await;
            let reply = match command {
                0 => shop.hold(&id, &[(sku, 2)], LONG).await,
                1 => shop.hold(&id, &[(sku, 3)], LONG).await,
                2 => shop.commit(&id).await,
                _ => shop.release(&id).await,
            };
            let found = reply.map(|reply| reply.state()).map_err(|status| refusal::reason(&status));
            assert_eq!(found, expected.map_err(|reason| Some(reason.to_owned())), "{id}");
        })
    });
    // At once, because four of them wait for a hold to lapse.
    futures_util::future::join_all(cells).await;
}

impl Shop {
    async fn bring_to(&self, id: &str, sku: &str, state: Option<ReservationState>) {
        let Some(state) = state else { return };
        let seconds = if state == ReservationState::Lapsed { 1 } else { LONG };
        let request = hold(id, &[(sku, 2)], seconds);
        self.inventory().create_reservation(request.clone()).await.unwrap();
        match state {
            ReservationState::Committed => drop(self.commit(id).await.unwrap()),
            ReservationState::Released => drop(self.release(id).await.unwrap()),
            ReservationState::Lapsed => {
                // Another request for the same hold is refused once it has lapsed.
                eventually("it lapses", async || self.hold(id, &[(sku, 2)], LONG).await.is_err()).await;
            }
            _ => {}
        }
        // What was answered before is answered so again, whatever became of it.
        let again = self.inventory().create_reservation(request).await.unwrap().into_inner();
        assert_eq!(again.state(), ReservationState::Held);
    }
}

#[tokio::test]
async fn pieces_are_held_sold_and_given_back_exactly() {
    let shop = Shop::open().await;
    let made = shop.offer(SARI, shirt(&["A", "B"], 10)).await.unwrap();
    let (a, b) = (made.skus[0].sku.as_str(), made.skus[1].sku.as_str());

    shop.hold("first", &[(a, 4), (b, 1)], LONG).await.unwrap();
    assert_eq!(shop.levels(a, 10).await, (10, 4));
    // All lines or none: there are six of A left and nine of B.
    let too_many = shop.hold("second", &[(b, 2), (a, 7)], LONG).await;
    refused(too_many, Code::FailedPrecondition, "OUT_OF_STOCK");
    assert_eq!(shop.levels(b, 10).await, (10, 1));
    // Two lines of one sku count together.
    let together = shop.hold("third", &[(a, 3), (b, 1), (a, 4)], LONG).await;
    refused(together, Code::FailedPrecondition, "OUT_OF_STOCK");
    shop.hold("fourth", &[(a, 3), (a, 3)], LONG).await.unwrap();
    assert_eq!(shop.levels(a, 10).await, (10, 10));
    refused(shop.set_stock(SARI, a, 9, "").await, Code::FailedPrecondition, "STOCK_HELD");

    shop.commit("first").await.unwrap();
    shop.commit("first").await.unwrap();
    assert_eq!(shop.levels(a, 6).await, (6, 6));
    assert_eq!(shop.levels(b, 9).await, (9, 0));
    shop.release("fourth").await.unwrap();
    shop.release("fourth").await.unwrap();
    assert_eq!(shop.levels(a, 6).await, (6, 0));
}

#[tokio::test]
async fn what_cannot_be_held_is_refused() {
    let shop = Shop::open().await;
    let made = shop.offer(SARI, shirt(&["A"], 10)).await.unwrap();
    let sku = made.skus[0].sku.as_str();
    for (id, lines, seconds) in [
        ("abc", &[(sku, 1)][..], LONG),
        ("UPPER", &[(sku, 1)], LONG),
        ("no-lines", &[], LONG),
        ("none-of-it", &[(sku, 0)], LONG),
        ("too-much", &[(sku, 1_000)], LONG),
        ("no-time", &[(sku, 1)], 0),
        ("too-long", &[(sku, 1)], 7 * 24 * 3_600 + 1),
    ] {
        refused(shop.hold(id, lines, seconds).await, Code::InvalidArgument, "INVALID_ARGUMENT");
    }
    let unknown = format!("{}x", sku);
    refused(shop.hold("unknown", &[(&unknown, 1)], LONG).await, Code::FailedPrecondition, "OUT_OF_STOCK");
    shop.admit(SARI, "Batik Sari", false).await.unwrap();
    refused(shop.hold("hidden", &[(sku, 1)], LONG).await, Code::FailedPrecondition, "OUT_OF_STOCK");
    shop.admit(SARI, "Batik Sari", true).await.unwrap();
    shop.hold("shown", &[(sku, 1)], LONG).await.unwrap();
    shop.withdraw(SARI, &made.name, "", request_id()).await.unwrap();
    refused(shop.hold("withdrawn", &[(sku, 1)], LONG).await, Code::FailedPrecondition, "OUT_OF_STOCK");
    shop.commit("shown").await.expect("what is held is sold, though no more is offered");

    let mut from_edge = InventoryServiceClient::new(shop.edge.channel(&API));
    let denied = from_edge.create_reservation(hold("from-edge", &[(sku, 1)], LONG)).await;
    refused(denied, Code::PermissionDenied, "POLICY_DENIED");
}

#[tokio::test]
async fn a_lapsed_hold_gives_its_pieces_back_by_itself() {
    let shop = Shop::open().await;
    let made = shop.offer(SARI, shirt(&["A"], 1)).await.unwrap();
    let sku = made.skus[0].sku.as_str();
    shop.hold("first", &[(sku, 1)], 1).await.unwrap();
    refused(shop.hold("second", &[(sku, 1)], LONG).await, Code::FailedPrecondition, "OUT_OF_STOCK");
    // Also if nobody was there when it lapsed.
    let shop = shop.restarted().await;
    eventually("the piece is free", async || shop.hold("second", &[(sku, 1)], LONG).await.is_ok()).await;
    refused(shop.commit("first").await, Code::FailedPrecondition, "RESERVATION_GONE");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_at_once_get_a_hundred_pieces() {
    const CALLS: usize = 10_000;
    const AT_ONCE: usize = 48;
    let shop = Shop::open().await;
    let made = shop.offer(SARI, shirt(&["A"], 100)).await.unwrap();
    let sku: Arc<str> = made.skus[0].sku.as_str().into();
    let inventory = shop.inventory();
    let held = stream::iter(0..CALLS)
        .map(|number| {
            let (mut inventory, sku) = (inventory.clone(), Arc::clone(&sku));
            let call = async move {
                let reply = inventory.create_reservation(hold(&format!("many-{number}"), &[(&sku, 1)], LONG)).await;
                match reply {
                    Ok(_) => 1,
                    Err(status) if refusal::reason(&status).as_deref() == Some("OUT_OF_STOCK") => 0,
                    Err(status) => panic!("{status:?}"),
                }
            };
            async { tokio::spawn(call).await.unwrap() }
        })
        .buffer_unordered(AT_ONCE)
        .fold(0, async |sum, one| sum + one)
        .await;
    assert_eq!(held, 100);
    assert_eq!(shop.levels(&sku, 100).await, (100, 100));
}
