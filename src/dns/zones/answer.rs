//! From a question to records, within one zone: RFC 1034, section 4.3.2, with wildcards as of
//! RFC 4592, DNAME as of RFC 6672, negative answers as of RFC 2308.

use super::zone::{Node, RrSet, Zone};
use super::{Outcome, Zones};
use crate::wire::dns::{Full, Kind, NAME_MAX, Name, Rcode, Section, Writer, parent};

/// How a zone's part of an answer ends.
#[expect(clippy::large_enum_variant, reason = "lives for one step, on the stack")]
pub(super) enum Step {
    /// That is all.
    Done,
    /// An alias was written: the answer goes on with this name.
    Follow(Name),
}

/// Where a name leads in a zone.
enum Place<'z, 'n> {
    /// Into a part that was given away at this name.
    Cut(&'n [u8], &'z RrSet),
    /// Below a DNAME at this name.
    Renamed(&'n [u8], &'z RrSet),
    /// To an owner, or to a wildcard that stands for it.
    Node(&'z Node),
    /// Nowhere.
    Nothing,
}

impl Zone {
    /// Writes what this zone has to say of `owner`, which it covers and to which aliases have led
    /// from `seen`.
    pub(super) fn step(
        &self,
        zones: &Zones,
        (owner, seen): (&Name, &[Name]),
        kind: Kind,
        writer: &mut Writer<'_>,
        outcome: &mut Outcome,
    ) -> Step {
        match self.locate(owner, kind) {
            Place::Cut(at, set) => {
                outcome.referral = true;
                self.refer(at, set, writer, outcome);
                Step::Done
            }
            Place::Renamed(at, set) => rename((at, set), (owner, seen), kind, writer, outcome),
            Place::Node(node) => self.answer_from(zones, node, owner, kind, writer, outcome),
            Place::Nothing => {
                outcome.rcode = Rcode::NXDOMAIN;
                self.deny(writer, outcome);
                Step::Done
            }
        }
    }

    fn locate<'n>(&self, owner: &'n Name, kind: Kind) -> Place<'_, 'n> {
        let wire = owner.wire();
        let exact = self.node(wire);
        if let (Some(node), 0) = (exact, self.cuts) {
            return Place::Node(node);
        }
        let (mut taken, mut encloser) = (None, exact.map(|_| wire));
        let names = std::iter::successors(Some(wire), |name| parent(name));
        for at in names.take_while(|at| at.len() >= self.origin.wire().len()) {
            let Some(node) = self.node(at) else { continue };
            encloser = encloser.or(Some(at));
            if self.cuts == 0 {
                break;
            }
            // The last one found is the highest, which takes away all that is below.
            let (is_owner, is_apex) = (at.len() == wire.len(), at == self.origin.wire());
            if let Some(set) = node.set(Kind::NS).filter(|_| !(is_apex || is_owner && kind == Kind::DS)) {
                taken = Some(Place::Cut(at, set));
            } else if let Some(set) = node.set(Kind::DNAME).filter(|_| !is_owner) {
                taken = Some(Place::Renamed(at, set));
            }
        }
        if let Some(taken) = taken {
            return taken;
        }
        let wildcard = || self.node(wildcard_of(encloser?, &mut [0; NAME_MAX + 2]));
        exact.or_else(wildcard).map_or(Place::Nothing, Place::Node)
    }

    /// The wildcard that stands for a name which is not there.
    fn wildcard(&self, name: &[u8]) -> Option<&Node> {
        match self.locate(&Name::from_wire(name)?, Kind::A) {
            Place::Node(node) => Some(node),
            _ => None,
        }
    }

    fn answer_from(
        &self,
        zones: &Zones,
        node: &Node,
        owner: &Name,
        kind: Kind,
        writer: &mut Writer<'_>,
        outcome: &mut Outcome,
    ) -> Step {
        // Of everything one set is enough (RFC 8482, section 4.1).
        let wanted = if kind == Kind::ANY { node.sets.first() } else { node.set(kind) };
        if let Some(set) = wanted {
            outcome.truncated |= put_set(writer, Section::Answer, owner.wire(), set, set.ttl).is_err();
            if !outcome.truncated {
                zones.put_addresses(set, writer);
            }
            return Step::Done;
        }
        let Some(alias) = node.set(Kind::CNAME) else {
            self.deny(writer, outcome);
            return Step::Done;
        };
        outcome.truncated |= put_set(writer, Section::Answer, owner.wire(), alias, alias.ttl).is_err();
        Step::Follow(Name::from_wire(&alias.records[0].data).expect("a CNAME's data is a name"))
    }

    /// There is nothing, and for how long that holds.
    fn deny(&self, writer: &mut Writer<'_>, outcome: &mut Outcome) {
        let ttl = self.negative_ttl();
        let put = put_set(writer, Section::Authority, self.origin.wire(), self.soa(), ttl);
        outcome.truncated |= put.is_err();
    }

    /// Who knows more, and their addresses as far as they lie where nobody else could tell them
    /// (RFC 1034, section 4.2.1; RFC 9471).
    fn refer(&self, at: &[u8], set: &RrSet, writer: &mut Writer<'_>, outcome: &mut Outcome) {
        outcome.truncated |= put_set(writer, Section::Authority, at, set, set.ttl).is_err();
        for entry in &set.records {
            let Some(node) = self.node(&entry.data).or_else(|| self.wildcard(&entry.data)) else { continue };
            for address in [Kind::A, Kind::AAAA].into_iter().filter_map(|kind| node.set(kind)) {
                let put = put_set(writer, Section::Additional, &entry.data, address, address.ttl);
                let is_needed = Name::from_wire(&entry.data).is_some_and(|name| name.is_within(at));
                outcome.truncated |= put.is_err() && is_needed;
            }
        }
    }
}

impl Zones {
    /// Addresses of the names in data, as long as there is room (RFC 1035, section 3.3.9;
    /// RFC 2782; RFC 9460, section 4.1).
    fn put_addresses(&self, set: &RrSet, writer: &mut Writer<'_>) {
        let before = match set.kind {
            Kind::NS => 0,
            Kind::MX | Kind::SVCB | Kind::HTTPS => 2,
            Kind::SRV => 6,
            _ => return,
        };
        for entry in &set.records {
            let Some(target) = entry.data.get(before..).and_then(first_name) else { continue };
            let Some(node) = self.covering(&target, Kind::A).and_then(|zone| zone.node(target.wire())) else {
                continue;
            };
            for address in [Kind::A, Kind::AAAA].into_iter().filter_map(|kind| node.set(kind)) {
                if put_set(writer, Section::Additional, target.wire(), address, address.ttl).is_err() {
                    return;
                }
            }
        }
    }
}

/// Writes all records of a set for `owner`. Where there is no room, some may stand there already.
pub(in crate::dns) fn put_set(
    writer: &mut Writer<'_>,
    section: Section,
    owner: &[u8],
    set: &RrSet,
    ttl: u32,
) -> Result<(), Full> {
    set.records.iter().try_for_each(|entry| writer.record(section, owner, set.kind, ttl, &entry.data))
}

/// The DNAME, and the CNAME that it makes of this name (RFC 6672, section 3).
fn rename(
    (at, set): (&[u8], &RrSet),
    (owner, seen): (&Name, &[Name]),
    kind: Kind,
    writer: &mut Writer<'_>,
    outcome: &mut Outcome,
) -> Step {
    // What is below it is renamed by it: then it stands there already.
    if !seen.iter().any(|name| name.wire() != at && name.is_within(at)) {
        outcome.truncated |= put_set(writer, Section::Answer, at, set, set.ttl).is_err();
    }
    let target = &set.records[0].data;
    let labels = owner.wire().len() - at.len();
    let mut wire = [0; 2 * NAME_MAX];
    wire[..labels].copy_from_slice(&owner.wire()[..labels]);
    wire[labels..labels + target.len()].copy_from_slice(target);
    let Some(name) = Name::from_wire(&wire[..labels + target.len()]) else {
        outcome.rcode = YXDOMAIN;
        return Step::Done;
    };
    let put = writer.record(Section::Answer, owner.wire(), Kind::CNAME, set.ttl, name.wire());
    outcome.truncated |= put.is_err();
    // Who asks for the alias has it, and what leads below itself leads nowhere.
    let is_all = kind == Kind::CNAME || kind == Kind::ANY || name.is_within(at);
    if is_all { Step::Done } else { Step::Follow(name) }
}

/// `*` below a name.
fn wildcard_of<'b>(encloser: &[u8], buffer: &'b mut [u8; NAME_MAX + 2]) -> &'b [u8] {
    buffer[..2].copy_from_slice(b"\x01*");
    buffer[2..2 + encloser.len()].copy_from_slice(encloser);
    &buffer[..2 + encloser.len()]
}

/// The name at the start of data.
fn first_name(data: &[u8]) -> Option<Name> {
    let end = std::iter::successors(Some(data), |rest| parent(rest)).last()?;
    Name::from_wire(&data[..=data.len() - end.len()])
}

/// The name that a DNAME makes is too long (RFC 6672, section 2.2).
pub(in crate::dns) const YXDOMAIN: Rcode = Rcode(6);

#[cfg(test)]
mod tests {
    use super::super::{ZoneChange, Zones};
    use super::*;
    use crate::wire::dns::{CLASS_IN, Flags, Message, expand};

    const PARENT: &str = "$TTL 300
@ 900 SOA ns root 1 2 3 4 60
@ NS ns
@ NS ns.else.
ns A 192.0.2.53
a A 192.0.2.1
a AAAA 2001:db8::1
c1 CNAME c2
c2 CNAME a
out CNAME www.else.
loop CNAME loop2
loop2 CNAME loop
nx CNAME nothing
intosub CNAME x.sub
x.y.ent TXT deep
*.wild A 192.0.2.7
*.wild MX 5 a
*.alias CNAME a
there.wild TXT here
below.between.wild TXT here
sub NS ns.sub
sub NS ns
sub DS 1 8 2 00
ns.sub A 192.0.2.99
under.sub TXT hidden
d DNAME target
x.target A 192.0.2.8
again.target CNAME x.d
deeper DNAME x.deeper
long DNAME aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
mail MX 1 a
srv SRV 1 2 3 a
";

    fn zones() -> Zones {
        let mut zones = Zones::new();
        let child = "$TTL 60\n@ SOA a b 1 2 3 4 5\n@ NS ns\nwww A 192.0.2.3\nback CNAME a.test.\n";
        for (origin, text) in [("test", PARENT), ("child.test", child)] {
            let origin = Name::parse(origin).unwrap();
            zones.apply(ZoneChange::Create { origin, text: text.to_owned() }).unwrap();
        }
        zones
    }

    /// The outcome in a line, then the records, a line each.
    fn ask_within(zones: &Zones, name: &str, kind: Kind, room: usize) -> Option<Vec<String>> {
        let mut out = vec![0; room];
        let mut writer = Writer::new(&mut out, 1, Flags(Flags::QR)).unwrap();
        let name = Name::parse(name).unwrap();
        writer.question(name.wire(), kind, CLASS_IN).unwrap();
        let outcome = zones.answer(&name, kind, &mut writer)?;
        let len = writer.finish();
        let mut lines = vec![outcome.rcode.to_string()];
        lines[0] += if outcome.authoritative { " aa" } else { "" };
        lines[0] += if outcome.truncated { " tc" } else { "" };
        lines[0] += if outcome.referral { " referral" } else { "" };
        lines[0] += &outcome.follow.map_or_else(String::new, |name| format!(" {name}"));
        for record in Message::parse(&out[..len]).unwrap().records() {
            let record = record.unwrap();
            let mut data = Vec::new();
            expand(&record, &mut data).unwrap();
            let (owner, kind, ttl) = (record.owner.read().unwrap(), record.kind, record.ttl);
            let section = ["an", "ns", "ar"][record.section as usize];
            let data = super::super::rdata::print(kind, &data);
            lines.push(format!("{section} {owner} {ttl} {kind} {data}"));
        }
        Some(lines)
    }

    fn ask(name: &str, kind: Kind) -> Vec<String> {
        ask_within(&zones(), name, kind, 1232).unwrap_or_default()
    }

    const SOA: &str = "ns test. 60 SOA ns.test. root.test. 1 2 3 4 60";
    const A: &str = "an a.test. 300 A 192.0.2.1";

    #[test]
    fn what_is_there_is_answered_and_what_is_not_is_denied() {
        assert_eq!(ask("a.test", Kind::A), ["NOERROR aa", A]);
        assert_eq!(ask("a.test", Kind::ANY), ["NOERROR aa", A]);
        assert_eq!(ask("a.test", Kind::MX), ["NOERROR aa", SOA]);
        assert_eq!(ask("none.test", Kind::A), ["NXDOMAIN aa", SOA]);
        assert_eq!(ask("y.ent.test", Kind::A), ["NOERROR aa", SOA]);
        assert_eq!(ask("z.ent.test", Kind::A), ["NXDOMAIN aa", SOA]);
        assert_eq!(ask("example", Kind::A), Vec::<String>::new());
        assert_eq!(ask("estetest", Kind::A), Vec::<String>::new());
    }

    #[test]
    fn aliases_are_followed_as_far_as_our_zones_go() {
        let [one, two] = ["an c1.test. 300 CNAME c2.test.", "an c2.test. 300 CNAME a.test."];
        assert_eq!(ask("c1.test", Kind::A), ["NOERROR aa", one, two, A]);
        assert_eq!(ask("c1.test", Kind::CNAME), ["NOERROR aa", one]);
        assert_eq!(ask("c1.test", Kind::MX), ["NOERROR aa", one, two, SOA]);
        assert_eq!(ask("out.test", Kind::A), ["NOERROR aa www.else.", "an out.test. 300 CNAME www.else."]);
        assert_eq!(ask("nx.test", Kind::A), ["NXDOMAIN aa", "an nx.test. 300 CNAME nothing.test.", SOA]);
        assert_eq!(
            ask("loop.test", Kind::A),
            ["NOERROR aa", "an loop.test. 300 CNAME loop2.test.", "an loop2.test. 300 CNAME loop.test."]
        );
        assert_eq!(
            ask("back.child.test", Kind::A),
            ["NOERROR aa", "an back.child.test. 60 CNAME a.test.", A]
        );
    }

    #[test]
    fn the_longest_zone_answers_but_for_its_own_delegation() {
        assert_eq!(ask("www.child.test", Kind::A), ["NOERROR aa", "an www.child.test. 60 A 192.0.2.3"]);
        assert_eq!(
            ask("none.child.test", Kind::A),
            ["NXDOMAIN aa", "ns child.test. 5 SOA a.child.test. b.child.test. 1 2 3 4 5"]
        );
        assert_eq!(ask("child.test", Kind::DS), ["NXDOMAIN aa", SOA]);
    }

    #[test]
    fn wildcards_stand_for_what_is_not_there() {
        assert_eq!(ask("x.wild.test", Kind::A), ["NOERROR aa", "an x.wild.test. 300 A 192.0.2.7"]);
        assert_eq!(ask("x.y.wild.test", Kind::A), ["NOERROR aa", "an x.y.wild.test. 300 A 192.0.2.7"]);
        assert_eq!(ask("x.wild.test", Kind::TXT), ["NOERROR aa", SOA]);
        assert_eq!(ask("*.wild.test", Kind::A), ["NOERROR aa", "an *.wild.test. 300 A 192.0.2.7"]);
        // What is there, or lies between, is not covered, nor is what lies below that.
        assert_eq!(ask("there.wild.test", Kind::A), ["NOERROR aa", SOA]);
        assert_eq!(ask("x.there.wild.test", Kind::A), ["NXDOMAIN aa", SOA]);
        assert_eq!(ask("between.wild.test", Kind::A), ["NOERROR aa", SOA]);
        assert_eq!(ask("x.between.wild.test", Kind::A), ["NXDOMAIN aa", SOA]);
        assert_eq!(ask("wild.test", Kind::A), ["NOERROR aa", SOA]);
        assert_eq!(ask("q.alias.test", Kind::A), ["NOERROR aa", "an q.alias.test. 300 CNAME a.test.", A]);
    }

    #[test]
    fn what_was_given_away_is_referred() {
        let [ns2, ns] = ["ns sub.test. 300 NS ns.test.", "ns sub.test. 300 NS ns.sub.test."];
        let [glue2, glue] = ["ar ns.test. 300 A 192.0.2.53", "ar ns.sub.test. 300 A 192.0.2.99"];
        for (name, kind) in [
            ("sub.test", Kind::NS),
            ("x.sub.test", Kind::A),
            ("under.sub.test", Kind::TXT),
            ("ns.sub.test", Kind::A),
        ] {
            assert_eq!(ask(name, kind), ["NOERROR referral", ns, ns2, glue, glue2], "{name}");
        }
        assert_eq!(ask("sub.test", Kind::DS), ["NOERROR aa", "an sub.test. 300 DS 1 8 2 00"]);
        assert_eq!(
            ask("intosub.test", Kind::A),
            [
                "NOERROR aa referral x.sub.test.",
                "an intosub.test. 300 CNAME x.sub.test.",
                ns,
                ns2,
                glue,
                glue2
            ]
        );
        let cut = ask_within(&zones(), "x.sub.test", Kind::A, 70).unwrap();
        assert!(cut[0].contains("tc"), "{cut:?}");
    }

    #[test]
    fn a_dname_renames_what_is_below_it() {
        let dname = "an d.test. 300 DNAME target.test.";
        assert_eq!(ask("d.test", Kind::DNAME), ["NOERROR aa", dname]);
        assert_eq!(ask("d.test", Kind::A), ["NOERROR aa", SOA]);
        assert_eq!(
            ask("x.d.test", Kind::A),
            [
                "NOERROR aa",
                dname,
                "an x.d.test. 300 CNAME x.target.test.",
                "an x.target.test. 300 A 192.0.2.8"
            ]
        );
        assert_eq!(
            ask("x.d.test", Kind::CNAME),
            ["NOERROR aa", dname, "an x.d.test. 300 CNAME x.target.test."]
        );
        assert_eq!(
            ask("x.deeper.test", Kind::A),
            [
                "NOERROR aa",
                "an deeper.test. 300 DNAME x.deeper.test.",
                "an x.deeper.test. 300 CNAME x.x.deeper.test."
            ],
            "and so on without end"
        );
        assert_eq!(
            ask("again.d.test", Kind::A),
            [
                "NOERROR aa",
                dname,
                "an again.d.test. 300 CNAME again.target.test.",
                "an again.target.test. 300 CNAME x.d.test.",
                "an x.d.test. 300 CNAME x.target.test.",
                "an x.target.test. 300 A 192.0.2.8"
            ],
            "each record once"
        );
        assert_eq!(
            ask("y.d.test", Kind::A),
            ["NXDOMAIN aa", dname, "an y.d.test. 300 CNAME y.target.test.", SOA]
        );
        let long = [&"b".repeat(63), &"b".repeat(63), &"b".repeat(60)].map(String::as_str).join(".");
        assert_eq!(ask(&format!("{long}.long.test"), Kind::A)[0], "RCODE6 aa");
    }

    #[test]
    fn addresses_come_along_where_there_is_room() {
        let [a, aaaa] = ["ar a.test. 300 A 192.0.2.1", "ar a.test. 300 AAAA 2001:db8::1"];
        assert_eq!(ask("mail.test", Kind::MX), ["NOERROR aa", "an mail.test. 300 MX 1 a.test.", a, aaaa]);
        assert_eq!(ask("srv.test", Kind::SRV), ["NOERROR aa", "an srv.test. 300 SRV 1 2 3 a.test.", a, aaaa]);
        let short = ask_within(&zones(), "mail.test", Kind::MX, 64).unwrap();
        assert_eq!(short, ["NOERROR aa", "an mail.test. 300 MX 1 a.test.", a]);
        assert_eq!(ask_within(&zones(), "mail.test", Kind::MX, 40).unwrap(), ["NOERROR aa tc"]);
    }
}
