//! Writing: header, question, records with compressed names, OPT, into a buffer of fixed size.

use super::HEADER_LEN;
use super::kind::{Kind, Rcode};
use super::message::{Flags, OptionCode, Section};
use super::name::parent;
use super::opt::Opt;
use super::rdata::{Layout, layout};

/// The buffer has no room for it. What was written before stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Writes one message, front to back; sections in their order.
pub struct Writer<'a> {
    out: &'a mut [u8],
    at: usize,
    /// Behind this nothing is written but OPT.
    end: usize,
    counts: [u16; 3],
    /// Where names start that later ones may point to.
    names: [u16; NAMES],
    known: usize,
}

impl<'a> Writer<'a> {
    /// Starts a message. Without room for the header nothing is ever written.
    pub fn new(out: &'a mut [u8], id: u16, flags: Flags) -> Result<Self, Full> {
        let head = out.get_mut(..HEADER_LEN).ok_or(Full)?;
        head.fill(0);
        head[..2].copy_from_slice(&id.to_be_bytes());
        head[2..4].copy_from_slice(&flags.0.to_be_bytes());
        let end = out.len();
        Ok(Self { out, at: HEADER_LEN, end, counts: [0; 3], names: [0; NAMES], known: 0 })
    }

    /// The one question, with its name as it is, so that the case is kept. Before any record.
    pub fn question(&mut self, name: &[u8], kind: Kind, class: u16) -> Result<(), Full> {
        let start = self.at;
        let written = self.put(name).and_then(|()| self.put_u16(kind.0)).and_then(|()| self.put_u16(class));
        self.settle(start, written)?;
        self.learn(start, name);
        self.out[5] = 1;
        Ok(())
    }

    /// One record of class IN. `owner` is in lower case, names in `data` are written out.
    pub fn record(
        &mut self,
        section: Section,
        owner: &[u8],
        kind: Kind,
        ttl: u32,
        data: &[u8],
    ) -> Result<(), Full> {
        let (start, known) = (self.at, self.known);
        let written = self.try_record(owner, kind, ttl, data);
        if written.is_err() {
            self.known = known;
        }
        self.settle(start, written)?;
        self.counts[section as usize] += 1;
        Ok(())
    }

    /// The OPT record with its options, in the room that was kept for it and whatever else is left.
    pub fn edns(
        &mut self,
        payload: u16,
        rcode: Rcode,
        dnssec_ok: bool,
        options: &[(OptionCode, &[u8])],
    ) -> Result<(), Full> {
        let opt = Opt { payload, rcode, dnssec_ok, options };
        self.end = self.out.len();
        self.at += opt.write(&mut self.out[self.at..]).ok_or(Full)?;
        self.counts[Section::Additional as usize] += 1;
        Ok(())
    }

    /// Keeps so many bytes at the end for an OPT record. What was written before stands.
    pub fn keep_room(&mut self, bytes: usize) {
        self.end = self.out.len().saturating_sub(bytes).max(self.at);
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.at
    }

    /// Never: a message has a header.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Sets bits of the flags.
    pub fn set_flags(&mut self, bits: u16) {
        let flags = u16::from_be_bytes([self.out[2], self.out[3]]) | bits;
        self.out[2..4].copy_from_slice(&flags.to_be_bytes());
    }

    /// How many bytes the message has.
    pub fn finish(self) -> usize {
        for (at, count) in [6, 8, 10].into_iter().zip(self.counts) {
            self.out[at..at + 2].copy_from_slice(&count.to_be_bytes());
        }
        self.at
    }

    fn try_record(&mut self, owner: &[u8], kind: Kind, ttl: u32, data: &[u8]) -> Result<(), Full> {
        self.put_name(owner)?;
        self.put_u16(kind.0)?;
        self.put_u16(super::CLASS_IN)?;
        self.put(&ttl.to_be_bytes())?;
        let length_at = self.at;
        self.put_u16(0)?;
        match layout(kind).filter(|layout| layout.compress) {
            Some(layout) => self.put_data(layout, data)?,
            None => self.put(data)?,
        }
        let length = u16::try_from(self.at - length_at - 2).map_err(|_| Full)?;
        self.out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    /// Data whose names may be compressed.
    fn put_data(&mut self, layout: Layout, data: &[u8]) -> Result<(), Full> {
        let (before, mut rest) = data.split_at_checked(layout.before).ok_or(Full)?;
        self.put(before)?;
        for _ in 0..layout.names {
            let end = std::iter::successors(Some(rest), |name| parent(name)).last().unwrap_or_default();
            let (name, after) = rest.split_at(rest.len() - end.len() + end.len().min(1));
            self.put_name(name)?;
            rest = after;
        }
        self.put(rest)
    }

    /// A name; as much of its end as was written before becomes a pointer.
    fn put_name(&mut self, name: &[u8]) -> Result<(), Full> {
        let start = self.at;
        let mut rest = name;
        while rest.len() > 1 {
            if let Some(target) = self.find(rest) {
                self.put_u16(0xc000 | target)?;
                self.learn_labels(start, name.len() - rest.len());
                return Ok(());
            }
            let Some(after) = parent(rest) else { return Err(Full) };
            self.put(&rest[..rest.len() - after.len()])?;
            rest = after;
        }
        self.put(rest)?;
        self.learn_labels(start, name.len().saturating_sub(1));
        Ok(())
    }

    /// Where `name` stands already.
    fn find(&self, name: &[u8]) -> Option<u16> {
        self.names[..self.known].iter().copied().find(|at| self.stands_at(usize::from(*at), name))
    }

    fn stands_at(&self, mut at: usize, mut name: &[u8]) -> bool {
        loop {
            let first = self.out[at];
            if first >> 6 == 3 {
                at = usize::from(u16::from_be_bytes([first & 0x3f, self.out[at + 1]]));
                continue;
            }
            let end = 1 + usize::from(first);
            if !name.get(..end).is_some_and(|label| label.eq_ignore_ascii_case(&self.out[at..at + end])) {
                return false;
            }
            if first == 0 {
                return true;
            }
            (at, name) = (at + end, &name[end..]);
        }
    }

    fn learn(&mut self, start: usize, name: &[u8]) {
        self.learn_labels(start, name.len().saturating_sub(1));
    }

    /// Every label in `len` bytes from `start` begins a name that may be pointed to.
    fn learn_labels(&mut self, start: usize, len: usize) {
        let mut at = start;
        while at < start + len && at < POINTER_MAX && self.known < NAMES {
            self.names[self.known] = at as u16;
            self.known += 1;
            at += 1 + usize::from(self.out[at]);
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let end = self.at + bytes.len();
        if end > self.end {
            return Err(Full);
        }
        self.out[self.at..end].copy_from_slice(bytes);
        self.at = end;
        Ok(())
    }

    fn put_u16(&mut self, number: u16) -> Result<(), Full> {
        self.put(&number.to_be_bytes())
    }

    /// Half of a thing is none.
    fn settle(&mut self, start: usize, written: Result<(), Full>) -> Result<(), Full> {
        if written.is_err() {
            self.at = start;
        }
        written
    }
}

/// Names that are remembered for compression: a message with more grows a little, no more. Every
/// name costs a look at each of them.
const NAMES: usize = 24;
/// What fourteen bits can point to.
const POINTER_MAX: usize = 1 << 14;
