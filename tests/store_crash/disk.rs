//! A disk as a crash leaves it: what a traced process did to the files of one folder, in order,
//! and what of it is there after the power went away at a given point.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use dht_hunter::base::Rng;

/// One thing that happened to the folder.
#[derive(Debug)]
pub enum Step {
    /// A new, empty file under this name.
    Create(PathBuf, usize),
    /// A new folder.
    Folder(PathBuf),
    /// The first name's file has the second name from now on.
    Rename(PathBuf, PathBuf),
    /// The name is gone.
    Unlink(PathBuf),
    /// Bytes written at an offset.
    Write(usize, u64, Vec<u8>),
    /// The file has this length from now on.
    Length(usize, u64),
    /// What was done to this file before the given step is on the disk.
    Sync(usize, usize),
    /// What was done to the names in this folder before the given step is on the disk.
    SyncFolder(PathBuf, usize),
    /// The process said so.
    Said(String),
}

/// How the machine went down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// The process was killed: the system has everything.
    Killed,
    /// The power went: nothing is there that was not synced.
    Lost,
    /// The power went: of what was not synced, some writes are there and some are not.
    Some(u64),
    /// The power went: of what was not synced, some sectors of so many bytes are there.
    Torn(u64, usize),
}

/// Everything a process did below one folder.
pub struct Trace {
    /// In the order in which it was done.
    pub steps: Vec<Step>,
    names: BTreeMap<usize, PathBuf>,
    root: PathBuf,
}

impl Trace {
    /// Reads what `strace -f -y -xx` wrote. `root` is the folder, `said` the file to which the
    /// process writes what it has to say.
    pub fn read(log: &str, root: &Path, said: &Path) -> Self {
        let mut reader = Reader {
            trace: Self { steps: Vec::new(), names: BTreeMap::new(), root: root.to_owned() },
            said: said.to_owned(),
            files: HashMap::new(),
            open: HashMap::new(),
            begun: HashMap::new(),
        };
        log.lines().for_each(|line| reader.line(line));
        reader.trace
    }

    /// Makes the folder as it is after a crash before step `end`.
    pub fn replay(&self, end: usize, crash: Crash, into: &Path) {
        let steps = &self.steps[..end];
        let mut rng = Rng::seeded(match crash {
            Crash::Some(seed) | Crash::Torn(seed, _) => seed,
            Crash::Killed | Crash::Lost => 0,
        });
        let names = self.names_after(steps, crash, &mut rng);
        let data = data_after(steps, crash, &mut rng);
        fs::create_dir_all(into).expect("a new folder");
        for (path, what) in names {
            let path = into.join(path.strip_prefix(&self.root).expect("it is below the root"));
            match what {
                Some(file) => {
                    let empty = Vec::new();
                    // Its folder may be lost while it is not.
                    drop(fs::write(&path, data.get(&file).unwrap_or(&empty)));
                }
                None => drop(fs::create_dir(&path)),
            }
        }
    }

    /// The name under which a file was made.
    pub fn name(&self, file: usize) -> &Path {
        &self.names[&file]
    }

    /// Names and their files; folders have none. What was done to the names of one folder gets
    /// to the disk in order, as with a journal; how far, is a matter of luck.
    fn names_after(&self, steps: &[Step], crash: Crash, rng: &mut Rng) -> BTreeMap<PathBuf, Option<usize>> {
        let mut by_folder: BTreeMap<&Path, Vec<usize>> = BTreeMap::new();
        let mut synced: BTreeMap<&Path, usize> = BTreeMap::new();
        for (at, step) in steps.iter().enumerate() {
            let name = match step {
                Step::Create(name, _) | Step::Folder(name) | Step::Rename(_, name) | Step::Unlink(name) => {
                    name
                }
                Step::SyncFolder(folder, before) => {
                    let known = synced.entry(folder).or_default();
                    *known = (*before).max(*known);
                    continue;
                }
                Step::Write(..) | Step::Length(..) | Step::Sync(..) | Step::Said(_) => continue,
            };
            by_folder.entry(name.parent().expect("it is below the root")).or_default().push(at);
        }
        let mut there: Vec<usize> = Vec::new();
        for (folder, all) in by_folder {
            let sure = all.partition_point(|at| *at < synced.get(folder).copied().unwrap_or(0));
            let kept = match crash {
                Crash::Killed => all.len(),
                Crash::Lost => sure,
                Crash::Some(_) | Crash::Torn(..) => sure + rng.index(all.len() - sure + 1),
            };
            there.extend(&all[..kept]);
        }
        there.sort_unstable();
        let mut names = BTreeMap::new();
        for at in there {
            match &steps[at] {
                Step::Create(name, file) => drop(names.insert(name.clone(), Some(*file))),
                Step::Folder(name) => drop(names.insert(name.clone(), None)),
                Step::Rename(from, to) => {
                    if let Some(what) = names.remove(from) {
                        names.insert(to.clone(), what);
                    }
                }
                Step::Unlink(name) => drop(names.remove(name)),
                Step::Write(..)
                | Step::Length(..)
                | Step::Sync(..)
                | Step::SyncFolder(..)
                | Step::Said(_) => {}
            }
        }
        names
    }
}

fn data_after(steps: &[Step], crash: Crash, rng: &mut Rng) -> HashMap<usize, Vec<u8>> {
    let mut synced: HashMap<usize, usize> = HashMap::new();
    for step in steps {
        if let Step::Sync(file, before) = step {
            let known = synced.entry(*file).or_default();
            *known = (*before).max(*known);
        }
    }
    let mut all: HashMap<usize, Vec<u8>> = HashMap::new();
    for (at, step) in steps.iter().enumerate() {
        let file = match step {
            Step::Write(file, ..) | Step::Length(file, _) => *file,
            _ => continue,
        };
        let sure = crash == Crash::Killed || at < synced.get(&file).copied().unwrap_or(0);
        let bytes = all.entry(file).or_default();
        match step {
            Step::Length(_, length) if sure || crash != Crash::Lost && rng.percent(50) => {
                bytes.resize(*length as usize, 0);
            }
            Step::Write(_, offset, new) => match crash {
                _ if sure => put(bytes, *offset, new),
                Crash::Some(_) if rng.percent(50) => put(bytes, *offset, new),
                Crash::Torn(_, sector) => tear(bytes, *offset, new, sector, rng),
                _ => {}
            },
            _ => {}
        }
    }
    all
}

/// Writes some of the sectors.
fn tear(bytes: &mut Vec<u8>, offset: u64, new: &[u8], sector: usize, rng: &mut Rng) {
    let (mut at, end) = (offset as usize, offset as usize + new.len());
    while at < end {
        let next = ((at / sector + 1) * sector).min(end);
        if rng.percent(70) {
            let from = at - offset as usize;
            put(bytes, at as u64, &new[from..from + next - at]);
        }
        at = next;
    }
}

fn put(bytes: &mut Vec<u8>, offset: u64, new: &[u8]) {
    let (from, to) = (offset as usize, offset as usize + new.len());
    if bytes.len() < to {
        bytes.resize(to, 0);
    }
    bytes[from..to].copy_from_slice(new);
}

/// Turns lines of strace into steps. It follows descriptors of one process with threads.
struct Reader {
    trace: Trace,
    said: PathBuf,
    /// By name, as names are now.
    files: HashMap<PathBuf, usize>,
    open: HashMap<u32, Open>,
    /// Calls that another thread's line cut in two, and how many steps there were before them.
    begun: HashMap<u32, (String, usize)>,
}

/// What a descriptor stands for.
#[derive(Clone)]
enum Open {
    File { file: usize, at: u64, append: bool },
    Folder(PathBuf),
    Said,
}

impl Reader {
    fn line(&mut self, line: &str) {
        let (thread, call) = line.split_once(' ').expect("a thread and its call");
        let thread: u32 = thread.parse().expect("a thread's number");
        let call = call.trim_start();
        if let Some(begin) = call.strip_suffix("<unfinished ...>") {
            // The number of a descriptor is free for others as soon as closing it has begun.
            if let Some(fd) = begin.strip_prefix("close(") {
                self.open.remove(&number(fd));
                self.begun.insert(thread, ("gettid(".to_owned(), 0));
                return;
            }
            self.begun.insert(thread, (begin.trim_end().to_owned(), self.trace.steps.len()));
        } else if let Some((_, rest)) =
            call.strip_prefix("<... ").and_then(|rest| rest.split_once(" resumed>"))
        {
            let (begin, before) = self.begun.remove(&thread).expect("it began");
            self.call(&format!("{begin}{rest}"), before);
        } else if !call.starts_with("+++") && !call.starts_with("---") {
            self.call(call, self.trace.steps.len());
        }
    }

    /// A whole call, and how many steps there were when it began.
    fn call(&mut self, call: &str, before: usize) {
        let (name, rest) = call.split_once('(').expect("a call has arguments");
        let (arguments, result) = rest.rsplit_once(" = ").expect("a call has a result");
        if result.starts_with('-') || result.starts_with('?') {
            return;
        }
        let arguments: Vec<&str> = split(arguments.trim_end().strip_suffix(')').expect("they end"));
        match name {
            "openat" => self.opened(arguments[2], result),
            "write" | "pwrite64" => self.write(&arguments, result),
            "ftruncate" => {
                if let Some(Open::File { file, .. }) = self.descriptor(arguments[0]) {
                    let length = arguments[1].parse().expect("a length");
                    self.trace.steps.push(Step::Length(file, length));
                }
            }
            "fsync" | "fdatasync" => match self.descriptor(arguments[0]) {
                Some(Open::File { file, .. }) => self.trace.steps.push(Step::Sync(file, before)),
                Some(Open::Folder(folder)) => self.trace.steps.push(Step::SyncFolder(folder, before)),
                Some(Open::Said) | None => {}
            },
            "lseek" => {
                let to: u64 = result.parse().expect("an offset");
                if let Some(Open::File { at, .. }) = self.open.get_mut(&number(arguments[0])) {
                    *at = to;
                }
            }
            "close" => drop(self.open.remove(&number(arguments[0]))),
            "rename" | "renameat" | "renameat2" => self.renamed(&arguments),
            "unlink" | "unlinkat" | "rmdir" => self.unlinked(&arguments),
            "mkdir" | "mkdirat" => {
                let path = self.path_in(&arguments);
                if self.ours(&path) {
                    self.trace.steps.push(Step::Folder(path));
                }
            }
            "mmap" => {
                let path = arguments.get(4).and_then(|fd| path_of(fd)).unwrap_or_default();
                let writes = arguments[2].contains("PROT_WRITE") && arguments[3].contains("MAP_SHARED");
                let shm = path.to_string_lossy().ends_with("-shm");
                assert!(!writes || shm || !self.ours(&path), "a mapped file is written: {call:.200}");
            }
            // Nothing below can follow these.
            _ => assert!(
                !arguments.iter().any(|one| path_of(one).is_some_and(|path| self.ours(&path))),
                "{call:.200}"
            ),
        }
    }

    fn opened(&mut self, flags: &str, result: &str) {
        let (fd, path) = (number(result), path_of(result).unwrap_or_default());
        if path == self.said {
            self.open.insert(fd, Open::Said);
            return;
        }
        if !self.ours(&path) && path != self.trace.root {
            return;
        }
        if flags.contains("O_DIRECTORY") || path == self.trace.root || self.is_folder(&path) {
            self.open.insert(fd, Open::Folder(path));
            return;
        }
        // Never on the disk that counts: it is made anew after a crash.
        if path.to_string_lossy().ends_with("-shm") {
            return;
        }
        let file = match self.files.get(&path) {
            Some(&file) => file,
            None => {
                assert!(flags.contains("O_CREAT"), "{} was never made", path.display());
                let file = self.trace.names.len();
                self.trace.names.insert(file, path.clone());
                self.files.insert(path.clone(), file);
                self.trace.steps.push(Step::Create(path, file));
                file
            }
        };
        if flags.contains("O_TRUNC") {
            self.trace.steps.push(Step::Length(file, 0));
        }
        self.open.insert(fd, Open::File { file, at: 0, append: flags.contains("O_APPEND") });
    }

    fn write(&mut self, arguments: &[&str], result: &str) {
        let fd = number(arguments[0]);
        let written: usize = result.trim().parse().expect("a number of bytes");
        let Some(open) = self.open.get_mut(&fd) else {
            let path = path_of(arguments[0]).unwrap_or_default();
            let shm = path.to_string_lossy().ends_with("-shm");
            assert!(shm || !self.ours(&path), "{} is written, and nobody opened it", path.display());
            return;
        };
        let mut bytes = bytes_of(arguments[1]);
        assert!(bytes.len() >= written, "the trace cut {} bytes short", written - bytes.len());
        bytes.truncate(written);
        match open {
            Open::File { file, at, append } => {
                assert!(!*append, "appending is not followed");
                let offset = arguments.get(3).map_or(*at, |offset| offset.parse().expect("an offset"));
                if arguments.len() < 4 {
                    *at += written as u64;
                }
                self.trace.steps.push(Step::Write(*file, offset, bytes));
            }
            Open::Said => {
                let words = String::from_utf8(bytes).expect("it speaks text");
                self.trace.steps.push(Step::Said(words.trim_end().to_owned()));
            }
            Open::Folder(_) => unreachable!("nobody writes to a folder"),
        }
    }

    fn renamed(&mut self, arguments: &[&str]) {
        let (from, to) = match arguments.len() {
            2 => (self.path_in(&arguments[..1]), self.path_in(&arguments[1..])),
            _ => (self.path_in(&arguments[..2]), self.path_in(&arguments[2..4])),
        };
        if self.ours(&from) {
            assert_eq!(from.parent(), to.parent(), "a move between folders is not followed");
            let file = self.files.remove(&from).expect("it has a file");
            self.files.insert(to.clone(), file);
            self.trace.steps.push(Step::Rename(from, to));
        }
    }

    fn unlinked(&mut self, arguments: &[&str]) {
        let path = self.path_in(arguments);
        if self.ours(&path) && !path.to_string_lossy().ends_with("-shm") {
            self.files.remove(&path);
            self.trace.steps.push(Step::Unlink(path));
        }
    }

    /// A path that is given alone, or after the folder that it is relative to.
    fn path_in(&self, arguments: &[&str]) -> PathBuf {
        match arguments {
            [folder, path, ..] if path.starts_with('"') => {
                path_of(folder).unwrap_or_default().join(text(bytes_of(path)))
            }
            _ => text(bytes_of(arguments[0])),
        }
    }

    fn descriptor(&self, argument: &str) -> Option<Open> {
        self.open.get(&number(argument)).cloned()
    }

    fn ours(&self, path: &Path) -> bool {
        path.starts_with(&self.trace.root) && path != self.trace.root
    }

    fn is_folder(&self, path: &Path) -> bool {
        self.trace.steps.iter().any(|step| matches!(step, Step::Folder(folder) if folder == path))
    }
}

/// Arguments, split at commas that are in no string, list or path. Strings hold hex alone.
fn split(arguments: &str) -> Vec<&str> {
    let (mut all, mut from, mut depth) = (Vec::new(), 0, 0i32);
    for (at, byte) in arguments.bytes().enumerate() {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth -= 1,
            b',' if depth == 0 => {
                all.push(arguments[from..at].trim());
                from = at + 1;
            }
            _ => {}
        }
    }
    all.push(arguments[from..].trim());
    all
}

/// The number that a descriptor begins with.
fn number(text: &str) -> u32 {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..digits].parse().expect("a descriptor")
}

/// The path in `3<path>`.
fn path_of(text: &str) -> Option<PathBuf> {
    let (_, rest) = text.split_once('<')?;
    Some(self::text(unhex(rest.split_once('>')?.0)))
}

/// The bytes of a string in quotes.
fn bytes_of(argument: &str) -> Vec<u8> {
    let inner = argument.strip_prefix('"').and_then(|rest| rest.split_once('"')).expect("a string");
    assert!(inner.1.is_empty(), "the trace cut a string short");
    unhex(inner.0)
}

fn unhex(text: &str) -> Vec<u8> {
    let hex = |digit: u8| (digit as char).to_digit(16).expect("a hex digit") as u8;
    text.as_bytes().chunks_exact(4).map(|four| hex(four[2]) << 4 | hex(four[3])).collect()
}

fn text(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8(bytes).expect("the paths of this test are text").into()
}
