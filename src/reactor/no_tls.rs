//! What stands in for TLS where the program is built without it.

use std::io::{self, IoSlice, Read, Write};

use super::config::Roots;
use crate::base::UnixTime;
use crate::model::{TlsCause, TlsFacts, TlsFailure, TlsWish};

/// Nothing.
pub(super) struct Tls;

/// A session that there never is.
pub(super) enum Session {}

/// What a session came to.
pub(super) struct Progress {
    pub(super) secured: Option<Box<TlsFacts>>,
    pub(super) tickets: u32,
}

impl Tls {
    pub(super) fn new(_: Roots) -> Self {
        Self
    }

    pub(super) fn prepare(&mut self) {}

    pub(super) fn set_clock(&self, _: UnixTime) {}

    pub(super) fn open(&mut self, _: &TlsWish) -> Result<Session, TlsCause> {
        Err(TlsCause::NotBuilt)
    }
}

impl Session {
    pub(super) fn is_secured(&self) -> bool {
        match *self {}
    }

    pub(super) fn is_over(&self) -> bool {
        match *self {}
    }

    pub(super) fn read(&mut self, _: &mut dyn Read) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn process(&mut self, _: &Tls) -> Result<Progress, Box<TlsFailure>> {
        match *self {}
    }

    pub(super) fn waiting(&self) -> usize {
        match *self {}
    }

    pub(super) fn take(&mut self, _: &mut [u8]) -> usize {
        match *self {}
    }

    pub(super) fn put(&mut self, _: &[IoSlice<'_>]) -> usize {
        match *self {}
    }

    pub(super) fn wants_write(&self) -> bool {
        match *self {}
    }

    pub(super) fn write(&mut self, _: &mut dyn Write) -> io::Result<usize> {
        match *self {}
    }

    pub(super) fn close(&mut self) {
        match *self {}
    }
}
