//! A handoff fills one cart, once; what is refused leaves nothing behind.

use std::time::Duration;

use sekat_testkit::eventually;
use tonic::Code;

use crate::world::{SHIPPING, TEA, TEA_PRICE, World, new_id, reason, rupiah};

const MINUTES: fn(u64) -> Duration = |minutes| Duration::from_secs(minutes * 60);

#[tokio::test]
async fn a_handoff_fills_a_cart_at_the_prices_of_now() {
    let world = World::start().await;
    let buyer = world.buyer();
    let cart = buyer.create_cart(&world.handoff(MINUTES(1), MINUTES(20)), &new_id()).await.unwrap();
    assert_eq!((cart.showcase.as_str(), cart.campaign.as_str()), ("showcases/teras", "campaigns/lebaran"));
    assert_eq!((cart.lines.len(), cart.lines[0].sku.as_str(), cart.lines[0].quantity), (1, TEA, 2));
    assert_eq!(cart.total, rupiah(2 * TEA_PRICE));

    // Whoever changes a price meanwhile is seen at the next look.
    world.catalog.offer(TEA, 30_000, "daun", 10);
    let later = buyer.get_cart(&cart.name).await.unwrap();
    assert_eq!((&later.total, &later.lines[0].line_total), (&rupiah(60_000), &rupiah(60_000)));

    let quote = buyer.quote(&cart.name, &buyer.address()).await.unwrap();
    assert_eq!(quote.total, rupiah(60_000 + SHIPPING));
}

#[tokio::test]
async fn a_handoff_is_used_once_and_a_repeated_request_gets_its_cart() {
    let world = World::start().await;
    let (buyer, thief) = (world.buyer(), world.buyer());
    let handoff = world.handoff(MINUTES(1), MINUTES(20));
    let request_id = new_id();
    let cart = buyer.create_cart(&handoff, &request_id).await.unwrap();
    assert_eq!(buyer.create_cart(&handoff, &request_id).await.unwrap(), cart);

    for second in [&buyer, &thief] {
        let refused = second.create_cart(&handoff, &new_id()).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(reason::<()>(Err(refused)), "HANDOFF_USED");
    }
    // Nothing was created: the request id is free, also for something else.
    let free = new_id();
    assert_eq!(reason(buyer.create_cart(&handoff, &free).await), "HANDOFF_USED");
    assert!(buyer.create_cart("", &free).await.unwrap().lines.is_empty());
    assert_eq!(reason(buyer.create_cart(&handoff, &request_id).await), "not refused");
    assert_eq!(reason(buyer.create_cart("", &request_id).await), "REQUEST_ID_REUSED");
}

#[tokio::test]
async fn one_handoff_in_many_hands_makes_one_cart() {
    let world = World::start().await;
    let handoff = world.handoff(MINUTES(0), MINUTES(20));
    let tries = (0..20).map(|_| {
        let (buyer, handoff) = (world.buyer(), handoff.clone());
        tokio::spawn(async move { reason(buyer.create_cart(&handoff, &new_id()).await) })
    });
    let mut outcomes = Vec::new();
    for outcome in tries.collect::<Vec<_>>() {
        outcomes.push(outcome.await.unwrap());
    }
    let created = outcomes.iter().filter(|outcome| *outcome == "not refused").count();
    let used = outcomes.iter().filter(|outcome| *outcome == "HANDOFF_USED").count();
    assert_eq!((created, used), (1, 19), "{outcomes:?}");
}

#[tokio::test]
async fn what_is_not_a_valid_handoff_is_refused() {
    let world = World::start().await;
    let buyer = world.buyer();
    let good = world.handoff(MINUTES(1), MINUTES(20));
    let (body, signature) = good.rsplit_once('.').unwrap();
    let tampered = format!("{body}x.{signature}");
    for (handoff, expected) in [
        (world.handoff(MINUTES(21), MINUTES(20)), "HANDOFF_EXPIRED"),
        (tampered, "HANDOFF_INVALID"),
        ("nonsense".to_owned(), "HANDOFF_INVALID"),
        (World::start().await.handoff(MINUTES(1), MINUTES(20)), "HANDOFF_INVALID"),
    ] {
        let refused = buyer.create_cart(&handoff, &new_id()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(reason::<()>(Err(refused)), expected);
    }
    assert_eq!(reason(buyer.create_cart(&good, &new_id()).await), "not refused");
}

#[tokio::test]
async fn a_repetition_after_the_handoff_expired_still_gets_its_cart() {
    let mut world = World::start().await;
    let buyer = world.buyer();
    // Valid within the allowance for clocks that differ, for at least a second more.
    let handoff = world.handoff(Duration::from_secs(12), Duration::from_secs(10));
    let request_id = new_id();
    let cart = buyer.create_cart(&handoff, &request_id).await.unwrap();
    world.restart_order().await;
    eventually("the handoff expires", async || {
        reason(buyer.create_cart(&handoff, &new_id()).await) == "HANDOFF_EXPIRED"
    })
    .await;
    assert_eq!(buyer.create_cart(&handoff, &request_id).await.unwrap(), cart);
}
