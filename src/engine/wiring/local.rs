//! Local zones and policy meet the worker threads, the archive and those who ask for changes: an
//! answer to a change goes out when the change is durable.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::base::Instant;
use crate::dns::keeper::{Ask, At, Fetched, Refusal, Said, Told, Worked};
use crate::dns::zones::ZoneEvent;
use crate::engine::Engine;
use crate::engine::io::{
    Answer, CommandId, DownloadFailure, DownloadWish, Downloaded, Event, Job, Output, Setting, Unpacking,
};
use crate::engine::wiring::download::Caller;
use crate::model::dns::LocalOp;
use crate::web::{BodyFault, Limits};
use crate::wire::http::Validators;

/// What was handed to the archive and is not durable yet, in that order.
#[derive(Default)]
pub(in crate::engine) struct Awaited(VecDeque<Waiting>);

struct Waiting {
    /// Who waits for it, and what they will be told.
    answer: Option<(CommandId, Box<Result<Said, Refusal>>)>,
    /// The name of the zone that it is about, in wire form.
    zone: Option<Box<[u8]>>,
}

impl Engine {
    /// Somebody asks for something, or for a change.
    pub(in crate::engine) fn on_local_command(&mut self, id: CommandId, ask: Ask) {
        let at = self.local_at();
        self.names.dns.on_ask(at, id.0, ask);
        self.drain_local();
    }

    /// What files and settings say now; a log line if that is too much at once.
    pub(in crate::engine) fn take_files(&mut self, take: impl FnOnce(&mut Self, At) -> bool) {
        let at = self.local_at();
        if !take(self, at) {
            log::error!("not reloaded: zones and lists of earlier reloads are still being read; try again");
        }
        self.drain_local();
    }

    /// All of a reload was handed in.
    pub(in crate::engine) fn mark_reload(&mut self) {
        let at = self.local_at();
        self.names.dns.mark_reload(at);
        self.drain_local();
    }

    pub(in crate::engine) fn on_names_worked(&mut self, worked: Worked) {
        let at = self.local_at();
        self.names.dns.on_local_worked(at, worked);
        self.drain_local();
    }

    /// Gets the policy lists of URLs whose time has come.
    pub(in crate::engine) fn fetch_lists(&mut self, now: Instant) {
        while !self.stopping
            && let Some((url, etag)) = self.names.dns.poll_download(now)
        {
            let known = Validators { etag, last_modified: None };
            let wish = DownloadWish { url: url.to_string(), known, limits: Limits::DEFAULT };
            self.download(wish, Caller::List(url));
        }
    }

    /// What the URL of a list had; it is unpacked on another thread.
    pub(in crate::engine) fn on_list_downloaded(&mut self, url: Arc<str>, downloaded: Downloaded) {
        let fetched = match downloaded {
            Downloaded::Content { body, validators, .. } => {
                let etag = validators.etag;
                return self.outbox.push_back(Output::Work(Job::Unpack(Unpacking { url, body, etag })));
            }
            Downloaded::NotModified => Fetched::NotModified,
            Downloaded::Failed(failure) => {
                if failure != DownloadFailure::Stopped {
                    log::warn!("the policy list {url} cannot be fetched now: {failure}; it is tried again");
                }
                Fetched::Nothing
            }
        };
        self.take_fetched(&url, fetched);
    }

    pub(in crate::engine) fn on_list_unpacked(
        &mut self,
        url: &str,
        text: Result<Bytes, BodyFault>,
        etag: Option<String>,
    ) {
        let fetched = match text {
            Ok(text) => Fetched::Text(text, etag),
            Err(fault) => {
                log::warn!("the policy list {url} cannot be unpacked ({fault:?}); it is tried again");
                Fetched::Nothing
            }
        };
        self.take_fetched(url, fetched);
    }

    fn take_fetched(&mut self, url: &str, fetched: Fetched) {
        let at = self.local_at();
        self.names.dns.on_download(at, url, fetched);
        self.drain_local();
    }

    /// The archive has said what became of some operations.
    pub(in crate::engine) fn on_local_stored(&mut self) {
        while let Some(is_durable) = self.persist.pop_local() {
            let Some(Waiting { answer, zone }) = self.names.awaited.0.pop_front() else { return };
            if let Some((id, said)) = answer {
                self.answer_local(id, if is_durable { said } else { Box::new(Err(Refusal::NotKept)) });
            }
            // It is written again with all else that is written now and then: the disk may have room by
            // that time.
            self.names.lost.extend(zone.filter(|_| !is_durable));
        }
    }

    /// Has the archive keep again what it lost.
    pub(in crate::engine) fn save_lost_zones(&mut self) {
        let at = self.local_at();
        for origin in std::mem::take(&mut self.names.lost) {
            self.names.dns.on_not_kept(at, &origin);
        }
        self.drain_local();
    }

    /// Tells that a setting changed.
    pub(in crate::engine) fn tell_setting(&mut self, setting: Setting) {
        self.outbox.push_back(Output::Event(Event::Setting(setting)));
    }

    fn drain_local(&mut self) {
        while let Some(told) = self.names.dns.poll_local() {
            match told {
                Told::Work(job) => self.outbox.push_back(Output::Work(Job::Names(job))),
                Told::Keep(op) => self.keep_local(Box::new(op), None),
                Told::Answer(user, said, None) => self.answer_local(CommandId(user), said),
                Told::Answer(user, said, Some(op)) => self.keep_local(op, Some((CommandId(user), said))),
                Told::Zone(event) => {
                    log_zone(&event);
                    self.outbox.push_back(Output::Event(Event::Zone(event)));
                }
                Told::Policy(update) => {
                    log::info!(
                        "policy list {}: {} rules, {} new or changed, {} gone",
                        update.list,
                        update.rules,
                        update.added,
                        update.removed
                    );
                    self.outbox.push_back(Output::Event(Event::Policy(update)));
                }
                Told::Reloaded(..) if self.names.local_is_in_place() => {}
                Told::Reloaded(zones, lists) => {
                    log::info!("reloaded: {zones} zones and {lists} policy lists are in use");
                    self.outbox.push_back(Output::Event(Event::Reloaded { zones, lists }));
                }
            }
        }
    }

    fn keep_local(&mut self, op: Box<LocalOp>, answer: Option<(CommandId, Box<Result<Said, Refusal>>)>) {
        let zone = op.zone().map(Box::from);
        if self.persist.local(op) {
            self.names.awaited.0.push_back(Waiting { answer, zone });
        } else {
            self.names.lost.extend(zone);
            if let Some((id, _)) = answer {
                self.answer_local(id, Box::new(Err(Refusal::NotKept)));
            }
        }
    }

    fn answer_local(&mut self, id: CommandId, said: Box<Result<Said, Refusal>>) {
        let found = said.is_ok();
        self.outbox.push_back(Output::Answer(id, Answer::Local(said)));
        self.end_command(id, found);
    }

    fn local_at(&self) -> At {
        (self.now, self.unix)
    }
}

fn log_zone(event: &ZoneEvent) {
    match event {
        ZoneEvent::ZoneCreated(facts) => {
            log::info!("zone {}: {} records, serial {}", facts.name, facts.records_count, facts.serial);
        }
        ZoneEvent::ZoneUpdated(facts) => {
            let [created, updated, deleted] = facts.changes;
            log::info!(
                "zone {}: {} records, serial {}; {created} new, {updated} changed, {deleted} gone",
                facts.name,
                facts.records_count,
                facts.serial
            );
        }
        ZoneEvent::ZoneDeleted(facts) => log::info!("zone {}: no longer served", facts.name),
        ZoneEvent::RecordCreated(..) | ZoneEvent::RecordUpdated(..) | ZoneEvent::RecordDeleted(..) => {}
    }
}
