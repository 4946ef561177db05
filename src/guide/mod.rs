//! What users read. Each page is a Markdown file beside this one.

#[doc = include_str!("getting_started.md")]
pub mod getting_started {}

#[doc = include_str!("cli.md")]
pub mod cli {}

#[doc = include_str!("names.md")]
pub mod names {}

#[doc = include_str!("zones.md")]
pub mod zones {}
#[doc = include_str!("preconnect.md")]
pub mod preconnect {}

#[doc = include_str!("tuning.md")]
pub mod tuning {}

#[doc = include_str!("protocol.md")]
pub mod protocol {}

#[doc = include_str!("troubleshooting.md")]
pub mod troubleshooting {}
