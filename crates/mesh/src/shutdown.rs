//! The orderly end of a process, in phases: announced (health says "not serving"), draining (no new connection, the
//! running calls end), stopped (what still runs is cut).

use tokio_util::sync::CancellationToken;

/// The end of this process, to be begun or waited for. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct ShutdownToken {
    announced: CancellationToken,
    draining: CancellationToken,
    stopped: CancellationToken,
}

impl ShutdownToken {
    /// Begins the shutdown; a second time does nothing.
    pub fn begin(&self) {
        self.announced.cancel();
    }

    /// Whether the shutdown has begun.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.announced.is_cancelled()
    }

    /// Ready when the shutdown begins.
    pub async fn begun(&self) {
        self.announced.cancelled().await;
    }

    pub(crate) fn drain(&self) {
        self.announced.cancel();
        self.draining.cancel();
    }

    /// Ends at once: listeners close and connections break, as when the process dies. For tests of what peers do then.
    pub fn cut(&self) {
        self.drain();
        self.stopped.cancel();
    }

    pub(crate) async fn draining(&self) {
        self.draining.cancelled().await;
    }

    pub(crate) async fn stopped(&self) {
        self.stopped.cancelled().await;
    }
}
