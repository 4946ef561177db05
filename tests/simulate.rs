//! Fifty engines for ten virtual minutes, hundreds of times over, each time with other faults, under
//! the eyes of an oracle. `DHT_HUNTER_SEEDS` says how many times.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::Duration;

use dht_hunter::sim::{Fault, Faults, Rule, Scenario, run};

const ENGINES: usize = 50;
const TIME: Duration = Duration::from_secs(600);
const SEEDS: u64 = 300;
/// Of two hundred engines.
const MANY_SEEDS: u64 = 3;
/// Seeds are dealt to so many tests, so that they run beside each other.
const HANDS: u64 = 4;

/// Plays the seeds of one hand; how often each rule had something to judge.
fn play(hand: u64) {
    let seeds = std::env::var("DHT_HUNTER_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let mut checked = [0; Rule::ALL.len()];
    for seed in (1..=seeds).filter(|seed| seed % HANDS == hand) {
        let report = run(&Scenario::drawn(seed, ENGINES, TIME), false);
        if let Some(failure) = report.failure {
            panic!(
                "seed {seed} ({}): {failure:?}; `dht-hunter simulate --seed {seed}` tells more",
                report.scenario.faults
            );
        }
        checked.iter_mut().zip(report.checked).for_each(|(all, here)| *all += here);
    }
    for (rule, checked) in Rule::ALL.into_iter().zip(checked) {
        // Panics show themselves; few seeds are light enough for all to be alive.
        let rare = rule == Rule::Panic || rule == Rule::Alive && seeds < SEEDS;
        assert!(checked > 0 || rare || seeds < 2 * HANDS, "{} was never judged", rule.name());
    }
}

#[test]
fn seeds_of_the_first_hand() {
    play(0);
}

#[test]
fn seeds_of_the_second_hand() {
    play(1);
}

#[test]
fn seeds_of_the_third_hand() {
    play(2);
}

#[test]
fn seeds_of_the_fourth_hand() {
    play(3);
}

/// Every fault of names together, on links that lose one datagram in ten.
#[test]
fn two_hundred_engines_look_names_up_over_lossy_links() {
    let names = [
        Fault::CutNames,
        Fault::FlappingNames,
        Fault::ForgedNames,
        Fault::Late,
        Fault::Duplicates,
        Fault::LyingNames,
        Fault::StallingNames,
    ];
    let faults = names.into_iter().fold(Faults::NONE, Faults::with);
    for seed in 1..=MANY_SEEDS {
        let drawn = Scenario::drawn(seed, 200, Duration::from_secs(180));
        let report = run(&Scenario { faults, loss_pct: 10, ..drawn }, false);
        assert_eq!(report.failure, None, "seed {seed}");
        for rule in [Rule::Coalesced, Rule::Forwarders, Rule::LookUps, Rule::Truth, Rule::Unpredictable] {
            assert!(report.checked[rule as usize] >= 200, "{} was hardly judged", rule.name());
        }
    }
}

/// Who met all others before the announces may ask them again after ten minutes at the earliest.
#[test]
fn without_faults_everything_is_stored_by_everybody_who_wants_it() {
    for seed in 1..=10 {
        let time = Duration::from_secs(30 * 60);
        let report = run(&Scenario { faults: Faults::NONE, ..Scenario::drawn(seed, ENGINES, time) }, false);
        assert_eq!(report.failure, None, "seed {seed}");
        assert_eq!(report.stored, report.wanted, "seed {seed}");
    }
}

/// Three in ten take one handshake from an address at a time, one in ten bans who speaks first.
#[test]
fn peers_of_every_manner_give_what_they_have() {
    let (mut stored, mut wanted) = (0, 0);
    for seed in 1..=4 {
        let (time, faults) = (Duration::from_secs(30 * 60), Faults::NONE.with(Fault::Manners));
        let report = run(&Scenario { faults, ..Scenario::drawn(seed, ENGINES, time) }, false);
        assert_eq!(report.failure, None, "seed {seed}");
        (stored, wanted) = (stored + report.stored, wanted + report.wanted);
    }
    assert!(stored * 100 >= wanted * 99, "{stored} of {wanted}");
}

#[test]
fn the_same_seed_gives_the_same_run_byte_for_byte() {
    for seed in [2, 16, 32] {
        let again = || run(&Scenario::drawn(seed, 20, Duration::from_secs(300)), false);
        let (one, other, told) = (again(), again(), run(&again().scenario, true));
        assert_eq!(
            (one.digest, one.steps, one.checked),
            (other.digest, other.steps, other.checked),
            "{seed}"
        );
        assert_eq!(one.digest, told.digest, "looking on changes nothing");
        let next = run(&Scenario::drawn(seed + 1, 20, Duration::from_secs(300)), false);
        assert_ne!(one.digest, next.digest);
    }
}

#[test]
fn another_process_plays_the_same_run() {
    let digest = |environment: &str| {
        let args = ["simulate", "--seed", "5", "--seeds", "1", "--engines", "20", "--minutes", "3", "--json"];
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_dht-hunter"));
        let output = command.args(args).env("NONSENSE", environment).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let row: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        row["digest"].as_str().unwrap().to_owned()
    };
    let here = run(&Scenario::drawn(5, 20, Duration::from_secs(180)), false).digest;
    let here: String = here.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!((digest("a"), digest("bcd")), (here.clone(), here));
}
