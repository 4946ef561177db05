//! `export`: torrents as .torrent files, magnet links, CSV or JSON lines.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use super::archive;
use super::args::{Export, ExportFormat};
use super::failure::{Failure, Outcome};
use super::fetch::torrent_file;
use super::target::parse_target;
use super::units::human_count;
use crate::model::text::{csv_cell, json_line};
use crate::store::{Archive, Query, Stored};

/// Writes all torrents, or those that the query names.
pub fn run(args: &Export) -> Result<Outcome, Failure> {
    let db = args.place.settings()?.db;
    let opened = archive::open(&args.place)?;
    let mut sink = Sink::open(args)?;
    let fail = |fault| archive::failure(&db, fault);
    let mut count = Count::default();
    if args.query.is_empty() {
        for stored in opened.export() {
            count.add(sink.write(&opened, &db, &stored.map_err(fail)?)?);
        }
    } else {
        for id in matching(&opened, &db, &args.query)? {
            if let Some(stored) = opened.row(id).map_err(fail)? {
                count.add(sink.write(&opened, &db, &stored)?);
            }
        }
    }
    sink.finish()?;
    if count.without_raw > 0 {
        let (without, all) = (human_count(count.without_raw), human_count(count.without_raw + count.written));
        let line = format!(
            "{without} of {all} have no info dictionary in the archive; crawl with --keep info, or get them with `fetch`\n"
        );
        drop(std::io::stderr().write_all(line.as_bytes()));
    }
    Ok(Outcome::found(count.written > 0))
}

/// The rows that a query means: if every word is an infohash those torrents, else all that have
/// all of the words.
pub fn matching(opened: &Archive, db: &Path, query: &[String]) -> Result<Vec<i64>, Failure> {
    let fail = |fault| archive::failure(db, fault);
    let hashes: Result<Vec<_>, String> = query.iter().map(|word| parse_target(word)).collect();
    if let Ok(targets) = hashes {
        let mut ids = Vec::new();
        for target in targets {
            ids.extend(opened.torrent(target.infohash).map_err(fail)?.map(|stored| stored.id));
        }
        return Ok(ids);
    }
    let query = Query { words: query.join(" "), ..Query::default() };
    opened.matching(&query).map_err(fail)
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
    Lines(ExportFormat, Box<dyn Write>, &'a Path),
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
        let writer: Box<dyn Write> = match path.to_str() {
            Some("-") => Box::new(BufWriter::new(std::io::stdout().lock())),
            _ => Box::new(BufWriter::new(File::create_new(path).map_err(|fault| cannot(path, &fault))?)),
        };
        let mut sink = Self::Lines(args.format, writer, path);
        if args.format == ExportFormat::Csv {
            sink.line(
                "infohash,v2,name,size_bytes,files,category,first_seen,fetched,last_seen,seeders,leechers",
            )?;
        }
        Ok(sink)
    }

    /// False if the torrent could not be written because its info dictionary was not kept.
    fn write(&mut self, opened: &Archive, db: &Path, stored: &Stored) -> Result<bool, Failure> {
        match self {
            Self::Folder(folder) => {
                let Some(raw) = opened.raw(stored.id).map_err(|fault| archive::failure(db, fault))? else {
                    return Ok(false);
                };
                let path = folder.join(format!("{}.torrent", stored.infohash));
                std::fs::write(&path, torrent_file(&raw)).map_err(|fault| cannot(&path, &fault))?;
            }
            Self::Lines(ExportFormat::Csv, ..) => self.line(&csv(stored))?,
            Self::Lines(ExportFormat::Magnet, ..) => self.line(&archive::magnet(stored))?,
            Self::Lines(..) => self.line(&json_line(&archive::to_json(stored, true).to_string()))?,
        }
        Ok(true)
    }

    fn line(&mut self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Folder(_) => Ok(()),
            Self::Lines(_, writer, path) => writeln!(writer, "{text}").map_err(|fault| cannot(path, &fault)),
        }
    }

    fn finish(self) -> Result<(), Failure> {
        match self {
            Self::Folder(_) => Ok(()),
            Self::Lines(_, mut writer, path) => writer.flush().map_err(|fault| cannot(path, &fault)),
        }
    }
}

fn cannot(path: &Path, fault: &std::io::Error) -> Failure {
    match fault.kind() {
        std::io::ErrorKind::BrokenPipe => Failure::reader_gone(),
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
