//! The commands and their own flags. The settings of `run` are the rows of [`super::keys`].

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::flags::{PlaceFlags, RunFlags};
use super::keys::{parse_address, parse_host};
use super::network::args::NetworkCommand;
use super::pending::{PendingArgs, Retry};
use super::target::{Start, Target, parse_start, parse_target};
use super::units::{parse_count, parse_duration, parse_percent, parse_rate, parse_size};

/// Crawls the BitTorrent Mainline DHT and keeps a searchable archive of its torrents
#[derive(Debug, Parser)]
#[command(name = "dht-hunter", version, max_term_width = 110, after_help = AFTER_HELP)]
#[command(subcommand_required = true, arg_required_else_help = true, help_template = TEMPLATE)]
pub struct Cli {
    /// Print JSON, one value a line
    #[arg(long, global = true)]
    pub json: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Crawl the DHT until told to stop
    #[command(after_help = AFTER_HELP)]
    Run(RunFlags),
    /// Crawl a whole DHT on this machine; needs no Internet
    Demo(Demo),
    /// Only that DHT, to point other programs at
    Swarm(Swarm),
    /// Whole networks of the same engine in virtual time, with faults, judged by an oracle
    Simulate(Simulate),
    /// Ask a DHT node whether it is there
    Ping(Ping),
    /// Find the nodes closest to an id
    FindNode(FindNode),
    /// Find peers that have a torrent
    Peers(OneHash),
    /// Announce a torrent to the DHT
    Announce(Announce),
    /// Estimate how many seeds and peers a torrent has
    Scrape(OneHash),
    /// Fetch torrents' metadata from their peers
    Fetch(Fetch),
    /// Search the archive
    Search(Search),
    /// Show one torrent of the archive
    Show(Show),
    /// What the archive holds
    Stats(Stats),
    /// Write torrents out as .torrent, magnet, CSV or JSON lines
    Export(Export),
    /// Read torrents or infohashes in (not built yet)
    #[command(hide = true)]
    Import(Import),
    /// Remove torrents, or bring back the last that were removed
    Delete(Delete),
    /// What waits to be fetched and why, and what was given up
    Pending(PendingArgs),
    /// Try again what waits or was given up
    Retry(Retry),
    /// Try a filter
    #[command(subcommand)]
    Filter(FilterCommand),
    /// Look names up: addresses or records, who gave the answer, how long it took
    Resolve(Resolve),
    /// Connections to targets: measured, warmed, tested
    #[command(subcommand)]
    Network(NetworkCommand),
    /// Follow events over WebSocket (not built yet)
    #[command(hide = true)]
    Client(Client),
    /// Users (not built yet)
    #[command(hide = true)]
    User(Words),
    /// API keys (not built yet)
    #[command(hide = true)]
    Key(Words),
    /// This box in the mesh (not built yet)
    #[command(hide = true)]
    Node(Node),
    /// Care of the archive
    #[command(subcommand)]
    Db(DbCommand),
    /// Find out what keeps a crawl from going well (not built yet)
    #[command(hide = true)]
    Doctor,
    /// Exit code for container health checks
    Health(Health),
    /// Settings and where they come from
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print a completion script for a shell
    Completions(Completions),
    /// Print the manual page
    Man,
}

/// `demo`
#[derive(Debug, Args)]
pub struct Demo {
    /// DHT nodes
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "5000")]
    pub nodes: u64,
    /// Torrents
    #[arg(long, value_name = "H", value_parser = parse_count, default_value = "5000")]
    pub torrents: u64,
    /// Keep the archive here instead of in a temporary place
    #[arg(long, value_name = "PATH")]
    pub db: Option<PathBuf>,
    /// Where the API listens; the next free port if 3000 is taken (not built yet)
    #[arg(long, value_name = "ADDR", hide = true)]
    pub http: Option<String>,
    /// Makes the same swarm again
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
}

/// `swarm`
#[derive(Debug, Args)]
pub struct Swarm {
    /// DHT nodes
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "5000")]
    pub nodes: u64,
    /// Torrents
    #[arg(long, value_name = "H", value_parser = parse_count, default_value = "5000")]
    pub torrents: u64,
    /// Peers of each torrent
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "1")]
    pub peers: u64,
    /// Nodes that never answer
    #[arg(long, value_name = "PCT", value_parser = parse_percent, default_value = "0")]
    pub dead: f64,
    /// Peers that cannot be reached
    #[arg(long, value_name = "PCT", value_parser = parse_percent, default_value = "0")]
    pub dead_peers: f64,
    /// Packets lost
    #[arg(long, value_name = "PCT", value_parser = parse_percent, default_value = "0")]
    pub loss: f64,
    /// Nodes and peers that lie
    #[arg(long, value_name = "PCT", value_parser = parse_percent, default_value = "0")]
    pub hostile: f64,
    /// Honest peers that take one handshake from an address at a time (Linux)
    #[arg(long, value_name = "PCT", value_parser = parse_percent, default_value = "0")]
    pub one_handshake: f64,
    /// Honest peers that want nothing but the handshake before their own (Linux)
    #[arg(long, value_name = "PCT", value_parser = parse_percent, default_value = "0")]
    pub bare_handshake: f64,
    /// Nodes that go every 10 s and come back as others
    #[arg(long, value_name = "PCT", value_parser = parse_percent, default_value = "0")]
    pub churn: f64,
    /// UDP port of all nodes; 0 picks one
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    pub port: u16,
    /// Makes the same swarm again
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// Makes the same torrents again; --seed if it is not given
    #[arg(long, value_name = "S")]
    pub torrents_seed: Option<u64>,
    /// Write the infohashes here, one a line
    #[arg(long, value_name = "FILE")]
    pub list: Option<PathBuf>,
    /// Write here five times a second what happened, as JSON
    #[arg(long, value_name = "FILE")]
    pub stats: Option<PathBuf>,
}

/// `simulate`
#[derive(Debug, Args)]
pub struct Simulate {
    /// The first seed
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub seed: u64,
    /// How many seeds
    #[arg(long, value_name = "COUNT", value_parser = parse_count, default_value = "1")]
    pub seeds: u64,
    /// Engines in one run
    #[arg(long, value_name = "N", value_parser = parse_count, default_value = "50")]
    pub engines: u64,
    /// Virtual minutes
    #[arg(long, value_name = "M", value_parser = parse_count, default_value = "10")]
    pub minutes: u64,
    /// Packets lost in every seed, beside what is drawn
    #[arg(long, value_name = "PCT", value_parser = parse_percent, default_value = "0")]
    pub loss: f64,
    /// These kinds of faults instead of those drawn from the seed; `none` for none
    #[arg(long, value_name = "LIST")]
    pub faults: Option<String>,
}

/// Flags of every single DHT operation.
#[derive(Debug, Args)]
pub struct Dht {
    /// Nodes to ask first; may be given several times
    #[arg(long, value_name = "HOST:PORT", value_parser = parse_host)]
    pub bootstrap: Vec<(String, u16)>,
    /// The address to ask from; port 0 picks one
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub listen: Option<std::net::SocketAddr>,
    /// When to give up; 0 or off: never
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "30s")]
    pub timeout: Duration,
    /// What is logged: a level, or env_logger's syntax; also DHT_HUNTER_LOG
    #[arg(long, value_name = "TEXT")]
    pub log: Option<String>,
}

/// `ping`
#[derive(Debug, Args)]
pub struct Ping {
    /// The node
    #[arg(value_name = "HOST:PORT", value_parser = parse_host)]
    pub node: (String, u16),
    /// Common flags.
    #[command(flatten)]
    pub dht: Dht,
}

/// `find-node`
#[derive(Debug, Args)]
pub struct FindNode {
    /// 40 hex digits, or any form of an infohash
    #[arg(value_parser = parse_target)]
    pub target: Target,
    /// Common flags.
    #[command(flatten)]
    pub dht: Dht,
}

/// `peers` and `scrape`
#[derive(Debug, Args)]
pub struct OneHash {
    /// Hex, base32, magnet or v2
    #[arg(value_parser = parse_target)]
    pub infohash: Target,
    /// Common flags.
    #[command(flatten)]
    pub dht: Dht,
}

/// `announce`
#[derive(Debug, Args)]
pub struct Announce {
    /// Hex, base32, magnet or v2
    #[arg(value_parser = parse_target)]
    pub infohash: Target,
    /// Where peers shall come to; 0 for the port that the DHT sees
    pub port: u16,
    /// Common flags.
    #[command(flatten)]
    pub dht: Dht,
}

/// `fetch`
#[derive(Debug, Args)]
pub struct Fetch {
    /// Hex, base32, magnet or v2
    #[arg(value_name = "INFOHASH|MAGNET", required = true, value_parser = parse_target)]
    pub torrents: Vec<Target>,
    /// A peer to ask first; may be given several times
    #[arg(long, value_name = "ADDR", value_parser = parse_address)]
    pub peer: Vec<std::net::SocketAddr>,
    /// Where the .torrent files go
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    pub output: PathBuf,
    /// Common flags.
    #[command(flatten)]
    pub dht: Dht,
}

/// `search`
#[derive(Debug, Args)]
pub struct Search {
    /// Words of names and file names; "some words" for these in a row, -word for none with it; without
    /// any the newest torrents
    pub words: Vec<String>,
    /// Show the files that match, too
    #[arg(long)]
    pub files: bool,
    /// Only torrents at least this large
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub min_size: Option<u64>,
    /// Only torrents at most this large
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub max_size: Option<u64>,
    /// What comes first
    #[arg(long, value_enum, default_value_t = Sort::Relevance)]
    pub sort: Sort,
    /// How many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000), default_value_t = 20)]
    pub limit: u32,
    /// Leave out so many
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=10_000), default_value_t = 0)]
    pub offset: u32,
    /// Where the archive is.
    #[command(flatten)]
    pub place: PlaceFlags,
}

/// What comes first in a list of torrents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Sort {
    /// The best match.
    Relevance,
    /// The most seeders.
    Seeders,
    /// The largest.
    Size,
    /// The newest.
    New,
}

/// `show`
#[derive(Debug, Args)]
pub struct Show {
    /// Hex, base32, magnet or v2; of hex the first digits, if only one torrent begins so
    #[arg(value_parser = parse_start)]
    pub infohash: Start,
    /// Where the archive is.
    #[command(flatten)]
    pub place: PlaceFlags,
}

/// `stats`
#[derive(Debug, Args)]
pub struct Stats {
    /// The archive, as with --db
    #[arg(value_name = "FILE", conflicts_with = "db")]
    pub file: Option<PathBuf>,
    /// Where the archive is.
    #[command(flatten)]
    pub place: PlaceFlags,
}

/// `export`
#[derive(Debug, Args)]
pub struct Export {
    /// Only torrents that match these words, or are these infohashes; all without
    pub query: Vec<String>,
    /// How they are written
    #[arg(long, value_enum, default_value_t = ExportFormat::Jsonl)]
    pub format: ExportFormat,
    /// A file, or for `torrent` a folder; `-` is standard output
    #[arg(short, long, value_name = "PATH", default_value = "-")]
    pub output: PathBuf,
    /// Where the archive is.
    #[command(flatten)]
    pub place: PlaceFlags,
}

/// How torrents are written out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// A file each; needs `--keep info`.
    Torrent,
    /// A link each.
    Magnet,
    /// A table.
    Csv,
    /// A JSON object a line.
    Jsonl,
}

/// `import`
#[derive(Debug, Args)]
pub struct Import {
    /// Files to read
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Where the archive is.
    #[command(flatten)]
    pub place: PlaceFlags,
}

/// `delete`
#[derive(Debug, Args)]
pub struct Delete {
    /// Words that must all be in a torrent's name, or infohashes
    #[arg(value_name = "QUERY", required_unless_present = "undo")]
    pub query: Vec<String>,
    /// Words may be in the names of files, too
    #[arg(long)]
    pub files: bool,
    /// Only say what would be removed
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask
    #[arg(long)]
    pub yes: bool,
    /// Bring back what the last deletion took, up to seven days later
    #[arg(long, conflicts_with_all = ["query", "files", "dry_run"])]
    pub undo: bool,
    /// Where the archive is.
    #[command(flatten)]
    pub place: PlaceFlags,
}

/// `filter`
#[derive(Debug, Subcommand)]
pub enum FilterCommand {
    /// Say what of the archive a filter would catch
    Test(FilterTest),
}

/// `filter test`
#[derive(Debug, Args)]
pub struct FilterTest {
    /// The filter
    pub file: PathBuf,
    /// Where the archive is.
    #[command(flatten)]
    pub place: PlaceFlags,
}

/// `resolve`
#[derive(Debug, Args)]
pub struct Resolve {
    /// Names, and the DNS servers to ask: @ADDR, @tls://ADDR#NAME [default: those of resolv.conf]
    #[arg(value_name = "NAME|@SERVER")]
    pub names: Vec<String>,
    /// Record type [default: the addresses]
    #[arg(long, value_name = "T")]
    pub r#type: Option<String>,
    /// Names to look up, one a line; prints JSON lines
    #[arg(long, value_name = "NAMES")]
    pub file: Option<PathBuf>,
    /// Names a second at most
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    pub rate: Option<u64>,
}

/// `client`
#[derive(Debug, Args)]
pub struct Client {
    /// The engine
    pub url: Option<String>,
    /// Kind of connection
    #[arg(long, value_name = "T")]
    pub r#type: Option<String>,
    /// Who it is
    #[arg(long, value_name = "U")]
    pub user: Option<String>,
}

/// Commands whose words are not settled yet.
#[derive(Debug, Args)]
pub struct Words {
    /// What to do
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

/// `node`
#[derive(Debug, Args)]
pub struct Node {
    /// What to show
    #[arg(value_parser = ["id", "peers", "token"])]
    pub what: String,
}

/// `db`
#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Verify whatever can be verified
    Check(DbPlace),
    /// Give free pages back to the disk
    Compact(DbPlace),
    /// Write one consistent copy, also while the engine runs
    Backup(DbFile),
    /// Put a copy in the archive's place
    Restore(DbFile),
    /// Build the search index anew
    Reindex(DbPlace),
}

/// Where the archive is.
#[derive(Debug, Args)]
pub struct DbPlace {
    /// Where the archive is.
    #[command(flatten)]
    pub place: PlaceFlags,
}

/// Where the archive is, and a copy.
#[derive(Debug, Args)]
pub struct DbFile {
    /// The copy; `-` is standard output for a backup
    pub file: PathBuf,
    /// Where the archive is.
    #[command(flatten)]
    pub place: PlaceFlags,
}

/// `health`
#[derive(Debug, Args)]
pub struct Health {
    /// Healthy means written to within this time
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "5m")]
    pub within: Duration,
    /// Where the archive is.
    #[command(flatten)]
    pub place: PlaceFlags,
}

/// `config`
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print each setting, its value and where it comes from
    Show(RunFlags),
}

/// `completions`
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// The heading, then [`super::help`]'s list of commands in groups.
const TEMPLATE: &str = "{about}\n\n{usage-heading} {usage}\n\n{before-help}Options:\n{options}{after-help}";

const AFTER_HELP: &str = "\
Every flag can be an environment variable (--packets-out: DHT_HUNTER_PACKETS_OUT) and every setting of \
`run` a key in --config FILE; `config show` tells where a value comes from.
`--help --all` shows the flags that are seldom needed.";
