//! Forwarders that lie, stall and flood, and networks that change.

use super::*;

fn over_tls(host: u8) -> ForwarderConfig {
    ForwarderConfig { tls: Some("dns.test".into()), ..forwarder(host) }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

/// An answer with BADCOOKIE and a cookie of its own.
fn bad_cookie(query: &[u8]) -> Vec<u8> {
    let message = Message::parse(query).unwrap();
    let client = message.edns().unwrap().unwrap().cookies().unwrap().client;
    let cookie = [client, [9; 8]].concat();
    response(query, Rcode::BADCOOKIE.0 & 15, &|writer| {
        writer.edns(UDP_PAYLOAD, Rcode::BADCOOKIE, false, &[(OptionCode::COOKIE, &cookie)]).unwrap();
    })
}

/// Answers what is asked of 127.0.0.1 by `bad`, of 127.0.0.2 rightly, until the question has ended.
fn beside_a_good_one(world: &mut World, bad: &dyn Fn(&[u8]) -> Vec<u8>) -> (Vec<String>, usize) {
    let mut asked = 0;
    for _ in 0..200 {
        for left in world.turn() {
            asked += 1;
            let is_good = left.path.remote == forwarder(2).addr;
            let good = response(&left.data, 0, &a("www.test", 60, 7));
            world.receive(left.path, &if is_good { good } else { bad(&left.data) });
        }
        let told = world.told();
        if !told.is_empty() {
            return (told, asked);
        }
        if world.resolver.to_send.is_empty() {
            world.wait();
        }
    }
    panic!("it does not end");
}

#[test]
fn one_that_wants_another_cookie_for_ever_takes_nothing_from_the_next() {
    let mut world = World::new(&[1, 2]);
    world.ask("www.test");
    let (told, asked) = beside_a_good_one(&mut world, &bad_cookie);
    assert_eq!(told, ["NOERROR [7] 60 127.0.0.2:53"]);
    assert!(asked <= 5, "{asked} questions");
}

#[test]
fn one_that_leads_astray_is_not_asked_again_for_where_the_good_one_leads() {
    let mut world = World::new(&[1, 2]);
    world.ask("www.test");
    let (mut astray, mut told) = (0, Vec::new());
    for round in 0..60 {
        for left in world.turn() {
            let question = Message::parse(&left.data).unwrap().question.unwrap();
            let at = Name::from_wire(question.name).unwrap().to_string();
            let data = if left.path.remote == forwarder(1).addr {
                astray += 1;
                response(&left.data, 0, &|writer| cname(writer, &at, &format!("x{round}.test")))
            } else if at == "www.test." {
                response(&left.data, 0, &|writer| cname(writer, &at, "end.test"))
            } else {
                response(&left.data, 0, &a("end.test", 60, 7))
            };
            world.receive(left.path, &data);
        }
        told.extend(world.told());
    }
    assert_eq!(told, ["NOERROR [0, 7] 60 127.0.0.2:53"]);
    assert!(astray <= 17, "{astray} questions");
}

#[test]
fn what_is_cut_even_over_tcp_is_no_answer() {
    let mut world = World::new(&[1, 2]);
    world.ask("www.test");
    let left = world.one();
    world.receive(left.path, &response(&left.data, Flags::TC, &|_| {}));
    world.turn();
    let (conn, ..) = world.connects.remove(0);
    world.resolver.on_ready(conn);
    let query = world.written(conn);
    let cut = framed(&response(&query, Flags::TC, &|_| {}));
    assert_eq!(world.with_cx(|resolver, cx| resolver.on_bytes(cx, conn, &cut)), Ok(cut.len()));
    assert!(world.told().is_empty());
    assert_eq!(world.one().path.remote, forwarder(2).addr);
}

#[test]
fn nobody_answers_more_often_than_he_is_asked() {
    let mut world = World::with(Config::new(vec![over_tls(1)]));
    world.ask("www.test");
    world.turn();
    let (conn, ..) = world.connects.remove(0);
    world.resolver.on_ready(conn);
    assert!(!world.written(conn).is_empty());
    let frame = framed(&[0xab; 12]);
    assert_eq!(world.with_cx(|resolver, cx| resolver.on_bytes(cx, conn, &frame)), Ok(14));
    assert_eq!(world.with_cx(|resolver, cx| resolver.on_bytes(cx, conn, &frame)), Err(Broken));
}

#[test]
fn a_connection_that_says_nothing_is_replaced() {
    let mut world = World::with(Config::new(vec![over_tls(1)]));
    world.ask("www.test");
    world.turn();
    let (first, ..) = world.connects.remove(0);
    world.resolver.on_ready(first);
    assert!(!world.written(first).is_empty());
    for _ in 0..20 {
        if !world.connects.is_empty() {
            break;
        }
        world.wait();
        world.turn();
    }
    let (second, ..) = world.connects.remove(0);
    assert_ne!(first, second, "the network may be another one");
    world.resolver.on_ready(second);
    let query = world.written(second);
    let answer = framed(&response(&query, 0, &a("www.test", 60, 7)));
    assert_eq!(world.with_cx(|resolver, cx| resolver.on_bytes(cx, second, &answer)), Ok(answer.len()));
    assert_eq!(world.told(), ["NOERROR [7] 60 127.0.0.1:53"]);
}

#[test]
fn all_who_waited_on_a_connection_that_says_nothing_look_elsewhere() {
    let mut world = World::with(Config::new(vec![over_tls(1), forwarder(2)]));
    ["a.test", "b.test"].into_iter().for_each(|text| world.ask(text));
    world.turn();
    let began = world.now;
    let mut told = Vec::new();
    while told.len() < 2 {
        for left in world.turn() {
            let question = Message::parse(&left.data).unwrap().question.unwrap();
            let at = Name::from_wire(question.name).unwrap().to_string();
            let data = match at.as_str() {
                "end.test." => response(&left.data, 0, &a("end.test", 60, 7)),
                _ => response(&left.data, 0, &|writer| cname(writer, &at, "end.test")),
            };
            world.receive(left.path, &data);
        }
        told.extend(world.told());
        if world.resolver.to_send.is_empty() && told.len() < 2 {
            world.wait();
        }
    }
    assert_eq!(told, ["NOERROR [0, 7] 60 127.0.0.2:53"; 2]);
    assert!(world.now.since(began) < Duration::from_secs(2) && world.connects.len() == 1);
}

#[test]
fn a_tls_forwarder_that_cannot_be_reached_goes_down_and_is_probed() {
    let mut world = World::with(Config::new(vec![over_tls(1), forwarder(2)]));
    for round in 0..4 {
        let text = format!("n{round}.test");
        world.ask(&text);
        let left = world.turn().pop().or_else(|| {
            let (conn, ..) = world.connects.remove(0);
            world.with_cx(|resolver, cx| resolver.conn_lost(cx, conn, false));
            world.turn().pop()
        });
        let left = left.unwrap();
        assert_eq!(left.path.remote, forwarder(2).addr);
        world.receive(left.path, &response(&left.data, 0, &a(&text, 60, 7)));
    }
    assert!(world.told().contains(&"127.0.0.1:53 down".to_owned()));
    assert!(world.connects.is_empty(), "the fourth does not even try");
    world.pass(1_000);
    world.turn();
    assert_eq!(world.connects.len(), 1, "but it is probed");
}

#[test]
fn a_slow_name_is_waited_for_and_makes_nobody_look_dead() {
    let mut world = World::new(&[1]);
    for round in 0..20 {
        let text = format!("n{round}.test");
        world.ask(&text);
        let left = world.one();
        world.pass(2);
        world.receive(left.path, &response(&left.data, 0, &a(&text, 60, 7)));
    }
    world.told();
    world.ask("slow.test");
    let (left, began) = (world.one(), world.now);
    while world.now.since(began) < Duration::from_secs(4) {
        world.pass(100);
        world.turn();
    }
    assert!(world.told().is_empty(), "neither given up nor called down");
    world.receive(left.path, &response(&left.data, 0, &a("slow.test", 60, 7)));
    assert_eq!(world.told(), ["NOERROR [7] 60 127.0.0.1:53"]);
}

#[test]
fn a_network_that_became_slower_is_followed() {
    let mut world = World::new(&[1]);
    let mut asked_twice = Vec::new();
    for round in 0..60 {
        let text = format!("n{round}.test");
        world.ask(&text);
        let left = world.one();
        let (began, latency) = (world.now, if round < 20 { 2 } else { 400 });
        let mut more = 0;
        while world.now.since(began) < Duration::from_millis(latency) {
            world.pass(2);
            more += world.turn().len();
        }
        world.receive(left.path, &response(&left.data, 0, &a(&text, 60, 7)));
        assert_eq!(world.told().len(), 1, "{round}");
        if more > 0 {
            asked_twice.push(round);
        }
    }
    assert!(!asked_twice.is_empty(), "at first it is taken for lost");
    assert!(asked_twice.iter().all(|round| *round < 30), "{asked_twice:?}");
}

#[test]
fn edns_is_not_given_up_for_somebody_who_has_no_cookie() {
    let mut world = World::new(&[1]);
    world.ask("a.test");
    let left = world.one();
    let client = Message::parse(&left.data).unwrap().edns().unwrap().unwrap().cookies().unwrap().client;
    let cookie = [client, [9; 8]].concat();
    let data = response(&left.data, 0, &|writer| {
        a("a.test", 60, 7)(writer);
        writer.edns(UDP_PAYLOAD, Rcode::NOERROR, false, &[(OptionCode::COOKIE, &cookie)]).unwrap();
    });
    world.receive(left.path, &data);
    world.told();
    world.ask("b.test");
    let left = world.one();
    let bare = [&left.data[..2], &[0x81, 0x81, 0, 0, 0, 0, 0, 0, 0, 0]].concat();
    world.receive(left.path, &bare);
    world.receive(left.path, &response(&left.data, Rcode::FORMERR.0, &|_| {}));
    assert_eq!((world.turn().len(), world.resolver.stats.foreign), (0, 2), "the wait goes on");
}

#[test]
fn who_comes_later_gets_what_expired_as_soon_as_the_first() {
    let mut world = World::new(&[1]);
    world.ask("a.test");
    let left = world.one();
    world.receive(left.path, &response(&left.data, 0, &a("a.test", 60, 7)));
    world.told();
    world.pass(100_000);
    world.ask("a.test");
    world.turn();
    world.pass(1_000);
    world.pass(900);
    assert_eq!(world.told(), ["NOERROR [7] 30 stale"]);
    world.ask("a.test");
    let asked_at = world.now;
    while world.told().is_empty() {
        world.wait();
        world.turn();
        assert!(world.now.since(asked_at) < Duration::from_secs(2), "at the latest after 1.8 s");
    }
}

#[test]
fn empty_shells_of_a_chain_are_bounded() {
    let mut world = World::new(&[1]);
    world.ask("www.test");
    let left = world.one();
    let many = |writer: &mut Writer<'_>| {
        for _ in 0..100 {
            let target = name("elsewhere.test");
            writer.record(Section::Answer, b"\x04test\0", Kind::DNAME, 60, target.wire()).unwrap();
        }
        a("www.test", 60, 7)(writer);
    };
    world.receive(left.path, &response(&left.data, 0, &many));
    for _ in 0..5 {
        if let Some(left) = world.turn().pop() {
            world.receive(left.path, &response(&left.data, 0, &many));
        }
    }
    assert_eq!(world.told(), ["Chain"]);
}

#[test]
fn a_suffix_that_nobody_answers_for_is_not_followed_by_the_next() {
    let mut config = Config::new(vec![forwarder(1)]);
    config.search = vec![name("one.test"), name("two.test")];
    let mut world = World::with(config);
    let mut dns = Dns::new(std::mem::replace(
        &mut world.resolver,
        Resolver::new(Config::new(Vec::new()), 0, &mut Rng::seeded(2)),
    ));
    world.with_cx(|_, cx| dns.look_up(cx, "box", 9));
    std::mem::swap(&mut world.resolver, &mut dns.resolver);
    world.turn();
    std::mem::swap(&mut world.resolver, &mut dns.resolver);
    dns.resolver.stop(world.now);
    while world.with_cx(|_, cx| dns.poll_event(cx)).is_some() {}
    let (_, looked) = dns.poll_looked().unwrap();
    assert_eq!((looked.failure, looked.name.to_string()), (Some(Failure::Stopped), "box.one.test.".into()));
    assert_eq!(dns.resolver.queries.len(), 0, "nothing is asked after the end");
}

#[test]
fn who_is_gone_is_found_out_even_if_another_is_always_faster() {
    let mut config = Config::new(vec![forwarder(1), forwarder(2)]);
    config.strategy = Strategy::Parallel;
    let mut world = World::with(config);
    let (mut told, mut in_vain) = (Vec::new(), 0);
    for round in 0..600 {
        let text = format!("n{round}.test");
        world.ask(&text);
        for left in world.turn() {
            if left.path.remote == forwarder(2).addr {
                world.receive(left.path, &response(&left.data, 0, &a(&text, 60, 7)));
            } else {
                in_vain += 1;
            }
        }
        world.pass(10);
        told.extend(world.told());
    }
    assert_eq!(told.iter().filter(|told| told.ends_with("127.0.0.2:53")).count(), 600, "nobody waits");
    assert_eq!(told.iter().filter(|told| told.ends_with("down")).count(), 1, "it is said once");
    assert!(in_vain < 400, "{in_vain} questions");
}

#[test]
fn who_has_more_time_is_not_asked_again_when_another_has_none_left() {
    let mut config = Config::new(vec![forwarder(1), over_tls(2)]);
    config.strategy = Strategy::Parallel;
    let mut world = World::with(config);
    world.ask("www.test");
    world.one();
    let (conn, ..) = world.connects.remove(0);
    world.resolver.on_ready(conn);
    let query = world.written(conn);
    assert_eq!(world.wait_for_one().path.remote, forwarder(1).addr);
    assert!(world.written(conn).is_empty(), "the second has a second more");
    let answer = framed(&response(&query, 0, &a("www.test", 60, 7)));
    assert_eq!(world.with_cx(|resolver, cx| resolver.on_bytes(cx, conn, &answer)), Ok(answer.len()));
    assert_eq!(world.told(), ["NOERROR [7] 60 127.0.0.2:53"]);
}

#[test]
fn a_connection_that_opens_late_leaves_its_server_the_time_of_an_answer() {
    let mut world = World::with(Config::new(vec![over_tls(1)]));
    world.ask("www.test");
    world.turn();
    let (conn, ..) = world.connects.remove(0);
    world.pass(1_700);
    world.resolver.on_ready(conn);
    let query = world.written(conn);
    world.pass(700);
    assert!(world.written(conn).is_empty() && world.connects.is_empty(), "it has had 0.7 s");
    let answer = framed(&response(&query, 0, &a("www.test", 60, 7)));
    assert_eq!(world.with_cx(|resolver, cx| resolver.on_bytes(cx, conn, &answer)), Ok(answer.len()));
    assert_eq!(world.told(), ["NOERROR [7] 60 127.0.0.1:53"]);
    assert!(world.resolver.forwarders.get(0).unwrap().rtt() <= Some(Duration::from_millis(700)));
}

#[test]
fn what_nobody_would_wait_for_is_not_asked() {
    for (at, asks_again) in [(9_700, true), (9_800, false)] {
        let mut world = World::new(&[1, 2]);
        world.ask("www.test");
        let until = world.now + Duration::from_millis(at);
        let mut last = world.one();
        while world.resolver.next_deadline().is_some_and(|next| next < until) {
            world.wait();
            last = world.turn().pop().unwrap_or(last);
        }
        world.pass(until.since(world.now).as_millis() as u64);
        world.connects.clear();
        // "Over TCP": there is a quarter of a second for it, or there is not.
        world.receive(last.path, &response(&last.data, Flags::TC, &|_| {}));
        world.turn();
        assert_eq!(!world.connects.is_empty(), asks_again, "at {at} ms");
    }
}

#[test]
fn where_every_datagram_is_lost_it_is_asked_over_tcp() {
    let mut world = World::new(&[1]);
    world.ask("www.test");
    let mut sent = 0;
    for _ in 0..20 {
        sent += world.turn().len();
        if !world.connects.is_empty() {
            break;
        }
        world.wait();
    }
    assert!(sent >= 3 && world.told().is_empty(), "{sent}");
    let (conn, ..) = world.connects.remove(0);
    world.resolver.on_ready(conn);
    let query = world.written(conn);
    let answer = framed(&response(&query, 0, &a("www.test", 60, 7)));
    assert_eq!(world.with_cx(|resolver, cx| resolver.on_bytes(cx, conn, &answer)), Ok(answer.len()));
    assert_eq!(world.told(), ["NOERROR [7] 60 127.0.0.1:53"]);
}

#[test]
fn who_says_twice_that_it_is_cut_is_asked_over_tcp_once() {
    let mut world = World::new(&[1]);
    world.ask("big.test");
    let (first, second) = (world.one(), world.wait_for_one());
    world.receive(first.path, &response(&first.data, Flags::TC, &|_| {}));
    world.receive(second.path, &response(&second.data, Flags::TC, &|_| {}));
    assert_eq!((world.turn().len(), world.connects.len()), (0, 1));
    assert_eq!(world.resolver.forwarders.get(0).unwrap().stats.over_tcp, 1);
    let (conn, ..) = world.connects.remove(0);
    world.resolver.on_ready(conn);
    let query = world.written(conn);
    let answer = framed(&response(&query, 0, &a("big.test", 60, 7)));
    assert_eq!(world.with_cx(|resolver, cx| resolver.on_bytes(cx, conn, &answer)), Ok(answer.len()));
    assert_eq!(world.told(), ["NOERROR [7] 60 127.0.0.1:53"]);
}
