//! Zones: any master file, what it reads back to, what is answered from it, and changes of it.
#![no_main]

use dht_hunter::dns::zones::{Zone, ZoneChange, ZoneEvent, Zones};
use dht_hunter::wire::dns::{CLASS_IN, Flags, Kind, Message, Name, Writer};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let text = String::from_utf8_lossy(input);
    let origin = Name::parse("test").expect("a name");
    let line = text.lines().next().unwrap_or_default();
    changes(&origin, line);
    // Most texts lack what every zone needs.
    let whole = format!("$TTL 60\n@ SOA ns root 1 2 3 4 5\n@ NS ns\n{text}");
    for text in [&*text, &*whole] {
        match Zone::parse(text, Some(&origin)) {
            Ok(zone) => look(zone),
            Err(fault) => assert!(fault.line as usize <= text.split('\n').count()),
        }
    }
});

fn look(zone: Zone) {
    let text = zone.to_master_file();
    let again = Zone::parse(&text, None).expect("what was written can be read");
    assert!(again == zone, "a zone survives its master file");
    assert_eq!(zone.records().count(), zone.records_count());
    let serial = zone.serial();
    let names: Vec<(Name, Kind)> = zone.records().take(50).map(|record| (record.name, record.kind)).collect();
    let origin = zone.origin().clone();
    let mut zones = Zones::new();
    zones.apply(ZoneChange::Replace { zone: Box::new(zone) }).expect("there is room");
    for (name, kind) in names {
        let below = [b"\x01x", name.wire()].concat();
        for name in [Some(name), Name::from_wire(&below)].into_iter().flatten() {
            for kind in [kind, Kind::A, Kind::ANY, Kind::DS] {
                ask(&zones, &name, kind, 4_096);
                ask(&zones, &name, kind, 100);
            }
        }
    }
    let events = zones.apply(ZoneChange::Replace { zone: Box::new(again) }).expect("there is room");
    assert!(events.is_empty(), "{events:?}");
    assert_eq!(zones.zone(&origin).map(|zone| zone.serial()), Some(serial));
}

fn ask(zones: &Zones, name: &Name, kind: Kind, room: usize) {
    let mut out = vec![0; room];
    let mut writer = Writer::new(&mut out, 1, Flags(Flags::QR)).expect("there is room");
    if writer.question(name.wire(), kind, CLASS_IN).is_err() {
        return;
    }
    let outcome = zones.answer(name, kind, &mut writer).expect("it is ours");
    let len = writer.finish();
    let message = Message::parse(&out[..len]).expect("a message");
    assert!(message.records().all(|record| record.is_ok()));
    assert!(!outcome.truncated || room < 4_096 || len > 1_000, "cut though there was room");
}

/// One record comes and goes, and all is as before but the serial.
fn changes(zone: &Name, line: &str) {
    let mut zones = Zones::new();
    zones.apply(ZoneChange::Create { origin: zone.clone(), text: String::new() }).expect("a new zone");
    let before: Vec<_> = zones.zone(zone).expect("it is there").records().collect();
    let (kind, data) = line.split_once(' ').unwrap_or((line, ""));
    let Ok(kind) = kind.parse::<Kind>() else { return };
    let (name, data) = (Name::parse("a.b.test").expect("a name"), data.to_owned());
    let change = ZoneChange::AddRecord { zone: zone.clone(), name, kind, ttl: 5, data };
    let Ok(events) = zones.apply(change) else { return };
    let [ZoneEvent::RecordCreated(_, facts), ZoneEvent::ZoneUpdated(_)] = &events[..] else {
        panic!("{events:?}")
    };
    let change = ZoneChange::RemoveRecord { zone: zone.clone(), id: facts.id };
    zones.apply(change).expect("it was there");
    let after = zones.zone(zone).expect("it is there").records();
    assert!(after.skip(1).eq(before.into_iter().skip(1)));
}
