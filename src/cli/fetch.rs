//! `fetch`: the metadata of named torrents, as `.torrent` files.

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use super::args::Fetch;
use super::contact;
use super::failure::{Failure, Outcome};
use super::files;
use super::flags::RunFlags;
use super::operation::nobody_answered;
use super::print::Out;
use super::session::{self, Ended, Operation, Reach, Watcher};
use super::units::{counted, human_duration};
use super::{reasons, torrent_json};
use crate::base::InfoHash;
use crate::engine::io::{Answer, NotKept};
use crate::metadata::Failures;
use crate::metadata::torrent::Error;
use crate::model::Torrent;
use crate::model::text::{NAME_CHARS_MAX, shortened};

/// Fetches all of them at once: done if all came, failed if some did, nothing found if none.
pub fn run(args: &Fetch, json: bool) -> Result<Outcome, Failure> {
    let settings = RunFlags::default().settings()?;
    let linked = args.torrents.iter().flat_map(|target| &target.peers).copied();
    let local = linked.into_iter().find(|peer| contact::local_for(*peer).is_some());
    let first = args.peer.first().copied().or_else(|| local.filter(|_| args.dht.bootstrap.is_empty()));
    let reach = Reach::new(&args.dht, &settings, first)?;
    args.peer.iter().try_for_each(|peer| contact::check(&reach.listen, *peer))?;
    create_folder(&args.output)?;
    let mut wanted = Wanted::new(args, json, reach.timeout);
    let session = session::operate(wanted.operations(), &reach, &mut wanted)?;
    let (all, found) = (wanted.torrents.len(), wanted.torrents.iter().filter(|one| one.saved).count());
    if found == all {
        return Ok(Outcome::Done);
    }
    let unexplained = wanted.torrents.iter().all(|one| one.peers.is_empty() && one.why.is_none());
    if session.replies == 0 && unexplained {
        return Err(nobody_answered(session.errors));
    }
    if found == 0 {
        return match wanted.torrents.iter().find(|one| one.unwritten) {
            Some(_) => Err(Failure::failed("no torrent could be written; give another folder with -o")),
            None => Ok(Outcome::NothingFound),
        };
    }
    let missing = all - found;
    Err(Failure::failed(format!(
        "{found} of {all} torrents were fetched; give the other {missing} again later, or with a longer --timeout"
    )))
}

/// A `.torrent` file of the raw info dictionary alone; peers come from the DHT.
pub fn torrent_file(raw_info: &[u8]) -> Vec<u8> {
    let mut file = Vec::with_capacity(raw_info.len() + 8);
    file.extend_from_slice(b"d4:info");
    file.extend_from_slice(raw_info);
    file.push(b'e');
    file
}

/// Writes the file unless it is there already.
fn save(folder: &Path, torrent: &Torrent) -> Result<PathBuf, String> {
    let path = folder.join(format!("{}.torrent", torrent.infohash));
    match files::put(&path, &torrent_file(&torrent.raw)) {
        Ok(_) => Ok(path),
        Err(fault) if fault.kind() == ErrorKind::IsADirectory => Err(format!(
            "{} is a folder, where the file is to be; remove it, or give another folder with -o",
            path.display()
        )),
        Err(fault) => Err(format!("cannot write {}: {fault}; give another folder with -o", path.display())),
    }
}

fn create_folder(folder: &Path) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).create(folder).map_err(|fault| {
        let folder = folder.display();
        Failure::failed(format!("{folder} cannot be the folder of the files ({fault}); give another with -o"))
    })
}

/// The torrents asked for, and how far each has come.
struct Wanted<'a> {
    folder: &'a Path,
    json: bool,
    timeout: Duration,
    torrents: Vec<One>,
    bars: MultiProgress,
    out: Out,
}

struct One {
    infohash: InfoHash,
    /// Given and found.
    peers: BTreeSet<SocketAddr>,
    /// Why peers did not give the metadata.
    failures: Failures,
    saved: bool,
    /// Why it is not saved, where that is known.
    why: Option<String>,
    /// It came, and could not be written.
    unwritten: bool,
    bar: Option<ProgressBar>,
}

impl<'a> Wanted<'a> {
    fn new(args: &'a Fetch, json: bool, timeout: Duration) -> Self {
        let mut torrents: Vec<One> = Vec::new();
        for target in &args.torrents {
            let peers = args.peer.iter().chain(&target.peers).copied();
            match torrents.iter_mut().find(|one| one.infohash == target.infohash) {
                Some(one) => one.peers.extend(peers),
                None => torrents.push(One {
                    infohash: target.infohash,
                    peers: peers.collect(),
                    failures: Failures::default(),
                    saved: false,
                    why: None,
                    unwritten: false,
                    bar: None,
                }),
            }
        }
        let bars = MultiProgress::new();
        for one in torrents.iter_mut().take(BARS_MAX) {
            let bar = ProgressBar::new_spinner().with_style(bar_style());
            one.bar = Some(bars.add(bar.with_message(format!("{}  looking for peers", one.infohash))));
        }
        Self { folder: &args.output, json, timeout, torrents, bars, out: Out::new() }
    }

    fn operations(&self) -> Vec<Operation> {
        let operation = |one: &One| Operation::Fetch(one.infohash, one.peers.iter().copied().collect());
        self.torrents.iter().map(operation).collect()
    }

    fn print(&mut self, line: &str) -> Result<(), Failure> {
        let out = &mut self.out;
        self.bars.suspend(|| out.line(line).and_then(|()| out.flush()))
    }

    fn print_json(&mut self, value: &serde_json::Value) -> Result<(), Failure> {
        let out = &mut self.out;
        self.bars.suspend(|| out.json(value).and_then(|()| out.flush()))
    }

    /// The torrent that came for the hash at `index`; a hybrid may have been asked for by another
    /// hash than its file is named by.
    fn report(&mut self, index: usize, torrent: &Torrent, path: &Path) -> Result<(), Failure> {
        let (asked, path) = (self.torrents[index].infohash, path.display());
        let line = if self.json {
            let mut value = torrent_json::torrent(torrent);
            value["asked"] = asked.to_string().into();
            value["found"] = true.into();
            value["file"] = path.to_string().into();
            return self.print_json(&value);
        } else {
            let name = torrent.display_name();
            format!("{asked}  {}  -> {path}", shortened(&name, NAME_CHARS_MAX))
        };
        self.print(&line)
    }

    fn on_torrent(&mut self, index: usize, torrent: &Torrent) -> Result<(), Failure> {
        match save(self.folder, torrent) {
            Ok(path) => {
                self.torrents[index].saved = true;
                self.report(index, torrent, &path)
            }
            Err(why) => {
                let one = &mut self.torrents[index];
                (one.why, one.unwritten) = (Some(why), true);
                Ok(())
            }
        }
    }

    fn report_missing(&mut self, index: usize, ended: Option<Ended>) -> Result<(), Failure> {
        let one = &self.torrents[index];
        let (infohash, peers) = (one.infohash, one.peers.len());
        if self.json {
            let value = serde_json::json!({
                "asked": infohash.to_string(),
                "infohash": infohash.to_string(),
                "found": false,
                "peers": peers,
                "why": one.why,
                "failures": reasons::as_json(&one.failures),
                "in_time": ended.is_some(),
            });
            return self.print_json(&value);
        }
        // Whatever ended before its time has nothing left to be asked.
        let timeout = if ended.is_some() { Duration::ZERO } else { self.timeout };
        let line = match &one.why {
            Some(why) => format!("{infohash}  {why}"),
            None => why_missing(infohash, peers, timeout, &one.failures),
        };
        // A terminal that went away takes nothing from what was fetched.
        self.bars.suspend(|| drop(writeln!(std::io::stderr(), "{line}")));
        Ok(())
    }
}

impl Watcher for Wanted<'_> {
    fn said(&mut self, index: usize, answer: &Answer) -> Result<(), Failure> {
        match answer {
            Answer::Torrent(torrent) => self.on_torrent(index, torrent),
            Answer::NotKept(why) => {
                self.torrents[index].why = Some(why_not_kept(why));
                Ok(())
            }
            Answer::Peers(peers) => {
                let one = &mut self.torrents[index];
                let room = PEERS_MAX.saturating_sub(one.peers.len());
                one.peers.extend(peers.iter().take(room));
                if let Some(bar) = &one.bar {
                    let peers = counted(one.peers.len() as u64, "peer");
                    bar.set_message(format!("{}  {peers} known, asking", one.infohash));
                }
                Ok(())
            }
            Answer::PeerFailed(_, why) => {
                self.torrents[index].failures.add(why.kind());
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn over(&mut self, index: usize, ended: Option<Ended>) -> Result<(), Failure> {
        if let Some(bar) = self.torrents[index].bar.take() {
            bar.finish_and_clear();
        }
        if self.torrents[index].saved { Ok(()) } else { self.report_missing(index, ended) }
    }

    fn tick(&mut self) {
        self.torrents.iter().filter_map(|one| one.bar.as_ref()).for_each(ProgressBar::tick);
    }
}

fn why_not_kept(why: &NotKept) -> String {
    match why {
        NotKept::NoTorrent(fault) => {
            format!("its dictionary came and has the right hash, but is no torrent: {}", no_torrent(fault))
        }
        NotKept::Filtered(rule) => format!("the filter refuses it: {rule}"),
        NotKept::GivenUp => "it was asked for too often in vain".to_owned(),
    }
}

fn no_torrent(fault: &Error) -> &'static str {
    match fault {
        Error::Bencode(_) => "it cannot be read (bencode)",
        Error::NoFiles => "it names no file",
        Error::BadSize => "the sizes of its files are impossible",
        Error::PathsTooLong => "the paths of its files are too long",
    }
}

fn why_missing(infohash: InfoHash, peers: usize, timeout: Duration, failures: &Failures) -> String {
    let within = match timeout.is_zero() {
        true => String::new(),
        false => format!(" within {}", human_duration(timeout)),
    };
    let reasons = reasons::counts(failures);
    let reasons = if reasons.is_empty() { reasons } else { format!(" ({reasons})") };
    match peers {
        0 => format!("{infohash}  no peer was found{within}{reasons}"),
        1 => format!("{infohash}  the only peer known did not give the metadata{within}{reasons}"),
        _ => format!("{infohash}  {peers} peers are known, and none gave the metadata{within}{reasons}"),
    }
}

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {msg}  {elapsed}").expect("the template is well-formed")
}

/// More lines than this would scroll off a small terminal.
const BARS_MAX: usize = 16;
/// Peers counted for one torrent.
const PEERS_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Step, Why};

    #[test]
    fn the_file_holds_the_info_dictionary_as_it_is() {
        assert_eq!(torrent_file(b"d4:name1:ae"), b"d4:infod4:name1:aee");
    }

    #[test]
    fn what_did_not_come_says_how_far_it_got() {
        let none = Failures::default();
        let said = |peers| why_missing(InfoHash::default(), peers, Duration::from_secs(60), &none);
        assert!(said(0).ends_with("no peer was found within 1 min"), "{}", said(0));
        assert!(said(1).contains("the only peer") && said(7).contains("7 peers are known, and none"));
        let mut failures = Failures::default();
        for why in [Why::Refused, Why::Closed(Step::Handshake), Why::Refused] {
            failures.add(why.kind());
        }
        let line = why_missing(InfoHash::default(), 3, Duration::ZERO, &failures);
        assert!(
            line.ends_with("(2 x refused, 1 x closed at handshake: perhaps encryption required)"),
            "{line}"
        );
    }
}
