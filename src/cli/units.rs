//! Numbers as people write and read them: `2GiB`, `250kB`, `500/s`, `off`.

use std::time::Duration;

pub use crate::base::text::human_count;

/// A size in bytes: `2GiB`, `250kB`, `1.5 MB`, `64K`, `4096`; `off` is 0. `kB`, `MB`, … are powers
/// of 1,000 (so are `k`, `M`, … alone), `KiB`, `MiB`, … of 1,024.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_number(text);
    let factor = if unit.is_empty() { Some(1) } else { size_factor(unit) };
    match factor {
        _ if is_off(text) => Ok(0),
        Some(factor) => scale(number, factor).ok_or_else(|| not_a(text, "size", "2GiB, 250kB, 4096 or off")),
        None => Err(not_a(text, "size", "2GiB, 250kB, 4096 or off")),
    }
}

/// Whole percent: `50` or `50%`; `off` is 100.
pub fn parse_share(text: &str) -> Result<u8, String> {
    let percent =
        text.strip_suffix('%').unwrap_or(text).trim_end().parse().ok().filter(|percent| *percent <= 100);
    match percent {
        _ if is_off(text) => Ok(100),
        Some(percent) => Ok(percent),
        None => Err(not_a(text, "share", "50, 50% or off")),
    }
}

/// A size of things on a disk. Without a unit it must be a million at least: `200` is more often
/// meant as 200 GB than as 200 bytes, and less on the disk may cost what is stored.
pub fn parse_disk_size(text: &str) -> Result<u64, String> {
    let bytes = parse_size(text)?;
    let has_unit = text.contains(|c: char| c.is_alphabetic());
    if !has_unit && (1..1_000_000).contains(&bytes) {
        let number = text.trim();
        return Err(format!("`{number}` has no unit; write {number}GiB, {number}MiB or {number}B"));
    }
    Ok(bytes)
}

/// Bytes per second: a size, with or without `/s`.
pub fn parse_byte_rate(text: &str) -> Result<u64, String> {
    parse_size(per_second(text)).map_err(|_| not_a(text, "rate", "250kB/s, 10MB or off"))
}

/// How many: `2000`, `20_000`, `20,000`, `20k`; `off` is 0.
pub fn parse_count(text: &str) -> Result<u64, String> {
    count(text).ok_or_else(|| not_a(text, "number", "2000, 20k or off"))
}

/// How many a second: a count, with or without `/s`.
pub fn parse_rate(text: &str) -> Result<u64, String> {
    count(per_second(text)).ok_or_else(|| not_a(text, "rate", "500/s, 20k or off"))
}

/// A rate and a burst, `20,100` or `20/s, 100`; the burst is five times the rate if left out.
pub fn parse_rate_and_burst(text: &str) -> Result<(u64, u64), String> {
    let example = "20,100 (per second, burst), 20/s or off";
    let (rate, burst) = text.split_once(',').map_or((text, None), |(rate, burst)| (rate, Some(burst)));
    let rate = parse_rate(rate).map_err(|_| not_a(text, "rate with a burst", example))?;
    match burst {
        None => Ok((rate, rate.saturating_mul(5))),
        Some(burst) => match count(burst) {
            Some(burst) if burst > 0 || rate == 0 => Ok((rate, burst)),
            _ => Err(not_a(text, "rate with a burst", example)),
        },
    }
}

/// A share of a hundred: `30`, `30%`, `2.5%`; as a fraction of 1.
pub fn parse_percent(text: &str) -> Result<f64, String> {
    let number: Result<f64, _> = text.trim().trim_end_matches('%').trim_end().parse();
    match number {
        Ok(number) if (0.0..=100.0).contains(&number) => Ok(number / 100.0),
        _ => Err(not_a(text, "percentage", "5 or 30%")),
    }
}

/// A time: `200ms`, `30s`, `5m`, `2h`, `1d`; a bare number is seconds; `off` is zero.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_number(text);
    let factor_ms = match unit {
        _ if is_off(text) => return Ok(Duration::ZERO),
        "ms" => 1,
        "" | "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(not_a(text, "time", "200ms, 30s, 5m or off")),
    };
    scale(number, factor_ms)
        .map(Duration::from_millis)
        .ok_or_else(|| not_a(text, "time", "200ms, 30s or off"))
}

/// Minutes of the day, from and to, as `HH:MM-HH:MM`; the end may lie beyond midnight.
pub fn parse_daily_span(text: &str) -> Result<(u16, u16), String> {
    let span = text.split_once('-').and_then(|(from, to)| Some((minute_of_day(from)?, minute_of_day(to)?)));
    match span {
        Some((from, to)) if from != to => Ok((from, to)),
        _ => Err(not_a(text, "span of the day", "22:30-06:00")),
    }
}

/// A size for people: three digits and a binary unit.
pub fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", three_digits(value), UNITS[unit])
}

/// So many of something, whose name ends in `s` if there is not just one.
pub fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", human_count(number), if number == 1 { "" } else { "s" })
}

/// A span of time for people: its largest unit and, below ten of it, the next.
pub fn human_duration(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0 => format!("{} ms", span.as_millis()),
        1..60 => format!("{seconds} s"),
        60..3_600 => two_units(seconds, 60, "min", 1, "s"),
        3_600..86_400 => two_units(seconds, 3_600, "h", 60, "min"),
        _ => two_units(seconds, 86_400, "d", 3_600, "h"),
    }
}

/// Three digits that matter: `1.23`, `12.3`, `123`.
pub fn three_digits(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

fn two_units(seconds: u64, large: u64, large_name: &str, small: u64, small_name: &str) -> String {
    let (whole, rest) = (seconds / large, seconds % large / small);
    if whole < 10 && rest > 0 {
        format!("{whole} {large_name} {rest} {small_name}")
    } else {
        format!("{whole} {large_name}")
    }
}

fn is_off(text: &str) -> bool {
    text.trim().eq_ignore_ascii_case("off")
}

fn not_a(text: &str, what: &str, example: &str) -> String {
    format!("`{text}` is not a {what}; write for example {example}")
}

fn per_second(text: &str) -> &str {
    text.trim().strip_suffix("/s").map_or(text, str::trim_end)
}

fn count(text: &str) -> Option<u64> {
    if is_off(text) {
        return Some(0);
    }
    let (number, unit) = split_number(text);
    let factor = match unit {
        "" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        _ => return None,
    };
    scale(number, factor)
}

/// The number in front and the unit behind it.
fn split_number(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end =
        text.find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '_' | ','))).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

fn size_factor(unit: &str) -> Option<u64> {
    let unit = unit.strip_suffix(['b', 'B']).unwrap_or(unit).to_ascii_lowercase();
    let (letter, base) = match unit.strip_suffix('i') {
        Some(letter) => (letter, 1024u64),
        None => (unit.as_str(), 1000),
    };
    let power = match letter {
        "" if base == 1000 => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return None,
    };
    Some(base.pow(power))
}

/// `number` (digits, separators, at most one point) times `factor`, rounded down; `None` if it is
/// no number or does not fit.
fn scale(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: String = whole.chars().filter(|c| !matches!(c, '_' | ',')).collect();
    if whole.is_empty() || fraction.contains(['.', '_', ',']) || fraction.len() > FRACTION_DIGITS_MAX {
        return None;
    }
    let whole: u64 = whole.parse().ok()?;
    let parts = if fraction.is_empty() { 0 } else { fraction.parse::<u64>().ok()? };
    let below = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    if below > 1 && factor == 1 {
        return None;
    }
    let total = (u128::from(whole) * below + u128::from(parts)) * u128::from(factor) / below;
    u64::try_from(total).ok()
}

fn minute_of_day(text: &str) -> Option<u16> {
    let (hours, minutes) = text.trim().split_once(':')?;
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
}

/// More digits behind the point than anyone types; keeps the arithmetic within 128 bits.
const FRACTION_DIGITS_MAX: usize = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_with_every_kind_of_unit() {
        let cases = [
            ("4096", 4_096),
            ("2GiB", 2 << 30),
            ("2 gib", 2 << 30),
            ("250kB", 250_000),
            ("250KB", 250_000),
            ("64K", 64_000),
            ("1.5MB", 1_500_000),
            ("0.5KiB", 512),
            ("1_000", 1_000),
            ("20,000", 20_000),
            ("off", 0),
            ("OFF", 0),
            ("0", 0),
            ("12B", 12),
            ("3TiB", 3 << 40),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in [
            "",
            "GiB",
            "-1",
            "1..5MB",
            "1.5",
            "2XB",
            "1iB",
            "99999999999999999999",
            "18446744073709551615KiB",
            "1 GiB extra",
            "é",
        ] {
            let said = parse_size(text).unwrap_err();
            assert!(said.contains("write for example"), "{said}");
        }
        assert!(parse_rate("5/m").is_err());
        assert!(parse_count("5MB").is_err());
    }

    #[test]
    fn sizes_on_a_disk_have_units() {
        for (text, bytes) in [("200GiB", 200 << 30), ("0", 0), ("off", 0), ("1000000", 1_000_000), ("9B", 9)]
        {
            assert_eq!(parse_disk_size(text), Ok(bytes), "{text}");
        }
        for text in ["200", "1", "999_999", " 64 "] {
            assert!(parse_disk_size(text).is_err_and(|said| said.contains("GiB")), "{text}");
        }
    }

    #[test]
    fn rates_and_bursts() {
        assert_eq!(parse_rate("500/s"), Ok(500));
        assert_eq!(parse_rate("20k"), Ok(20_000));
        assert_eq!(parse_byte_rate("250kB/s"), Ok(250_000));
        assert_eq!(parse_rate_and_burst("20/s, 100"), Ok((20, 100)));
        assert_eq!(parse_rate_and_burst("7"), Ok((7, 35)));
        assert_eq!(parse_rate_and_burst("off"), Ok((0, 0)));
        assert!(parse_rate_and_burst("20,0").is_err());
        assert!(
            parse_rate_and_burst("20,1,2").is_ok_and(|(_, burst)| burst == 12),
            "a comma groups thousands"
        );
    }

    #[test]
    fn times_and_shares() {
        assert_eq!(parse_duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1.5h"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse_daily_span("22:30-06:00"), Ok((1_350, 360)));
        assert!(parse_daily_span("24:00-06:00").is_err());
        assert!(parse_daily_span("06:00-06:00").is_err());
        assert_eq!(parse_percent("30%"), Ok(0.3));
        assert!(parse_percent("101").is_err());
        assert!(parse_percent("NaN").is_err());
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!(human_size(1023), "1023 B");
        assert_eq!(human_size(1024), "1.00 KiB");
        assert_eq!(human_size(1_048_575), "1.00 MiB");
        assert_eq!(human_size(12_900_000_000), "12.0 GiB");
        assert_eq!(human_size(u64::MAX), "16.0 EiB");
        assert_eq!(human_count(0), "0");
        assert_eq!(human_count(1_234_567), "1,234,567");
        assert_eq!(human_duration(Duration::from_secs(3_700)), "1 h 1 min");
        assert_eq!(human_duration(Duration::from_secs(864_000)), "10 d");
    }
}
