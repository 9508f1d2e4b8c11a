//! When a child is started, started again, or given up: pure, so that every order of events can be tried.
//!
//! Order of calls: [`Policy::handle_start`] once, then any of the other `handle_*`, each followed by [`Policy::poll`]
//! until it returns `None`. Time is a parameter, in milliseconds of a clock that never goes back.

use std::collections::VecDeque;

/// First pause before a dead child is started again, in milliseconds; each further one is twice as long.
const PAUSE_FIRST_MS: u64 = 100;
/// Longest pause, in milliseconds.
const PAUSE_MAX_MS: u64 = 10_000;
/// A child that ran this long, in milliseconds, had started well: its next pause is the first again.
const SETTLED_MS: u64 = 30_000;

/// One of the two children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// `gatehouse control run`.
    Control,
    /// `gatehouse-gateway`.
    Gateway,
}

impl Part {
    /// What people call it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Gateway => "gateway",
        }
    }
}

/// What the driver is to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Start it.
    Start(Part),
    /// Call [`Policy::handle_due`] in this many milliseconds.
    Wait(Part, u64),
    /// Ask it to end.
    Terminate(Part),
    /// End it.
    Kill(Part),
    /// Everything has ended; `failed` names the child that could not be started.
    Finish {
        /// The culprit.
        failed: Option<Part>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not started yet: a gateway that has to join waits for control.
    Held,
    Running {
        since_ms: u64,
    },
    Waiting,
    Gone,
}

#[derive(Debug, Clone, Copy)]
struct Child {
    state: State,
    pauses: u32,
    was_ready: bool,
}

/// Keeps two children running.
#[derive(Debug)]
pub struct Policy {
    control: Child,
    gateway: Child,
    /// The gateway has an identity and a checkpoint: it serves whatever becomes of control.
    serves_alone: bool,
    stopping: bool,
    failed: Option<Part>,
    actions: VecDeque<Action>,
}

impl Policy {
    /// A policy for two children that are not started. With `serves_alone` the gateway starts without waiting for
    /// control, and a control that cannot start is tried again instead of ending everything.
    pub fn new(serves_alone: bool) -> Self {
        let held = Child { state: State::Held, pauses: 0, was_ready: false };
        Self {
            control: held,
            gateway: held,
            serves_alone,
            stopping: false,
            failed: None,
            actions: VecDeque::new(),
        }
    }

    /// Begin.
    pub fn handle_start(&mut self, now_ms: u64) {
        self.start(Part::Control, now_ms);
        if self.serves_alone {
            self.start(Part::Gateway, now_ms);
        }
    }

    /// A child does its work: control answers, the gateway serves.
    pub fn handle_ready(&mut self, part: Part, now_ms: u64) {
        self.child(part).was_ready = true;
        if part == Part::Control && self.gateway.state == State::Held && !self.stopping {
            self.start(Part::Gateway, now_ms);
        }
    }

    /// A child ended, or could not be started at all.
    pub fn handle_exited(&mut self, part: Part, now_ms: u64) {
        let (stopping, serves_alone) = (self.stopping, self.serves_alone);
        let child = self.child(part);
        let ran_ms = match child.state {
            State::Running { since_ms } => now_ms.saturating_sub(since_ms),
            State::Held | State::Waiting | State::Gone => 0,
        };
        if stopping {
            child.state = State::Gone;
            self.finish_if_gone();
        } else if child.was_ready || (part == Part::Control && serves_alone) {
            if ran_ms >= SETTLED_MS {
                child.pauses = 0;
            }
            let pause = PAUSE_FIRST_MS.saturating_mul(1 << child.pauses.min(16)).min(PAUSE_MAX_MS);
            child.pauses = child.pauses.saturating_add(1);
            child.state = State::Waiting;
            self.actions.push_back(Action::Wait(part, pause));
        } else {
            child.state = State::Gone;
            self.failed = Some(part);
            self.stop();
        }
    }

    /// The pause of a dead child is over.
    pub fn handle_due(&mut self, part: Part, now_ms: u64) {
        if self.child(part).state == State::Waiting && !self.stopping {
            self.start(part, now_ms);
        }
    }

    /// Somebody wants an end. The second time it is not asked for politely.
    pub fn handle_stop(&mut self) {
        if self.stopping {
            self.handle_overdue();
        } else {
            self.stop();
        }
    }

    /// The children had time enough to end.
    pub fn handle_overdue(&mut self) {
        for part in [Part::Gateway, Part::Control] {
            if matches!(self.child(part).state, State::Running { .. }) {
                self.actions.push_back(Action::Kill(part));
            }
        }
    }

    /// What to do next; `None` until something is handled.
    pub fn poll(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether everything is on its way out.
    pub const fn is_stopping(&self) -> bool {
        self.stopping
    }

    const fn child(&mut self, part: Part) -> &mut Child {
        match part {
            Part::Control => &mut self.control,
            Part::Gateway => &mut self.gateway,
        }
    }

    fn start(&mut self, part: Part, now_ms: u64) {
        self.child(part).state = State::Running { since_ms: now_ms };
        self.actions.push_back(Action::Start(part));
    }

    fn stop(&mut self) {
        self.stopping = true;
        // The gateway first: while it drains, control still hears how it goes.
        for part in [Part::Gateway, Part::Control] {
            match self.child(part).state {
                State::Running { .. } => self.actions.push_back(Action::Terminate(part)),
                State::Held | State::Waiting | State::Gone => self.child(part).state = State::Gone,
            }
        }
        self.finish_if_gone();
    }

    fn finish_if_gone(&mut self) {
        if self.control.state == State::Gone && self.gateway.state == State::Gone {
            self.actions.push_back(Action::Finish { failed: self.failed });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actions(policy: &mut Policy) -> Vec<Action> {
        std::iter::from_fn(|| policy.poll()).collect()
    }

    fn running() -> Policy {
        let mut policy = Policy::new(false);
        policy.handle_start(0);
        policy.handle_ready(Part::Control, 1);
        policy.handle_ready(Part::Gateway, 2);
        assert_eq!(actions(&mut policy), [Action::Start(Part::Control), Action::Start(Part::Gateway)]);
        policy
    }

    #[test]
    fn a_gateway_that_has_to_join_waits_for_control() {
        let mut policy = Policy::new(false);
        policy.handle_start(0);
        assert_eq!(actions(&mut policy), [Action::Start(Part::Control)]);
        policy.handle_ready(Part::Control, 5);
        assert_eq!(actions(&mut policy), [Action::Start(Part::Gateway)]);
    }

    #[test]
    fn a_gateway_that_serves_alone_does_not_wait_and_outlives_a_control_that_cannot_start() {
        let mut policy = Policy::new(true);
        policy.handle_start(0);
        assert_eq!(actions(&mut policy), [Action::Start(Part::Control), Action::Start(Part::Gateway)]);
        policy.handle_exited(Part::Control, 10);
        assert_eq!(actions(&mut policy), [Action::Wait(Part::Control, 100)]);
    }

    #[test]
    fn a_child_that_fails_at_the_first_start_ends_everything_and_is_named() {
        let mut policy = Policy::new(false);
        policy.handle_start(0);
        policy.handle_ready(Part::Control, 1);
        policy.handle_exited(Part::Gateway, 2);
        assert_eq!(
            actions(&mut policy),
            [Action::Start(Part::Control), Action::Start(Part::Gateway), Action::Terminate(Part::Control)]
        );
        policy.handle_exited(Part::Control, 3);
        assert_eq!(actions(&mut policy), [Action::Finish { failed: Some(Part::Gateway) }]);
    }

    #[test]
    fn a_dead_child_returns_alone_after_pauses_that_grow_to_a_bound() {
        let mut policy = running();
        let mut pauses = Vec::new();
        for now in 0..10 {
            policy.handle_exited(Part::Control, now);
            match actions(&mut policy).as_slice() {
                [Action::Wait(Part::Control, pause)] => pauses.push(*pause),
                other => panic!("{other:?}"),
            }
            policy.handle_due(Part::Control, now);
            assert_eq!(actions(&mut policy), [Action::Start(Part::Control)]);
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000, 10_000]);
        policy.handle_exited(Part::Control, 9 + SETTLED_MS);
        assert_eq!(actions(&mut policy), [Action::Wait(Part::Control, 100)]);
    }

    #[test]
    fn a_stop_ends_both_and_what_waits_is_not_started_again() {
        let mut policy = running();
        policy.handle_exited(Part::Gateway, 3);
        actions(&mut policy);
        policy.handle_stop();
        policy.handle_due(Part::Gateway, 4);
        assert_eq!(actions(&mut policy), [Action::Terminate(Part::Control)]);
        policy.handle_exited(Part::Control, 5);
        assert_eq!(actions(&mut policy), [Action::Finish { failed: None }]);
    }

    #[test]
    fn a_second_stop_kills() {
        let mut policy = running();
        policy.handle_stop();
        actions(&mut policy);
        policy.handle_stop();
        assert_eq!(actions(&mut policy), [Action::Kill(Part::Gateway), Action::Kill(Part::Control)]);
    }

    #[test]
    fn a_stop_before_the_start_finishes_at_once() {
        let mut policy = Policy::new(false);
        policy.handle_stop();
        assert_eq!(actions(&mut policy), [Action::Finish { failed: None }]);
    }
}
