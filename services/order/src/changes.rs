//! Who waits for an order to change is told after the commit. Only watched orders cost anything.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The watched orders, by id. INVARIANT: an entry lives exactly as long as its last [`Watch`].
#[derive(Clone, Default)]
pub(crate) struct Changes(Arc<Mutex<HashMap<String, watch::Sender<()>>>>);

/// One who waits for changes of an order.
pub(crate) struct Watch {
    changes: Changes,
    order_id: String,
    receiver: watch::Receiver<()>,
}

impl Changes {
    /// Begins to watch. What is announced from now on is not missed, even before [`Watch::changed`] is called.
    pub(crate) fn watch(&self, order_id: &str) -> Watch {
        let mut watched = self.lock();
        let receiver = match watched.get(order_id) {
            Some(sender) => sender.subscribe(),
            None => {
                let (sender, receiver) = watch::channel(());
                watched.insert(order_id.to_owned(), sender);
                receiver
            }
        };
        Watch { changes: self.clone(), order_id: order_id.to_owned(), receiver }
    }

    /// Says that a change of the order is durable.
    pub(crate) fn announce(&self, order_id: &str) {
        if let Some(sender) = self.lock().get(order_id) {
            sender.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watch {
    /// The order that is watched.
    pub(crate) fn order_id(&self) -> &str {
        &self.order_id
    }

    /// Ready when something was announced since the last time, or since the watch began.
    pub(crate) async fn changed(&mut self) {
        // It cannot fail: this watch keeps its sender alive.
        let _ = self.receiver.changed().await;
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

    use super::*;

    #[test]
    fn what_is_announced_between_two_looks_is_not_missed() {
        let changes = Changes::default();
        let (mut one, mut two) = (changes.watch("o"), changes.watch("o"));
        assert!(one.changed().now_or_never().is_none());
        changes.announce("o");
        changes.announce("o");
        changes.announce("other");
        assert!(one.changed().now_or_never().is_some());
        assert!(one.changed().now_or_never().is_none());
        assert!(two.changed().now_or_never().is_some());
    }

    #[test]
    fn nothing_is_kept_for_orders_that_nobody_watches() {
        let changes = Changes::default();
        let (one, two) = (changes.watch("o"), changes.watch("o"));
        drop(one);
        assert_eq!(changes.lock().len(), 1);
        drop(two);
        assert!(changes.lock().is_empty());
        changes.announce("o");
    }
}
