use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::Notify;

use super::WindowSizeRef;
use super::inbox::Sender;

/// A handle to the [`super::Channel`]'s to be able to transmit messages
/// to it and update it's `window_size`.
#[derive(Debug)]
pub struct ChannelRef {
    pub(super) sender: Sender,
    pub(super) window_size: WindowSizeRef,
}

impl ChannelRef {
    pub(crate) fn new(sender: Sender) -> Self {
        Self {
            sender,
            window_size: WindowSizeRef::new(0),
        }
    }

    pub(crate) fn window_size(&self) -> &WindowSizeRef {
        &self.window_size
    }

    /// Queues data for the channel's reader; `consumed` is told when enough of it was taken.
    pub(crate) fn push(&self, ext: Option<u32>, data: &Bytes, consumed: &Arc<Notify>) -> Result<(), crate::Error> {
        self.sender
            .push(ext, data.clone(), consumed)
            .map_err(|_| crate::Error::Inconsistent)
    }
}

impl std::ops::Deref for ChannelRef {
    type Target = Sender;

    fn deref(&self) -> &Self::Target {
        &self.sender
    }
}
