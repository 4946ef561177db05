//! What reading a list came to, in numbers and in words.

use std::fmt;

use crate::base::text::human_count;

/// How a list is written: of mixed lists, how most of its lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A response policy zone (draft-vixie-dnsop-dns-rpz-00).
    Rpz,
    /// Addresses and names, as in a hosts file.
    Hosts,
    /// A domain on each line.
    Domains,
    /// Rules of ad blockers.
    Adblock,
    /// `address=`, `local=` and `server=` of dnsmasq.
    Dnsmasq,
    /// `local-zone:` and `local-data:` of unbound.
    Unbound,
}

/// Why a line that is understood makes no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeftOut {
    /// About elements or scripts of a page (`##`, `#@#`, `#$#`, `$$`).
    PageElements,
    /// With options that say when it holds (`$third-party`).
    Options,
    /// About parts of addresses of pages: a path, a regular expression, a wildcard within a name.
    Patterns,
    /// About an IP address or a network.
    Addresses,
    /// The address of a page, with a path.
    Urls,
    /// Another setting of dnsmasq or unbound.
    Settings,
}

/// Why a text is no list, or is not taken up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyFault {
    /// It holds no rule, but this.
    Nothing(Box<Report>),
    /// More text or more rules than a list may have.
    TooLarge,
    /// A web page.
    Page,
    /// Bytes of this sort, which are no text.
    NotText(&'static str),
    /// It is compressed with gzip, and ends early or is damaged.
    Damaged,
    /// So many rules less than the list before that it is probably cut.
    Shrunk {
        /// Rules of the list before.
        before: usize,
        /// Rules that it has now.
        after: usize,
    },
}

/// What reading a list came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// How it is written.
    pub format: Format,
    /// Lines or records that were not understood.
    pub skipped: usize,
    /// The first of them, from 1.
    pub skipped_lines: Vec<u32>,
    /// Lines that are understood and make no rule, by [`LeftOut`].
    pub left_out: [usize; LeftOut::ALL.len()],
    /// Triggers by the addresses and servers in answers (`rpz-ip`, `rpz-nsdname`, `rpz-nsip`), and
    /// actions of later drafts.
    pub unsupported: usize,
    /// Rules that stood there before.
    pub doubles: usize,
}

impl Format {
    /// The formats of single lines.
    pub(super) const OF_LINES: [Self; 5] =
        [Self::Hosts, Self::Domains, Self::Adblock, Self::Dnsmasq, Self::Unbound];

    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rpz => "response policy zone",
            Self::Hosts => "hosts file",
            Self::Domains => "list of domains",
            Self::Adblock => "list for ad blockers",
            Self::Dnsmasq => "dnsmasq configuration",
            Self::Unbound => "unbound configuration",
        }
    }
}

impl LeftOut {
    /// In the order of [`Report::left_out`].
    pub const ALL: [Self; 6] =
        [Self::PageElements, Self::Options, Self::Patterns, Self::Addresses, Self::Urls, Self::Settings];

    fn text(self) -> &'static str {
        match self {
            Self::PageElements => "about elements of pages",
            Self::Options => "with options that a name cannot have",
            Self::Patterns => "about patterns in the addresses of pages",
            Self::Addresses => "about IP addresses",
            Self::Urls => "addresses of single pages",
            Self::Settings => "other settings of dnsmasq or unbound",
        }
    }
}

impl Report {
    pub(super) fn new(format: Format) -> Self {
        let left_out = [0; LeftOut::ALL.len()];
        Self { format, skipped: 0, skipped_lines: Vec::new(), left_out, unsupported: 0, doubles: 0 }
    }

    /// Counts a line that was not understood.
    pub(super) fn skip(&mut self, line: u32) {
        self.skipped += 1;
        if self.skipped_lines.len() < SKIPPED_LINES_MAX {
            self.skipped_lines.push(line);
        }
    }

    /// Counts a line that makes no rule.
    pub(super) fn leave_out(&mut self, reason: LeftOut) {
        self.left_out[reason as usize] += 1;
    }
}

impl fmt::Display for Report {
    /// What made no rule, each part with `; ` before it; nothing if all did.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |number: usize| human_count(number as u64);
        if self.skipped > 0 {
            let lines: Vec<String> = self.skipped_lines.iter().map(u32::to_string).collect();
            let more = if self.skipped > lines.len() { ", …" } else { "" };
            write!(f, "; {} not understood (line {}{more})", count(self.skipped), lines.join(", "))?;
        }
        if self.doubles > 0 {
            write!(f, "; {} stood there twice", count(self.doubles))?;
        }
        if self.unsupported > 0 {
            let unsupported = count(self.unsupported);
            write!(f, "; {unsupported} with triggers or actions that are not known here")?;
        }
        for reason in LeftOut::ALL.into_iter().filter(|reason| self.left_out[*reason as usize] > 0) {
            write!(f, "; {} {}, left out", count(self.left_out[reason as usize]), reason.text())?;
        }
        Ok(())
    }
}

impl fmt::Display for PolicyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing(report) => write!(f, "there is no rule in it{report}"),
            Self::TooLarge => f.write_str("more than a list may hold"),
            Self::Page => f.write_str("a web page, not a list"),
            Self::NotText(what) => write!(f, "{what}, not a list; only gzip is unpacked here"),
            Self::Damaged => f.write_str("compressed data that ends early or is damaged"),
            Self::Shrunk { before, after } => {
                let (before, after) = (human_count(*before as u64), human_count(*after as u64));
                write!(
                    f,
                    "{after} rules where there were {before}; if that is meant, raise --dns-policy-shrink"
                )
            }
        }
    }
}

impl std::error::Error for PolicyFault {}

/// Lines that are told one by one.
const SKIPPED_LINES_MAX: usize = 8;
