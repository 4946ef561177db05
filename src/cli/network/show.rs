//! How reports are shown: a row, in full, as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::why;
use crate::cli::print::{Align, table};
use crate::cli::units::{human_count, three_digits};
use crate::embed::preconnect::Step;
use crate::model::{Certificate, TlsFacts, TlsVersion};
use crate::preconnect::{Attempt, Report, Stats, Summary, Turn};

/// One row for each report: what each stage took, or why it failed.
pub fn rows(reports: &[Report]) -> Vec<String> {
    let head = [
        ("target", Align::Left),
        ("dns ms", Align::Right),
        ("tcp ms", Align::Right),
        ("tls ms", Align::Right),
        ("all ms", Align::Right),
        ("address", Align::Left),
        ("", Align::Left),
    ];
    let rows: Vec<[String; 7]> = reports
        .iter()
        .map(|report| {
            let ms = |it: Option<Duration>| it.map(ms).unwrap_or_default();
            let address = report.reached.map(|addr| addr.to_string()).unwrap_or_default();
            [
                report.target.to_string(),
                ms(report.dns),
                ms(report.tcp),
                ms(report.tls),
                ms(report.latency()),
                address,
                outcome(report),
            ]
        })
        .collect();
    table(head, &rows)
}

/// Cold and warm, side by side.
pub fn pairs(cold: &[Report], warm: &[Report]) -> Vec<String> {
    let head = [
        ("target", Align::Left),
        ("cold ms", Align::Right),
        ("warm ms", Align::Right),
        ("saved ms", Align::Right),
        ("address", Align::Left),
        ("", Align::Left),
    ];
    let rows: Vec<[String; 6]> = cold
        .iter()
        .zip(warm)
        .map(|(cold, warm)| {
            let (before, after) = (cold.latency(), warm.latency());
            let saved = before.zip(after).map(|(before, after)| {
                let sign = if after > before { "-" } else { "" };
                format!("{sign}{}", ms(before.abs_diff(after)))
            });
            [
                cold.target.to_string(),
                before.map(ms).unwrap_or_default(),
                after.map(ms).unwrap_or_default(),
                saved.unwrap_or_default(),
                warm.reached.map(|addr| addr.to_string()).unwrap_or_default(),
                outcome(warm),
            ]
        })
        .collect();
    table(head, &rows)
}

/// Statistics of each target over its rounds.
pub fn repeated(all: &[(String, Stats)]) -> Vec<String> {
    let head = [
        ("target", Align::Left),
        ("good", Align::Right),
        ("min ms", Align::Right),
        ("avg ms", Align::Right),
        ("p50 ms", Align::Right),
        ("p95 ms", Align::Right),
        ("max ms", Align::Right),
        ("jitter ms", Align::Right),
    ];
    let rows: Vec<[String; 8]> = all
        .iter()
        .map(|(target, stats)| {
            let of = |pick: fn(Summary) -> Duration| stats.latency.map(|it| ms(pick(it))).unwrap_or_default();
            [
                target.clone(),
                format!("{}/{}", stats.connected, stats.total),
                of(|it| it.min),
                of(|it| it.average),
                of(|it| it.p50),
                of(|it| it.p95),
                of(|it| it.max),
                of(|it| it.jitter),
            ]
        })
        .collect();
    table(head, &rows)
}

/// The last line.
pub fn last_line(stats: &Stats) -> String {
    let counts = format!(
        "{} of {} connected, {} failed",
        human_count(stats.connected as u64),
        human_count(stats.total as u64),
        human_count(stats.failed as u64)
    );
    let Some(all) = stats.latency else { return counts };
    format!(
        "{counts}; min {} ms, average {} ms, p50 {} ms, p95 {} ms, max {} ms, jitter {} ms",
        ms(all.min),
        ms(all.average),
        ms(all.p50),
        ms(all.p95),
        ms(all.max),
        ms(all.jitter)
    )
}

/// Everything about one report, on several lines.
pub fn details(report: &Report) -> Vec<String> {
    let service = &report.target.service;
    let mut lines = vec![format!("{}  {service}", report.target).trim_end().to_owned()];
    if let (Some(took), Some(source)) = (report.dns, &report.source) {
        lines.push(format!("  dns   {} ms, from {source}", ms(took)));
    }
    if !report.held.is_zero() {
        lines.push(format!("  held  {} ms, by a limit of this program", ms(report.held)));
    }
    for attempt in &report.attempts {
        lines.push(format!("  try   {}: {} after {} ms", attempt.ip, turn(attempt), ms(attempt.took)));
    }
    if let (Some(took), Some(addr)) = (report.tcp, report.reached) {
        lines.push(format!("  tcp   {} ms, to {addr}", ms(took)));
    }
    if let (Some(took), Some(facts)) = (report.tls, &report.facts) {
        lines.push(format!("  tls   {} ms, {}", ms(took), agreed(facts, report.tickets)));
        lines.extend(facts.certificate.as_ref().map(|it| format!("  cert  {}", certificate(it))));
    }
    lines.extend(report.refused.as_ref().map(|it| format!("  cert  refused: {}", certificate(it))));
    match report.failure {
        Some(failure) => {
            let (cause, advice) = why::why(report, failure);
            lines.push(format!("  fail  {}: {cause}; {advice}", failure.stage.name()));
        }
        None => lines.extend(report.latency().map(|it| format!("  all   {} ms", ms(it)))),
    }
    lines
}

/// A report as one JSON object.
pub fn json(step: Step<'_>) -> Value {
    let report = step.report;
    let attempts: Vec<Value> = report
        .attempts
        .iter()
        .map(|it| json!({"address": it.ip.to_string(), "ms": number(it.took), "result": turn(it)}))
        .collect();
    let error = report.failure.map(|failure| {
        let (cause, advice) = why::why(report, failure);
        json!({"stage": failure.stage.name(), "cause": cause, "advice": advice})
    });
    json!({
        "target": report.target.to_string(),
        "host": report.target.host,
        "port": report.target.port,
        "protocol": report.target.protocol.name(),
        "service": report.target.service,
        "round": step.round + 1,
        "ok": report.is_good(),
        "dns_ms": report.dns.map(number),
        "tcp_ms": report.tcp.map(number),
        "tls_ms": report.tls.map(number),
        "latency_ms": report.latency().map(number),
        "held_ms": number(report.held),
        "total_ms": number(report.total),
        "source": report.source.as_ref().map(ToString::to_string),
        "address": report.reached.map(|addr| addr.to_string()),
        "attempts": attempts,
        "tls": report.facts.as_ref().map(|facts| facts_json(facts)),
        "tickets": report.tickets,
        "refused_certificate": report.refused.as_ref().map(|it| certificate_json(it)),
        "error": error,
    })
}

/// What all reports came to, as JSON.
pub fn stats_json(stats: &Stats) -> Value {
    let summary = |it: Option<Summary>| {
        it.map(|it| {
            json!({
                "count": it.count, "min": number(it.min), "avg": number(it.average), "p50": number(it.p50),
                "p95": number(it.p95), "max": number(it.max), "jitter": number(it.jitter),
            })
        })
    };
    json!({
        "total": stats.total,
        "connected": stats.connected,
        "failed": stats.failed,
        "dns_ms": summary(stats.dns),
        "tcp_ms": summary(stats.tcp),
        "tls_ms": summary(stats.tls),
        "latency_ms": summary(stats.latency),
    })
}

/// Milliseconds with three digits that matter.
pub fn ms(took: Duration) -> String {
    three_digits(took.as_secs_f64() * 1_000.0)
}

fn outcome(report: &Report) -> String {
    match (report.failure, &report.facts) {
        (Some(failure), _) => {
            let (cause, advice) = why::why(report, failure);
            format!("{}: {cause}; {advice}", failure.stage.name())
        }
        (None, Some(facts)) => {
            let alpn = facts.alpn.as_ref().map(|alpn| format!(", {}", shown(alpn))).unwrap_or_default();
            let resumed = if facts.resumed { ", resumed" } else { "" };
            format!("{}{alpn}{resumed}", version(facts.version))
        }
        (None, None) => String::new(),
    }
}

fn turn(attempt: &Attempt) -> &'static str {
    match attempt.turn {
        Turn::Trying => "not over",
        Turn::Opened => "open",
        Turn::Failed(fault) => why::word(fault),
    }
}

fn version(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::V12 => "TLS 1.2",
        TlsVersion::V13 => "TLS 1.3",
    }
}

/// What a server chose, which may be any bytes.
fn shown(alpn: &[u8]) -> String {
    alpn.escape_ascii().to_string()
}

fn agreed(facts: &TlsFacts, tickets: u32) -> String {
    let mut parts = vec![version(facts.version).to_owned(), facts.cipher.to_owned()];
    parts.extend(facts.group.map(str::to_owned));
    parts.push(facts.alpn.as_ref().map_or_else(|| "no ALPN".to_owned(), |it| format!("ALPN {}", shown(it))));
    parts.push(if facts.resumed { "resumed" } else { "new session" }.to_owned());
    if facts.retried {
        parts.push("asked for another key share".to_owned());
    }
    parts.push(match tickets {
        1 => "1 ticket".to_owned(),
        count => format!("{count} tickets"),
    });
    parts.join(", ")
}

fn certificate(it: &Certificate) -> String {
    let names = it.names.join(", ");
    format!(
        "{}, for {names}, by {}, valid from {} until {}",
        it.subject,
        it.issuer,
        day(it.not_before),
        day(it.not_after)
    )
}

fn facts_json(facts: &TlsFacts) -> Value {
    json!({
        "version": version(facts.version).trim_start_matches("TLS "),
        "cipher": facts.cipher,
        "group": facts.group,
        "alpn": facts.alpn.as_ref().map(|alpn| shown(alpn)),
        "resumed": facts.resumed,
        "retried": facts.retried,
        "certificate": facts.certificate.as_ref().map(certificate_json),
    })
}

fn certificate_json(it: &Certificate) -> Value {
    let sha256: String = it.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "subject": it.subject,
        "issuer": it.issuer,
        "names": it.names,
        "not_before": it.not_before,
        "not_after": it.not_after,
        "expires": day(it.not_after),
        "sha256": sha256,
    })
}

fn number(took: Duration) -> f64 {
    (took.as_secs_f64() * 1e6).round() / 1e3
}

/// The day in UTC of a second since 1970 (proleptic Gregorian; days are counted from 1 March of
/// year 0, so that the leap day is the last of its year).
fn day(seconds: i64) -> String {
    let days = seconds.div_euclid(86_400) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{:02}", of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preconnect::{Cause, Failure, Fault, Protocol, Stage, Target};

    fn good(ms: u64) -> Report {
        let took = |ms| Some(Duration::from_millis(ms));
        Report {
            dns: took(1),
            tcp: took(ms),
            reached: Some("192.0.2.1:80".parse().unwrap()),
            ..Report::new(Target::new("a.test", 80, Protocol::Http))
        }
    }

    fn bad() -> Report {
        let failure = Failure { stage: Stage::Tcp, cause: Cause::Connect(Fault::Refused) };
        Report { failure: Some(failure), ..Report::new(Target::new("b.test", 81, Protocol::Tcp)) }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400, "2000-02-29"),
            (951_868_800, "2000-03-01"),
            (2_208_988_800, "2040-01-01"),
            (4_107_542_400, "2100-03-01"),
        ] {
            assert_eq!(day(seconds), expected);
        }
    }

    #[test]
    fn rows_say_what_it_took_or_why_not() {
        assert_eq!(
            rows(&[good(9), bad()]),
            [
                "target            dns ms  tcp ms  tls ms  all ms  address",
                "http://a.test:80    1.00    9.00            10.0  192.0.2.1:80",
                "tcp://b.test:81                                                 tcp: nothing listens on this port; start the service, or correct host and port",
            ]
        );
        assert_eq!(
            pairs(&[good(9)], &[good(4)])[1],
            "http://a.test:80     10.0     5.00      5.00  192.0.2.1:80"
        );
        assert!(pairs(&[good(4)], &[good(9)])[1].contains(" -5.00 "));
    }

    #[test]
    fn statistics_are_of_what_was_connected() {
        let stats = Stats::of(&[good(9), bad(), good(19)]);
        assert_eq!(
            last_line(&stats),
            "2 of 3 connected, 1 failed; min 10.0 ms, average 15.0 ms, p50 10.0 ms, p95 20.0 ms, max 20.0 ms, jitter 10.0 ms"
        );
        assert_eq!(last_line(&Stats::of(&[bad()])), "0 of 1 connected, 1 failed");
        assert_eq!(stats_json(&stats)["latency_ms"]["avg"], 15.0);
        let value = json(Step { round: 1, index: 0, report: &bad() });
        assert_eq!((value["round"].as_u64(), value["error"]["stage"].as_str()), (Some(2), Some("tcp")));
    }
}
