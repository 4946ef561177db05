//! Generational slots: an index alone never reaches what took a freed place.

/// A slot index and the generation it was handed out in, packed for use as a poll token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token {
    index: u32,
    generation: u32,
}

impl Token {
    /// Not after any other token.
    pub const FIRST: Self = Self { index: 0, generation: 0 };
    /// Not before any other token.
    pub const LAST: Self = Self { index: u32::MAX, generation: u32::MAX };

    /// Both halves in one number.
    pub fn pack(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The inverse of [`Token::pack`].
    pub fn unpack(packed: u64) -> Self {
        Self { index: packed as u32, generation: (packed >> 32) as u32 }
    }

    /// The index alone, for arrays that run beside the slots.
    pub fn index(self) -> usize {
        self.index as usize
    }
}

/// Values under stable tokens. Removal makes every old token of the slot invalid.
pub struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    live: usize,
}

struct Slot<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), live: 0 }
    }
}

impl<T> Slots<T> {
    /// Puts `value` into a free slot.
    pub fn insert(&mut self, value: T) -> Token {
        self.live += 1;
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.value = Some(value);
            return Token { index, generation: slot.generation };
        }
        let index = u32::try_from(self.slots.len()).expect("fewer than 2^32 slots");
        self.slots.push(Slot { generation: 0, value: Some(value) });
        Token { index, generation: 0 }
    }

    /// Takes the value out; `None` if the token is stale.
    pub fn remove(&mut self, token: Token) -> Option<T> {
        let slot = self.slots.get_mut(token.index as usize)?;
        if slot.generation != token.generation {
            return None;
        }
        let value = slot.value.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(token.index);
        self.live -= 1;
        Some(value)
    }

    /// The value under `token`, if the token is not stale.
    pub fn get(&self, token: Token) -> Option<&T> {
        let slot = self.slots.get(token.index as usize)?;
        slot.value.as_ref().filter(|_| slot.generation == token.generation)
    }

    /// The value under `token`, if the token is not stale.
    pub fn get_mut(&mut self, token: Token) -> Option<&mut T> {
        let slot = self.slots.get_mut(token.index as usize)?;
        let current = slot.generation == token.generation;
        slot.value.as_mut().filter(|_| current)
    }

    /// How many places there are, free ones included.
    pub fn places(&self) -> usize {
        self.slots.len()
    }

    /// The first value at or after a place, beginning anew at the end.
    pub fn live_from(&self, place: usize) -> Option<(Token, &T)> {
        let (before, after) = self.slots.split_at_checked(place)?;
        let mut slots = after.iter().zip(place..).chain(before.iter().zip(0..));
        slots.find_map(|(slot, index)| {
            let token = Token { index: u32::try_from(index).ok()?, generation: slot.generation };
            slot.value.as_ref().map(|value| (token, value))
        })
    }

    /// How many slots hold a value.
    pub fn len(&self) -> usize {
        self.live
    }

    /// True if no slot holds a value.
    pub fn is_empty(&self) -> bool {
        self.live == 0
    }

    /// Every live token and its value, in index order.
    pub fn iter(&self) -> impl Iterator<Item = (Token, &T)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let token = Token { index: index as u32, generation: slot.generation };
            slot.value.as_ref().map(|value| (token, value))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_token_reaches_nothing() {
        let mut slots = Slots::default();
        let first = slots.insert('a');
        assert_eq!(slots.remove(first), Some('a'));
        let second = slots.insert('b');
        assert_eq!(first.index(), second.index());
        assert_eq!(slots.get(first), None);
        assert_eq!(slots.remove(first), None);
        assert_eq!(slots.get(Token::unpack(second.pack())), Some(&'b'));
        assert_eq!(slots.len(), 1);
    }

    quickcheck::quickcheck! {
        /// Against a map of every token that was ever handed out.
        fn tokens_reach_what_they_were_given_for_until_it_goes(steps: Vec<(u8, u8)>) -> bool {
            let mut slots = Slots::default();
            let mut model: Vec<(Token, Option<usize>)> = Vec::new();
            for (number, (what, which)) in steps.into_iter().enumerate() {
                if what % 3 < 2 {
                    let token = slots.insert(number);
                    if model.iter().any(|(known, _)| *known == token) {
                        return false;
                    }
                    model.push((token, Some(number)));
                } else if !model.is_empty() {
                    let at = usize::from(which) % model.len();
                    let (token, value) = &mut model[at];
                    if slots.remove(*token) != value.take() {
                        return false;
                    }
                }
                let live = model.iter().filter(|(_, value)| value.is_some()).count();
                let same = model.iter().all(|(token, value)| {
                    slots.get(*token) == value.as_ref() && Token::unpack(token.pack()) == *token
                });
                if !same || slots.len() != live || slots.iter().count() != live {
                    return false;
                }
            }
            let all: Vec<_> = slots.iter().map(|(token, value)| (token, Some(*value))).collect();
            all.iter().all(|it| model.contains(it))
        }
    }
}
