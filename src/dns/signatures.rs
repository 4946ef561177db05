//! Signatures, and proofs of what is not there, for who validates for himself (RFC 4035, section
//! 3.2.1). Nothing is checked here; what a forwarder sends of them is handed on as far as it belongs
//! to what is answered.

use super::answer::Kept;
use crate::wire::dns::{CLASS_IN, Fault, Kind, Message, Name, Record, Section, parent};

/// What goes with the records of an answer, and of the aliases that lead to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Signatures {
    /// Of the answer section's records.
    answer: Vec<Kept>,
    /// NSEC and NSEC3: that there is no such name or type, or nothing nearer than a wildcard.
    proofs: Vec<Kept>,
    /// Of the proofs and of the SOA record.
    authority: Vec<Kept>,
}

/// A set of records: whose, and of which type.
pub(super) type Set<'a> = (&'a Name, Kind);

/// What a signature says of itself (RFC 4034, section 3.1).
struct Rrsig {
    covered: Kind,
    labels: usize,
    signer: Name,
}

impl Signatures {
    /// Takes from a response what belongs to these sets of its answer section, and to its SOA record
    /// if it says that there is nothing. Proofs are taken from within that one's zone, and from within
    /// the zones in which a set was made from a wildcard (RFC 4035, section 3.1.3).
    pub(super) fn gather(
        &mut self,
        message: &Message<'_>,
        sets: &[Set<'_>],
        soa: Option<&Name>,
        ttl_max: u32,
    ) -> Result<(), Fault> {
        let mut zones: Vec<Name> = soa.into_iter().cloned().collect();
        for record in records(message, Section::Answer, is_rrsig) {
            let owner = record.owner.read()?;
            let Some(rrsig) = Rrsig::of(&owner, record.data()) else { continue };
            if !sets.contains(&(&owner, rrsig.covered)) {
                continue;
            }
            // Of a name with more labels than were signed (RFC 4035, section 5.3.4).
            if rrsig.labels < owner.labels() && !zones.contains(&rrsig.signer) {
                zones.push(rrsig.signer);
            }
            self.has_room()?;
            put(&mut self.answer, Kept::opaque(owner, &record, ttl_max));
        }
        for record in records(message, Section::Authority, is_proof) {
            let owner = record.owner.read()?;
            if zones.iter().any(|zone| owner.is_within(zone.wire())) {
                self.has_room()?;
                self.put_proof(Kept::opaque(owner, &record, ttl_max));
            }
        }
        for record in records(message, Section::Authority, is_rrsig) {
            let owner = record.owner.read()?;
            let Some(rrsig) = Rrsig::of(&owner, record.data()) else { continue };
            let of_soa = rrsig.covered == Kind::SOA && soa == Some(&owner);
            if of_soa || self.proofs.iter().any(|proof| proof.set() == (&owner, rrsig.covered)) {
                self.has_room()?;
                put(&mut self.authority, Kept::opaque(owner, &record, ttl_max));
            }
        }
        // Without a signature they prove nothing.
        let signed = |proof: &Kept| self.authority.iter().any(|kept| is_of(kept, proof.set()));
        self.proofs.retain(signed);
        Ok(())
    }

    /// The answer section: aliases and the records that they lead to; the signatures stand behind each
    /// set.
    pub(super) fn answer(&self, aliases: &[Kept], last: Vec<Kept>) -> Vec<Kept> {
        let mut all = Vec::with_capacity(aliases.len() + last.len() + self.answer.len());
        for (at, alias) in aliases.iter().enumerate() {
            all.push(alias.clone());
            if !aliases[at + 1..].iter().chain(last.first()).any(|other| other.set() == alias.set()) {
                all.extend(beside(&self.answer, alias));
            }
        }
        let of_last = last.first().map(|kept| beside(&self.answer, kept));
        all.extend(last);
        all.extend(of_last.into_iter().flatten());
        all
    }

    /// The authority section: the SOA record, if there is nothing, and the proofs, which hold no longer
    /// than that (RFC 9077).
    pub(super) fn authority(self, soa: Option<Kept>) -> Vec<Kept> {
        let most = soa.as_ref().map_or(u32::MAX, |soa| soa.ttl);
        let proofs = self.proofs.into_iter().map(|proof| Kept { ttl: proof.ttl.min(most), ..proof });
        let mut all = Vec::new();
        for kept in soa.into_iter().chain(proofs) {
            let signatures = beside(&self.authority, &kept);
            all.push(kept);
            all.extend(signatures);
        }
        all
    }

    /// A name has one such record: what was said last holds, as what came with an alias may be older.
    fn put_proof(&mut self, proof: Kept) {
        match self.proofs.iter_mut().find(|known| known.set() == proof.set()) {
            Some(known) if known.data == proof.data => known.ttl = known.ttl.min(proof.ttl),
            Some(known) => {
                self.authority.retain(|kept| !is_of(kept, proof.set()));
                *known = proof;
            }
            None => self.proofs.push(proof),
        }
    }

    fn has_room(&self) -> Result<(), Fault> {
        let len = self.answer.len() + self.proofs.len() + self.authority.len();
        if len < SIGNATURES_MAX { Ok(()) } else { Err(Fault::Data) }
    }
}

impl Rrsig {
    /// `None` if it cannot be read, or is of a zone that does not have the name.
    fn of(owner: &Name, data: &[u8]) -> Option<Self> {
        let covered = covered(data)?;
        let rest = data.get(SIGNER_AT..)?;
        // The signer is never compressed (RFC 4034, section 3.1.7).
        let end = std::iter::successors(Some(rest), |name| parent(name)).last()?;
        let signer = Name::from_wire(rest.get(..rest.len() - end.len() + 1)?)?;
        owner.is_within(signer.wire()).then(|| Self { covered, labels: usize::from(data[3]), signer })
    }
}

fn is_rrsig(kind: Kind) -> bool {
    kind == Kind::RRSIG
}

fn is_proof(kind: Kind) -> bool {
    kind == Kind::NSEC || kind == Kind::NSEC3
}

/// The type whose records a signature is of.
fn covered(data: &[u8]) -> Option<Kind> {
    data.first_chunk().map(|kind| Kind(u16::from_be_bytes(*kind)))
}

fn is_of(signature: &Kept, set: Set<'_>) -> bool {
    covered(&signature.data) == Some(set.1) && signature.owner == *set.0
}

/// The signatures of a record's set, with its TTL (RFC 4034, section 3).
fn beside(signatures: &[Kept], record: &Kept) -> Vec<Kept> {
    let of_set = signatures.iter().filter(|kept| is_of(kept, record.set()));
    of_set.map(|kept| Kept { ttl: kept.ttl.min(record.ttl), ..kept.clone() }).collect()
}

/// None is kept twice.
fn put(all: &mut Vec<Kept>, new: Kept) {
    match all.iter_mut().find(|known| known.owner == new.owner && known.data == new.data) {
        Some(known) => known.ttl = known.ttl.min(new.ttl),
        None => all.push(new),
    }
}

fn records<'m>(
    message: &Message<'m>,
    section: Section,
    is_wanted: impl Fn(Kind) -> bool,
) -> impl Iterator<Item = Record<'m>> {
    let all = message.records().flatten();
    all.filter(move |record| record.section == section && record.class == CLASS_IN && is_wanted(record.kind))
}

/// Signatures and proofs of one answer: more than a few aliases and four proofs take, each signed by
/// every key of a zone that changes its keys.
const SIGNATURES_MAX: usize = 256;
/// Type covered, algorithm, labels, TTL, two times, key tag.
const SIGNER_AT: usize = 18;

#[cfg(test)]
mod tests {
    use super::super::answer::{Answer, Chain, Reading, Terms, Useless};
    use super::*;
    use crate::wire::dns::{Flags, Rcode, Writer};

    type Line<'a> = (Section, &'a str, Kind, u32, Vec<u8>);

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    /// A signature of `labels` labels by a zone.
    fn rrsig(covered: Kind, labels: u8, signer: &str) -> Vec<u8> {
        let [high, low] = covered.0.to_be_bytes();
        let fixed = [high, low, 13, labels, 0, 0, 1, 44, 9, 9, 9, 9, 8, 8, 8, 8, 7, 7];
        [&fixed, name(signer).wire(), &[5; 64]].concat()
    }

    fn soa(minimum: u8) -> Vec<u8> {
        [b"\x02ns\x04test\0\x04root\0".as_slice(), &[0; 19], &[minimum]].concat()
    }

    fn nsec(next: &str) -> Vec<u8> {
        [name(next).wire(), &[0, 1, 0x40]].concat()
    }

    fn response(asked: (&str, Kind), rcode: Rcode, lines: &[Line<'_>]) -> Vec<u8> {
        let mut out = vec![0; 65_535];
        let mut writer = Writer::new(&mut out, 7, Flags(Flags::QR | rcode.0)).unwrap();
        writer.question(name(asked.0).wire(), asked.1, CLASS_IN).unwrap();
        for (section, owner, kind, ttl, data) in lines {
            writer.record(*section, name(owner).wire(), *kind, *ttl, data).unwrap();
        }
        let len = writer.finish();
        out.truncate(len);
        out
    }

    fn read(data: &[u8], asked: (&str, Kind), chain: Chain, at: &str) -> Reading {
        let message = Message::parse(data).unwrap();
        Answer::read(
            &message,
            (&name(asked.0), asked.1),
            chain,
            &name(at),
            Terms { ttl_max: 1_000, public: None },
        )
    }

    fn answer(asked: (&str, Kind), rcode: Rcode, lines: &[Line<'_>]) -> Answer {
        let data = response(asked, rcode, lines);
        match read(&data, asked, Chain::new(true), asked.0) {
            Reading::Whole(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// Section, owner, type and TTL of each record; of signatures the type that they cover.
    fn brief(answer: &Answer) -> Vec<String> {
        let message = Message::parse(answer.message()).unwrap();
        let of = |record: &Record<'_>| match record.kind {
            Kind::RRSIG => format!("RRSIG({})", covered(record.data()).unwrap()),
            kind => kind.to_string(),
        };
        let line = |record: Record<'_>| {
            let owner = record.owner.read().unwrap();
            let mark = if record.section == Section::Answer { "" } else { "- " };
            format!("{mark}{owner} {} {}", of(&record), record.ttl)
        };
        message.records().map(|record| line(record.unwrap())).collect()
    }

    use Section::{Answer as Ans, Authority as Auth};

    #[test]
    fn signatures_stand_behind_their_sets_in_whatever_order_they_came() {
        let lines = [
            (Ans, "a.test", Kind::RRSIG, 200, rrsig(Kind::A, 2, "test")),
            (Ans, "www.test", Kind::RRSIG, 300, rrsig(Kind::CNAME, 2, "test")),
            (Ans, "www.test", Kind::CNAME, 300, name("a.test").wire().to_vec()),
            (Ans, "a.test", Kind::A, 250, vec![127, 0, 0, 1]),
            (Ans, "a.test", Kind::RRSIG, 300, rrsig(Kind::A, 2, ".")),
            (Ans, "a.test", Kind::A, 250, vec![127, 0, 0, 2]),
            (Ans, "a.test", Kind::RRSIG, 200, rrsig(Kind::A, 2, "test")),
        ];
        let answer = answer(("www.test", Kind::A), Rcode::NOERROR, &lines);
        let expected = [
            "www.test. CNAME 300",
            "www.test. RRSIG(CNAME) 300",
            "a.test. A 250",
            "a.test. A 250",
            "a.test. RRSIG(A) 200",
            "a.test. RRSIG(A) 250",
        ];
        assert_eq!(brief(&answer), expected);
        assert_eq!((answer.ttl, answer.negative), (200, false));
    }

    #[test]
    fn what_belongs_to_nothing_that_is_answered_is_dropped() {
        let mut compressed = rrsig(Kind::A, 2, ".");
        compressed.splice(SIGNER_AT..SIGNER_AT, [0xc0, 12]);
        let lines = [
            (Ans, "a.test", Kind::A, 300, vec![127, 0, 0, 1]),
            (Ans, "a.test", Kind::RRSIG, 300, rrsig(Kind::MX, 2, "test")),
            (Ans, "b.test", Kind::RRSIG, 300, rrsig(Kind::A, 2, "test")),
            (Ans, "a.test", Kind::RRSIG, 300, rrsig(Kind::A, 2, "other")),
            (Ans, "a.test", Kind::RRSIG, 300, rrsig(Kind::A, 2, "test")[..SIGNER_AT + 3].to_vec()),
            (Ans, "a.test", Kind::RRSIG, 300, compressed),
            (Ans, "a.test", Kind::RRSIG, 300, Vec::new()),
            (Ans, "a.test", Kind::RRSIG, 400, rrsig(Kind::A, 2, "test")),
            // Nothing was made from a wildcard.
            (Auth, "test", Kind::NSEC, 300, nsec("b.test")),
            (Auth, "test", Kind::RRSIG, 300, rrsig(Kind::NSEC, 1, "test")),
            (Auth, "test", Kind::RRSIG, 300, rrsig(Kind::SOA, 1, "test")),
            (Auth, "test", Kind::NS, 300, name("ns.test").wire().to_vec()),
            (Auth, "test", Kind::RRSIG, 300, rrsig(Kind::NS, 1, "test")),
        ];
        let kept = answer(("a.test", Kind::A), Rcode::NOERROR, &lines);
        assert_eq!(brief(&kept), ["a.test. A 300", "a.test. RRSIG(A) 300"]);
        let data = response(("a.test", Kind::A), Rcode::NOERROR, &lines);
        let Reading::Whole(bare) = read(&data, ("a.test", Kind::A), Chain::default(), "a.test") else {
            panic!("it is whole")
        };
        assert_eq!(brief(&bare), ["a.test. A 300"], "nobody asked for more");
    }

    #[test]
    fn a_wildcard_brings_the_proof_that_nothing_is_nearer() {
        let lines = [
            (Auth, "a.test", Kind::RRSIG, 60, rrsig(Kind::NSEC, 2, "test")),
            (Auth, "a.test", Kind::NSEC, 60, nsec("z.test")),
            (Auth, "a.other", Kind::NSEC, 60, nsec("z.other")),
            (Auth, "a.other", Kind::RRSIG, 60, rrsig(Kind::NSEC, 2, "other")),
            (Auth, "b.test", Kind::NSEC3, 60, nsec("unsigned.test")),
        ];
        let wild = [
            (Ans, "x.wild.test", Kind::A, 300, vec![127, 0, 0, 1]),
            (Ans, "x.wild.test", Kind::RRSIG, 300, rrsig(Kind::A, 2, "test")),
        ];
        let answer = answer(("x.wild.test", Kind::A), Rcode::NOERROR, &[&wild[..], &lines].concat());
        let expected = [
            "x.wild.test. A 300",
            "x.wild.test. RRSIG(A) 300",
            "- a.test. NSEC 60",
            "- a.test. RRSIG(NSEC) 60",
        ];
        assert_eq!(brief(&answer), expected);
        assert_eq!((answer.ttl, answer.negative), (60, false));
        assert!(!Answer::restore(answer.message().into()).unwrap().negative);
    }

    /// There is no `x.test`; said with proofs, and with what does not belong there.
    fn denied() -> Answer {
        let lines = [
            (Auth, "test", Kind::RRSIG, 900, rrsig(Kind::SOA, 1, "test")),
            (Auth, "w.test", Kind::NSEC, 900, nsec("z.test")),
            (Auth, "w.other", Kind::NSEC, 900, nsec("z.other")),
            (Auth, "test", Kind::SOA, 900, soa(50)),
            (Auth, "w.test", Kind::RRSIG, 900, rrsig(Kind::NSEC, 2, "test")),
            (Auth, "w.other", Kind::RRSIG, 900, rrsig(Kind::NSEC, 2, "other")),
            (Auth, "hash.test", Kind::NSEC3, 40, nsec("z.test")),
            (Auth, "hash.test", Kind::RRSIG, 900, rrsig(Kind::NSEC3, 2, "test")),
        ];
        answer(("x.test", Kind::A), Rcode::NXDOMAIN, &lines)
    }

    #[test]
    fn what_is_not_there_is_proven_for_as_long_as_all_of_it_holds() {
        let (denied, expected) = (
            denied(),
            [
                "- test. SOA 50",
                "- test. RRSIG(SOA) 50",
                "- w.test. NSEC 50",
                "- w.test. RRSIG(NSEC) 50",
                "- hash.test. NSEC3 40",
                "- hash.test. RRSIG(NSEC3) 40",
            ],
        );
        assert_eq!(brief(&denied), expected);
        assert_eq!((denied.ttl, denied.negative, denied.rcode), (40, true, Rcode::NXDOMAIN));
        let again = Answer::restore(denied.message().into()).unwrap();
        assert_eq!((brief(&again), again.ttl, again.negative), (brief(&denied), 40, true));
        let asked = (&name("own.home"), Kind::A);
        let alias = answer(
            ("own.home", Kind::CNAME),
            Rcode::NOERROR,
            &[(Ans, "own.home", Kind::CNAME, 70, name("x.test").wire().to_vec())],
        );
        let joined = Answer::join(asked, &alias, &denied, 5).unwrap();
        assert_eq!((joined.ttl, joined.negative, joined.rcode), (35, true, Rcode::NXDOMAIN));
        let whole = brief(&joined);
        assert_eq!(
            (&*whole[0], &*whole[1], &*whole[6], whole.len()),
            ("own.home. CNAME 70", "- test. SOA 45", "- hash.test. RRSIG(NSEC3) 35", 7)
        );
    }

    #[test]
    fn the_archive_gives_back_whether_there_is_something() {
        let target = name("a.test").wire().to_vec();
        let alias = answer(
            ("b.test", Kind::CNAME),
            Rcode::NOERROR,
            &[(Ans, "b.test", Kind::CNAME, 9, target.clone())],
        );
        let lines = [
            (Ans, "down.test", Kind::DNAME, 9, name("far.test").wire().to_vec()),
            (Ans, "x.down.test", Kind::CNAME, 9, name("x.far.test").wire().to_vec()),
            (Ans, "x.down.test", Kind::RRSIG, 9, rrsig(Kind::CNAME, 3, "test")),
            (Auth, "test", Kind::SOA, 9, soa(9)),
        ];
        let nothing = answer(("x.down.test", Kind::A), Rcode::NOERROR, &lines);
        for (answer, negative) in [(alias, false), (nothing, true)] {
            assert_eq!(answer.negative, negative, "{:?}", brief(&answer));
            assert_eq!(Answer::restore(answer.message().into()).unwrap().negative, negative);
        }
    }

    #[test]
    fn a_chain_takes_its_signatures_and_proofs_along() {
        let asked = ("x.wild.test", Kind::A);
        let begun = |next: &str| {
            let lines = [
                (Ans, "x.wild.test", Kind::CNAME, 300, name("a.other").wire().to_vec()),
                (Ans, "x.wild.test", Kind::RRSIG, 300, rrsig(Kind::CNAME, 2, "test")),
                (Auth, "a.test", Kind::NSEC, 80, nsec(next)),
                (Auth, "a.test", Kind::RRSIG, 80, rrsig(Kind::NSEC, 2, "test")),
            ];
            match read(&response(asked, Rcode::NOERROR, &lines), asked, Chain::new(true), asked.0) {
                Reading::Follow(chain, target) if *target == name("a.other") => chain,
                other => panic!("{other:?}"),
            }
        };
        let rest = [
            (Ans, "a.other", Kind::A, 200, vec![127, 0, 0, 1]),
            (Ans, "a.other", Kind::RRSIG, 200, rrsig(Kind::A, 2, "other")),
            // Another's alias is none of this one's business, whoever signed it.
            (Ans, "x.wild.test", Kind::RRSIG, 300, rrsig(Kind::CNAME, 3, "test")),
            (Auth, "b.test", Kind::NSEC, 80, nsec("c.test")),
            (Auth, "b.test", Kind::RRSIG, 80, rrsig(Kind::NSEC, 2, "test")),
        ];
        let rest = response(("a.other", Kind::A), Rcode::NOERROR, &rest);
        let Reading::Whole(whole) = read(&rest, asked, begun("z.test"), "a.other") else {
            panic!("it is whole")
        };
        let expected = [
            "x.wild.test. CNAME 300",
            "x.wild.test. RRSIG(CNAME) 300",
            "a.other. A 200",
            "a.other. RRSIG(A) 200",
            "- a.test. NSEC 80",
            "- a.test. RRSIG(NSEC) 80",
        ];
        assert_eq!(brief(&whole), expected);
    }

    #[test]
    fn the_newer_proof_of_a_zone_that_has_changed_holds() {
        let mut signatures = Signatures::default();
        for (owner, next, ttl) in
            [("a", "old.test", 80), ("b", "c.test", 90), ("b", "c.test", 70), ("a", "new.test", 60)]
        {
            let owner = format!("{owner}.test");
            let mut signature = rrsig(Kind::NSEC, 2, "test");
            signature.extend_from_slice(next.as_bytes());
            let lines = [
                (Auth, owner.as_str(), Kind::NSEC, ttl, nsec(next)),
                (Auth, owner.as_str(), Kind::RRSIG, ttl, signature),
            ];
            let data = response(("x.test", Kind::A), Rcode::NOERROR, &lines);
            signatures.gather(&Message::parse(&data).unwrap(), &[], Some(&name("test")), 1_000).unwrap();
        }
        let kept: Vec<_> = signatures.authority(None).into_iter().map(|kept| (kept.ttl, kept.data)).collect();
        let [a, signature, b, of_b] = kept.try_into().unwrap();
        assert_eq!((a, signature.0), ((60, nsec("new.test")), 60));
        assert!(signature.1.ends_with(b"new.test"));
        assert_eq!((b, of_b.0), ((70, nsec("c.test")), 70));
    }

    #[test]
    fn who_sends_more_signatures_than_anybody_has_is_of_no_use() {
        let asked = ("a.test", Kind::A);
        let lines = |count: usize| {
            let signature = |at: usize| {
                let mut data = rrsig(Kind::A, 2, "test");
                data[SIGNER_AT - 2..SIGNER_AT].copy_from_slice(&(at as u16).to_be_bytes());
                (Ans, "a.test", Kind::RRSIG, 300, data)
            };
            let all = (0..count).map(signature);
            let lines: Vec<_> = all.chain([(Ans, "a.test", Kind::A, 300, vec![127, 0, 0, 1])]).collect();
            response(asked, Rcode::NOERROR, &lines)
        };
        let whole = read(&lines(SIGNATURES_MAX), asked, Chain::new(true), asked.0);
        assert!(matches!(whole, Reading::Whole(answer) if answer.records().count() == SIGNATURES_MAX + 1));
        let too_many = read(&lines(SIGNATURES_MAX + 1), asked, Chain::new(true), asked.0);
        assert!(matches!(too_many, Reading::Useless(Useless::Malformed(Fault::Data))), "{too_many:?}");
        let bare = read(&lines(SIGNATURES_MAX + 1), asked, Chain::default(), asked.0);
        assert!(matches!(bare, Reading::Whole(answer) if answer.records().count() == 1));
    }

    /// A record by choice: of few names, so that they meet, and mostly what belongs together.
    fn line(choice: [u8; 4]) -> Line<'static> {
        const NAMES: [&str; 6] = ["x.w.test", "w.test", "test", "a.other", "other", "."];
        const KINDS: [Kind; 7] =
            [Kind::A, Kind::CNAME, Kind::DNAME, Kind::SOA, Kind::NSEC, Kind::NSEC3, Kind::NS];
        let [what, owner, other, ttl] = choice.map(usize::from);
        let (owner, other, kind) = (NAMES[owner % 6], NAMES[other % 6], KINDS[other / 6 % 7]);
        let section = if what % 2 == 0 { Ans } else { Auth };
        let (kind, data) = match what / 2 % 8 {
            0 => (Kind::A, vec![127, 0, 0, other.len() as u8]),
            1 => (Kind::CNAME, name(other).wire().to_vec()),
            2 => (Kind::DNAME, name(other).wire().to_vec()),
            3 => (Kind::SOA, soa(ttl as u8)),
            4 => (Kind::NSEC, nsec(other)),
            _ => (Kind::RRSIG, rrsig(kind, (what / 16 % 4) as u8, other)),
        };
        (section, owner, kind, 10 * ttl as u32, data)
    }

    quickcheck::quickcheck! {
        /// What is written is read again to the same, by itself and out of the archive; and who did
        /// not ask for signatures has none.
        fn an_answer_says_the_same_to_who_reads_it_again(lines: Vec<(u8, u8, u8, u8)>, kind: u8, dnssec_ok: bool, nx: bool) -> bool {
            let mut lines: Vec<_> = lines.into_iter().map(|(a, b, c, d)| line([a, b, c, d])).collect();
            lines.sort_by_key(|line| line.0);
            let kinds = [Kind::A, Kind::A, Kind::CNAME, Kind::DNAME, Kind::NSEC, Kind::RRSIG, Kind::ANY];
            let asked = ("x.w.test", kinds[usize::from(kind) % 7]);
            let rcode = if nx { Rcode::NXDOMAIN } else { Rcode::NOERROR };
            let data = response(asked, rcode, &lines);
            let Reading::Whole(first) = read(&data, asked, Chain::new(dnssec_ok), asked.0) else { return true };
            let Reading::Whole(again) = read(first.message(), asked, Chain::new(dnssec_ok), asked.0) else {
                return false;
            };
            let facts = |answer: &Answer| (answer.message().to_vec(), answer.rcode, answer.ttl, answer.negative);
            let restored = Answer::restore(first.message().into()).unwrap();
            let bare = Message::parse(first.message()).unwrap().records().flatten().all(|record| {
                let is_asked = asked.1 == Kind::ANY || record.kind == asked.1;
                is_asked || !matches!(record.kind, Kind::RRSIG | Kind::NSEC | Kind::NSEC3)
            });
            facts(&first) == facts(&again)
                && (first.ttl == 0 || facts(&first) == facts(&restored))
                && (dnssec_ok || bare)
        }
    }
}
