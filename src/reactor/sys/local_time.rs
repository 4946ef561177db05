//! The time of the day where this machine stands.

use crate::base::UnixTime;

/// Minutes since midnight, local time (`localtime_r`); UTC where the system cannot tell.
pub fn minute_of_day(unix: UnixTime) -> u16 {
    local(unix).unwrap_or((unix.0 / 60 % 1_440) as u16)
}

#[cfg(unix)]
fn local(unix: UnixTime) -> Option<u16> {
    use std::mem::MaybeUninit;

    let seconds = libc::time_t::try_from(unix.0).ok()?;
    let mut parts = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are valid for the call, and `localtime_r` keeps neither.
    let filled = unsafe { libc::localtime_r(&raw const seconds, parts.as_mut_ptr()) };
    if filled.is_null() {
        return None;
    }
    // SAFETY: the call succeeded, so the answer is complete.
    let parts = unsafe { parts.assume_init() };
    u16::try_from(parts.tm_hour * 60 + parts.tm_min).ok()
}

#[cfg(not(unix))]
fn local(_unix: UnixTime) -> Option<u16> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_later_it_is_an_hour_later() {
        let minute = |secs| minute_of_day(UnixTime(secs));
        // Noon of a January day in 2024: no zone changes its clock then.
        let noon = 1_705_320_000;
        assert!(minute(noon) < 1_440);
        assert_eq!((minute(noon) + 60) % 1_440, minute(noon + 3_600));
    }
}
