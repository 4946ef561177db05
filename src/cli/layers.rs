//! Where a setting's value comes from: flag, environment, a change kept in the database, the
//! configuration file, the default, in this order.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::failure::Failure;
use super::keys::{KEYS, Key, Kind};
use crate::base::text::without_bom;

/// Values by the name of their key, as written.
pub type Layer = BTreeMap<&'static str, Vec<String>>;

/// Where a value comes from. The first that has one wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// This environment variable.
    Environment(String),
    /// Changed while running, kept in the database.
    Kept,
    /// This configuration file.
    File(String),
    /// `--profile`.
    Profile(String),
    /// Nobody set it.
    Default,
}

/// A value as written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// One, or several for a key that repeats; none if there is not even a default.
    pub values: Vec<String>,
    /// Where it comes from.
    pub origin: Origin,
}

/// All layers, before they are merged.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// From the command line.
    pub flags: Layer,
    /// From the environment, with the variable's name.
    pub environment: BTreeMap<&'static str, (String, Vec<String>)>,
    /// From the database.
    pub kept: Layer,
    /// From the file, with its name.
    pub file: Option<(String, Layer)>,
}

impl Layers {
    /// What `key` is set to, defaults that depend on other things left out.
    pub fn given(&self, key: &Key) -> Given {
        let from = |values: &Vec<String>, origin| Some(Given { values: values.clone(), origin });
        let flag = || from(self.flags.get(key.name)?, Origin::Flag);
        let environment = || {
            let (variable, values) = self.environment.get(key.name)?;
            from(values, Origin::Environment(variable.clone()))
        };
        let kept = || from(self.kept.get(key.name)?, Origin::Kept);
        let file = || {
            let (name, layer) = self.file.as_ref()?;
            from(layer.get(key.name)?, Origin::File(name.clone()))
        };
        flag().or_else(environment).or_else(kept).or_else(file).unwrap_or_else(|| Given::default_of(key))
    }

    /// Reads the environment through `variable`: `DHT_HUNTER_…`, and the short names `PORT` and
    /// `DB_PATH`. Lists are separated by spaces. An empty variable is as good as none.
    pub fn read_environment(&mut self, variable: impl Fn(&str) -> Option<String>) -> Result<(), Failure> {
        for key in KEYS {
            let own = key.variable();
            let short = match key.name {
                "db" => variable("DB_PATH").map(|path| ("DB_PATH", path)),
                "http" => variable("PORT").map(|port| ("PORT", format!("127.0.0.1:{port}"))),
                _ => None,
            };
            let long = variable(&own).map(|text| (own.as_str(), text));
            let Some((name, text)) = long.or(short).filter(|(_, text)| !text.is_empty()) else { continue };
            let values = match key.repeats() {
                true => text.split_whitespace().map(str::to_owned).collect(),
                false => vec![text],
            };
            check_all(key, &values)
                .map_err(|fault| Failure::usage(format!("in the environment, {name}: {fault}")))?;
            self.environment.insert(key.name, (name.to_owned(), values));
        }
        Ok(())
    }

    /// Reads a TOML file whose keys are named as the flags.
    pub fn read_file(&mut self, path: &Path) -> Result<(), Failure> {
        let shown = path.display().to_string();
        let text = match std::fs::metadata(path) {
            Ok(facts) if facts.len() > FILE_BYTES_MAX => Err("it is larger than 1 MiB".to_owned()),
            _ => std::fs::read_to_string(path).map_err(|fault| fault.to_string()),
        };
        let text = text.map_err(|fault| {
            Failure::usage(format!(
                "cannot read the configuration {shown}: {fault}; give another with --config"
            ))
        })?;
        let layer = parse_file(&text).map_err(|fault| Failure::usage(format!("in {shown}: {fault}")))?;
        self.file = Some((shown, layer));
        Ok(())
    }

    /// Takes over what the database keeps; rows of other programs' making are left out, and those
    /// that say where the database is.
    pub fn read_kept(&mut self, settings: &[(String, String)]) {
        for (name, text) in settings {
            let Some(key) = name.strip_prefix(KEPT_PREFIX).and_then(Key::named) else { continue };
            if WHERE.contains(&key.name) {
                continue;
            }
            let values: Vec<String> = match key.repeats() {
                true => text.split_whitespace().map(str::to_owned).collect(),
                false => vec![text.clone()],
            };
            if check_all(key, &values).is_ok() {
                self.kept.insert(key.name, values);
            }
        }
    }
}

impl Given {
    fn default_of(key: &Key) -> Self {
        let values = match key.default {
            "" => Vec::new(),
            list if key.repeats() => list.split(' ').map(str::to_owned).collect(),
            one => vec![one.to_owned()],
        };
        Self { values, origin: Origin::Default }
    }

    /// The last value: a flag that is given twice means its last.
    pub fn last(&self) -> Option<&str> {
        self.values.last().map(String::as_str)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("flag"),
            Self::Environment(variable) => write!(f, "environment {variable}"),
            Self::Kept => f.write_str("changed while running"),
            Self::File(name) => write!(f, "file {name}"),
            Self::Profile(name) => write!(f, "profile {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

fn check_all(key: &Key, values: &[String]) -> Result<(), String> {
    values.iter().try_for_each(|value| key.check(value))
}

fn parse_file(text: &str) -> Result<Layer, String> {
    let text = without_bom(text);
    let table: toml::Table = text.parse().map_err(|fault: toml::de::Error| {
        let line = fault.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
        format!("line {line}: {}", fault.message().replace('\n', " "))
    })?;
    let mut layer = Layer::new();
    for (name, value) in &table {
        let Some(key) = Key::named(name).filter(|key| key.name != "config") else {
            return Err(format!("there is no setting `{name}`; `dht-hunter config show` lists them all"));
        };
        let values = values_of(key, value).ok_or_else(|| format!("`{name}` wants {}", wanted(key)))?;
        check_all(key, &values).map_err(|fault| format!("`{name}`: {fault}"))?;
        layer.insert(key.name, values);
    }
    Ok(layer)
}

fn values_of(key: &Key, value: &toml::Value) -> Option<Vec<String>> {
    let one = |value: &toml::Value| match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(on) if key.kind == Kind::Switch => Some(on.to_string()),
        toml::Value::Boolean(false) => Some("off".to_owned()),
        _ => None,
    };
    match value {
        toml::Value::Array(list) if key.repeats() => list.iter().map(one).collect(),
        single => Some(vec![one(single)?]),
    }
}

fn wanted(key: &Key) -> String {
    if key.repeats() { format!("a list of {}", key.value_name()) } else { key.value_name().to_owned() }
}

/// Settings that people changed, apart from what the engine keeps under other names.
pub const KEPT_PREFIX: &str = "flag.";
/// What leads to the database cannot be in it.
const WHERE: [&str; 3] = ["config", "data-dir", "db"];
/// A configuration is a few hundred lines; a wrong path can be anything.
const FILE_BYTES_MAX: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(name: &'static str, value: &str) -> Layer {
        Layer::from([(name, vec![value.to_owned()])])
    }

    fn given(layers: &Layers, name: &str) -> (String, String) {
        let given = layers.given(Key::named(name).unwrap());
        (given.values.join(" "), given.origin.to_string())
    }

    #[test]
    fn the_first_layer_that_has_a_value_wins() {
        let mut layers = Layers::default();
        assert_eq!(given(&layers, "fetches"), (String::new(), "default".to_owned()));
        layers.file = Some(("f.toml".to_owned(), layer("fetches", "1")));
        assert_eq!(given(&layers, "fetches"), ("1".to_owned(), "file f.toml".to_owned()));
        layers.read_kept(&[
            ("flag.fetches".to_owned(), "2".to_owned()),
            ("flag.nonsense".to_owned(), "x".to_owned()),
            ("flag.db".to_owned(), "/elsewhere".to_owned()),
        ]);
        assert_eq!(given(&layers, "fetches"), ("2".to_owned(), "changed while running".to_owned()));
        assert_eq!(given(&layers, "db").1, "default");
        layers.read_environment(|name| (name == "DHT_HUNTER_FETCHES").then(|| "3".to_owned())).unwrap();
        assert_eq!(given(&layers, "fetches"), ("3".to_owned(), "environment DHT_HUNTER_FETCHES".to_owned()));
        layers.flags = layer("fetches", "4");
        assert_eq!(given(&layers, "fetches"), ("4".to_owned(), "flag".to_owned()));
    }

    #[test]
    fn short_variables_yield_to_long_ones() {
        let mut layers = Layers::default();
        layers
            .read_environment(|name| matches!(name, "PORT" | "DB_PATH").then(|| "8080".to_owned()))
            .unwrap();
        assert_eq!(given(&layers, "http"), ("127.0.0.1:8080".to_owned(), "environment PORT".to_owned()));
        assert_eq!(given(&layers, "db").0, "8080");
        layers
            .read_environment(|name| matches!(name, "DB_PATH" | "DHT_HUNTER_DB").then(|| name.to_owned()))
            .unwrap();
        assert_eq!(given(&layers, "db").0, "DHT_HUNTER_DB");
    }

    #[test]
    fn a_file_takes_natural_toml() {
        let text = "\u{feff}flows = 100\nlisten = [\"10.0.0.1:1\", \"[fd00::1]:1\"]\nno-sweep = true\ndisk-max = \"1GiB\"\nhttp = false\n";
        let layer = parse_file(text).unwrap();
        assert_eq!(layer["listen"].len(), 2);
        assert_eq!(layer["no-sweep"], ["true"]);
        assert_eq!(layer["flows"], ["100"]);
        assert_eq!(layer["http"], ["off"]);
    }

    #[test]
    fn a_wrong_file_says_where() {
        let cases = [
            ("flows = 1\nflowz = 2", "no setting `flowz`"),
            ("flows = \"many\"", "`flows`: `many` is not a number"),
            ("a = 1\nb = = 2", "line 2"),
            ("flows = [1]", "`flows` wants N"),
            ("config = \"x\"", "no setting `config`"),
        ];
        for (text, part) in cases {
            let said = parse_file(text).unwrap_err();
            assert!(said.contains(part), "{said}");
        }
    }
}
