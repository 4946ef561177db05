//! The settings of a run, parsed and complete, with where each came from.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use super::failure::Failure;
use super::keys::{self, KEYS, Key};
use super::layers::{Given, Layers, Origin};
use super::names;
use super::units;
use super::zones;
use crate::dns::{ForwarderConfig, Rebinding, Strategy, listener};
use crate::engine::config::Rates;
use crate::reactor::Listen;

/// Everything `run` can be told, parsed.
#[derive(Clone, Debug)]
pub struct RunSettings {
    /// The folder of database, index and keys.
    pub data_dir: PathBuf,
    /// The database.
    pub db: PathBuf,
    /// Where DHT nodes listen.
    pub listen: Vec<SocketAddr>,
    /// Nobody chose `listen`: an address whose family the host lacks is skipped with a line,
    /// where a chosen one is fatal.
    pub listen_is_default: bool,
    /// The only network interface to use.
    pub interface: Option<String>,
    /// Hosts and ports to ask first.
    pub bootstrap: Vec<(String, u16)>,
    /// The word given as `--profile`.
    pub profile: Profile,
    /// What may be used of line and router.
    pub rates: Rates,
    /// Bytes for a month, 0 for no limit.
    pub month_bytes_max: u64,
    /// Minutes of the day, local time, between which the crawl pauses.
    pub pause_between: Option<(u16, u16)>,
    /// Walk the DHT (BEP 51).
    pub sweep: bool,
    /// Learn from incoming queries.
    pub passive: bool,
    /// Largest info dictionary in bytes, at most 16 MiB.
    pub metadata_bytes_max: u64,
    /// Whom to ask about names; nobody: whom the system asks.
    pub forwarders: Vec<ForwarderConfig>,
    /// How one of them is chosen.
    pub dns_strategy: Strategy,
    /// Where questions about names are answered.
    pub dns: Vec<Listen>,
    /// Private addresses are left out of answers about public names.
    pub dns_rebinding: Option<Rebinding>,
    /// Who may ask there, and how much.
    pub dns_clients: listener::Config,
    /// Zones that are answered from, and lists of what is answered otherwise.
    pub dns_local: zones::Named,
    /// Keep connections to the targets warm.
    pub preconnect: bool,
    /// The file of targets; none: those that are shipped.
    pub targets: Option<PathBuf>,
    /// What is never kept.
    pub filter: Option<PathBuf>,
    /// Contact peers on ports below 1024.
    pub low_ports: bool,
    /// Keep the raw info dictionary too.
    pub keep_info: bool,
    /// Bytes for the archive, 0 for no limit.
    pub disk_bytes_max: u64,
    /// Bytes that stay free on the disk.
    pub disk_free_bytes_min: u64,
    /// Rows of one transaction.
    pub commit_rows: u32,
    /// Milliseconds until a transaction is committed.
    pub commit_ms: u32,
    /// env_logger's filter.
    pub log: String,
    /// Log as JSON lines.
    pub log_json: bool,
    /// Datagrams per system call, 1 to 64.
    pub udp_batch: usize,
    /// Every key as it was given, in the order of `--help`.
    pub given: Vec<(&'static Key, Given)>,
}

/// A row of limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Spares a small router and its line.
    Home,
    /// For a box in a data centre.
    Server,
    /// No limits but those of sanity.
    Max,
}

impl RunSettings {
    /// Merges the layers. `variable` reads the environment, for the default data folder.
    pub fn from_layers(layers: &Layers, variable: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let mut values = Values { given: KEYS.iter().map(|key| (key, layers.given(key))).collect() };
        values.fill_profile()?;
        let data_dir = match values.text("data-dir") {
            Some(folder) => PathBuf::from(folder),
            None => default_data_dir(&variable)?,
        };
        values.fill("data-dir", data_dir.display().to_string());
        let db = values.text("db").map_or_else(|| data_dir.join(DB_NAME), PathBuf::from);
        values.fill("db", db.display().to_string());
        let settings = Self {
            data_dir,
            db,
            listen: values.each("listen", keys::parse_address)?,
            listen_is_default: values.origin("listen") == &Origin::Default,
            interface: values.text("interface").map(str::to_owned),
            bootstrap: values.each("bootstrap", keys::parse_host)?,
            profile: values.profile()?,
            rates: values.rates()?,
            month_bytes_max: values.one("traffic-month", units::parse_size)?,
            pause_between: values.optional("pause-between", units::parse_daily_span)?,
            sweep: !values.one("no-sweep", keys::parse_switch)?,
            passive: !values.one("no-passive", keys::parse_switch)?,
            metadata_bytes_max: values.one("metadata-max", units::parse_size)?,
            forwarders: values.each("dns-forwarder", names::parse_forwarder)?,
            dns_strategy: values.one("dns-strategy", strategy)?,
            dns: values.addresses_or_off("dns")?,
            dns_rebinding: values.dns_rebinding()?,
            dns_clients: values.dns_clients()?,
            dns_local: values.local_files()?,
            preconnect: match values.origin("preconnect") {
                Origin::Default => values.text("targets").is_some(),
                _ => values.one("preconnect", keys::parse_switch)?,
            },
            targets: values.text("targets").map(PathBuf::from),
            filter: values.text("filter").map(PathBuf::from),
            low_ports: values.one("peer-ports-below-1024", keys::parse_switch)?,
            keep_info: values.text("keep") == Some("info"),
            disk_bytes_max: values.one("disk-max", units::parse_disk_size)?,
            disk_free_bytes_min: values.one("disk-free-min", units::parse_disk_size)?,
            commit_rows: values.small("commit-rows")?,
            commit_ms: values.small("commit-ms")?,
            log: values.text("log").unwrap_or("info").to_owned(),
            log_json: values.text("log-format") == Some("json"),
            udp_batch: values.small("udp-batch")? as usize,
            given: values.given,
        };
        settings.checked()
    }

    /// One line for each setting that was given although its room does not exist yet.
    pub fn without_effect(&self) -> Vec<String> {
        let idle = self.given.iter().filter(|(key, given)| !key.built && given.origin != Origin::Default);
        idle.map(|(key, given)| {
            format!("--{} ({}) has no effect yet: that part is not built", key.name, given.origin)
        })
        .collect()
    }

    /// What is to be logged, if that was said.
    pub fn given_log(&self) -> Option<&str> {
        let row = self.given.iter().find(|(key, _)| key.name == "log");
        row.filter(|(_, given)| given.origin != Origin::Default).map(|_| self.log.as_str())
    }

    fn checked(mut self) -> Result<Self, Failure> {
        if self.metadata_bytes_max > METADATA_BYTES_MAX {
            return Err(Failure::usage("--metadata-max is at most 16MiB; give a smaller size"));
        }
        if self.metadata_bytes_max == 0 {
            self.metadata_bytes_max = METADATA_BYTES_MAX;
        }
        if (1..DISK_BYTES_MIN).contains(&self.disk_bytes_max) {
            return Err(Failure::usage(format!(
                "--disk-max is at least {}: less keeps nothing; give more, or off",
                units::human_size(DISK_BYTES_MIN)
            )));
        }
        if self.disk_bytes_max > 0 {
            // One dictionary must not take the place of all others.
            self.metadata_bytes_max = self.metadata_bytes_max.min(self.disk_bytes_max / METADATA_DISK_SHARE);
        }
        if !(1..=UDP_BATCH_MAX).contains(&self.udp_batch) {
            return Err(Failure::usage("--udp-batch goes from 1 to 64; give a number in between"));
        }
        if self.commit_rows == 0 {
            self.commit_rows = u32::MAX;
        }
        if self.commit_ms == 0 {
            return Err(Failure::usage("--commit-ms is at least 1; give a number from there"));
        }
        if self.listen.is_empty() {
            return Err(Failure::usage("--listen names no address; give one, for example 0.0.0.0:6881"));
        }
        if self.dns.iter().any(|listen| listen.addr.port() == 0) {
            return Err(Failure::usage(
                "--dns needs a port, the same for UDP and TCP; give one, for example 53",
            ));
        }
        let mut seen = Vec::new();
        self.listen.retain(|addr| {
            !seen.contains(addr) && {
                seen.push(*addr);
                true
            }
        });
        Ok(self)
    }
}

impl Profile {
    /// By the word of `--profile`.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "home" => Some(Self::Home),
            "server" => Some(Self::Server),
            "max" => Some(Self::Max),
            _ => None,
        }
    }

    /// Its limits.
    pub const fn rates(self) -> Rates {
        match self {
            Self::Home => Rates::HOME,
            Self::Server => Rates::SERVER,
            Self::Max => Rates::MAX,
        }
    }
}

fn strategy(word: &str) -> Result<Strategy, String> {
    match word {
        "strict" => Ok(Strategy::Strict),
        "parallel" => Ok(Strategy::Parallel),
        "fastest" => Ok(Strategy::Fastest),
        _ => Err(format!("`{word}` is none of strict, parallel, fastest")),
    }
}

/// Values by key, being parsed.
struct Values {
    given: Vec<(&'static Key, Given)>,
}

impl Values {
    fn entry(&self, name: &str) -> &Given {
        let found = self.given.iter().find(|(key, _)| key.name == name);
        &found.expect("every name asked for is a row of the table").1
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.entry(name).last()
    }

    fn local_files(&self) -> Result<zones::Named, Failure> {
        Ok(zones::Named {
            zones: self.texts("dns-zone"),
            lists: self.texts("dns-policy"),
            shrink_percent_max: self.one("dns-policy-shrink", units::parse_share)?,
        })
    }

    fn texts(&self, name: &str) -> Vec<String> {
        self.entry(name).values.clone()
    }

    fn origin(&self, name: &str) -> &Origin {
        &self.entry(name).origin
    }

    fn one<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, Failure> {
        let text = self.text(name).unwrap_or_default();
        parse(text).map_err(|fault| Failure::usage(format!("--{name}: {fault}")))
    }

    fn optional<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Failure> {
        self.text(name).map(|_| self.one(name, parse)).transpose()
    }

    fn each<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, Failure> {
        let all: Result<Vec<T>, String> = self.entry(name).values.iter().map(|text| parse(text)).collect();
        all.map_err(|fault| Failure::usage(format!("--{name}: {fault}")))
    }

    /// None if the last that was given is `off`.
    fn addresses_or_off(&self, name: &str) -> Result<Vec<Listen>, Failure> {
        if self.text(name).is_none_or(keys::is_off) {
            return Ok(Vec::new());
        }
        let parse =
            |text: &str| if keys::is_off(text) { Ok(Vec::new()) } else { keys::parse_addresses(text) };
        let mut all: Vec<Listen> = Vec::new();
        for listen in self.each(name, parse)?.into_iter().flatten() {
            match all.iter_mut().find(|known| known.addr == listen.addr) {
                Some(known) => known.explicit |= listen.explicit,
                None => all.push(listen),
            }
        }
        Ok(all)
    }

    fn dns_rebinding(&self) -> Result<Option<Rebinding>, Failure> {
        let allowed = self.each("dns-rebind-allow", names::parse_suffix)?;
        Ok(self.one("dns-rebind-protect", keys::parse_switch)?.then_some(Rebinding { allowed }))
    }

    fn dns_clients(&self) -> Result<listener::Config, Failure> {
        let allow = self.each("dns-allow", keys::parse_network)?;
        let rate = self.one("dns-rate", units::parse_rate)?;
        let rate = u32::try_from(rate)
            .map_err(|_| Failure::usage(format!("--dns-rate: {rate} is too large; give a smaller one")))?;
        let local = listener::Config::local();
        if allow.is_empty() {
            return Ok(listener::Config { rate, ..local });
        }
        Ok(listener::Config { allow, own_networks: false, rate })
    }

    fn small(&self, name: &str) -> Result<u32, Failure> {
        let number = self.one(name, units::parse_count)?;
        u32::try_from(number)
            .map_err(|_| Failure::usage(format!("--{name}: {number} is too large; give a smaller one")))
    }

    fn fill(&mut self, name: &str, text: String) {
        let empty = self.given.iter_mut().find(|(key, given)| key.name == name && given.values.is_empty());
        if let Some((_, given)) = empty {
            given.values.push(text);
        }
    }

    fn profile(&self) -> Result<Profile, Failure> {
        self.one("profile", |name| {
            Profile::named(name).ok_or_else(|| format!("`{name}` is none of home, server, max"))
        })
    }

    /// Rates that nobody gave are the profile's.
    fn fill_profile(&mut self) -> Result<(), Failure> {
        let rates = self.profile()?.rates();
        let name = self.text("profile").unwrap_or_default().to_owned();
        for (key, given) in &mut self.given {
            if let Some(text) = written(&rates, key.name).filter(|_| given.values.is_empty()) {
                *given = Given { values: vec![text], origin: Origin::Profile(name.clone()) };
            }
        }
        Ok(())
    }

    fn rates(&self) -> Result<Rates, Failure> {
        let (rate, burst) = self.one("answers-per-address", units::parse_rate_and_burst)?;
        let fits = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Ok(Rates {
            packets_out: self.one("packets-out", units::parse_rate)?,
            bytes_out: self.one("bytes-out", units::parse_byte_rate)?,
            bytes_in: self.one("bytes-in", units::parse_byte_rate)?,
            flows: self.small("flows")? as usize,
            half_open: self.small("half-open")? as usize,
            fetches: self.small("fetches")? as usize,
            answers_per_address: fits(rate),
            answers_burst: fits(burst),
        })
    }
}

/// The value of one of the rates' keys, as one would write it; `None` for other keys.
fn written(rates: &Rates, name: &str) -> Option<String> {
    let number = match name {
        "packets-out" => rates.packets_out,
        "bytes-out" => rates.bytes_out,
        "bytes-in" => rates.bytes_in,
        "flows" => rates.flows as u64,
        "half-open" => rates.half_open as u64,
        "fetches" => rates.fetches as u64,
        "answers-per-address" if rates.answers_per_address > 0 => {
            return Some(format!("{},{}", rates.answers_per_address, rates.answers_burst));
        }
        "answers-per-address" => 0,
        _ => return None,
    };
    Some(if number == 0 { "off".to_owned() } else { number.to_string() })
}

/// `$STATE_DIRECTORY` (systemd; the first, if several), else the user's data folder of the platform.
fn default_data_dir(variable: &impl Fn(&str) -> Option<String>) -> Result<PathBuf, Failure> {
    let set = |name: &str| variable(name).filter(|text| !text.is_empty());
    if let Some(folders) = set("STATE_DIRECTORY") {
        return Ok(PathBuf::from(folders.split(':').next().unwrap_or(&folders)));
    }
    let base = if cfg!(windows) {
        set("LOCALAPPDATA").map(PathBuf::from)
    } else if let Some(folder) = set("XDG_DATA_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute())
    {
        Some(folder)
    } else {
        let inside = if cfg!(target_os = "macos") { "Library/Application Support" } else { ".local/share" };
        set("HOME").map(|home| PathBuf::from(home).join(inside))
    };
    match base {
        Some(base) => Ok(base.join("dht-hunter")),
        None => Err(Failure::usage("no data folder is known because HOME is not set; give --data-dir PATH")),
    }
}

/// The default addresses, each of its own family only.
pub const LISTEN_DEFAULT: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 6881),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 6881),
];

const DB_NAME: &str = "dht-hunter.db";
/// The cap of a fetch; larger info dictionaries are not asked for.
const METADATA_BYTES_MAX: u64 = 16 << 20;
/// One system call's batch at most.
/// Room for some thousand torrents beside the tables and the index.
pub const DISK_BYTES_MIN: u64 = 1 << 20;
/// The share of `--disk-max` that one info dictionary may take.
const METADATA_DISK_SHARE: u64 = 8;
const UDP_BATCH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(flags: &[(&'static str, &str)]) -> Result<RunSettings, Failure> {
        let mut layers = Layers::default();
        for (name, value) in flags {
            layers.flags.entry(name).or_default().push((*value).to_owned());
        }
        RunSettings::from_layers(&layers, |name| (name == "HOME").then(|| "/h".to_owned()))
    }

    #[test]
    fn without_flags_it_is_the_home_profile() {
        let settings = settings(&[]).unwrap();
        assert_eq!(settings.rates, Rates::HOME);
        assert_eq!(settings.listen, LISTEN_DEFAULT);
        assert!(settings.listen_is_default && settings.sweep && settings.passive && !settings.keep_info);
        assert_eq!(settings.disk_free_bytes_min, 2 << 30);
        assert_eq!(settings.bootstrap.len(), 4);
        assert!(settings.without_effect().is_empty());
        assert!(settings.db.ends_with("dht-hunter/dht-hunter.db"));
    }

    #[test]
    fn a_profile_is_the_ground_for_single_rates() {
        let settings =
            settings(&[("profile", "max"), ("flows", "5k"), ("answers-per-address", "7")]).unwrap();
        assert_eq!(settings.profile, Profile::Max);
        let expected = Rates { flows: 5_000, answers_per_address: 7, answers_burst: 35, ..Rates::MAX };
        assert_eq!(settings.rates, expected);
        let origin = |name: &str| {
            let found = settings.given.iter().find(|(key, _)| key.name == name);
            found.map(|(_, given)| given.origin.to_string()).unwrap()
        };
        assert_eq!((origin("flows"), origin("half-open")), ("flag".to_owned(), "profile max".to_owned()));
    }

    #[test]
    fn flags_of_rooms_to_come_say_so() {
        let said =
            settings(&[("http", "127.0.0.1:1"), ("mesh", "off"), ("keep", "info")]).unwrap().without_effect();
        assert_eq!(said.len(), 2);
        assert!(said[0].starts_with("--http (flag) has no effect yet"));
    }

    #[test]
    fn bounds_are_kept() {
        for (name, value) in [
            ("metadata-max", "17MiB"),
            ("udp-batch", "0"),
            ("udp-batch", "65"),
            ("commit-ms", "off"),
            ("flows", "5000M"),
        ] {
            let failure = settings(&[(name, value)]).unwrap_err();
            assert!(failure.to_string().contains(name), "{failure}");
        }
        let twice = settings(&[("listen", "127.0.0.1:1"), ("listen", "127.0.0.1:1")]).unwrap();
        assert_eq!(twice.listen.len(), 1);
        assert!(!twice.listen_is_default);
    }

    #[test]
    fn the_data_folder_follows_systemd_then_xdg_then_home() {
        let folder = |set: &[(&str, &str)]| {
            let variable =
                |name: &str| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
            default_data_dir(&variable).map(|path| path.display().to_string())
        };
        assert_eq!(folder(&[("STATE_DIRECTORY", "/var/lib/a:/b"), ("HOME", "/h")]).unwrap(), "/var/lib/a");
        if cfg!(target_os = "linux") {
            assert_eq!(folder(&[("XDG_DATA_HOME", "/x"), ("HOME", "/h")]).unwrap(), "/x/dht-hunter");
            assert_eq!(
                folder(&[("XDG_DATA_HOME", "x"), ("HOME", "/h")]).unwrap(),
                "/h/.local/share/dht-hunter"
            );
            assert!(folder(&[]).unwrap_err().to_string().contains("--data-dir"));
        }
    }
}
