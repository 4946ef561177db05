//! A hostile forwarder beside a good one: whatever it does, look-ups are answered by the good one, and
//! nothing that was not asked for is remembered.

use std::time::Duration;

use dht_hunter::dns::{ForwarderConfig, Strategy};
use dht_hunter::wire::dns::Kind;

use crate::played::{Manner, Server};
use crate::session::{Session, brief};

const ALL: [Manner; 17] = [
    Manner::Silent,
    Manner::Garbage,
    Manner::Endless,
    Manner::Circle,
    Manner::HugeNonsense,
    Manner::Forged,
    Manner::Elsewhere,
    Manner::CutForEver,
    Manner::CutStream,
    Manner::Trickle,
    Manner::Flood,
    Manner::Poisoned,
    Manner::OtherType,
    Manner::BadCookie,
    Manner::NoEdns,
    Manner::LosesCase,
    Manner::Cut,
];

fn asked_of(servers: &[&Server], strategy: Strategy) -> Session {
    Session::start(servers.iter().map(|server| ForwarderConfig::plain(server.addr)).collect(), strategy)
}

/// Three names, then the one that is spoken of unasked.
fn is_answered(session: &mut Session, context: &str) {
    for number in [7, 8, 9, 66] {
        let came = session.ask(&format!("n{number}.test"), Kind::A);
        assert_eq!(brief(&came), format!("NOERROR 127.0.0.{number}"), "{context}");
        assert!(came.elapsed < LOOK_UP_MAX, "{context}: {:?}", came.elapsed);
    }
}

#[test]
fn beside_a_good_one_nothing_is_lost_and_nothing_believed() {
    let good = Server::start(Manner::Good);
    std::thread::scope(|scope| {
        for manner in ALL {
            let good = &good;
            scope.spawn(move || {
                let bad = Server::start(manner);
                let mut session = asked_of(&[&bad, good], Strategy::Strict);
                is_answered(&mut session, &format!("{manner:?}"));
            });
        }
    });
}

#[test]
fn what_was_said_beside_an_answer_is_not_remembered() {
    let (good, bad) = (Server::start(Manner::Good), Server::start(Manner::PoisonedAlias));
    let mut session = asked_of(&[&bad, &good], Strategy::Strict);
    // Whom we ask for a name may say of that name what it likes.
    assert_eq!(brief(&session.ask("n7.test", Kind::A)), "NOERROR 6.6.6.6");
    // But of no other.
    assert_eq!(brief(&session.ask("n66.test", Kind::A)), "NOERROR 127.0.0.66");
}

#[test]
fn many_hostile_ones_at_once_leave_the_good_one_its_turn() {
    let good = Server::start(Manner::Good);
    let manners = [Manner::Endless, Manner::BadCookie, Manner::CutForEver, Manner::Poisoned, Manner::Circle];
    let bad: Vec<_> = manners.into_iter().map(Server::start).collect();
    let all: Vec<_> = bad.iter().chain([&good]).collect();
    is_answered(&mut asked_of(&all, Strategy::Strict), "strict");
    // Where another may be asked for what an alias leads to, the alias is a word as good as any: here
    // nobody gives one but in a circle.
    let silent = [Manner::Forged, Manner::Silent];
    let no_alias: Vec<_> = silent.into_iter().map(Server::start).collect();
    let all = [&bad[1], &bad[2], &bad[3], &bad[4], &no_alias[1], &good];
    is_answered(&mut asked_of(&all, Strategy::Fastest), "fastest");
    is_answered(&mut asked_of(&all, Strategy::Parallel), "parallel");
    is_answered(&mut asked_of(&[&no_alias[0], &bad[3], &good], Strategy::Parallel), "parallel, forged");
}

#[test]
fn a_forwarder_that_loses_the_case_is_asked_in_lower_case_and_answers() {
    let server = Server::start(Manner::LosesCase);
    let mut session = asked_of(&[&server], Strategy::Strict);
    for number in 0..6 {
        let came = session.ask(&format!("n{number}.test"), Kind::A);
        assert_eq!(brief(&came), format!("NOERROR 127.0.0.{number}"));
    }
    // The last are asked over UDP alone.
    let asked = server.asked.lock().unwrap();
    assert_eq!(asked.len(), 6, "{asked:?}");
}

/// Its time is ten seconds at most, and nobody hostile takes all of them.
const LOOK_UP_MAX: Duration = Duration::from_secs(9);
