//! `dht-hunter`: parse, run, exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    dht_hunter::cli::main()
}
