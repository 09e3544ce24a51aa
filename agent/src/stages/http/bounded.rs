//! A stream that ends an answer which has no end. What hyper throws away unseen (1xx answers, chunk extensions, trailers)
//! it would else read for as long as the stage lasts, at the cost of a whole CPU.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{FindingError, Io};
use crate::classify::http;
use crate::model::Finding;

/// The most bytes of one answer: room for the longest head and a body of the usual length, in chunks of one byte.
const MAX_ANSWER: usize = 512 * 1024;

/// How much may still be read; shared between the stream, which hyper owns, and whoever asks.
#[derive(Clone, Debug)]
pub(super) struct Allowance(Arc<AtomicUsize>);

/// The stream.
pub(super) struct Bounded {
    stream: Box<dyn Io>,
    left: Allowance,
    place: String,
}

// === impl Allowance ===

impl Allowance {
    /// Allows for one more answer, of whose body at most `most` bytes are to be read.
    pub(super) fn renew(&self, most: usize) {
        self.0.store(MAX_ANSWER.max(most.saturating_mul(2)), Ordering::Relaxed);
    }

    fn spend(&self, bytes: usize) {
        self.0.store(self.left().saturating_sub(bytes), Ordering::Relaxed);
    }

    fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

// === impl Bounded ===

impl Bounded {
    /// Bounds what comes from `place` over `stream`.
    pub(super) fn new(stream: Box<dyn Io>, place: String) -> (Bounded, Allowance) {
        let left = Allowance(Arc::new(AtomicUsize::new(MAX_ANSWER)));
        (Bounded { stream, left: left.clone(), place }, left)
    }

    fn no_end(&self) -> io::Error {
        let text = format!("{} sends and sends, and its answer has no end", self.place);
        io::Error::other(FindingError(Finding::new(http::not_a_registry(), text).at(&self.place)))
    }
}

impl AsyncRead for Bounded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.left.left() == 0 {
            return Poll::Ready(Err(self.no_end()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        self.left.spend(buffer.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Bounded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
