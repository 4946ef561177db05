//! Policy lists: those of the settings, from files and by download, and those of commands.

use std::time::Duration;

use super::*;
use crate::model::dns::SavedList;

/// What is known of lists beside what they say.
#[derive(Default)]
pub(super) struct Lists {
    /// Those of the settings, in their order.
    configured: Vec<Arc<str>>,
    downloads: BTreeMap<Arc<str>, Download>,
    /// Those of commands.
    own: BTreeSet<Box<str>>,
    overrides: BTreeMap<String, Override>,
    /// What was downloaded before the start, until the settings are known.
    kept: BTreeMap<String, (Arc<List>, Option<String>, UnixTime)>,
}

/// A URL among the settings.
struct Download {
    etag: Option<String>,
    due: Instant,
    /// It is being fetched, or what was fetched waits to be read.
    is_under_way: bool,
    retry: Duration,
    /// Percent of its rules that it may lose at once.
    shrink_percent_max: u8,
}

/// What came of a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// A text, and what the server calls this version of it.
    Text(Bytes, Option<String>),
    /// It is still the one of which we have the `ETag`.
    NotModified,
    /// Nothing; it is tried again later.
    Nothing,
}

/// Where a list that is being read comes from.
pub(super) enum Origin {
    File,
    Download { name: Arc<str>, text: Bytes, etag: Option<String> },
    Command { user: u64, name: String, text: Bytes },
}

impl Dns {
    /// A URL that is to be fetched now, and the `ETag` of the text that is there. It is to be
    /// answered with [`Dns::on_download`].
    pub fn poll_download(&mut self, now: Instant) -> Option<(Arc<str>, Option<String>)> {
        let due = |(_, download): &(&Arc<str>, &mut Download)| !download.is_under_way && download.due <= now;
        let (url, download) = self.keeper.lists.downloads.iter_mut().find(due)?;
        download.is_under_way = true;
        Some((url.clone(), download.etag.clone()))
    }

    /// When a URL is to be fetched.
    pub fn next_download(&self) -> Option<Instant> {
        let downloads = self.keeper.lists.downloads.values();
        downloads.filter(|download| !download.is_under_way).map(|download| download.due).min()
    }

    /// What a URL had.
    pub fn on_download(&mut self, at: At, url: &str, fetched: Fetched) {
        let Some((name, download)) = self.keeper.lists.find(url) else { return };
        match fetched {
            Fetched::Text(text, etag) if text.len() <= TEXT_MAX => {
                self.keeper.queue.push_back(Wish::Downloaded(name, text, etag));
                self.pump(at);
            }
            Fetched::NotModified => download.fetched(at.0),
            Fetched::Text(..) | Fetched::Nothing => download.failed(at.0),
        }
    }

    pub(super) fn restore_lists(&mut self, lists: Vec<SavedList>, overrides: Vec<(String, String)>) {
        let overrides = overrides.into_iter();
        let named = overrides.filter_map(|(list, action)| Some((list, Override::named(&action)?)));
        self.keeper.lists.overrides = named.collect();
        for saved in lists {
            let list = match List::parse(&saved.name, &saved.text) {
                Ok(list) => Arc::new(list),
                Err(fault) => {
                    log::error!("the list {} in the archive cannot be read: {fault}", saved.name);
                    continue;
                }
            };
            if saved.is_download {
                self.keeper.lists.kept.insert(saved.name, (list, saved.etag, saved.taken));
            } else {
                self.keeper.lists.own.insert(saved.name.as_str().into());
                self.install(list, None);
            }
        }
    }

    pub(super) fn change_policy(&mut self, at: At, user: u64, change: PolicyChange) {
        match change {
            PolicyChange::Put { name, text } => self.put_list(user, name, text),
            PolicyChange::Remove { name } => self.remove_list(user, &name),
            PolicyChange::Override { name, action } => {
                if !self.policy.set_override(&name, action) {
                    return self.keeper.refuse(user, Refusal::NoList);
                }
                let kept = Some(action).filter(|action| *action != Override::AsGiven);
                match kept {
                    Some(action) => _ = self.keeper.lists.overrides.insert(name.clone(), action),
                    None => _ = self.keeper.lists.overrides.remove(&name),
                }
                let op = LocalOp::Override(name, kept.map(|action| action.name().to_owned()));
                self.keeper.answer(user, Said::Done, Some(op));
            }
            PolicyChange::Allow { name, secs } => {
                let secs = secs.min(ALLOWED_SECS_MAX);
                let until = at.0 + Duration::from_secs(secs);
                if self.policy.allow(at.0, &name, until).is_err() {
                    return self.keeper.refuse(user, Refusal::TooMany);
                }
                let op = LocalOp::Allowed(name.wire().into(), Some(UnixTime(at.1.0.saturating_add(secs))));
                self.keeper.answer(user, Said::Done, Some(op));
            }
            PolicyChange::Forbid { name } => {
                self.policy.forbid(&name);
                self.keeper.answer(user, Said::Done, Some(LocalOp::Allowed(name.wire().into(), None)));
            }
        }
    }

    pub(super) fn list_policy(&self, now: Instant) -> Said {
        let lists = self.policy.lists().map(|(list, action, hits)| ListListing {
            name: list.name().to_owned(),
            source: self.keeper.lists.source(list.name()),
            rules: list.rules(),
            hits,
            action,
            report: list.report().clone(),
        });
        let allowed = self.policy.allowed(now);
        let allowed = allowed.map(|(name, until)| (name, until.since(now).as_secs()));
        Said::Lists(lists.collect(), allowed.collect())
    }

    fn put_list(&mut self, user: u64, name: String, text: Bytes) {
        let old = self.policy.list(&name).cloned();
        let refusal = if name.is_empty() || name.len() > NAME_MAX {
            Refusal::ListName
        } else if self.keeper.lists.is_configured(&name) {
            Refusal::OfSettings
        } else if text.len() > TEXT_MAX {
            Refusal::List(PolicyFault::TooLarge)
        } else if old.is_none() && self.keeper.lists.own.len() >= OWN_MAX {
            Refusal::TooMany
        } else {
            // What a person writes may be as short as they like.
            let shrink_percent_max = 100;
            let job =
                Job::ReadList { name: name.as_str().into(), text: text.clone(), old, shrink_percent_max };
            return self.keeper.work(Busy::List(Origin::Command { user, name, text }), job);
        };
        self.keeper.refuse(user, refusal);
    }

    fn remove_list(&mut self, user: u64, name: &str) {
        if self.keeper.lists.is_configured(name) {
            return self.keeper.refuse(user, Refusal::OfSettings);
        }
        if !self.drop_list(name) {
            return self.keeper.refuse(user, Refusal::NoList);
        }
        self.keeper.lists.own.remove(name);
        if self.keeper.lists.overrides.remove(name).is_some() {
            self.keeper.keep(LocalOp::Override(name.to_owned(), None));
        }
        self.keeper.answer(user, Said::Done, Some(LocalOp::ListGone(name.to_owned())));
    }

    /// Takes a list out of use and tells so.
    fn drop_list(&mut self, name: &str) -> bool {
        let Some(list) = self.policy.remove(name) else { return false };
        let update = RpzUpdate { list: name.to_owned(), rules: 0, added: 0, removed: list.rules() };
        self.keeper.out.push_back(Told::Policy(Box::new(update)));
        self.keeper.discard_list(list);
        true
    }

    /// A list of a file was read.
    pub(super) fn take_list(&mut self, list: Arc<List>, shrink_percent_max: u8) {
        match self.policy.list(list.name()).cloned() {
            Some(old) if old.digest() == list.digest() => self.keeper.discard_list(list),
            Some(old) => {
                if let Err(fault) = list.check_shrink(Some(&old), shrink_percent_max) {
                    log::error!("{}: {fault}; the list before stays in use", list.name());
                    return self.keeper.discard_list(list);
                }
                self.keeper.work(Busy::List(Origin::File), Job::CompareLists { old, new: list });
            }
            None => {
                let update = RpzUpdate::between(None, &list);
                self.install(list, Some(update));
            }
        }
    }

    pub(super) fn take_download(&mut self, name: Arc<str>, text: Bytes, etag: Option<String>) {
        if let Some(download) = self.keeper.lists.downloads.get(&name) {
            let old = self.policy.list(&name).cloned();
            let shrink_percent_max = download.shrink_percent_max;
            let job = Job::ReadList { name: name.clone(), text: text.clone(), old, shrink_percent_max };
            self.keeper.work(Busy::List(Origin::Download { name, text, etag }), job);
        }
    }

    /// A list was read and compared.
    pub(super) fn list_read(
        &mut self,
        at: At,
        origin: Origin,
        read: Result<(Arc<List>, RpzUpdate), PolicyFault>,
    ) {
        let (list, update) = match (read, &origin) {
            (Ok(read), _) => read,
            (Err(fault), Origin::Command { user, .. }) => {
                return self.keeper.refuse(*user, Refusal::List(fault));
            }
            (Err(fault), Origin::Download { name, .. }) => {
                let before = if self.policy.list(name).is_some() {
                    "the list before stays in use"
                } else {
                    "there is none before"
                };
                log::error!("{name} is not taken up: {fault}; {before}, and it is tried again");
                let found = self.keeper.lists.find(name);
                return found.into_iter().for_each(|(_, download)| download.failed(at.0));
            }
            (Err(_), Origin::File) => return,
        };
        // Somebody may have put a list of this name among the settings meanwhile, or others.
        let summary = list.summary();
        let is_listed = self.install(list, Some(update.clone()));
        match origin {
            Origin::File => {}
            Origin::Download { name, text, etag } => {
                log::info!("{summary}");
                let Some((_, download)) = self.keeper.lists.find(&name) else { return };
                download.etag.clone_from(&etag);
                download.fetched(at.0);
                let saved = SavedList { name: name.to_string(), is_download: true, etag, taken: at.1, text };
                self.keeper.keep(LocalOp::List(saved));
            }
            Origin::Command { user, .. } if !is_listed => self.keeper.refuse(user, Refusal::TooMany),
            Origin::Command { user, name, text } => {
                self.keeper.lists.own.insert(name.as_str().into());
                let saved = SavedList { name, is_download: false, etag: None, taken: at.1, text };
                self.keeper.answer(user, Said::List(update), Some(LocalOp::List(saved)));
            }
        }
    }

    /// The settings name these lists and no others.
    pub(super) fn end_lists(&mut self, at: At, files: Vec<ListFile>) {
        let before = std::mem::take(&mut self.keeper.lists.configured);
        for name in before.iter().filter(|name| files.iter().all(|file| file.name != **name)) {
            self.drop_list(name);
        }
        let (mut kept, mut downloads) =
            (std::mem::take(&mut self.keeper.lists.kept), std::mem::take(&mut self.keeper.lists.downloads));
        for file in files.iter().filter(|file| file.is_download) {
            let mut download = downloads.remove(&file.name).unwrap_or_else(|| Download::due(at.0));
            download.shrink_percent_max = file.shrink_percent_max;
            if let Some((list, etag, taken)) = kept.remove(&*file.name) {
                let left = REFRESH_SECS.saturating_sub(at.1.secs_since(taken));
                (download.etag, download.due) = (etag, at.0 + Duration::from_secs(left));
                let update = RpzUpdate::between(None, &list);
                self.install(list, Some(update));
            }
            self.keeper.lists.downloads.insert(file.name.clone(), download);
        }
        // What nobody wants any more need not be kept.
        for (name, (list, ..)) in kept {
            self.keeper.discard_list(list);
            self.keeper.keep(LocalOp::ListGone(name));
        }
        downloads.into_keys().for_each(|name| self.keeper.keep(LocalOp::ListGone(name.to_string())));
        self.keeper.lists.configured = files.into_iter().map(|file| file.name).collect();
        self.policy.arrange(&self.keeper.lists.configured);
    }

    /// Puts a list to use; false if there are too many.
    fn install(&mut self, list: Arc<List>, update: Option<RpzUpdate>) -> bool {
        let name = list.name().to_owned();
        let Ok(old) = self.policy.replace(list) else {
            log::error!("the list {name} is not used: there are too many");
            return false;
        };
        old.into_iter().for_each(|old| self.keeper.discard_list(old));
        if let Some(action) = self.keeper.lists.overrides.get(&name) {
            self.policy.set_override(&name, *action);
        }
        self.policy.arrange(&self.keeper.lists.configured);
        self.keeper.out.extend(update.map(|update| Told::Policy(Box::new(update))));
        true
    }
}

impl Lists {
    fn find(&mut self, url: &str) -> Option<(Arc<str>, &mut Download)> {
        let (name, download) = self.downloads.iter_mut().find(|(name, _)| ***name == *url)?;
        Some((name.clone(), download))
    }

    fn is_configured(&self, name: &str) -> bool {
        self.configured.iter().any(|configured| **configured == *name)
    }

    fn source(&self, name: &str) -> ListSource {
        if self.downloads.keys().any(|url| **url == *name) {
            ListSource::Download
        } else if self.is_configured(name) {
            ListSource::File
        } else {
            ListSource::Command
        }
    }
}

impl Download {
    fn due(at: Instant) -> Self {
        Self { etag: None, due: at, is_under_way: false, retry: RETRY_FIRST, shrink_percent_max: 100 }
    }

    fn fetched(&mut self, now: Instant) {
        (self.is_under_way, self.retry) = (false, RETRY_FIRST);
        self.due = now + Duration::from_secs(REFRESH_SECS);
    }

    fn failed(&mut self, now: Instant) {
        self.is_under_way = false;
        self.due = now + self.retry;
        self.retry = (self.retry * 2).min(RETRY_MAX);
    }
}

/// How long a download is good for: lists are made anew once a day, and with an `ETag` the question
/// costs nothing.
pub const REFRESH_SECS: u64 = 6 * 3_600;
/// A network is usually there within a minute.
const RETRY_FIRST: Duration = Duration::from_secs(60);
const RETRY_MAX: Duration = Duration::from_secs(3_600);
/// A list's name: what a file's may have.
const NAME_MAX: usize = 255;
/// Lists of commands: half of all.
const OWN_MAX: usize = 128;
/// Text that is kept in the archive: twice the largest lists that people subscribe to.
const TEXT_MAX: usize = 64 << 20;
/// For good is what a list is for.
const ALLOWED_SECS_MAX: u64 = 365 * 86_400;
