//! What one request needs room for. Lent from the worker while the request is under way, so that an idle connection has
//! none of it and a busy worker allocates none of it.

use std::cell::RefCell;

use config::limits;

use super::codec::Head;
use super::door::Names;

/// Room of one request.
#[derive(Default)]
pub(super) struct Scratch {
    /// The request's head; its bytes are in the downstream's intake.
    pub(super) request: Head,
    /// The response's head; its bytes are in the upstream's intake.
    pub(super) response: Head,
    /// Host and other path.
    pub(super) names: Names,
    /// `X-Request-Id`.
    pub(super) request_id: String,
    /// What is written upstream first: head and beginning of the body.
    pub(super) to_upstream: Vec<u8>,
    /// What is written downstream first.
    pub(super) to_downstream: Vec<u8>,
}

impl Scratch {
    fn reset(&mut self) {
        self.request.reset();
        self.response.reset();
        self.request_id.clear();
        for out in [&mut self.to_upstream, &mut self.to_downstream] {
            out.clear();
            out.shrink_to(2 * limits::BUFFER_BYTES);
        }
    }
}

/// A worker's scratches that are not in use.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "lent by handing the box over, not by copying what is in it")]
pub struct Scratches(RefCell<Vec<Box<Scratch>>>);

impl Scratches {
    pub(super) fn take(&self) -> Box<Scratch> {
        self.0.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn put(&self, mut scratch: Box<Scratch>) {
        let mut store = self.0.borrow_mut();
        if store.len() < limits::BUFFERS_KEPT_MAX {
            scratch.reset();
            store.push(scratch);
        }
    }
}
