//! The signal to end, which is awaited at several places of one pull.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::time::sleep;

/// What is left for removing once the agent is told to end; half of the second that it has in all, with a margin.
const GRACE: Duration = Duration::from_millis(400);

/// The signal to end.
pub(super) struct Stopper<'a, S> {
    signal: Pin<&'a mut S>,
    fired: bool,
}

impl<'a, S: Future<Output = ()>> Stopper<'a, S> {
    pub(super) fn new(signal: Pin<&'a mut S>) -> Stopper<'a, S> {
        Stopper { signal, fired: false }
    }

    /// Ends when the signal comes, or has come.
    pub(super) async fn fired(&mut self) {
        if !self.fired {
            self.signal.as_mut().await;
            self.fired = true;
        }
    }

    /// `work`, unless the signal comes first.
    pub(super) async fn or<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.fired() => None,
        }
    }

    /// `work`, which the signal leaves [`GRACE`].
    pub(super) async fn within_grace<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let end = async {
            self.fired().await;
            sleep(GRACE).await;
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = end => None,
        }
    }
}
