//! `completions`: a script that teaches a shell the commands.

use super::args::Completions;
use super::failure::{Failure, Outcome};
use super::print::Out;

/// Prints it.
pub fn run(args: &Completions) -> Result<Outcome, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(true), "dht-hunter", &mut script);
    let mut out = Out::new();
    out.write(&script)?;
    out.flush()?;
    Ok(Outcome::Done)
}
