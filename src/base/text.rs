//! Text of files: byte order marks, numbers for people.

/// The text without a UTF-8 byte order mark in front, which editors on Windows write.
pub fn without_bom(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// [`without_bom`] for bytes that need not be UTF-8.
pub fn bytes_without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// A number with commas between thousands.
pub fn human_count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_mark_in_front_is_dropped() {
        assert_eq!((without_bom("\u{feff}a"), without_bom("a\u{feff}")), ("a", "a\u{feff}"));
        assert_eq!(
            (bytes_without_bom(b"\xef\xbb\xbf\xff"), bytes_without_bom(b"\xef\xbb")),
            (&b"\xff"[..], &b"\xef\xbb"[..])
        );
    }
}
