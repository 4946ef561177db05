//! Network namespaces: networks of one's own that no packet leaves.

use std::ffi::OsStr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::program;

/// A namespace; gone with its owner.
pub struct Namespace {
    name: String,
}

/// Where a program runs.
#[derive(Clone, Copy)]
pub enum Place<'a> {
    Here,
    In(&'a Namespace),
}

impl Namespace {
    /// An empty one with its loopback up, or why there is none.
    pub fn new() -> Result<Self, String> {
        let nth = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("dht-hunter-{}-{nth}", std::process::id());
        ip(&["netns", "add", &name])?;
        let made = Self { name };
        made.ip(&["link", "set", "lo", "up"])?;
        Ok(made)
    }

    /// Two that are joined by a cable, with these addresses on either end.
    pub fn pair(left: &[String], right: &[String]) -> Result<(Self, Self), String> {
        let (one, other) = (Self::new()?, Self::new()?);
        let cable = ["type", "veth", "peer", "name", "cable", "netns", &other.name];
        ip(&[&["link", "add", "cable", "netns", &one.name][..], &cable].concat())?;
        for (end, addresses) in [(&one, left), (&other, right)] {
            for address in addresses {
                end.ip(&["addr", "add", address, "dev", "cable", "nodad"])?;
            }
            end.ip(&["link", "set", "cable", "up"])?;
        }
        Ok((one, other))
    }

    /// One for each list of addresses, all on one bridge; the bridge is in the first of the result.
    pub fn bridged(addresses: &[Vec<String>]) -> Result<(Self, Vec<Self>), String> {
        let bridge = Self::new()?;
        bridge.ip(&["link", "add", "name", "bridge", "type", "bridge"])?;
        bridge.ip(&["link", "set", "bridge", "up"])?;
        let mut made = Vec::new();
        for (nth, addresses) in addresses.iter().enumerate() {
            let (one, end) = (Self::new()?, format!("end{nth}"));
            one.ip(&["link", "add", "cable", "type", "veth", "peer", "name", &end, "netns", &bridge.name])?;
            for address in addresses {
                one.ip(&["addr", "add", address, "dev", "cable"])?;
            }
            bridge.ip(&["link", "set", &end, "master", "bridge"])?;
            bridge.ip(&["link", "set", &end, "up"])?;
            one.ip(&["link", "set", "cable", "up"])?;
            made.push(one);
        }
        Ok((bridge, made))
    }

    /// `ip` inside of it.
    pub fn ip(&self, args: &[&str]) -> Result<(), String> {
        ip(&[&["-n", &self.name], args].concat())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(ip(&["netns", "del", &self.name]));
    }
}

impl Place<'_> {
    /// A command that will run there.
    pub fn command(self, name: impl AsRef<OsStr>) -> Command {
        match self {
            Place::Here => Command::new(name),
            Place::In(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", &namespace.name]).arg(name);
                command
            }
        }
    }

    /// Our own program, to run there.
    pub fn program(self) -> Command {
        let ours = program();
        let mut command = self.command(ours.get_program());
        for (name, _) in ours.get_envs() {
            command.env_remove(name);
        }
        command
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).output().map_err(|_| "there is no `ip`".to_owned())?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("ip {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim())),
    }
}

static NEXT: AtomicU32 = AtomicU32::new(0);
