//! Why fetches failed, in words and as JSON.

use serde_json::{Map, Value};

use super::units::human_count;
use crate::metadata::Failures;

/// Numbers by name.
pub fn as_json(failures: &Failures) -> Value {
    let rows = failures.shares().into_iter();
    Value::Object(
        rows.map(|(kind, _)| (kind.name().to_owned(), failures.count(kind).into())).collect::<Map<_, _>>(),
    )
}

/// `2 x refused, 1 x no metadata`, the most frequent first; empty for none.
pub fn counts(failures: &Failures) -> String {
    let one = |(kind, _)| format!("{} x {}", human_count(failures.count(kind)), kind.words());
    failures.shares().into_iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `40 % refused, 12 % no metadata`: at most so many, the most frequent first; empty for none.
pub fn shares(failures: &Failures, most: usize) -> String {
    let one = |(kind, share): (crate::metadata::FailureKind, f64)| match (share * 100.0).round() {
        0.0 => format!("< 1 % {}", kind.words()),
        percent => format!("{percent:.0} % {}", kind.words()),
    };
    failures.shares().into_iter().take(most).map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::{Step, Why};

    #[test]
    fn numbers_and_shares_come_the_largest_first() {
        let mut failures = Failures::default();
        assert_eq!((counts(&failures), shares(&failures, 3)), (String::new(), String::new()));
        (0..300).for_each(|_| failures.add(Why::Refused.kind()));
        (0..99).for_each(|_| failures.add(Why::TimedOut(Step::Connect).kind()));
        failures.add(Why::WrongHash.kind());
        assert_eq!(counts(&failures), "300 x refused, 99 x timed out in connect, 1 x wrong hash");
        assert_eq!(shares(&failures, 2), "75 % refused, 25 % timed out in connect");
        assert!(shares(&failures, 9).ends_with(", < 1 % wrong hash"));
        assert_eq!(as_json(&failures)["connect_timed_out"], 99);
    }
}
