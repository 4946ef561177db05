//! The clients that people run, each with a folder of torrents, an address and one DHT node to begin with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::namespace::Place;
use crate::support::Running;
use crate::tool;
use crate::torrents::{Format, Made};

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    QBittorrent,
    RTorrent,
    Transmission,
    Aria2,
    WebTorrent,
}

/// Whether a client talks in plain to other peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    Possible,
    Required,
}

/// What a client is to do.
pub struct Task<'a> {
    pub place: Place<'a>,
    /// Where it listens, at [`PORT`].
    pub address: &'a str,
    /// Its only DHT node: further ones are other addresses of the same program.
    pub nodes: &'a [String],
    /// What it may write to: made anew.
    pub folder: PathBuf,
    pub encryption: Encryption,
    /// Whose data is there.
    pub seeds: &'a [Made],
    /// Whose data is not.
    pub wants: &'a [Made],
}

impl Client {
    pub const ALL: [Self; 5] =
        [Self::QBittorrent, Self::RTorrent, Self::Transmission, Self::Aria2, Self::WebTorrent];

    pub fn name(self) -> &'static str {
        match self {
            Self::QBittorrent => "qBittorrent",
            Self::RTorrent => "rTorrent",
            Self::Transmission => "Transmission",
            Self::Aria2 => "aria2",
            Self::WebTorrent => "WebTorrent",
        }
    }

    /// The formats that it loads, and whose infohash it computes right.
    pub fn formats(self) -> &'static [Format] {
        match self {
            Self::QBittorrent => &[Format::V1, Format::V2, Format::Hybrid],
            Self::RTorrent | Self::WebTorrent => &[Format::V1, Format::Hybrid],
            Self::Transmission | Self::Aria2 => &[Format::V1],
        }
    }

    /// Whether it is installed, or what is missing.
    pub fn is_there(self) -> Result<(), String> {
        match self {
            Self::QBittorrent => tool("qbittorrent-nox"),
            Self::RTorrent => tool("rtorrent"),
            Self::Transmission => tool("transmission-daemon"),
            Self::Aria2 => tool("aria2c"),
            Self::WebTorrent if modules().join("webtorrent").is_dir() => tool("node"),
            Self::WebTorrent => Err("there is no WebTorrent; scripts/test --install makes it so".to_owned()),
        }
    }

    /// Starts it: it checks what is there, announces everything and looks for peers, all by its DHT alone.
    pub fn start(self, task: &Task<'_>) -> Running {
        for folder in [&task.folder, &task.torrents(), &task.data()] {
            fs::create_dir(folder).expect("a new folder");
        }
        task.seeds.iter().for_each(|made| made.write_data(&task.data()));
        task.seeds.iter().chain(task.wants).for_each(|made| made.write_torrent(&task.torrents()));
        let mut command = match self {
            Self::QBittorrent => qbittorrent(task),
            Self::RTorrent => rtorrent(task),
            Self::Transmission => transmission(task),
            Self::Aria2 => aria2(task),
            Self::WebTorrent => webtorrent(task),
        };
        command.env("HOME", &task.folder).env_remove("XDG_CONFIG_HOME").env_remove("XDG_DATA_HOME");
        Running::start(&mut command, &task.folder.join("log"))
    }
}

impl Task<'_> {
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn torrents(&self) -> PathBuf {
        self.folder.join("torrents")
    }

    fn torrent_files(&self) -> impl Iterator<Item = PathBuf> {
        let made = self.seeds.iter().chain(self.wants);
        made.map(|made| self.torrents().join(format!("{}.torrent", made.name)))
    }
}

/// Its DHT node comes from the torrent files: what else it would ask has no address here.
fn qbittorrent(task: &Task<'_>) -> Command {
    let config = task.folder.join("qBittorrent/config");
    fs::create_dir_all(&config).expect("a new folder");
    let encryption = match task.encryption {
        Encryption::Possible => 0,
        Encryption::Required => 1,
    };
    let settings = format!(
        "[LegalNotice]\nAccepted=true\n[Network]\nPortForwardingEnabled=false\n[Preferences]\n\
         WebUI\\Enabled=false\n[BitTorrent]\nSession\\LSDEnabled=false\nSession\\PeXEnabled=false\n\
         Session\\Port={PORT}\nSession\\BTProtocol=TCP\nSession\\QueueingSystemEnabled=false\n\
         Session\\Encryption={encryption}\n"
    );
    fs::write(config.join("qBittorrent.conf"), settings).expect("a new file");
    let mut command = task.place.command("qbittorrent-nox");
    command
        .arg(format!("--profile={}", task.folder.display()))
        .arg(format!("--save-path={}", task.data().display()))
        .args(["--add-paused=false", "--skip-dialog=true"])
        .args(task.torrent_files());
    command
}

/// What it announces before its DHT knows a node is tried again half a minute later.
fn rtorrent(task: &Task<'_>) -> Command {
    let session = task.folder.join("session");
    fs::create_dir(&session).expect("a new folder");
    let encryption = match task.encryption {
        Encryption::Possible => "allow_incoming,try_outgoing",
        Encryption::Required => "allow_incoming,require,require_RC4",
    };
    let mut settings = format!(
        "system.daemon.set = true\nsession.path.set = {session}\ndirectory.default.set = {data}\n\
         network.bind_address.set = {address}\nnetwork.port_range.set = {PORT}-{PORT}\n\
         network.port_random.set = no\ndht.mode.set = on\ndht.port.set = {PORT}\n\
         protocol.pex.set = no\ntrackers.use_udp.set = no\nprotocol.encryption.set = {encryption}\n\
         schedule2 = torrents, 5, 0, \"load.start={torrents}/*.torrent\"\n",
        session = session.display(),
        data = task.data().display(),
        address = task.address,
        torrents = task.torrents().display(),
    );
    for (nth, node) in task.nodes.iter().enumerate() {
        settings += &format!("schedule2 = node_{nth}, 0, 5, \"dht.add_node={node}\"\n");
    }
    let file = task.folder.join("rtorrent.rc");
    fs::write(&file, settings).expect("a new file");
    let mut command = task.place.command("rtorrent");
    command.args(["-n", "-o"]).arg(format!("import={}", file.display()));
    command
}

/// `dht.bootstrap` is worked off at a node each ten seconds; what was saved by a session before at two.
fn transmission(task: &Task<'_>) -> Command {
    let encryption = match task.encryption {
        Encryption::Possible => 1,
        Encryption::Required => 2,
    };
    let settings = json!({
        "dht-enabled": true, "lpd-enabled": false, "pex-enabled": false, "utp-enabled": false,
        "port-forwarding-enabled": false, "rpc-enabled": false, "encryption": encryption,
        "bind-address-ipv4": task.address, "bind-address-ipv6": "::1", "peer-port": PORT,
        "download-dir": task.data(), "watch-dir": task.torrents(), "watch-dir-enabled": true,
        "download-queue-enabled": false, "seed-queue-enabled": false,
    });
    // Beside the watched folder: its own copies lie in a folder of the same name.
    let config = task.folder.join("config");
    fs::create_dir(&config).expect("a new folder");
    fs::write(config.join("settings.json"), settings.to_string()).expect("a new file");
    let mut nodes = Vec::new();
    for node in task.nodes {
        let node: std::net::SocketAddrV4 = node.parse().expect("an address and a port");
        nodes.extend(node.ip().octets());
        nodes.extend(node.port().to_be_bytes());
    }
    let mut saved = format!("d2:id20:{:020}5:nodes{}:", 0, nodes.len()).into_bytes();
    saved.extend(nodes);
    saved.push(b'e');
    fs::write(config.join("dht.dat"), saved).expect("a new file");
    let mut command = task.place.command("transmission-daemon");
    command.args(["-f", "--log-debug", "-g"]).arg(&config);
    command
}

fn aria2(task: &Task<'_>) -> Command {
    let mut command = task.place.command("aria2c");
    command.args([
        "--no-conf",
        "--enable-dht=true",
        "--enable-dht6=false",
        "--bt-enable-lpd=false",
        "--enable-peer-exchange=false",
        "--check-integrity=true",
        "--seed-ratio=0",
        "--max-concurrent-downloads=100",
        "--show-console-readout=false",
        "--summary-interval=0",
    ]);
    if task.encryption == Encryption::Required {
        command.args(["--bt-require-crypto=true", "--bt-min-crypto-level=arc4"]);
    }
    command
        .arg(format!("--dht-listen-port={PORT}"))
        .arg(format!("--listen-port={PORT}"))
        .arg(format!("--dht-entry-point={}", task.nodes[0]))
        .arg(format!("--dht-file-path={}", task.folder.join("dht").display()))
        .arg(format!("--dir={}", task.data().display()))
        .args(task.torrent_files());
    command
}

/// It has no way to require encryption.
fn webtorrent(task: &Task<'_>) -> Command {
    let mut command = task.place.command("node");
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/webtorrent.mjs"))
        .args([&modules(), &task.torrents(), &task.data()])
        .arg(PORT.to_string())
        .arg(&task.nodes[0]);
    command
}

/// Where npm has put WebTorrent.
fn modules() -> PathBuf {
    let given = std::env::var_os("DHT_HUNTER_PEERS_NODE_MODULES").map(PathBuf::from);
    given.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/peers-npm/node_modules"))
}

/// Of every client, for TCP and UDP.
pub const PORT: u16 = 6881;
