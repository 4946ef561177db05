//! Aliases whose targets are asked for apart: who shares them, and who leads in circles.

use super::*;

/// What is asked in a question that left.
fn asked(left: &Left) -> String {
    let question = Message::parse(&left.data).unwrap().question.unwrap();
    Name::from_wire(question.name).unwrap().to_string()
}

fn alias(left: &Left, target: &str) -> Vec<u8> {
    let owner = asked(left);
    response(&left.data, 0, &|writer| cname(writer, &owner, target))
}

#[test]
fn what_several_lead_to_is_asked_once_whoever_asks() {
    let mut world = World::new(&[1]);
    ["a.test", "b.test", "c.test"].into_iter().for_each(|text| world.ask(text));
    for left in world.turn() {
        world.receive(left.path, &alias(&left, "end.test"));
    }
    let left = world.one();
    assert_eq!(asked(&left), "end.test.");
    world.ask("end.test");
    assert!(world.turn().is_empty(), "it is under way");
    world.receive(left.path, &response(&left.data, 0, &a("end.test", 60, 7)));
    let [own, alias] = ["NOERROR [7] 60 127.0.0.1:53", "NOERROR [0, 7] 60 127.0.0.1:53"];
    assert_eq!(world.told(), [own, alias, alias, alias]);
    world.ask("end.test");
    assert_eq!(world.told(), ["NOERROR [7] 60 memory"]);
}

#[test]
fn who_leads_to_what_somebody_asks_for_joins_him() {
    let mut world = World::new(&[1]);
    world.ask("end.test");
    let end = world.one();
    world.ask("a.test");
    let left = world.one();
    world.receive(left.path, &alias(&left, "end.test"));
    assert!(world.turn().is_empty() && world.told().is_empty());
    world.receive(end.path, &response(&end.data, Rcode::NXDOMAIN.0, &|writer| soa(writer, "test", 30)));
    assert_eq!(world.told(), ["NXDOMAIN [] 30 127.0.0.1:53", "NXDOMAIN [0] 30 127.0.0.1:53"]);
}

#[test]
fn where_the_target_has_no_answer_nobody_has() {
    let mut world = World::new(&[1]);
    ["a.test", "b.test"].into_iter().for_each(|text| world.ask(text));
    for left in world.turn() {
        world.receive(left.path, &alias(&left, "end.test"));
    }
    let began = world.now;
    let mut told = Vec::new();
    while told.len() < 2 {
        world.wait();
        world.turn();
        told.extend(world.told().into_iter().filter(|told| !told.ends_with("down")));
    }
    assert_eq!(told, ["Timeout", "Timeout"]);
    assert!(world.now.since(began) <= Duration::from_secs(10));
}

#[test]
fn two_that_lead_to_each_other_wait_for_nothing() {
    let mut world = World::new(&[1, 2]);
    ["x.test", "y.test"].into_iter().for_each(|text| world.ask(text));
    let (mut questions, mut told) = (0, Vec::new());
    for _ in 0..40 {
        for left in world.turn() {
            questions += 1;
            let target = if asked(&left) == "x.test." { "y.test" } else { "x.test" };
            world.receive(left.path, &alias(&left, target));
        }
        told.extend(world.told());
    }
    assert_eq!(told, ["Chain", "Chain"], "without waiting");
    assert!(questions <= 8, "{questions} questions");
}

#[test]
fn an_endless_chain_is_given_up_soon() {
    let mut world = World::new(&[1, 2, 3]);
    world.ask("n0.test");
    let mut questions = 0;
    let told = loop {
        for left in world.turn() {
            questions += 1;
            let nth: u32 = asked(&left).trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
            world.receive(left.path, &alias(&left, &format!("n{}.test", nth + 1)));
        }
        let told = world.told();
        if !told.is_empty() {
            break told;
        }
        assert!(questions < 100, "{questions} questions");
    };
    assert_eq!(told, ["Chain"]);
}

/// The first forwarder leads in a circle, the second knows better: he is asked from the beginning,
/// and what the first still says of the name on the way counts for nothing.
#[test]
fn another_is_asked_from_the_beginning_when_one_leads_in_a_circle() {
    let mut world = World::new(&[1, 2]);
    world.ask("x.test");
    let left = world.one();
    world.receive(left.path, &alias(&left, "y.test"));
    let on_the_way = world.one();
    world.receive(on_the_way.path, &alias(&on_the_way, "x.test"));
    let again = world.one();
    assert_eq!((asked(&again).as_str(), again.path.remote), ("x.test.", forwarder(2).addr));
    world.receive(on_the_way.path, &response(&on_the_way.data, 0, &|_| {}));
    assert!(world.told().is_empty(), "nothing was said about x.test");
    world.receive(again.path, &response(&again.data, 0, &a("x.test", 60, 7)));
    assert_eq!(world.told(), ["NOERROR [7] 60 127.0.0.2:53"]);
}

/// Whoever wants a name on the way for itself has it asked of all.
#[test]
fn a_circle_for_one_is_no_circle_for_all() {
    let mut world = World::new(&[1, 2]);
    world.ask("x.test");
    let left = world.one();
    world.receive(left.path, &alias(&left, "y.test"));
    let on_the_way = world.one();
    world.ask("y.test");
    world.receive(on_the_way.path, &alias(&on_the_way, "x.test"));
    let (mut told, second) = (Vec::new(), forwarder(2).addr);
    for _ in 0..9 {
        for left in world.turn() {
            assert_eq!(left.path.remote, second, "the first is not believed again");
            let data = match asked(&left).as_str() {
                "x.test." => alias(&left, "y.test"),
                _ => response(&left.data, 0, &a("y.test", 60, 7)),
            };
            world.receive(left.path, &data);
        }
        told.extend(world.told());
    }
    told.sort();
    assert_eq!(told, ["NOERROR [0, 7] 60 memory", "NOERROR [7] 60 127.0.0.2:53"]);
}

#[test]
fn other_settings_do_not_part_those_who_wait_for_each_other() {
    let mut world = World::new(&[1]);
    world.ask("a.test");
    let left = world.one();
    world.receive(left.path, &alias(&left, "end.test"));
    world.turn();
    let system = System { forwarders: vec![forwarder(2)], ..System::default() };
    world.with_cx(|resolver, cx| resolver.set_system(cx, system));
    let left = world.one();
    assert_eq!((asked(&left).as_str(), left.path.remote), ("end.test.", forwarder(2).addr));
    world.receive(left.path, &response(&left.data, 0, &a("end.test", 60, 7)));
    assert_eq!(world.told(), ["NOERROR [0, 7] 60 127.0.0.2:53"]);
    world.ask("b.test");
    let left = world.one();
    world.receive(left.path, &alias(&left, "far.test"));
    world.turn();
    world.with_cx(|resolver, cx| resolver.set_system(cx, System::default()));
    assert_eq!(world.told(), ["NoForwarder"]);
}

#[test]
fn a_dead_forwarder_costs_a_whole_chain_one_time_out() {
    let mut world = World::new(&[1, 2]);
    world.ask("a.test");
    let (mut dead, mut told) = (0, Vec::new());
    let began = world.now;
    while told.is_empty() {
        for left in world.turn() {
            if left.path.remote == forwarder(1).addr {
                dead += 1;
                continue;
            }
            let data = match asked(&left).as_str() {
                "a.test." => alias(&left, "b.test"),
                "b.test." => alias(&left, "c.test"),
                _ => response(&left.data, 0, &a("c.test", 60, 7)),
            };
            world.receive(left.path, &data);
        }
        told.extend(world.told());
        if told.is_empty() && world.resolver.to_send.is_empty() {
            world.wait();
        }
    }
    assert_eq!(told, ["NOERROR [0, 0, 7] 60 127.0.0.2:53"]);
    assert!(dead == 1 && world.now.since(began) < Duration::from_secs(1), "{dead}");
}
