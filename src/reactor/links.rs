//! The streams that are open or opening, under the names the engine gave them.

use super::tls::Session;
use crate::engine::io::LinkId;
use crate::model::TlsWish;

/// One stream and what is known of its readiness. A flag is cleared only when the system says
/// that it would block.
pub(super) struct Link<T> {
    pub(super) stream: T,
    pub(super) filter: Filter,
    pub(super) open: bool,
    pub(super) readable: bool,
    pub(super) writable: bool,
    /// The system hinted at an end or an error: read until it shows.
    pub(super) ending: bool,
    /// The end of what comes in was reported to the engine.
    pub(super) eof: bool,
    /// It stands in the list of those to be read.
    pub(super) listed: bool,
    /// It stands in the list of those to be written.
    pub(super) writing: bool,
}

/// What stands between the stream and the engine.
pub(super) enum Filter {
    /// Nothing.
    Clear,
    /// TLS, as soon as the stream is open.
    Wanted(Box<TlsWish>),
    /// TLS.
    Tls(Box<Session>),
}

impl<T> Link<T> {
    /// It was accepted: it is open and there is room to send.
    pub(super) fn accepted(stream: T) -> Self {
        Self { open: true, writable: true, ..Self::connecting(stream, Filter::Clear) }
    }

    pub(super) fn connecting(stream: T, filter: Filter) -> Self {
        Self {
            stream,
            filter,
            open: false,
            readable: false,
            writable: false,
            ending: false,
            eof: false,
            listed: false,
            writing: false,
        }
    }
}

/// Links by their [`LinkId`]. Its index is the place, its generation tells old from new: a stale
/// event finds nothing.
pub(super) struct Links<T> {
    places: Vec<Option<(LinkId, Link<T>)>>,
    live: usize,
}

impl<T> Links<T> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), live: 0 }
    }

    pub(super) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link<T>> {
        match self.places.get_mut(id.0.index()) {
            Some(Some((held, link))) if *held == id => Some(link),
            _ => None,
        }
    }

    /// Puts a link in its place; gives back the one that was there, or this one if its index is
    /// beyond [`LINKS_MAX`].
    pub(super) fn insert(&mut self, id: LinkId, link: Link<T>) -> Result<Option<Link<T>>, Link<T>> {
        let index = id.0.index();
        if index >= LINKS_MAX {
            return Err(link);
        }
        if index >= self.places.len() {
            self.places.resize_with(index + 1, || None);
        }
        let old = self.places[index].replace((id, link));
        self.live += usize::from(old.is_none());
        Ok(old.map(|(_, link)| link))
    }

    pub(super) fn remove(&mut self, id: LinkId) -> Option<Link<T>> {
        self.get_mut(id)?;
        self.live -= 1;
        self.places[id.0.index()].take().map(|(_, link)| link)
    }

    pub(super) fn len(&self) -> usize {
        self.live
    }
}

/// As many as one address has ports; the engine's own limits are far below.
pub(super) const LINKS_MAX: usize = 65_536;

#[cfg(test)]
mod tests {
    use super::*;

    use crate::base::Token;

    fn id(index: u64, generation: u64) -> LinkId {
        LinkId(Token::unpack(generation << 32 | index))
    }

    #[test]
    fn a_stale_name_reaches_nothing() {
        let mut links = Links::new();
        assert!(matches!(links.insert(id(3, 1), Link::connecting('a', Filter::Clear)), Ok(None)));
        assert!(links.get_mut(id(3, 0)).is_none() && links.get_mut(id(2, 1)).is_none());
        assert!(links.remove(id(3, 2)).is_none());
        let old = links.insert(id(3, 2), Link::connecting('b', Filter::Clear));
        assert!(matches!(old, Ok(Some(Link { stream: 'a', .. }))));
        assert_eq!(links.len(), 1);
        assert!(links.remove(id(3, 2)).is_some_and(|link| link.stream == 'b'));
        assert_eq!(links.len(), 0);
        assert!(links.insert(id(LINKS_MAX as u64, 0), Link::connecting('c', Filter::Clear)).is_err());
    }
}
