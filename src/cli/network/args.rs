//! The words of `network`.

use std::time::Duration;

use clap::{ArgAction, Args, Subcommand};

use crate::cli::flags::NetworkFlags;
use crate::cli::units::parse_duration;

/// `network`
#[derive(Debug, Subcommand)]
pub enum NetworkCommand {
    /// Connect to every target and say what it took
    Preconnect(Many),
    /// Connect to every target twice: cold, and with what was learned
    Warmup(Warmup),
    /// What this machine has of a network, and which targets can be reached
    Status(Many),
    /// Connect to one target
    Test(Test),
    /// Port mappings (not built yet)
    Nat,
}

/// `network preconnect` and `network status`
#[derive(Debug, Args)]
pub struct Many {
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// `network warmup`
#[derive(Debug, Args)]
pub struct Warmup {
    /// All at once, which is the default
    #[arg(value_parser = ["parallel"])]
    pub parallel: Option<String>,
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// `network test`
#[derive(Debug, Args)]
pub struct Test {
    /// A host name or an IP address
    pub host: String,
    /// The TCP port
    pub port: String,
    /// What is spoken there: http, https, ws, wss, dot, tcp or tls
    pub protocol: String,
    /// How.
    #[command(flatten)]
    pub how: How,
}

/// How targets are connected to.
#[derive(Debug, Args)]
pub struct How {
    /// Each target after the one before it
    #[arg(long)]
    pub sequential: bool,
    /// Say everything about each target
    #[arg(short, long, action = ArgAction::SetTrue)]
    pub verbose: bool,
    /// Connect so often to each, and show statistics
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub repeat: Option<u32>,
    /// How long a name may take
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "5s")]
    pub dns_timeout: Duration,
    /// How long a connection may take, over all addresses
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "5s")]
    pub tcp_timeout: Duration,
    /// How long the TLS handshake may take
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "5s")]
    pub tls_timeout: Duration,
    /// How much longer than a round trip a TLS 1.3 ticket is waited for; 0 or off: not at all
    #[arg(long, value_name = "TIME", value_parser = parse_duration, default_value = "200ms")]
    pub ticket_timeout: Duration,
    /// Settings that are those of `run`, too.
    #[command(flatten)]
    pub settings: NetworkFlags,
}
