//! `config show`: each setting, its value and where it comes from.

use serde_json::json;

use super::failure::{Failure, Outcome};
use super::flags::RunFlags;
use super::layers::Origin;
use super::print::{Align, Out, table};

/// Prints what `run` with the same flags would use.
pub fn show(flags: &RunFlags, json: bool) -> Result<Outcome, Failure> {
    let settings = flags.settings_of_run()?;
    let mut out = Out::new();
    let rows: Vec<[String; 3]> = settings
        .given
        .iter()
        // What is not built counts for nothing, unless it was given: then it is found here.
        .filter(|(key, given)| key.built || given.origin != Origin::Default)
        .map(|(key, given)| [key.name.to_owned(), given.values.join(" "), given.origin.to_string()])
        .collect();
    if json {
        for [name, value, origin] in &rows {
            out.json(&json!({"name": name, "value": value, "origin": origin}))?;
        }
    } else {
        let head = [("setting", Align::Left), ("value", Align::Left), ("from", Align::Left)];
        for line in table(head, &rows) {
            out.line(&line)?;
        }
    }
    out.flush()?;
    Ok(Outcome::Done)
}
