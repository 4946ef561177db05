//! Rules of ad blockers, in so far as they are about whole names.

use super::list::Rank;
use super::report::LeftOut;
use super::table::Scope;

/// What a line is.
#[derive(Debug, PartialEq)]
pub(super) enum Parsed<'t> {
    /// About a name.
    Rule(Rule<'t>),
    /// About something else.
    LeftOut(LeftOut),
    /// No rule of an ad blocker.
    No,
}

/// A rule about a name.
#[derive(Debug, PartialEq)]
pub(super) struct Rule<'t> {
    pub(super) name: &'t str,
    pub(super) scopes: &'static [Scope],
    pub(super) rank: Rank,
    /// It takes another rule back (`$badfilter`).
    pub(super) cancels: bool,
}

/// Whether a line is about elements or scripts of pages: names of pages, or none, a mark, a selector.
pub(super) fn is_page_rule(line: &str) -> bool {
    let is_marked = |rest: &str, end: char| {
        let rest = rest.strip_prefix('@').unwrap_or(rest);
        let rest = rest.trim_start_matches(['?', '$', '%']);
        rest.strip_prefix(end).is_some_and(|rest| !rest.is_empty() && !rest.starts_with(' '))
    };
    if let Some((before, after)) = line.split_once('#') {
        return !before.contains(char::is_whitespace) && is_marked(after, '#');
    }
    let html = line.split_once("$$").or_else(|| line.split_once("$@$"));
    html.is_some_and(|(before, _)| !before.contains(char::is_whitespace))
}

/// Reads a line without comment.
pub(super) fn read(line: &str) -> Parsed<'_> {
    let exception = line.strip_prefix("@@");
    let body = exception.unwrap_or(line);
    let (pattern, options) = body.split_once('$').unwrap_or((body, ""));
    let (name, scopes): (_, &[Scope]) = match (pattern.strip_prefix("||"), pattern.strip_prefix('|')) {
        (Some(name), _) => match name.strip_prefix("*.") {
            Some(name) => (name, BELOW),
            None => (name, BOTH),
        },
        (None, Some(name)) => (name, ITSELF),
        (None, None) => return read_unanchored(line, exception.is_some()),
    };
    let name = name.strip_suffix('|').unwrap_or(name);
    let name = name.strip_suffix('^').unwrap_or(name);
    if name.is_empty()
        || name.contains(['/', '*', '^', '|', '?', '&', '=', ':', ',']) && !name.starts_with('[')
    {
        return Parsed::LeftOut(LeftOut::Patterns);
    }
    match rank_of(options, exception.is_some()) {
        Some((rank, cancels)) => Parsed::Rule(Rule { name, scopes, rank, cancels }),
        None => Parsed::LeftOut(LeftOut::Options),
    }
}

/// `None` if the rule holds under conditions only.
fn rank_of(options: &str, is_exception: bool) -> Option<(Rank, bool)> {
    let (mut is_important, mut cancels) = (false, false);
    for option in options.split(',').map(str::trim) {
        match option.to_ascii_lowercase().as_str() {
            "" | "all" => {}
            "important" => is_important = true,
            "badfilter" => cancels = true,
            _ => return None,
        }
    }
    let rank = match (is_exception, is_important) {
        (false, false) => Rank::Plain,
        (true, false) => Rank::Exception,
        (false, true) => Rank::Important,
        (true, true) => Rank::ImportantException,
    };
    Some((rank, cancels))
}

/// Addresses of pages and parts of them.
fn read_unanchored(line: &str, is_exception: bool) -> Parsed<'_> {
    if is_exception {
        return Parsed::LeftOut(LeftOut::Patterns);
    }
    let schemes = ["http://", "https://", "ftp://"];
    let scheme = |start: &&str| line.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start));
    if let Some(scheme) = schemes.iter().find(|start| scheme(start)) {
        let rest = &line[scheme.len()..];
        let host = rest.strip_suffix('/').unwrap_or(rest);
        let port = |port: &str| !port.is_empty() && port.bytes().all(|digit| digit.is_ascii_digit());
        let name = match host.rsplit_once(':') {
            Some((name, digits)) if port(digits) => name,
            _ => host,
        };
        if name.contains(['/', '?', '#', '@', '$', '*', '^']) {
            return Parsed::LeftOut(LeftOut::Urls);
        }
        return Parsed::Rule(Rule { name, scopes: ITSELF, rank: Rank::Plain, cancels: false });
    }
    if let Some((host, _)) = line.split_once('/').filter(|(host, _)| !host.is_empty()) {
        let is_host =
            host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':'));
        let is_page = is_host && host.contains('.') && !host.starts_with(['.', '-']);
        return Parsed::LeftOut(if is_page { LeftOut::Urls } else { LeftOut::Patterns });
    }
    let is_pattern = line.starts_with(['/', '&', '-', '_', '?', '~', '(', ','])
        || line.strip_prefix("*.").unwrap_or(line).contains(['^', '$', '*', '@', '?', '&', '=', '\\', '|']);
    if is_pattern { Parsed::LeftOut(LeftOut::Patterns) } else { Parsed::No }
}

const BOTH: &[Scope] = &[Scope::Itself, Scope::Below];
const BELOW: &[Scope] = &[Scope::Below];
const ITSELF: &[Scope] = &[Scope::Itself];
