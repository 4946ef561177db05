//! What is learnt of servers that do not do what others do: for how long, and from whose mistakes.

use super::*;

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

fn asks_with_edns(query: &[u8]) -> bool {
    Message::parse(query).unwrap().edns().unwrap().is_some()
}

fn is_mixed(query: &[u8]) -> bool {
    let name = Message::parse(query).unwrap().question.unwrap().name;
    name != name.to_ascii_lowercase()
}

/// The same answer with the name in lower case.
fn lowered(query: &[u8], text: &str) -> Vec<u8> {
    let mut data = response(query, 0, &a(text, 60, 7));
    let len = Message::parse(query).unwrap().question.unwrap().name.len();
    data[12..12 + len].make_ascii_lowercase();
    data
}

/// A server that knows EDNS: its answers have an OPT record.
fn with_opt(query: &[u8], text: &str) -> Vec<u8> {
    response(query, 0, &|writer| {
        a(text, 60, 7)(writer);
        writer.edns(UDP_PAYLOAD, Rcode::NOERROR, false, &[]).unwrap();
    })
}

fn long(round: usize) -> String {
    format!("abcdefghijklmnopqrstuvwxyz{round}.test")
}

/// One question, refused with EDNS and answered without.
fn refuse_once(world: &mut World, round: usize, refusal: Rcode) {
    world.ask(&long(round));
    let left = world.one();
    assert!(asks_with_edns(&left.data), "{round}");
    world.receive(left.path, &response(&left.data, refusal.0, &|_| {}));
    let left = world.one();
    assert!(!asks_with_edns(&left.data), "{round}");
    world.receive(left.path, &response(&left.data, 0, &a(&long(round), 60, 7)));
    assert_eq!(world.told().len(), 1);
}

#[test]
fn one_refusal_of_edns_is_about_one_question() {
    for refusal in [Rcode::FORMERR, Rcode::NOTIMP] {
        let mut world = World::new(&[1]);
        for round in 0..20 {
            refuse_once(&mut world, 2 * round, refusal);
            world.ask(&long(2 * round + 1));
            let left = world.one();
            assert!(asks_with_edns(&left.data), "after {round} refusals");
            world.receive(left.path, &with_opt(&left.data, &long(2 * round + 1)));
            world.told();
        }
    }
}

#[test]
fn a_bad_version_is_about_one_question() {
    let mut world = World::new(&[1]);
    for round in 0..5 {
        world.ask(&long(round));
        let left = world.one();
        assert!(asks_with_edns(&left.data));
        world.receive(
            left.path,
            &response(&left.data, 0, &|writer| {
                writer.edns(UDP_PAYLOAD, Rcode::BADVERS, false, &[]).unwrap();
            }),
        );
        let left = world.one();
        assert!(!asks_with_edns(&left.data));
        world.receive(left.path, &response(&left.data, 0, &a(&long(round), 60, 7)));
        world.told();
    }
}

#[test]
fn a_server_without_edns_is_asked_without_for_a_while() {
    let mut world = World::new(&[1]);
    (0..3).for_each(|round| refuse_once(&mut world, round, Rcode::FORMERR));
    world.ask(&long(3));
    let left = world.one();
    assert!(!asks_with_edns(&left.data), "no round trip is lost any more");
    world.receive(left.path, &response(&left.data, 0, &a(&long(3), 60, 7)));
    world.pass(901_000);
    world.ask(&long(4));
    assert!(asks_with_edns(&world.one().data), "it may be another server by now");
}

#[test]
fn what_one_server_does_not_know_is_asked_of_the_other() {
    let mut world = World::new(&[1, 2]);
    (0..3).for_each(|round| refuse_once(&mut world, round, Rcode::NOTIMP));
    world.ask(&long(3));
    let left = world.one();
    world.receive(left.path, &response(&left.data, Rcode::SERVFAIL.0, &|_| {}));
    let left = world.one();
    assert_eq!(left.path.remote, forwarder(2).addr);
    assert!(asks_with_edns(&left.data));
}

#[test]
fn case_that_is_lost_over_udp_alone_changes_nothing() {
    let mut world = World::new(&[1]);
    let mut conn = None;
    for round in 0..10 {
        world.ask(&long(round));
        let left = world.one();
        assert!(is_mixed(&left.data), "{round}");
        world.receive(left.path, &lowered(&left.data, &long(round)));
        assert!(world.told().is_empty());
        world.turn();
        let conn = *conn.get_or_insert_with(|| {
            let (conn, ..) = world.connects.remove(0);
            world.resolver.on_ready(conn);
            conn
        });
        let query = world.written(conn);
        let answer = framed(&response(&query, 0, &a(&long(round), 60, 7)));
        world.with_cx(|resolver, cx| resolver.on_bytes(cx, conn, &answer)).unwrap();
        assert_eq!(world.told().len(), 1, "{round}");
    }
}

#[test]
fn case_that_is_lost_over_tcp_too_is_not_mixed_for_a_while() {
    let mut world = World::new(&[1]);
    world.ask(&long(0));
    let left = world.one();
    world.receive(left.path, &lowered(&left.data, &long(0)));
    world.turn();
    let (conn, ..) = world.connects.remove(0);
    world.resolver.on_ready(conn);
    let query = world.written(conn);
    let answer = framed(&lowered(&query, &long(0)));
    world.with_cx(|resolver, cx| resolver.on_bytes(cx, conn, &answer)).unwrap();
    assert_eq!(world.told(), ["NOERROR [7] 60 127.0.0.1:53"]);
    world.ask(&long(1));
    let left = world.one();
    assert!(!is_mixed(&left.data));
    world.receive(left.path, &response(&left.data, 0, &a(&long(1), 60, 7)));
    world.pass(901_000);
    world.ask(&long(2));
    assert!(is_mixed(&world.one().data));
}

#[test]
fn a_server_that_loses_the_case_and_has_no_tcp_is_asked_in_lower_case_at_once() {
    let mut world = World::new(&[1]);
    for round in 0..4 {
        world.ask(&long(round));
        let left = world.one();
        assert!(is_mixed(&left.data), "{round}");
        world.receive(left.path, &lowered(&left.data, &long(round)));
        world.turn();
        let (conn, ..) = world.connects.remove(0);
        world.with_cx(|resolver, cx| resolver.conn_lost(cx, conn, true));
        let left = world.one();
        assert!(!is_mixed(&left.data));
        world.receive(left.path, &response(&left.data, 0, &a(&long(round), 60, 7)));
        assert_eq!(world.told(), ["NOERROR [7] 60 127.0.0.1:53"]);
    }
}

#[test]
fn a_server_that_loses_the_case_and_whose_tcp_is_silent_is_asked_once_at_a_time() {
    let mut world = World::new(&[1]);
    world.ask(&long(0));
    let left = world.one();
    world.receive(left.path, &lowered(&left.data, &long(0)));
    world.turn();
    let (conn, ..) = world.connects.remove(0);
    world.resolver.on_ready(conn);
    world.written(conn);
    let left = world.wait_for_one();
    assert!(!is_mixed(&left.data), "TCP is dead, and a try of that moment goes without as well");
    assert!(world.turn().is_empty());
    world.receive(left.path, &response(&left.data, 0, &a(&long(0), 60, 7)));
    assert_eq!(world.told(), ["NOERROR [7] 60 127.0.0.1:53"]);
}

#[test]
fn a_cookie_that_is_missing_is_asked_for_over_tcp() {
    let mut world = World::new(&[1]);
    world.ask(&long(0));
    let left = world.one();
    let client = Message::parse(&left.data).unwrap().edns().unwrap().unwrap().cookies().unwrap().client;
    let both = [client, [9; 8]].concat();
    let with_cookie = |query: &[u8], round: usize| {
        response(query, 0, &|writer| {
            a(&long(round), 60, 7)(writer);
            writer.edns(UDP_PAYLOAD, Rcode::NOERROR, false, &[(OptionCode::COOKIE, &both)]).unwrap();
        })
    };
    world.receive(left.path, &with_cookie(&left.data, 0));
    world.told();
    // Another server behind the same address answers, which makes no cookies.
    world.ask(&long(1));
    let left = world.one();
    world.receive(left.path, &with_opt(&left.data, &long(1)));
    assert!(world.told().is_empty());
    world.turn();
    let (conn, ..) = world.connects.remove(0);
    world.resolver.on_ready(conn);
    let query = world.written(conn);
    let answer = framed(&with_opt(&query, &long(1)));
    world.with_cx(|resolver, cx| resolver.on_bytes(cx, conn, &answer)).unwrap();
    assert_eq!(world.told(), ["NOERROR [7] 60 127.0.0.1:53"], "without waiting for a time-out");
    world.ask(&long(2));
    let left = world.one();
    world.receive(left.path, &with_opt(&left.data, &long(2)));
    assert_eq!(world.told().len(), 1, "no cookie is expected any more");
}

#[test]
fn a_refused_port_ends_it_at_once() {
    let mut world = World::new(&[1]);
    world.ask("www.test");
    let mut asked = 0;
    while let Some(left) = world.turn().pop() {
        asked += 1;
        world.with_cx(|resolver, cx| {
            resolver.on_undelivered(cx, left.path, &left.data[..8], Failure::Refused)
        });
    }
    assert_eq!((world.told(), asked), (vec!["127.0.0.1:53 down".to_owned(), "Refused".to_owned()], 3));
}

#[test]
fn a_refused_port_leads_to_the_next_server_at_once() {
    let mut world = World::new(&[1, 2]);
    world.ask("www.test");
    let left = world.one();
    let other = Path { remote: forwarder(2).addr, ..left.path };
    world.with_cx(|resolver, cx| resolver.on_undelivered(cx, other, &left.data, Failure::Refused));
    world.with_cx(|resolver, cx| {
        resolver.on_undelivered(cx, left.path, &[left.data[0] ^ 1, left.data[1]], Failure::Refused)
    });
    assert!(world.turn().is_empty(), "whoever makes that up must guess all of it");
    world.with_cx(|resolver, cx| resolver.on_undelivered(cx, left.path, &left.data, Failure::Refused));
    let left = world.one();
    assert_eq!(left.path.remote, forwarder(2).addr);
    world.receive(left.path, &response(&left.data, 0, &a("www.test", 60, 7)));
    assert_eq!(world.told(), ["NOERROR [7] 60 127.0.0.2:53"]);
}
