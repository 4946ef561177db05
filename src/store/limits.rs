//! How many rows of each kind are kept at most.

/// Rows of `pending`: at 60 bytes each 120 MB, days of work for any profile.
pub const PENDING_MAX: u64 = 2_000_000;

/// Rows of `nodes`: more than a tenth of the Mainline DHT, enough to begin anywhere in it.
pub const NODES_MAX: u64 = 1_000_000;

/// Different rules that hashes are kept with.
pub const RULES_MAX: u64 = 100_000;

/// Of one rule's words.
pub const RULE_BYTES_MAX: usize = 1_024;
