//! Where rooms meet: one small file for each pair.

pub(super) mod commands;
pub(super) mod dial;
pub(super) mod download;
pub(super) mod fetches;
pub(super) mod found;
pub(super) mod listener;
pub(super) mod local;
pub(super) mod names;
pub(super) mod refresh;
pub(super) mod warm;
