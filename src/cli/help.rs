//! The list of commands in `--help`, in groups.

use clap::Command;

/// Headings and the commands under them, in the order of the list. Commands that are hidden are in
/// none of them.
const GROUPS: [(&str, &[&str]); 6] = [
    ("Crawl", &["run", "demo", "swarm", "simulate"]),
    ("Archive", &["search", "show", "stats", "pending", "retry", "export", "delete", "filter", "db"]),
    ("DHT, one question", &["fetch", "peers", "scrape", "announce", "find-node", "ping"]),
    ("Names and connections", &["resolve", "network"]),
    ("This program", &["config", "health", "completions", "man", "help"]),
    ("Others", &[]),
];

/// Puts the list above the options. A command that no group names stands under the last heading.
pub fn with_groups(command: Command) -> Command {
    let list = list(&command);
    command.before_help(list)
}

fn list(command: &Command) -> String {
    let mut all: Vec<(String, String)> = command
        .get_subcommands()
        .filter(|sub| !sub.is_hide_set())
        .map(|sub| (sub.get_name().to_owned(), sub.get_about().map_or_else(String::new, ToString::to_string)))
        .collect();
    // clap adds it when it parses.
    all.push(("help".to_owned(), "Print this, or the help of a command".to_owned()));
    let wide = all.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let mut out = String::new();
    for (index, (heading, names)) in GROUPS.iter().enumerate() {
        let is_last = index + 1 == GROUPS.len();
        let grouped = |name: &str| GROUPS.iter().any(|(_, names)| names.contains(&name));
        let rows: Vec<&(String, String)> = match is_last {
            false => names.iter().filter_map(|name| all.iter().find(|(other, _)| other == name)).collect(),
            true => all.iter().filter(|(name, _)| !grouped(name)).collect(),
        };
        if rows.is_empty() {
            continue;
        }
        out.push_str(&format!("{heading}:\n"));
        rows.iter().for_each(|(name, about)| out.push_str(&format!("  {name:<wide$}  {about}\n")));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_stands_in_one_group_and_what_is_hidden_in_none() {
        let command = crate::cli::command(false);
        let shown = list(&command);
        for sub in command.get_subcommands() {
            let line = format!("\n  {} ", sub.get_name());
            let times = shown.matches(&line).count();
            assert_eq!(times, usize::from(!sub.is_hide_set()), "{}: {shown}", sub.get_name());
        }
        assert!(!shown.contains("not built") && !shown.contains("Others"), "{shown}");
        assert!(shown.lines().all(|line| line.chars().count() <= 100), "{shown}");
        for (index, (_, names)) in GROUPS.iter().enumerate() {
            let later = GROUPS[index + 1..].iter().flat_map(|(_, names)| *names);
            assert!(later.clone().all(|name| !names.contains(name)));
        }
    }
}
