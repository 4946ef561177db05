//! The table of settings as flags of a command.

use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use super::failure::Failure;
use super::keys::{KEYS, Key, Kind};
use super::layers::{Layer, Layers};
use super::settings::RunSettings;
use crate::store::Archive;

/// All settings: the flags of `run`.
#[derive(Clone, Debug, Default)]
pub struct RunFlags(Layer);

/// Those that say where the archive is: flags of every command that opens it.
#[derive(Clone, Debug, Default)]
pub struct PlaceFlags(Layer);

/// Those that say whom to ask for names and where to connect to: flags of `network`.
#[derive(Clone, Debug, Default)]
pub struct NetworkFlags(Layer);

impl RunFlags {
    /// Flags, environment and file; what the database keeps is not read yet.
    pub fn layers(&self) -> Result<Layers, Failure> {
        layers(&self.0)
    }

    /// The settings by flags, environment and file alone.
    pub fn settings(&self) -> Result<RunSettings, Failure> {
        settings(&self.0, &[])
    }

    /// The settings of a run: with the changes made while running that the archive keeps.
    pub fn settings_of_run(&self) -> Result<RunSettings, Failure> {
        let db = self.settings()?.db;
        // What is wrong with an archive is said when it is opened for writing.
        let kept = Archive::open_read_only(&db).ok().and_then(|archive| archive.settings().ok());
        settings(&self.0, &kept.unwrap_or_default())
    }
}

impl PlaceFlags {
    /// The settings as far as flags of this command, the environment and the file give them.
    pub fn settings(&self) -> Result<RunSettings, Failure> {
        settings(&self.0, &[])
    }
}

impl NetworkFlags {
    /// The settings as far as flags of this command, the environment and the file give them.
    pub fn settings(&self) -> Result<RunSettings, Failure> {
        settings(&self.0, &[])
    }
}

impl Args for NetworkFlags {
    fn augment_args(command: Command) -> Command {
        augment(command, |key| NETWORK.contains(&key.name))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for NetworkFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self(read(matches)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0 = read(matches);
        Ok(())
    }
}

impl Args for RunFlags {
    fn augment_args(command: Command) -> Command {
        augment(command, |_| true)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl Args for PlaceFlags {
    fn augment_args(command: Command) -> Command {
        augment(command, |key| PLACE.contains(&key.name))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for RunFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self(read(matches)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0 = read(matches);
        Ok(())
    }
}

impl FromArgMatches for PlaceFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        Ok(Self(read(matches)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.0 = read(matches);
        Ok(())
    }
}

fn layers(flags: &Layer) -> Result<Layers, Failure> {
    let mut layers = Layers { flags: flags.clone(), ..Layers::default() };
    layers.read_environment(variable)?;
    let file = layers.given(Key::named("config").expect("`config` is a row of the table"));
    if let Some(path) = file.last() {
        layers.read_file(&PathBuf::from(path))?;
    }
    Ok(layers)
}

fn settings(flags: &Layer, kept: &[(String, String)]) -> Result<RunSettings, Failure> {
    let mut layers = layers(flags)?;
    layers.read_kept(kept);
    RunSettings::from_layers(&layers, variable)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn augment(mut command: Command, wanted: impl Fn(&Key) -> bool) -> Command {
    for key in KEYS.iter().filter(|key| wanted(key)) {
        command = command.arg(flag(key));
        if key.name == "nat" {
            let opposite = Arg::new(NO_NAT).long(NO_NAT).action(ArgAction::SetTrue).overrides_with("nat");
            let help = "Leave the router's ports alone";
            command = command.arg(opposite.hide(true).help(help).help_heading(key.group.title()));
        }
    }
    command
}

fn flag(key: &'static Key) -> Arg {
    let parser = ValueParser::from(move |text: &str| key.check(text).map(|()| text.to_owned()));
    let flag = Arg::new(key.name)
        .long(key.name)
        .value_name(key.value_name())
        .value_parser(parser)
        .help(help(key))
        .help_heading(key.group.title())
        .hide(!key.everyday);
    match key.kind {
        Kind::Switch => {
            flag.num_args(0..=1).require_equals(true).default_missing_value("on").overrides_with(key.name)
        }
        _ if key.repeats() => flag.action(ArgAction::Append),
        _ => flag.overrides_with(key.name),
    }
}

fn help(key: &Key) -> String {
    let default = match key.kind {
        _ if key.default.is_empty() => String::new(),
        Kind::Switch | Kind::Hosts => String::new(),
        _ => format!(" [default: {}]", key.default),
    };
    let words = match key.kind {
        Kind::Choice(words) => format!(" [{}]", words.join(", ")),
        _ => String::new(),
    };
    let built = if key.built { "" } else { " (not built yet)" };
    format!("{}{words}{default}{built}", key.help)
}

fn read(matches: &ArgMatches) -> Layer {
    let mut layer = Layer::new();
    for key in KEYS {
        if let Ok(Some(values)) = matches.try_get_many::<String>(key.name) {
            layer.insert(key.name, values.cloned().collect());
        }
    }
    if let Ok(Some(true)) = matches.try_get_one::<bool>(NO_NAT) {
        layer.insert("nat", vec!["off".to_owned()]);
    }
    layer
}

const NO_NAT: &str = "no-nat";
const NETWORK: [&str; 3] = ["targets", "dns-forwarder", "config"];
const PLACE: [&str; 4] = ["data-dir", "db", "config", "log"];

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<RunSettings, String> {
        let matches = RunFlags::augment_args(Command::new("run"))
            .try_get_matches_from(std::iter::once("run").chain(line.split_whitespace()))
            .map_err(|fault| fault.to_string())?;
        let layers = Layers { flags: read(&matches), ..Layers::default() };
        let home = |name: &str| (name == "HOME").then(|| "/h".to_owned());
        RunSettings::from_layers(&layers, home).map_err(|failure| failure.to_string())
    }

    #[test]
    fn switches_stand_alone_or_take_a_word() {
        assert!(!parse("--no-sweep").unwrap().sweep);
        assert!(parse("--no-sweep=off").unwrap().sweep);
        assert!(!parse("--no-sweep --no-passive").unwrap().passive);
        assert!(parse("--no-sweep=perhaps").is_err());
    }

    #[test]
    fn the_last_of_a_single_flag_wins_and_lists_add_up() {
        let settings = parse("--flows 1 --flows 2 --listen 127.0.0.1:1 --listen 127.0.0.1:2").unwrap();
        assert_eq!((settings.rates.flows, settings.listen.len()), (2, 2));
    }

    #[test]
    fn nat_and_no_nat_override_each_other() {
        let nat = |line| {
            let settings = parse(line).unwrap();
            let found = settings.given.iter().find(|(key, _)| key.name == "nat");
            found.and_then(|(_, given)| given.last().map(str::to_owned)).unwrap()
        };
        assert_eq!(nat(""), "on");
        assert_eq!(nat("--no-nat"), "off");
        assert_eq!(nat("--no-nat --nat"), "on");
        assert_eq!(nat("--nat --no-nat"), "off");
    }

    #[test]
    fn every_row_is_a_flag_that_parses() {
        for key in KEYS {
            let value = match key.kind {
                Kind::Address | Kind::AddressOrOff | Kind::Addresses => "127.0.0.1:7",
                Kind::Choice(words) => words[0],
                Kind::DailySpan => "01:00-02:00",
                Kind::Hosts => "localhost:7",
                Kind::Networks => "127.0.0.0/8",
                Kind::DiskSize => "7GiB",
                Kind::Servers => "127.0.0.1:53#name",
                Kind::Path | Kind::Text | Kind::Texts => "x",
                Kind::Percent => "1",
                Kind::Switch => "on",
                _ => "7",
            };
            parse(&format!("--{}={value}", key.name)).unwrap_or_else(|fault| panic!("{}: {fault}", key.name));
        }
    }
}
