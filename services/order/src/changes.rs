//! Who waits for an order to change is handed it after the commit. Only watched orders cost anything.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::order::Order;

/// The newest that was announced of an order, if anything was.
type Newest = Option<Arc<Order>>;

/// The watched orders, by id. INVARIANT: an entry lives exactly as long as its last [`Watch`].
#[derive(Clone, Default)]
pub(crate) struct Changes(Arc<Mutex<HashMap<String, watch::Sender<Newest>>>>);

/// One who waits for changes of an order.
pub(crate) struct Watch {
    changes: Changes,
    order_id: String,
    receiver: watch::Receiver<Newest>,
}

impl Changes {
    /// Begins to watch. What is announced from now on is not missed, even before [`Watch::changed`] is called.
    pub(crate) fn watch(&self, order_id: &str) -> Watch {
        let receiver = self.lock().entry(order_id.to_owned()).or_default().subscribe();
        Watch { changes: self.clone(), order_id: order_id.to_owned(), receiver }
    }

    /// Says that this change of the order is durable. Tasks announce in any order; the newest version stands.
    pub(crate) fn announce(&self, order: &Arc<Order>) {
        if let Some(sender) = self.lock().get(&order.id) {
            sender.send_if_modified(|newest| {
                let is_newer = newest.as_ref().is_none_or(|known| known.version < order.version);
                if is_newer {
                    *newest = Some(Arc::clone(order));
                }
                is_newer
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<Newest>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// The order, as soon as something was announced since the last time, or since the watch began.
    pub(crate) async fn changed(&mut self) -> Arc<Order> {
        while self.receiver.changed().await.is_ok() {
            if let Some(order) = self.receiver.borrow_and_update().clone() {
                return order;
            }
        }
        // Never reached: this watch keeps its sender alive, and what is sent is an order.
        std::future::pending().await
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut watched = self.changes.lock();
        // This receiver is still counted.
        if watched.get(&self.order_id).is_some_and(|sender| sender.receiver_count() <= 1) {
            watched.remove(&self.order_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use sekat_mesh::context::TraceContext;
    use sekat_money::{Currency, Money};

    use super::*;
    use crate::saga::State;

    fn order(id: &str, version: i64) -> Arc<Order> {
        let free = Money::zero(Currency::Idr);
        Arc::new(Order {
            id: id.to_owned(),
            buyer: String::new(),
            cart: String::new(),
            showcase: String::new(),
            campaign: String::new(),
            operator: String::new(),
            state: State::AwaitPayment,
            reason: None,
            version,
            subtotal: free,
            shipping_fee: free,
            total: free,
            address: String::new(),
            ship_to: None,
            hold: 0,
            hold_ms: 0,
            payment_open: true,
            create_ms: 0,
            expire_ms: 0,
            paid_ms: None,
            trace: [0; TraceContext::BYTES],
            lines: Vec::new(),
        })
    }

    #[test]
    fn what_is_announced_between_two_looks_is_not_missed() {
        let changes = Changes::default();
        let (mut one, mut two) = (changes.watch("o"), changes.watch("o"));
        let seen = |watch: &mut Watch| watch.changed().now_or_never().map(|order| order.version);
        assert_eq!(seen(&mut one), None);
        for announced in [order("o", 2), order("o", 4), order("o", 3), order("other", 9)] {
            changes.announce(&announced);
        }
        assert_eq!((seen(&mut one), seen(&mut one)), (Some(4), None));
        assert_eq!(seen(&mut two), Some(4));
        assert_eq!(seen(&mut changes.watch("o")), None, "it was announced before this watch began");
    }

    #[test]
    fn nothing_is_kept_for_orders_that_nobody_watches() {
        let changes = Changes::default();
        let (one, two) = (changes.watch("o"), changes.watch("o"));
        drop(one);
        assert_eq!(changes.lock().len(), 1);
        drop(two);
        assert!(changes.lock().is_empty());
        changes.announce(&order("o", 2));
        assert!(changes.lock().is_empty());
    }
}
