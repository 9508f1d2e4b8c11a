//! A request's way through its endpoints: where it goes, and whether once more.

use std::rc::Rc;

use config::limits;
use config::snapshot::Endpoint;

use super::super::codec::head::{Head, View};
use super::Job;
use crate::fault::{Fault, Kind};
use crate::upstream::Upstreams;
use crate::upstream::pick::{Ask, Attempt, Balancer, Set, Wishes};
use crate::worker::Worker;

/// Where another try goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// To the same endpoint over a new connection: the idle one was dead.
    Here,
    /// To an endpoint that was not tried yet: there is no connection to this one.
    Elsewhere,
    /// To one that was not tried yet, or to the same if there is none: it said that it did nothing.
    Anywhere,
}

pub(super) struct Course<'a> {
    worker: &'a Worker,
    job: &'a Job<'a>,
    tries_left: u8,
    takes_idle: bool,
    /// Whether the budget lent a retry that reaching an origin gives back.
    has_borrowed: bool,
    /// Boxed: a route with one endpoint and no policy has none, and its size would be every idle connection's.
    choice: Option<Box<Choice>>,
}

struct Choice {
    balancer: Rc<Balancer>,
    wishes: Wishes,
    tried: Set,
    attempt: Option<Attempt>,
}

impl<'a> Course<'a> {
    pub(super) fn new(worker: &'a Worker, job: &'a Job<'a>, bytes: &[u8], head: &Head) -> Self {
        let choice = Upstreams::balancer(worker, job.pinned, job.terms.route).map(|balancer| {
            let path = job.asked.path.of(bytes);
            let ask = Ask { client: job.client.address, path, head: View { head, bytes } };
            let wishes = balancer.wishes(&ask);
            balancer.count_request();
            Box::new(Choice { balancer, wishes, tried: Set::default(), attempt: None })
        });
        let tries_max =
            choice.as_ref().map_or(limits::FORWARD_TRIES_MAX, |choice| choice.balancer.tries_max());
        Self { worker, job, tries_left: tries_max.max(1) - 1, takes_idle: true, has_borrowed: false, choice }
    }

    /// Where this try goes. What the answer has to say about it is left in `to_add`.
    pub(super) fn endpoint(&mut self, to_add: &mut Vec<u8>) -> Result<&'a Endpoint, Kind> {
        to_add.clear();
        let Some(choice) = &mut self.choice else {
            return self.job.endpoints.first().filter(|endpoint| !endpoint.draining).ok_or(Kind::NoEndpoint);
        };
        let attempt = match choice.attempt.take() {
            Some(attempt) => attempt,
            None => choice.balancer.pick(&choice.wishes, &choice.tried)?,
        };
        attempt.write_cookie(to_add, &choice.wishes, &choice.tried, self.job.client.is_secured);
        let endpoint = self.job.endpoints.get(attempt.at());
        choice.attempt = Some(attempt);
        endpoint.ok_or(Kind::NoEndpoint)
    }

    /// Whether an idle connection will do.
    pub(super) const fn takes_idle(&self) -> bool {
        self.takes_idle
    }

    pub(super) fn attempt(&self) -> Option<&Attempt> {
        self.choice.as_ref()?.attempt.as_ref()
    }

    /// The try, to be counted as under way for as long as the caller keeps it.
    pub(super) fn take_attempt(&mut self) -> Option<Attempt> {
        self.choice.as_mut()?.attempt.take()
    }

    /// There is a connection. The try before had none, so no origin did anything twice: this one was no burden.
    pub(super) fn reached(&mut self) {
        if std::mem::take(&mut self.has_borrowed)
            && let Some(choice) = &self.choice
        {
            choice.balancer.gives_back_retry();
        }
    }

    pub(super) fn succeeded(&self) {
        if let Some(attempt) = self.attempt() {
            attempt.succeeded();
        }
    }

    pub(super) fn failed(&self, fault: &Fault, is_stale: bool) {
        if let Some(attempt) = self.attempt() {
            attempt.failed(fault, is_stale);
        }
    }

    /// Whether there is another try; chooses where it goes.
    pub(super) fn goes_on(&mut self, again: Again) -> bool {
        if self.tries_left == 0 || (again != Again::Here && !self.moves_on(again)) {
            return false;
        }
        // The other idle connections of this origin are likely as dead as the one that just failed.
        self.takes_idle = again == Again::Elsewhere;
        self.tries_left -= 1;
        self.worker.counters.retry();
        true
    }

    fn moves_on(&mut self, again: Again) -> bool {
        let may_stay = again == Again::Anywhere;
        let Some(choice) = &mut self.choice else { return may_stay };
        let before = choice.attempt.take();
        if let Some(before) = &before {
            choice.tried.insert(before.at());
        }
        let next = choice.balancer.pick(&choice.wishes, &choice.tried).ok();
        choice.attempt = next.or(before.filter(|_| may_stay));
        let goes_on = choice.attempt.is_some() && choice.balancer.affords_retry();
        self.has_borrowed = goes_on && !may_stay;
        goes_on
    }
}
