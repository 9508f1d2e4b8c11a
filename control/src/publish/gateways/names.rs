//! What the connected gateways are called, so that nobody asks the database for it again and again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use config::id::GatewayId;
use config::name::GatewayName;

/// The names of the gateways that have a stream open. Cheap to clone; at most one entry a stream.
#[derive(Debug, Clone, Default)]
pub struct Names(Arc<Mutex<HashMap<GatewayId, (GatewayName, usize)>>>);

/// Keeps a name known; dropped when the stream ends.
#[derive(Debug)]
pub struct Held {
    names: Names,
    id: GatewayId,
}

impl Names {
    /// Makes a gateway's name known as long as the answer lives. Two streams of one gateway are two.
    pub fn hold(&self, id: GatewayId, name: GatewayName) -> Held {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry(id).or_insert((name, 0)).1 += 1;
        Held { names: self.clone(), id }
    }

    /// What a connected gateway is called.
    pub fn of(&self, id: GatewayId) -> Option<GatewayName> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&id).map(|(name, _)| name.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut all = self.names.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, streams)) = all.get_mut(&self.id) {
            *streams -= 1;
            if *streams == 0 {
                all.remove(&self.id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_until_the_last_stream_ends() {
        let (names, id) = (Names::default(), GatewayId::from_bytes([1; 16]));
        let name = GatewayName::parse("gate-1").unwrap();
        let (one, two) = (names.hold(id, name.clone()), names.hold(id, name.clone()));
        drop(one);
        assert_eq!(names.of(id), Some(name));
        drop(two);
        assert_eq!(names.of(id), None);
    }
}
