//! Targets as they are given: a file, the words of a command, or the list that is shipped.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::cli::failure::Failure;
use crate::cli::flags::NetworkFlags;
use crate::cli::settings::RunSettings;
use crate::preconnect::{BadTarget, DEFAULTS, Protocol, TARGETS_MAX, Target, parse_list};

/// Those of `--targets`, else the shipped ones.
pub fn of(flags: &NetworkFlags) -> Result<Vec<Target>, Failure> {
    let settings = flags.settings()?;
    settings.targets.as_deref().map_or_else(|| Ok(shipped()), read_targets)
}

/// Those that `run` is to keep warm. A file that cannot be read is no reason not to start.
pub fn of_run(settings: &RunSettings) -> Vec<Target> {
    let read = try_of_run(settings);
    read.inspect_err(|failure| log::error!("nothing is kept warm: {failure}")).unwrap_or_default()
}

/// The same, for whoever has others to go on with.
pub fn try_of_run(settings: &RunSettings) -> Result<Vec<Target>, Failure> {
    match &settings.targets {
        _ if !settings.preconnect => Ok(Vec::new()),
        Some(path) => read_targets(path),
        None => Ok(shipped()),
    }
}

/// The shipped list.
pub fn shipped() -> Vec<Target> {
    parse_list(DEFAULTS).expect("the shipped list can be read: a test does")
}

/// A file with a target on each line.
pub fn read_targets(path: &Path) -> Result<Vec<Target>, Failure> {
    let shown = path.display();
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(FILE_MAX).read_to_string(&mut text));
    let length = read.map_err(|fault| {
        Failure::failed(format!("cannot read the targets {shown}: {fault}; give another file with --targets"))
    })?;
    if length as u64 == FILE_MAX {
        return Err(Failure::failed(format!("{shown} is larger than 4 MiB; give fewer targets")));
    }
    let targets = parse_list(&text)
        .map_err(|(line, fault)| Failure::failed(format!("{shown}, line {line}: {}", sentence(fault))))?;
    if targets.is_empty() {
        return Err(Failure::failed(format!("{shown} has no target; write HOST PORT PROTOCOL on a line")));
    }
    Ok(targets)
}

/// A target from three words.
pub fn one(host: &str, port: &str, protocol: &str) -> Result<Target, Failure> {
    // A word with a space in it would count as two.
    let words = [host, port, protocol].iter().all(|word| word.split_whitespace().count() == 1);
    let target =
        if words { Target::parse(&format!("{host} {port} {protocol}")) } else { Err(BadTarget::Host) };
    target.map_err(|fault| Failure::usage(sentence(fault)))
}

fn sentence(fault: BadTarget) -> String {
    match fault {
        BadTarget::TooShort => {
            "a target is HOST PORT PROTOCOL, for example `localhost 8080 http`; give all three".to_owned()
        }
        BadTarget::Host => {
            "the host is neither a name nor an IP address; write it like example.org, 192.0.2.1 or ::1"
                .to_owned()
        }
        BadTarget::Port => "the port is not a number from 1 to 65535; correct it".to_owned(),
        BadTarget::Protocol => {
            let all: Vec<&str> = Protocol::ALL.iter().map(|protocol| protocol.name()).collect();
            format!("the protocol is none of {}; give one of them", all.join(", "))
        }
        BadTarget::TooLong => "the line is longer than 1000 bytes; shorten it".to_owned(),
        BadTarget::TooMany => format!("there are more than {TARGETS_MAX} targets; give fewer"),
    }
}

/// More than [`TARGETS_MAX`] lines of the longest.
const FILE_MAX: u64 = 4 << 20;
