//! WatchOrder: an order as it is, then after each change, until it has ended or its watcher's time is over.

use std::sync::Arc;

use futures_util::Stream;
use sekat_api_order::v1;
use sekat_mesh::Permit;
use tonic::Status;

use crate::changes::Watch;
use crate::error::Error;
use crate::name;
use crate::order::Order;
use crate::shop::{self, Shop};

/// What a stream remembers between two events.
struct Watching {
    watch: Watch,
    /// The order as it was when the stream began, until it is sent.
    first: Option<Arc<Order>>,
    /// The version that was sent last.
    sent: i64,
    has_ended: bool,
}

/// WatchOrder. Changes that follow quickly on each other are sent as one.
pub(crate) async fn watch_order(
    shop: &Shop,
    permit: &Permit,
    request: v1::WatchOrderRequest,
) -> Result<impl Stream<Item = Result<v1::OrderEvent, Status>> + Send + use<>, Error> {
    let buyer = shop::buyer(permit)?.to_owned();
    let id = name::order_id(&request.name)?.to_owned();
    let watch = shop.changes.watch(&id);
    let order = shop.store.read(move |tx| Order::of_buyer(tx, &id, &buyer)).await?;
    let watching = Watching { watch, first: Some(Arc::new(order)), sent: 0, has_ended: false };
    Ok(futures_util::stream::unfold(watching, |mut watching| async move {
        let event = watching.next_event().await.transpose()?;
        // After an error there is nothing to watch.
        watching.has_ended |= event.is_err();
        Some((event.map_err(Status::from), watching))
    }))
}

impl Watching {
    /// The next event; none when nothing can change any more.
    async fn next_event(&mut self) -> Result<Option<v1::OrderEvent>, Error> {
        while !self.has_ended {
            let order = match self.first.take() {
                Some(order) => order,
                None => self.watch.changed().await,
            };
            if order.version > self.sent {
                self.sent = order.version;
                self.has_ended = order.state.has_ended();
                return Ok(Some(v1::OrderEvent { order: Some(order.to_proto()?) }));
            }
        }
        Ok(None)
    }
}
