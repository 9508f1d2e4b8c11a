//! Tunnels are bytes: a two-way copy with half-close, an idle deadline and byte counts.
//!
//! One task moves both directions. It holds a buffer only while bytes are between its two ends, so an idle tunnel costs
//! its task and its sockets and nothing else. What comes in large pieces between two plain sockets passes through a pipe
//! in the kernel ([`crate::splice`]) instead, and what a source holds in memory anyway is written from there ([`pieces`]). It knows nothing of what flows or why it may be cut: [`crate::session`]
//! does, and [`SessionHandle::relay`](crate::session::SessionHandle::relay) joins the two.

mod flow;
pub(crate) mod pieces;

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep};

use crate::session::EndReason;
use flow::Flow;

/// Bounds of one relay.
#[derive(Debug, Clone, Copy)]
pub struct RelayLimits {
    /// Longest silence in both directions together.
    pub idle: Duration,
}

/// What went through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Bytes from downstream to upstream.
    pub up: u64,
    /// Bytes from upstream to downstream.
    pub down: u64,
    /// Why it ended.
    pub reason: EndReason,
}

/// Bytes that went through so far; readable from other threads while the relay runs.
#[derive(Debug, Default)]
pub struct Counts {
    up: AtomicU64,
    down: AtomicU64,
}

impl Counts {
    /// Bytes from downstream to upstream.
    pub fn up(&self) -> u64 {
        self.up.load(Ordering::Relaxed)
    }

    /// Bytes from upstream to downstream.
    pub fn down(&self) -> u64 {
        self.down.load(Ordering::Relaxed)
    }

    /// Counts bytes that went through.
    pub(crate) fn add(&self, up: u64, down: u64) {
        self.up.fetch_add(up, Ordering::Relaxed);
        self.down.fetch_add(down, Ordering::Relaxed);
    }

    /// The counts as they are now, with the reason of the end.
    pub fn totals(&self, reason: EndReason) -> Totals {
        Totals { up: self.up(), down: self.down(), reason }
    }
}

/// Copies both ways until both ends are done, nothing moves for `limits.idle`, or `ended` resolves.
///
/// The end of one direction is passed on as a shutdown of the other end's writing side; the other direction flows on.
/// The idle deadline is checked a few times in its span, so an idle relay lives up to a quarter longer than it says.
pub async fn run<A, B>(
    downstream: &mut A,
    upstream: &mut B,
    limits: RelayLimits,
    ended: impl Future<Output = EndReason>,
) -> Totals
where
    A: AsyncRead + AsyncWrite + Unpin + 'static,
    B: AsyncRead + AsyncWrite + Unpin + 'static,
{
    counted(downstream, upstream, limits, &Counts::default(), ended).await
}

/// [`run`] with counts that somebody else can read while it runs.
pub async fn counted<A, B>(
    downstream: &mut A,
    upstream: &mut B,
    limits: RelayLimits,
    counts: &Counts,
    ended: impl Future<Output = EndReason>,
) -> Totals
where
    A: AsyncRead + AsyncWrite + Unpin + 'static,
    B: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut ended = pin!(ended);
    let mut idle = pin!(tokio::time::sleep(Quiet::tick(limits.idle)));
    let mut quiet = Quiet::default();
    let mut up = Flow::default();
    let mut down = Flow::default();

    let reason = std::future::poll_fn(|context| {
        if let Poll::Ready(reason) = ended.as_mut().poll(context) {
            return Poll::Ready(reason);
        }
        let upward = up.poll(context, downstream, upstream, &counts.up);
        let downward = down.poll(context, upstream, downstream, &counts.down);
        match (upward, downward) {
            (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) => return Poll::Ready(EndReason::Broken),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(EndReason::Finished),
            (Poll::Pending | Poll::Ready(Ok(())), Poll::Pending | Poll::Ready(Ok(()))) => {}
        }
        quiet.poll(context, idle.as_mut(), limits.idle, up.moved().wrapping_add(down.moved()))
    })
    .await;
    counts.totals(reason)
}

/// Notices silence without reading the clock for each piece of data.
#[derive(Default)]
struct Quiet {
    moved: u64,
    ticks: u32,
}

impl Quiet {
    /// Looks in one span of silence: more would wake idle tunnels for nothing.
    const TICKS: u32 = 4;

    fn tick(idle: Duration) -> Duration {
        (idle / Self::TICKS).max(Duration::from_millis(1))
    }

    /// Notes that one tick passed with `moved` bytes moved so far; true when the silence is long enough.
    const fn tick_passed(&mut self, moved: u64) -> bool {
        self.ticks = if moved == self.moved { self.ticks + 1 } else { 0 };
        self.moved = moved;
        self.ticks >= Self::TICKS
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        mut timer: Pin<&mut Sleep>,
        idle: Duration,
        moved: u64,
    ) -> Poll<EndReason> {
        while timer.as_mut().poll(context).is_ready() {
            if self.tick_passed(moved) {
                return Poll::Ready(EndReason::Idle);
            }
            timer.as_mut().reset(Instant::now() + Self::tick(idle));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
