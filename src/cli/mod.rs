//! The command line: one file per subcommand, and the settings they share.
//!
//! Only this room turns errors into sentences, and only this room prints.

pub mod announce;
pub mod archive;
pub mod args;
pub mod completions;
pub mod config;
pub mod contact;
pub mod db;
pub mod delete;
pub mod demo;
pub mod export;
pub mod failure;
pub mod fetch;
pub mod files;
pub mod filter;
pub mod find_node;
pub mod flags;
pub mod health;
pub mod help;
pub mod keys;
pub mod launch;
pub mod layers;
pub mod live;
pub mod man;
pub mod names;
pub mod network;
pub mod network_info;
pub mod operation;
pub mod peers;
pub mod pending;
pub mod ping;
pub mod print;
pub mod reasons;
pub mod records;
pub mod reload;
pub mod resolve;
pub mod run;
pub mod scrape;
pub mod search;
pub mod session;
pub mod settings;
pub mod show;
pub mod simulate;
pub mod stats;
pub mod swarm;
pub mod target;
pub mod torrent_json;
pub mod traffic;
pub mod units;
pub mod watch;
pub mod zones;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::builder::BoolishValueParser;
use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, FromArgMatches};

use args::{Cli, Command, ConfigCommand, FilterCommand};
pub use failure::{Failure, Outcome};
use keys::Key;
pub use settings::RunSettings;

use crate::reactor::sys::rights::keep_to_own_user;

/// Parses the process's arguments, does what they say and turns the end into an exit code.
pub fn main() -> ExitCode {
    match parse(std::env::args_os().collect()).and_then(|parsed| parsed.map_or(Ok(Outcome::Done), dispatch)) {
        Ok(outcome) => outcome.exit_code(),
        Err(failure) => {
            if !failure.is_silent() {
                // If even standard error is gone there is nobody left to tell.
                let failure = failure.to_string();
                drop(writeln!(std::io::stderr(), "dht-hunter: {}", crate::model::text::terminal(&failure)));
            }
            failure.exit_code()
        }
    }
}

/// The whole command as clap knows it, with every flag shown if `all`.
pub fn command(all: bool) -> clap::Command {
    // Metadata comes from peers, which are slower than nodes.
    let longer = |fetch: clap::Command| fetch.mut_arg("timeout", |arg| arg.default_value("60s"));
    let command = with_environment(Cli::command().mut_subcommand("fetch", longer));
    let command = help::with_groups(command);
    if all { unhidden(command) } else { command }
}

/// `None` if it was a question for help or the version, which is answered.
fn parse(mut args: Vec<OsString>) -> Result<Option<Cli>, Failure> {
    let word = args.iter().skip(1).find(|arg| !arg.to_string_lossy().starts_with('-'));
    let asks_help =
        word.is_some_and(|word| word == "help") || args.iter().any(|arg| arg == "--help" || arg == "-h");
    let all = asks_help && args.iter().any(|arg| arg == "--all");
    if all {
        args.retain(|arg| arg != "--all");
    }
    split_seed_spelling(&mut args);
    set_words_apart(&mut args);
    let matches = command(all).try_get_matches_from(args);
    match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => Ok(Some(cli)),
        Err(fault) if matches!(fault.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            fault.print().map(|()| None).map_err(|_| Failure::reader_gone())
        }
        Err(fault) => {
            if fault.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                // Without a command there is nothing to do but to show what there is.
                let mut out = print::Out::new();
                out.write(fault.render().to_string().as_bytes())?;
                out.flush()?;
            }
            Err(Failure::usage(sentence(&fault)))
        }
    }
}

/// `network:test` is `network test`.
fn split_seed_spelling(args: &mut Vec<OsString>) {
    let is_word = |arg: &&OsString| arg.to_str().is_some_and(|arg| !arg.starts_with('-'));
    let Some(at) = args.iter().skip(1).position(|arg| is_word(&arg)).map(|at| at + 1) else { return };
    let split = args[at].to_str().and_then(|arg| arg.strip_prefix("network:")).map(OsString::from);
    if let Some(word) = split {
        args[at] = "network".into();
        args.insert(at + 1, word);
    }
}

/// `-word` is no flag where words are asked for: it goes behind `--`, where clap takes it for a word.
fn set_words_apart(args: &mut Vec<OsString>) {
    let command = args.iter().skip(1).find(|arg| arg.to_str().is_some_and(|arg| !arg.starts_with('-')));
    let shorts: &[&str] = match command.and_then(|command| command.to_str()) {
        Some("search" | "delete") => &[],
        Some("export") => &["-o"],
        _ => return,
    };
    let is_word = |arg: &OsString| {
        let Some(arg) = arg.to_str() else { return false };
        let is_flag = arg == "-h" || shorts.iter().any(|short| arg.starts_with(short));
        arg.len() > 1 && arg.starts_with('-') && !arg.starts_with("--") && !is_flag
    };
    let end = args.iter().position(|arg| arg == "--");
    let (mut words, mut others) = (Vec::new(), Vec::new());
    for arg in args.drain(..end.unwrap_or(args.len())) {
        if is_word(&arg) { words.push(arg) } else { others.push(arg) }
    }
    if !words.is_empty() {
        others.push("--".into());
        others.append(&mut words);
        // The one that was given already.
        args.drain(..usize::from(end.is_some()));
    }
    args.splice(..0, others);
}

fn dispatch(cli: Cli) -> Result<Outcome, Failure> {
    let json = cli.json;
    if !makes_files_to_hand_on(&cli.command) {
        keep_to_own_user();
    }
    match cli.command {
        Command::Run(flags) => run::run(&flags),
        Command::Demo(args) => demo::run(&args, json),
        Command::Swarm(args) => swarm::run(&args, json),
        Command::Ping(args) => ping::run(&args, json),
        Command::FindNode(args) => find_node::run(&args, json),
        Command::Peers(args) => peers::run(&args, json),
        Command::Announce(args) => announce::run(&args, json),
        Command::Scrape(args) => scrape::run(&args, json),
        Command::Fetch(args) => fetch::run(&args, json),
        Command::Search(args) => search::run(&args, json),
        Command::Show(args) => show::run(&args, json),
        Command::Stats(args) => stats::run(&args, json),
        Command::Export(args) => export::run(&args),
        Command::Delete(args) => delete::run(&args, json),
        Command::Pending(args) => pending::list(&args, json),
        Command::Retry(args) => pending::retry(&args, json),
        Command::Filter(FilterCommand::Test(args)) => filter::test(&args, json),
        Command::Db(command) => db::run(&command, json),
        Command::Health(args) => health::run(&args, json),
        Command::Config(ConfigCommand::Show(flags)) => config::show(&flags, json),
        Command::Completions(args) => completions::run(&args),
        Command::Man => man::run(),
        Command::Simulate(args) => simulate::run(&args, json),
        Command::Import(_) => Err(Failure::not_built("import")),
        Command::Resolve(args) => resolve::run(&args, json),
        Command::Network(command) => network::run(&command, json),
        Command::Client(_) => Err(Failure::not_built("client")),
        Command::User(_) => Err(Failure::not_built("user")),
        Command::Key(_) => Err(Failure::not_built("key")),
        Command::Node(_) => Err(Failure::not_built("node")),
        Command::Doctor => Err(Failure::not_built("doctor")),
    }
}

/// What these write is meant for other programs and users; the archive and all copies of it are not.
fn makes_files_to_hand_on(command: &Command) -> bool {
    matches!(command, Command::Export(_) | Command::Fetch(_) | Command::Swarm(_))
}

/// Gives each flag that is no setting its variable; settings read theirs with their provenance.
fn with_environment(command: clap::Command) -> clap::Command {
    let command = command.mut_args(|arg| match arg.get_long().map(str::to_owned) {
        Some(name) if Key::named(&name).is_none() && !ONLY_FLAGS.contains(&name.as_str()) => {
            let variable = format!("DHT_HUNTER_{}", name.replace('-', "_").to_ascii_uppercase());
            let variable: &'static str = variable.leak();
            let arg = arg.env(variable).hide_env(true);
            if matches!(arg.get_action(), ArgAction::SetTrue) {
                arg.value_parser(BoolishValueParser::new())
            } else {
                arg
            }
        }
        _ => arg,
    });
    command.mut_subcommands(with_environment)
}

/// Flags that no variable stands for: what they do must be said each time.
const ONLY_FLAGS: [&str; 3] = ["no-nat", "undo", "yes"];

fn unhidden(command: clap::Command) -> clap::Command {
    command.mut_args(|arg| arg.hide(false)).mut_subcommands(unhidden)
}

/// clap's words on one line, with what to do next.
fn sentence(fault: &clap::Error) -> String {
    let text = fault.to_string();
    if fault.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "say what to do; `dht-hunter --help` lists the commands".to_owned();
    }
    let mut parts: Vec<String> = Vec::new();
    for paragraph in text.split("\n\n") {
        let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = line.trim_start_matches("error: ");
        if line.starts_with("Usage:") || line.starts_with("For more information") || line.is_empty() {
            continue;
        }
        parts.push(line.trim_start_matches("tip: ").to_owned());
    }
    format!("{}; `dht-hunter --help` and `dht-hunter COMMAND --help` show what there is", parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<Option<Cli>, Failure> {
        parse(line.split_whitespace().map(OsString::from).collect())
    }

    #[test]
    fn words_may_begin_with_a_hyphen() {
        let words = |line: &str| match parse_line(line).unwrap().unwrap().command {
            Command::Search(args) => args.words.join(" "),
            Command::Delete(args) => args.query.join(" "),
            Command::Export(args) => format!("{} {}", args.output.display(), args.query.join(" ")),
            other => panic!("{other:?}"),
        };
        assert_eq!(words("x search -hdr a -b --files"), "a -hdr -b");
        assert_eq!(words("x search a --min-size 5 -b -- --c -d"), "a -b --c -d");
        assert_eq!(words("x --json delete a -b --dry-run"), "a -b");
        assert_eq!(words("x export -o f -b a"), "f a -b");
        assert!(parse_line("x search a --flies").is_err());
    }

    #[test]
    fn clap_finds_no_fault_with_the_table() {
        command(false).debug_assert();
        command(true).debug_assert();
    }

    #[test]
    fn every_command_of_the_plan_parses() {
        let hash = "0639a1e24fbb8ab277df033476ab0de10fab3bdc";
        let lines = [
            "run --profile max --no-nat --dns-forwarder tls://1.1.1.1#x --preconnect --redis redis://x",
            "demo --nodes 20k --torrents 10 --db /tmp/x --http 127.0.0.1:0",
            "swarm --nodes 10 --torrents 5 --peers 4 --dead 30 --dead-peers 50% --loss 5 --hostile 5 --port 1 --seed 2 --list f",
            "simulate --seed 1 --seeds 20 --engines 3 --minutes 5 --loss 2 --faults crash,nat",
            "ping 127.0.0.1:6881",
            "find-node HASH --bootstrap 127.0.0.1:1",
            "peers HASH --json",
            "announce HASH 6881",
            "scrape HASH",
            "fetch HASH magnet:?xt=urn:btih:HASH --peer 127.0.0.1:1 -o /tmp",
            "search two words --files --min-size 1GiB --max-size 2GiB --sort seeders --db x",
            "search",
            "show HASH",
            "show 0639a",
            "stats --json",
            "stats x.db",
            "help",
            "help run",
            "export --format csv -o -",
            "import a b",
            "delete HASH --dry-run",
            "delete some words --files --yes",
            "delete --undo",
            "pending --given-up --limit 5 --json",
            "retry HASH HASH",
            "retry --all --db x",
            "filter test f",
            "resolve a b @1.1.1.1 --type MX --file f --rate 100/s",
            "network preconnect",
            "network preconnect --targets f --sequential --repeat 5 -v --tls-timeout 2s",
            "network:preconnect --dns-forwarder 127.0.0.1",
            "--json network:warmup parallel",
            "network warmup --sequential",
            "network:status",
            "network:test localhost 8080 http",
            "network nat",
            "client ws://x --type t --user u",
            "user add x",
            "key list",
            "node id",
            "db check",
            "db backup -",
            "db restore f",
            "db compact",
            "db reindex",
            "doctor",
            "health",
            "config show --flows 7",
            "completions fish",
            "man",
        ];
        for line in lines {
            let parsed = parse_line(&format!("dht-hunter {}", line.replace("HASH", hash)));
            let help = line.starts_with("help");
            assert!(parsed.is_ok_and(|cli| cli.is_some() != help), "{line}: {:?}", parse_line(line).err());
        }
    }

    #[test]
    fn a_wrong_line_is_one_sentence() {
        for (line, part) in [
            ("dht-hunter run --flowz 1", "--flowz"),
            ("dht-hunter run --flows many", "is not a number"),
            ("dht-hunter", "say what to do"),
            ("dht-hunter peers xyz", "not an infohash"),
            ("dht-hunter serch x", "serch"),
            ("dht-hunter announce 0639a1e24fbb8ab277df033476ab0de10fab3bdc 70000", "70000"),
        ] {
            let failure = parse_line(line).unwrap_err();
            assert!(failure.to_string().contains(part), "{failure}");
            assert!(!failure.to_string().contains('\n'), "{failure}");
        }
    }
}
