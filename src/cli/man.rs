//! `man`: the manual page, all commands in one.

use clap_mangen::Man;

use super::failure::{Failure, Outcome};
use super::print::Out;

/// Prints it as roff: the overview, then each command with all its flags.
pub fn run() -> Result<Outcome, Failure> {
    let mut out = Out::new();
    out.write(&page()?)?;
    out.flush()?;
    Ok(Outcome::Done)
}

fn page() -> Result<Vec<u8>, Failure> {
    let cannot = |fault: std::io::Error| Failure::failed(format!("cannot make the manual page: {fault}"));
    let mut command = super::command(true);
    command.build();
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page).map_err(cannot)?;
    for subcommand in command.get_subcommands() {
        let title = format!(".SH \"COMMAND {}\"\n", subcommand.get_name().to_uppercase());
        page.extend_from_slice(title.as_bytes());
        let part = Man::new(subcommand.clone());
        part.render_synopsis_section(&mut page).map_err(cannot)?;
        part.render_description_section(&mut page).map_err(cannot)?;
        if subcommand.get_arguments().next().is_some() {
            part.render_options_section(&mut page).map_err(cannot)?;
        }
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_the_page() {
        let page = String::from_utf8(page().unwrap()).unwrap();
        for command in super::super::command(true).get_subcommands() {
            let title = format!("COMMAND {}", command.get_name().to_uppercase());
            assert!(page.contains(&title), "{title}");
        }
        assert!(page.contains("udp\\-batch"));
    }
}
