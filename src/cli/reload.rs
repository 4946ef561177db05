//! What changes while the engine runs, when its settings are read again.

use super::failure::Failure;
use super::filter::read_filter;
use super::flags::RunFlags;
use super::network::try_targets_of_run;
use super::settings::RunSettings;
use super::zones::Reading;
use crate::engine::config::Rates;
use crate::engine::io::Command;
use crate::metadata::Filter;
use crate::reactor::Handle;

/// Rates, filter, targets, zones and policy can change while running; the rest takes effect at the next
/// start. Without `with_rates` the caller sets those. The rates as they are configured now.
pub fn reload(flags: &RunFlags, handle: &Handle, reading: &Reading, with_rates: bool) -> Option<Rates> {
    let read = flags
        .settings_of_run()
        .and_then(|settings| Ok((filter_of(&settings)?, try_targets_of_run(&settings)?, settings)));
    let (filter, targets, settings) = read
        .inspect_err(|failure| log::error!("not reloaded, everything stays as it was: {failure}"))
        .ok()?;
    let rates = settings.rates;
    let first = if with_rates { handle.send(Command::SetRates(rates)) } else { Ok(()) };
    let second = first.and_then(|()| handle.send(Command::SetFilter(filter)));
    match second.and_then(|()| handle.send(Command::SetTargets(targets))) {
        Ok(()) => log::info!(
            "reloaded rates, filter and targets; zones and policy follow, other settings take effect at the next start"
        ),
        Err(_) => log::error!("not reloaded: the engine is too busy; try again"),
    }
    reading.again(settings.dns_local, handle);
    Some(rates)
}

/// The filter that the settings name, or one that keeps everything.
pub fn filter_of(settings: &RunSettings) -> Result<Filter, Failure> {
    settings.filter.as_deref().map_or_else(|| Ok(Filter::default()), read_filter)
}
