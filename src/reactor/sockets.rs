//! The UDP sockets that are open, under the names the engine gave them.

use std::collections::BTreeMap;

use crate::base::SocketId;

/// One socket and what is known of its readiness.
pub(super) struct Socket<U> {
    pub(super) id: SocketId,
    pub(super) udp: U,
    pub(super) readable: bool,
    /// The system takes nothing more until it says so.
    pub(super) blocked: bool,
    /// There is something to flush.
    pub(super) dirty: bool,
    /// Datagrams of it came back, and nothing was told of them yet.
    pub(super) came_back: bool,
    /// The last receive failed, and that was said.
    pub(super) failing: bool,
}

/// Sockets by their [`SocketId`]. The listen sockets stand at the index of their name for good,
/// those that the engine opened behind them in no order.
pub(super) struct Sockets<U> {
    open: Vec<Socket<U>>,
    listening: usize,
    places: BTreeMap<SocketId, usize>,
}

impl<U> Socket<U> {
    /// Datagrams may have arrived since it was opened.
    fn new(id: SocketId, udp: U) -> Self {
        Self { id, udp, readable: true, blocked: false, dirty: false, came_back: false, failing: false }
    }
}

impl<U> Sockets<U> {
    pub(super) fn new(listening: Vec<U>) -> Self {
        let open: Vec<_> = (0..).zip(listening).map(|(id, udp)| Socket::new(SocketId(id), udp)).collect();
        Self { listening: open.len(), open, places: BTreeMap::new() }
    }

    pub(super) fn get_mut(&mut self, id: SocketId) -> Option<&mut Socket<U>> {
        let index = match usize::from(id.0) {
            index if index < self.listening => index,
            _ => *self.places.get(&id)?,
        };
        self.open.get_mut(index)
    }

    pub(super) fn contains(&self, id: SocketId) -> bool {
        usize::from(id.0) < self.listening || self.places.contains_key(&id)
    }

    /// Under a name that no socket has.
    pub(super) fn insert(&mut self, id: SocketId, udp: U) {
        debug_assert!(!self.contains(id), "{id:?} is taken");
        self.places.insert(id, self.open.len());
        self.open.push(Socket::new(id, udp));
    }

    /// A socket that the engine opened.
    pub(super) fn remove(&mut self, id: SocketId) -> Option<Socket<U>> {
        let index = self.places.remove(&id)?;
        let socket = self.open.swap_remove(index);
        if let Some(moved) = self.open.get(index) {
            self.places.insert(moved.id, index);
        }
        Some(socket)
    }

    /// A socket by its place, below [`Sockets::len`]. Places change only by [`Sockets::remove`].
    pub(super) fn at(&mut self, index: usize) -> &mut Socket<U> {
        &mut self.open[index]
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Socket<U>> {
        self.open.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Socket<U>> {
        self.open.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    quickcheck::quickcheck! {
        /// Against a map.
        fn names_reach_what_they_were_given_for(listening: u8, steps: Vec<(bool, u8)>) -> bool {
            let listening = u16::from(listening % 4);
            let mut sockets = Sockets::new((0..listening).map(usize::from).collect());
            let mut model: BTreeMap<u16, usize> = (0..listening).map(|id| (id, usize::from(id))).collect();
            for (number, (open, id)) in steps.into_iter().enumerate() {
                let (id, value) = (u16::from(id % 16), 1_000 + number);
                if open && !sockets.contains(SocketId(id)) {
                    sockets.insert(SocketId(id), value);
                    model.insert(id, value);
                } else if !open {
                    let removed = sockets.remove(SocketId(id)).map(|socket| socket.udp);
                    let expected = if id < listening { None } else { model.remove(&id) };
                    if removed != expected {
                        return false;
                    }
                }
                let same = (0..16).all(|id| {
                    let socket = sockets.get_mut(SocketId(id)).map(|socket| (socket.id.0, socket.udp));
                    socket == model.get(&id).map(|value| (id, *value))
                });
                if !same || sockets.len() != model.len() || sockets.iter().count() != model.len() {
                    return false;
                }
            }
            (0..usize::from(listening)).all(|index| sockets.at(index).udp == index)
        }
    }
}
