//! Things are got over HTTP: `dns` finds the host, a [`Get`] of `web` asks and listens, redirects are
//! followed, and whoever wanted it is told what came of it.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::base::{Scope, Slots, Token};
use crate::dns::{self, Looked};
use crate::engine::Engine;
use crate::engine::io::{Answer, CommandId, LinkId, Output, Reason};
use crate::engine::links::{Link, Machine};
use crate::model::{TlsCause, TlsWish};
use crate::web::{Body, Event, Fault, Get, Limits, Reply, Stage};
use crate::wire::http::{Url, Validators};

/// What is to be got.
#[derive(Clone, Debug)]
pub struct DownloadWish {
    /// From where: `http` or `https`.
    pub url: String,
    /// What is there already.
    pub known: Validators,
    /// How much and how long.
    pub limits: Limits,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Downloaded {
    /// The thing itself.
    Content {
        /// As it came; to be unpacked on another thread.
        body: Body,
        /// What to ask with the next time.
        validators: Validators,
        /// Where it really was.
        url: String,
    },
    /// It is still what was known.
    NotModified,
    /// Nothing.
    Failed(DownloadFailure),
}

/// Why nothing came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DownloadFailure {
    /// It is no address of ours.
    BadUrl,
    /// The host's name was not found out.
    Name(dns::Failure),
    /// The host has no address.
    NoAddress,
    /// None of its addresses could be connected to; the last one.
    Connect(Reason),
    /// The connection is not secure.
    Tls(TlsCause),
    /// The answer is none, or too much, or took too long.
    Http(Fault),
    /// The server answers with this status.
    Status(u16),
    /// It leads to what is no address of ours, or from the Internet to this network.
    BadRedirect,
    /// It leads from `https` to `http`.
    Downgrade,
    /// It leads further than [`REDIRECTS_MAX`] times.
    TooManyRedirects,
    /// Too much is to be got already.
    Overloaded,
    /// The engine was stopped.
    Stopped,
}

/// Who wants it.
#[derive(Clone, Debug)]
pub(in crate::engine) enum Caller {
    Command(CommandId),
    /// The policy list of this URL.
    List(Arc<str>),
}

/// Everything that is to be got.
#[derive(Default)]
pub(in crate::engine) struct Downloads {
    slots: Slots<Download>,
    waiting: VecDeque<Token>,
    /// Active ones that wait for a limit to open a connection.
    held: VecDeque<Token>,
    active: usize,
}

struct Download {
    caller: Caller,
    wish: DownloadWish,
    url: Url,
    redirects: usize,
    /// The address that is asked, or was asked last.
    at: Option<IpAddr>,
    /// Somebody out there has led us on.
    led_from_outside: bool,
    /// Addresses that were not tried yet.
    addresses: VecDeque<SocketAddr>,
    /// Why the last one was no good.
    failure: DownloadFailure,
    active: bool,
}

impl Downloads {
    /// Panics if the sums are wrong. For tests and the simulator.
    pub(in crate::engine) fn check_invariants(&self) {
        let active = self.slots.iter().filter(|(_, download)| download.active).count();
        assert_eq!((active, self.slots.len()), (self.active, active + self.waiting.len()), "downloads");
        assert!(active <= ACTIVE_MAX && self.slots.len() <= DOWNLOADS_MAX);
    }
}

impl Engine {
    /// Wants a thing; its end comes to `Engine::downloaded`, maybe before this returns.
    pub(in crate::engine) fn download(&mut self, wish: DownloadWish, caller: Caller) {
        let Some(url) = Url::parse(&wish.url) else {
            return self.downloaded(caller, Downloaded::Failed(DownloadFailure::BadUrl));
        };
        if self.stopping {
            return self.downloaded(caller, Downloaded::Failed(DownloadFailure::Stopped));
        }
        if self.downloads.slots.len() >= DOWNLOADS_MAX {
            return self.downloaded(caller, Downloaded::Failed(DownloadFailure::Overloaded));
        }
        let token = self.downloads.slots.insert(Download {
            caller,
            wish,
            url,
            redirects: 0,
            at: None,
            led_from_outside: false,
            addresses: VecDeque::new(),
            failure: DownloadFailure::NoAddress,
            active: false,
        });
        self.downloads.waiting.push_back(token);
        self.start_downloads();
    }

    /// Ends all of them.
    pub(in crate::engine) fn stop_downloads(&mut self) {
        self.downloads.waiting.clear();
        let all: Vec<Token> = self.downloads.slots.iter().map(|(token, _)| token).collect();
        for token in all {
            self.end_download(token, Downloaded::Failed(DownloadFailure::Stopped));
        }
    }

    /// The addresses of a host.
    pub(in crate::engine) fn download_looked(&mut self, token: Token, looked: &Looked) {
        let Some(download) = self.downloads.slots.get_mut(token) else { return };
        let port = download.url.port;
        let found = looked.addresses.iter().take(ADDRESSES_MAX);
        download.addresses = found.map(|(ip, _)| SocketAddr::new(*ip, port)).collect();
        download.failure = looked.failure.map_or(DownloadFailure::NoAddress, DownloadFailure::Name);
        if download.led_from_outside && !download.addresses.is_empty() {
            download.addresses.retain(|to| may_lead_to(to.ip()));
            download.failure = DownloadFailure::BadRedirect;
        }
        self.reach_next(token);
    }

    /// The connection may be written on: with TLS, once it is secure.
    pub(in crate::engine) fn get_opened(&mut self, id: LinkId, secure: bool) {
        if let Some(Machine::Get { get, tls, .. }) = self.links.get_mut(id).map(|link| &mut link.machine)
            && *tls == secure
        {
            get.on_opened(self.now);
        }
        self.after_machine(id, self.now);
    }

    /// What a [`Get`] has to say after its machine was touched.
    pub(in crate::engine) fn drain_get(&mut self, id: LinkId) {
        let Some(Machine::Get { get, token, .. }) = self.links.get_mut(id).map(|link| &mut link.machine)
        else {
            return;
        };
        let (Some(event), token) = (get.poll_event(), *token) else { return };
        self.close(id);
        match event {
            Event::Done(reply) => self.on_reply(token, reply),
            Event::Failed(fault @ Fault::Timeout(Stage::Connect)) => {
                self.not_reached(token, DownloadFailure::Http(fault));
            }
            Event::Failed(fault) => {
                self.end_download(token, Downloaded::Failed(DownloadFailure::Http(fault)));
            }
        }
    }

    /// The driver lost the connection, or never had it, or it was not secure.
    pub(in crate::engine) fn get_closed(&mut self, link: &Link, failure: DownloadFailure) {
        let Machine::Get { get, token, .. } = &link.machine else { return };
        if get.is_open() {
            let cut = match failure {
                DownloadFailure::Tls(_) => failure,
                _ => DownloadFailure::Http(Fault::Cut),
            };
            self.end_download(*token, Downloaded::Failed(cut));
        } else {
            self.not_reached(*token, failure);
        }
    }

    fn start_downloads(&mut self) {
        while self.downloads.active < ACTIVE_MAX {
            let Some(token) = self.downloads.waiting.pop_front() else { return };
            let Some(download) = self.downloads.slots.get_mut(token) else { continue };
            download.active = true;
            self.downloads.active += 1;
            self.reach(token);
        }
    }

    /// Wants a connection to the host: its addresses are tried one after the other. Ends in
    /// `reached` bytes on a [`Machine::Get`], or in `not_reached`.
    fn reach(&mut self, token: Token) {
        let Some(download) = self.downloads.slots.get(token) else { return };
        let host = download.url.host.clone();
        self.look_up_download(&host, token);
    }

    /// Downloads that waited for a limit go on as far as they may.
    pub(in crate::engine) fn start_held_downloads(&mut self) {
        for _ in 0..self.downloads.held.len() {
            let Some(token) = self.downloads.held.pop_front() else { return };
            self.reach_next(token);
        }
    }

    fn reach_next(&mut self, token: Token) {
        let waits = |download: &Download| !download.addresses.is_empty();
        if self.downloads.slots.get(token).is_some_and(waits) && !self.may_connect() {
            return self.downloads.held.push_back(token);
        }
        let Some(download) = self.downloads.slots.get_mut(token) else { return };
        let Some(to) = download.addresses.pop_front() else {
            let failure = download.failure;
            return self.end_download(token, Downloaded::Failed(failure));
        };
        download.at = Some(to.ip());
        let get = Get::new(&download.url, &download.wish.known, download.wish.limits, self.now);
        let tls = download.url.tls.then(|| {
            Box::new(TlsWish { server: download.url.host.clone(), alpn: vec![b"http/1.1".to_vec()] })
        });
        let machine = Machine::Get { get: Box::new(get), token, tls: tls.is_some() };
        let link = self.links.insert(machine, to, false);
        self.buckets.flows.send(self.now, Link::flow(link));
        self.outbox.push_back(Output::Connect { link, from: None, to, tls });
    }

    fn not_reached(&mut self, token: Token, failure: DownloadFailure) {
        if let Some(download) = self.downloads.slots.get_mut(token) {
            download.failure = failure;
            self.reach_next(token);
        }
    }

    fn on_reply(&mut self, token: Token, reply: Reply) {
        let Some(download) = self.downloads.slots.get(token) else { return };
        let asked = download.wish.known != Validators::default();
        let downloaded = match reply {
            Reply::Content(body, validators) => {
                Downloaded::Content { body, validators, url: download.url.to_string() }
            }
            Reply::NotModified if asked => Downloaded::NotModified,
            Reply::NotModified => Downloaded::Failed(DownloadFailure::Status(304)),
            Reply::Status(status) => Downloaded::Failed(DownloadFailure::Status(status)),
            Reply::Moved(location) => match self.follow(token, &location) {
                Ok(()) => return self.reach(token),
                Err(failure) => Downloaded::Failed(failure),
            },
        };
        self.end_download(token, downloaded);
    }

    fn follow(&mut self, token: Token, location: &str) -> Result<(), DownloadFailure> {
        let download = self.downloads.slots.get_mut(token).ok_or(DownloadFailure::Stopped)?;
        let next = download.url.join(location).ok_or(DownloadFailure::BadRedirect)?;
        if download.url.tls && !next.tls {
            return Err(DownloadFailure::Downgrade);
        }
        if download.redirects >= REDIRECTS_MAX {
            return Err(DownloadFailure::TooManyRedirects);
        }
        download.redirects += 1;
        download.led_from_outside |= download.at.is_some_and(|at| Scope::of(at) == Scope::Global);
        download.url = next;
        Ok(())
    }

    fn end_download(&mut self, token: Token, downloaded: Downloaded) {
        let Some(download) = self.downloads.slots.remove(token) else { return };
        self.downloads.active -= usize::from(download.active);
        self.downloaded(download.caller, downloaded);
        if !self.stopping {
            self.start_downloads();
        }
    }

    /// Hands over what came of it.
    fn downloaded(&mut self, caller: Caller, downloaded: Downloaded) {
        match caller {
            Caller::Command(id) => {
                let found = !matches!(downloaded, Downloaded::Failed(_));
                self.outbox.push_back(Output::Answer(id, Answer::Downloaded(Box::new(downloaded))));
                self.outbox.push_back(Output::Answer(id, Answer::Done { found, answered: 0 }));
            }
            Caller::List(url) => self.on_list_downloaded(url, downloaded),
        }
    }
}

/// Whether somebody out there may lead to an address: he has nothing asked of this machine or those
/// beside it.
fn may_lead_to(ip: IpAddr) -> bool {
    Scope::of(ip) == Scope::Global
}

/// curl follows 50, browsers 20; a list that moved further has got lost.
pub const REDIRECTS_MAX: usize = 5;
/// Each may hold as much as its body may have: 64 MiB.
const ACTIVE_MAX: usize = 2;
/// Those that wait cost some hundred bytes each.
const DOWNLOADS_MAX: usize = 64;
/// Of one name.
const ADDRESSES_MAX: usize = 8;

impl fmt::Display for DownloadFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadUrl => f.write_str("it is no URL that is understood"),
            Self::Name(failure) => write!(f, "its host's name cannot be looked up ({failure:?})"),
            Self::NoAddress => f.write_str("its host has no address"),
            Self::Connect(Reason::Refused) => f.write_str("nothing listens there"),
            Self::Connect(Reason::Reset) => f.write_str("the connection was reset"),
            Self::Connect(Reason::Unreachable) => f.write_str("no way leads there from here"),
            Self::Connect(Reason::NoResources) => f.write_str("this machine has no socket or port left"),
            Self::Tls(TlsCause::Alert(number)) => {
                write!(f, "the server gave up the TLS handshake (alert {number})")
            }
            Self::Tls(TlsCause::Expired) => f.write_str("the server's certificate has expired"),
            Self::Tls(TlsCause::WrongName) => f.write_str("the server's certificate is for other names"),
            Self::Tls(TlsCause::UnknownIssuer | TlsCause::SelfSigned) => {
                f.write_str("the server's certificate is signed by nobody who is trusted")
            }
            Self::Tls(cause) => write!(f, "the connection is not secure ({cause:?})"),
            Self::Http(Fault::Http(_)) => f.write_str("what the server says is no HTTP"),
            Self::Http(Fault::NoLocation) => f.write_str("the server redirects without saying where to"),
            Self::Http(Fault::TooLong) => f.write_str("it is larger than allowed"),
            Self::Http(Fault::Cut) => f.write_str("the connection ended before all of it was there"),
            Self::Http(Fault::Timeout(Stage::Connect)) => f.write_str("the server does not answer"),
            Self::Http(Fault::Timeout(_)) => f.write_str("the server took too long"),
            Self::Http(Fault::TooSlow) => f.write_str("it comes too slowly"),
            Self::Status(status @ (404 | 410)) => write!(f, "the server does not have it ({status})"),
            Self::Status(status @ (401 | 403)) => write!(f, "the server does not let us have it ({status})"),
            Self::Status(429) => f.write_str("the server wants to be asked less often (429)"),
            Self::Status(status @ 500..) => write!(f, "the server has a fault of its own ({status})"),
            Self::Status(status) => write!(f, "the server answers with status {status}"),
            Self::BadRedirect => f.write_str("it redirects to where it must not"),
            Self::Downgrade => f.write_str("it redirects from https to http"),
            Self::TooManyRedirects => f.write_str("it redirects too often"),
            Self::Overloaded => f.write_str("too much is fetched at once"),
            Self::Stopped => f.write_str("the program is stopping"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_out_there_leads_into_this_network() {
        let may = |text: &str| may_lead_to(text.parse().expect("an address"));
        assert!(may("93.184.216.34") && may("2606:2800:220:1::1"));
        let inside = ["127.0.0.1", "192.168.1.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"];
        assert!(inside.iter().all(|text| !may(text)));
        assert!(["::1", "fd00::1", "fe80::1", "::ffff:192.168.1.1", "::"].iter().all(|text| !may(text)));
    }
}
