//! A small DHT of libtorrent sessions in a Python process: see `nodes.py`.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use dht_hunter::base::InfoHash;
use serde_json::{Value, json};

use crate::namespace::Place;

/// The sessions.
pub struct Libtorrent {
    child: Child,
    ask: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// What it seeds.
    pub torrents: Vec<Seeded>,
    /// Where its nodes are.
    pub nodes: Vec<String>,
}

/// A torrent that it made and seeds.
#[derive(Clone, Debug)]
pub struct Seeded {
    pub kind: String,
    pub infohash: InfoHash,
    pub name: String,
}

/// A Python that has libtorrent, or what is missing.
pub fn python() -> Result<PathBuf, String> {
    let given = std::env::var_os("DHT_HUNTER_PEERS_PYTHON").map(PathBuf::from);
    let venv = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/peers-venv/bin/python");
    let python = given.unwrap_or(venv);
    let has = Command::new(&python).args(["-c", "import libtorrent"]).stderr(Stdio::null()).status();
    match has {
        Ok(status) if status.success() => Ok(python),
        _ => Err("there is no Python with libtorrent; scripts/test --install makes one".to_owned()),
    }
}

impl Libtorrent {
    /// Starts the sessions that `wish` describes.
    pub fn start(place: Place<'_>, python: &PathBuf, wish: &Value) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/nodes.py");
        let mut command = place.command(python);
        command.args(["-W", "ignore", script, &wish.to_string()]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("Python was there before");
        let ask = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut made = Self { child, ask, answers, torrents: Vec::new(), nodes: Vec::new() };
        let ready = made.answer();
        let text = |value: &Value| value.as_str().expect("nodes.py says so").to_owned();
        let torrents = ready["torrents"].as_array().into_iter().flatten();
        made.torrents = torrents
            .map(|torrent| Seeded {
                kind: text(&torrent["kind"]),
                infohash: InfoHash::from_hex(&text(&torrent["infohash"])).expect("40 hex digits"),
                name: text(&torrent["name"]),
            })
            .collect();
        let nodes = ready["nodes"].as_array().into_iter().flatten();
        made.nodes = nodes
            .map(|node| match text(&node[0]) {
                v6 if v6.contains(':') => format!("[{v6}]:{}", node[1]),
                v4 => format!("{v4}:{}", node[1]),
            })
            .collect();
        made
    }

    /// Announces to the DHT what it seeds, again.
    pub fn announce(&mut self) {
        self.call(&json!(["announce"]));
    }

    /// How many of its torrents the DHT knows a peer of.
    pub fn announced(&mut self) -> u64 {
        self.call(&json!(["announced"]))["count"].as_u64().unwrap_or(0)
    }

    /// Tells every session of a node.
    pub fn add_node(&mut self, address: &str, port: u16) {
        self.call(&json!(["add_node", address, port]));
    }

    /// In how many routing tables a node is, its ids there, and whether they fit its address.
    pub fn live_nodes(&mut self, address: &str, port: u16) -> (u64, Vec<String>, bool) {
        let answer = self.call(&json!(["live_nodes", address, port]));
        let ids =
            answer["ids"].as_array().into_iter().flatten().map(|id| id.as_str().unwrap_or("").to_owned());
        (answer["tables"].as_u64().unwrap_or(0), ids.collect(), answer["fit"] == true)
    }

    fn call(&mut self, question: &Value) -> Value {
        let ask = self.ask.as_mut().expect("it is open until dropped");
        writeln!(ask, "{question}").expect("it listens");
        self.answer()
    }

    fn answer(&mut self) -> Value {
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("it writes text");
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("nodes.py ended: {:?}", self.child.try_wait()))
    }
}

impl Drop for Libtorrent {
    fn drop(&mut self) {
        drop(self.ask.take());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
