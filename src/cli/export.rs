//! `export`: torrents as .torrent files, magnet links, CSV or JSON lines.

use std::io::{BufWriter, Write};
use std::path::Path;

use super::archive;
use super::args::{Export, ExportFormat};
use super::failure::{Failure, Outcome};
use super::fetch::torrent_file;
use super::files::{self, Draft};
use super::print::note;
use super::target::parse_target;
use super::units::human_count;
use crate::model::text::{csv_cell, json_line};
use crate::store::{Archive, Query, Scope, Stored};

/// Writes all torrents, or those that the query names.
pub fn run(args: &Export) -> Result<Outcome, Failure> {
    let db = args.place.settings()?.db;
    let opened = archive::open(&args.place)?;
    let fail = |fault| archive::failure(&db, fault);
    let meant = if args.query.is_empty() { None } else { Some(Meant::by(&opened, &db, &args.query)?) };
    let mut sink = Sink::open(args)?;
    let mut count = Count::default();
    match &meant {
        None => {
            for stored in opened.export() {
                count.add(sink.write(&opened, &db, &stored.map_err(fail)?, &[])?);
            }
        }
        Some(meant) => {
            for (id, asked) in meant.rows() {
                if let Some(stored) = opened.row(id).map_err(fail)? {
                    count.add(sink.write(&opened, &db, &stored, asked)?);
                }
            }
        }
    }
    sink.finish()?;
    if count.without_raw > 0 {
        let (without, all) = (human_count(count.without_raw), human_count(count.without_raw + count.written));
        note(&format!(
            "{without} of {all} have no info dictionary in the archive; crawl with --keep info, or get them with `fetch`"
        ));
    }
    let missing = meant.map_or(Vec::new(), |meant| meant.missing);
    missing.iter().for_each(|asked| note(&format!("{asked} is not in the archive")));
    if !missing.is_empty() && count.written > 0 {
        let (missing, all) = (missing.len(), args.query.len());
        return Err(Failure::failed(format!(
            "{missing} of {all} infohashes are not in the archive; `dht-hunter fetch` asks the DHT for them"
        )));
    }
    Ok(Outcome::found(count.written > 0))
}

/// The rows that the words of a query mean: if every word is an infohash those torrents, else all
/// that have all of the words.
#[derive(Default)]
pub struct Meant {
    /// Row ids in the order asked for, each with the words that ask for it; without words if those
    /// are search words.
    found: Vec<(i64, Vec<String>)>,
    /// Infohashes that no torrent has.
    pub missing: Vec<String>,
    /// The query was a list of infohashes.
    pub by_hash: bool,
}

impl Meant {
    /// Search words match names and file names.
    pub fn by(opened: &Archive, db: &Path, words: &[String]) -> Result<Self, Failure> {
        Self::within(opened, db, words, Scope::Everything)
    }

    /// Search words match what `scope` says.
    pub fn within(opened: &Archive, db: &Path, words: &[String], scope: Scope) -> Result<Self, Failure> {
        let fail = |fault| archive::failure(db, fault);
        let hashes: Result<Vec<_>, String> = words.iter().map(|word| parse_target(word)).collect();
        let Ok(targets) = hashes else {
            let query = Query { words: words.join(" "), scope, ..Query::default() };
            let ids = opened.matching(&query).map_err(fail)?;
            return Ok(Self {
                found: ids.into_iter().map(|id| (id, Vec::new())).collect(),
                ..Self::default()
            });
        };
        let mut meant = Self { by_hash: true, ..Self::default() };
        for (word, target) in words.iter().zip(targets) {
            let Some(stored) = opened.torrent(target.infohash).map_err(fail)? else {
                meant.missing.push(word.clone());
                continue;
            };
            match meant.found.iter_mut().find(|(id, _)| *id == stored.id) {
                Some((_, asked)) => asked.push(word.clone()),
                None => meant.found.push((stored.id, vec![word.clone()])),
            }
        }
        Ok(meant)
    }

    /// Row ids, each with the infohashes that ask for it.
    pub fn rows(&self) -> impl Iterator<Item = (i64, &[String])> {
        self.found.iter().map(|(id, asked)| (*id, asked.as_slice()))
    }
}

#[derive(Default)]
struct Count {
    written: u64,
    without_raw: u64,
}

impl Count {
    fn add(&mut self, written: bool) {
        *(if written { &mut self.written } else { &mut self.without_raw }) += 1;
    }
}

enum Sink<'a> {
    Folder(&'a Path),
    Lines(ExportFormat, Lines, &'a Path),
}

/// Where lines go: standard output, or a file that gets its name once it is complete.
enum Lines {
    Stdout(BufWriter<std::io::StdoutLock<'static>>),
    File(Draft),
}

impl Lines {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Stdout(stdout) => stdout,
            Self::File(draft) => draft,
        }
    }
}

impl<'a> Sink<'a> {
    fn open(args: &'a Export) -> Result<Self, Failure> {
        let path = args.output.as_path();
        if args.format == ExportFormat::Torrent {
            return match path.is_dir() {
                true => Ok(Self::Folder(path)),
                false => Err(Failure::usage(
                    "--format torrent writes a file each; name an existing folder with -o",
                )),
            };
        }
        let lines = match path.to_str() {
            Some("-") => Lines::Stdout(BufWriter::new(std::io::stdout().lock())),
            _ => Lines::File(Draft::beside(path).map_err(|fault| cannot(path, &fault))?),
        };
        let mut sink = Self::Lines(args.format, lines, path);
        if args.format == ExportFormat::Csv {
            sink.line(
                "infohash,v2,name,size_bytes,files,category,first_seen,fetched,last_seen,seeders,leechers",
            )?;
        }
        Ok(sink)
    }

    /// False if the torrent could not be written because its info dictionary was not kept. `asked`:
    /// the infohashes of the command line that mean it.
    fn write(
        &mut self,
        opened: &Archive,
        db: &Path,
        stored: &Stored,
        asked: &[String],
    ) -> Result<bool, Failure> {
        let others = asked.iter().filter(|word| !word.to_lowercase().contains(&stored.infohash.to_string()));
        match self {
            Self::Folder(folder) => {
                let Some(raw) = opened.raw(stored.id).map_err(|fault| archive::failure(db, fault))? else {
                    return Ok(false);
                };
                let path = folder.join(format!("{}.torrent", stored.infohash));
                files::put(&path, &torrent_file(&raw)).map_err(|fault| cannot(&path, &fault))?;
                others.for_each(|word| note(&format!("{word} is in {}", path.display())));
            }
            Self::Lines(ExportFormat::Jsonl, ..) => {
                let mut value = archive::to_json(stored, true);
                if !asked.is_empty() {
                    value["asked"] = asked.into();
                }
                self.line(&json_line(&value.to_string()))?;
            }
            Self::Lines(format, ..) => {
                let line = if *format == ExportFormat::Csv { csv(stored) } else { archive::magnet(stored) };
                self.line(&line)?;
                others.for_each(|word| note(&format!("{word} is the torrent {}", stored.infohash)));
            }
        }
        Ok(true)
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Folder(_) => Ok(()),
            Self::Lines(_, lines, path) => {
                writeln!(lines.writer(), "{text}").map_err(|fault| cannot(path, &fault))
            }
        }
    }

    fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Folder(_) => Ok(()),
            Self::Lines(_, Lines::Stdout(mut stdout), path) => {
                stdout.flush().map_err(|fault| cannot(path, &fault))
            }
            Self::Lines(_, Lines::File(draft), path) => draft.keep().map_err(|fault| cannot(path, &fault)),
        }
    }
}

fn cannot(path: &Path, fault: &std::io::Error) -> Failure {
    match fault.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::reader_gone(),
        std::io::ErrorKind::IsADirectory => Failure::failed(format!(
            "{} is a folder, where a file is to be written; remove it, or give another with -o",
            path.display()
        )),
        _ => Failure::failed(format!("cannot write {}: {fault}; give another with -o", path.display())),
    }
}

/// RFC 4180; a name that a spreadsheet would take for a formula gets an apostrophe in front.
fn csv(stored: &Stored) -> String {
    let number = |number: Option<u32>| number.map_or_else(String::new, |number| number.to_string());
    [
        stored.infohash.to_string(),
        stored.v2.map_or_else(String::new, |v2| super::torrent_json::hex(&v2)),
        csv_cell(&stored.display_name()),
        stored.size_bytes.to_string(),
        stored.file_count.to_string(),
        stored.category.name().to_owned(),
        stored.first_seen.0.to_string(),
        stored.fetched.0.to_string(),
        stored.last_seen.0.to_string(),
        number(stored.seeders),
        number(archive::leechers(stored)),
    ]
    .join(",")
}
