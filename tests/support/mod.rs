//! What tests of the whole program share: starting and ending it, asking its archive, and
//! waiting, with an end, for what must become true.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dht_hunter::base::InfoHash;
use dht_hunter::store::{Archive, Numbers};
use dht_hunter::swarm::{Config, Swarm};

/// The program itself.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_dht-hunter");

/// The program, with nothing but its flags to go by.
pub fn program() -> Command {
    let mut command = Command::new(PROGRAM);
    for (name, _) in std::env::vars_os() {
        let ours = name.to_str().is_some_and(|name| name.starts_with("DHT_HUNTER_"));
        if ours || ["DB_PATH", "PORT", "STATE_DIRECTORY", "COLUMNS"].iter().any(|other| name == *other) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs to the end what ends by itself.
pub fn output<S: AsRef<OsStr>>(args: &[S]) -> Output {
    program().args(args).output().expect("the program starts")
}

/// What was written to standard output; fails unless the exit code was 0.
pub fn said<S: AsRef<OsStr>>(args: &[S]) -> String {
    let output = output(args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A process that ends with its owner, and what it says on both outputs.
pub struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it, its words going to `log`.
    pub fn start(command: &mut Command, log: &Path) -> Self {
        let file = File::create(log).expect("a log can be made");
        let same = file.try_clone().expect("a descriptor is left");
        command.stdin(Stdio::null()).stdout(file).stderr(same);
        let child = command.spawn().unwrap_or_else(|fault| panic!("{command:?}: {fault}"));
        Self { child, log: log.to_owned() }
    }

    pub fn words(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it was killed");
    }

    pub fn interrupt(&self) {
        self.signal("INT");
    }

    /// Has it read its settings again.
    pub fn reload(&self) {
        self.signal("HUP");
    }

    /// The same signal twice in one instant, as timeout(1) sends it.
    pub fn terminate_twice(&self) {
        let pid = self.child.id();
        let sent = Command::new("sh").arg("-c").arg(format!("kill -TERM {pid}; kill -TERM {pid}")).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -TERM");
    }

    /// The exit status and how long it took to come.
    pub fn ended(mut self, within: Duration) -> (ExitStatus, Duration, String) {
        let asked = Instant::now();
        let mut status = None;
        until(within, &format!("an end of\n{}", self.words()), || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        (status.expect("until() saw it"), asked.elapsed(), self.words())
    }

    /// Stops it as Ctrl-C does; it has to end well.
    pub fn stop(self) -> String {
        self.interrupt();
        let (status, _, words) = self.ended(Duration::from_secs(10));
        assert!(status.success(), "{status}: {words}");
        words
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let words = self.words();
            let from = words.len().saturating_sub(WORDS_SHOWN);
            let shown = String::from_utf8_lossy(&words.as_bytes()[from..]);
            drop(writeln!(std::io::stderr(), "{}:\n{shown}", self.log.display()));
        }
        if self.is_running() {
            drop(self.child.kill());
        }
        drop(self.child.wait());
    }
}

/// Asks again and again, at most for so long; fails with `what` was waited for.
pub fn until(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < limit, "waited {} s in vain for {what}", limit.as_secs());
        std::thread::sleep(PAUSE);
    }
}

/// What an archive holds; nothing while it is being made.
pub fn numbers(db: &Path) -> Option<Numbers> {
    Archive::open_read_only(db).ok()?.stats().ok()
}

pub fn stored(db: &Path) -> u64 {
    numbers(db).map_or(0, |numbers| numbers.torrents)
}

pub fn has(db: &Path, infohash: InfoHash) -> bool {
    let found = Archive::open_read_only(db).ok().and_then(|archive| archive.torrent(infohash).ok().flatten());
    found.is_some()
}

/// `db check` finds nothing wrong.
pub fn assert_sound(db: &Path) {
    let checked = output(&["db".as_ref(), "check".as_ref(), "--db".as_ref(), db.as_os_str()]);
    assert!(checked.status.success(), "{checked:?}");
}

/// One line on standard error, past the test runner that would keep it.
pub fn skipped(what: &str, why: &str) {
    drop(writeln!(std::io::stderr(), "skipped: {what}; {why}"));
}

/// A small file system in memory; gone with its owner.
pub struct Mounted(pub PathBuf);

impl Mounted {
    pub fn new(folder: &Path, options: &str) -> Option<Self> {
        let at = folder.join("mounted");
        fs::create_dir(&at).expect("a new folder");
        let mut mount = Command::new("mount");
        let output = mount.args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(&at).output();
        output.is_ok_and(|output| output.status.success()).then_some(Self(at))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status());
    }
}

/// A DHT and its torrents, on a thread of its own.
pub struct LiveSwarm {
    pub bootstrap: String,
    pub reachable: Vec<InfoHash>,
    served: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LiveSwarm {
    pub fn start(config: Config) -> Self {
        let mut swarm = Swarm::start(config).expect("loopback is there");
        let (served, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (bootstrap, reachable) = (swarm.bootstrap()[0].to_string(), swarm.reachable());
        let (count, end) = (Arc::clone(&served), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let ran = swarm.run(|stats| {
                count.store(stats.metadata_served, Ordering::SeqCst);
                end.load(Ordering::SeqCst)
            });
            ran.expect("the swarm runs");
        });
        Self { bootstrap, reachable, served, stop, thread: Some(thread) }
    }

    /// How often a whole info dictionary was handed out.
    pub fn served(&self) -> u64 {
        self.served.load(Ordering::SeqCst)
    }
}

impl Drop for LiveSwarm {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// `run` on loopback.
pub fn crawl(db: &Path, bootstrap: &str, more: &[&str], log: &Path) -> Running {
    let mut command = program();
    command.args(["run", "--listen", "127.0.0.1:0", "--bootstrap", bootstrap, "--http", "off", "--db"]);
    Running::start(command.arg(db).args(more), log)
}

/// The end of what a program said before a test failed.
const WORDS_SHOWN: usize = 4_000;
const PAUSE: Duration = Duration::from_millis(20);
