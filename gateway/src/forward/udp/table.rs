//! The sessions of one hall by client, and in the order in which they were last heard of.

use std::collections::HashMap;
use std::rc::Rc;

use tokio::time::Instant;

use super::Key;
use super::session::Session;

/// No entry.
const NONE: u32 = u32::MAX;

/// Sessions of one spot in one worker. Every step costs the same, however many there are.
pub(super) struct Table {
    places: HashMap<Key, u32>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    oldest: u32,
    newest: u32,
}

struct Entry {
    session: Option<Rc<Session>>,
    last: Instant,
    older: u32,
    newer: u32,
}

impl Default for Table {
    fn default() -> Self {
        Self { places: HashMap::new(), entries: Vec::new(), free: Vec::new(), oldest: NONE, newest: NONE }
    }
}

impl Table {
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Puts in a session that was heard of just now.
    pub(super) fn insert(&mut self, session: Rc<Session>, now: Instant) {
        let key = session.key;
        let entry = Entry { session: Some(session), last: now, older: NONE, newer: NONE };
        let place = match self.free.pop() {
            Some(place) => {
                if let Some(old) = self.entries.get_mut(place as usize) {
                    *old = entry;
                }
                place
            }
            None => {
                let Ok(place) = u32::try_from(self.entries.len()) else { return };
                self.entries.push(entry);
                place
            }
        };
        self.places.insert(key, place);
        self.link(place);
    }

    /// The session of this client, which was heard of just now.
    pub(super) fn touch(&mut self, key: &Key, now: Instant) -> Option<Rc<Session>> {
        let place = *self.places.get(key)?;
        if place != self.newest {
            self.unlink(place);
            self.link(place);
        }
        let entry = self.entries.get_mut(place as usize)?;
        entry.last = now;
        entry.session.as_ref().map(Rc::clone)
    }

    /// Takes a session out, if it is this one that is there.
    pub(super) fn remove(&mut self, session: &Rc<Session>) {
        let Some(place) = self.places.get(&session.key).copied() else { return };
        let held = self.entries.get_mut(place as usize).map(|entry| &mut entry.session);
        let Some(held) = held else { return };
        if held.as_ref().is_some_and(|there| Rc::ptr_eq(there, session)) {
            *held = None;
            self.places.remove(&session.key);
            self.unlink(place);
            self.free.push(place);
            if self.places.is_empty() {
                // A flood is over: its memory goes back.
                *self = Self::default();
            }
        }
    }

    /// The session that is silent longest, and since when.
    pub(super) fn oldest(&self) -> Option<(Instant, &Rc<Session>)> {
        let entry = self.entries.get(self.oldest as usize)?;
        Some((entry.last, entry.session.as_ref()?))
    }

    /// Every session.
    pub(super) fn all(&self) -> Vec<Rc<Session>> {
        self.entries.iter().filter_map(|entry| entry.session.as_ref().map(Rc::clone)).collect()
    }

    fn link(&mut self, place: u32) {
        let newest = self.newest;
        if let Some(entry) = self.entries.get_mut(place as usize) {
            (entry.older, entry.newer) = (newest, NONE);
        }
        match self.entries.get_mut(newest as usize) {
            Some(before) => before.newer = place,
            None => self.oldest = place,
        }
        self.newest = place;
    }

    fn unlink(&mut self, place: u32) {
        let Some(entry) = self.entries.get(place as usize) else { return };
        let (older, newer) = (entry.older, entry.newer);
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.oldest = newer,
        }
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.newest = older,
        }
    }
}
