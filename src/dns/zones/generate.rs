//! `$GENERATE` (BIND 9 Administrator Reference Manual, "The $GENERATE Directive"): many records that
//! differ in a number.

use std::fmt::Write as _;
use std::str;

use super::master::{ENTRY_END, Entries, Reason, Token, ZoneFault};

/// The text with each `$GENERATE` replaced by the records that it makes, on the same line, with at most
/// so many bytes; `None` if there is none.
pub fn expand(text: &[u8], bytes_max: usize) -> Result<Option<Vec<u8>>, ZoneFault> {
    let is_name =
        |rest: &[u8]| rest.get(..NAME.len() - 1).is_some_and(|rest| rest.eq_ignore_ascii_case(&NAME[1..]));
    if !text.split(|byte| *byte == NAME[0]).skip(1).any(is_name) {
        return Ok(None);
    }
    let (mut entries, mut tokens) = (Entries::new(text), Vec::new());
    let (mut out, mut copied) = (Vec::new(), 0);
    while let Some(entry) = entries.next_entry(&mut tokens) {
        // What cannot be read is told when the rest is.
        let Ok((line, false)) = entry else { continue };
        if tokens[0].quoted || !tokens[0].text.eq_ignore_ascii_case(NAME) {
            continue;
        }
        copy(&text[copied..entries.start], &mut out);
        copied = entries.at;
        let fault = |reason| ZoneFault { line, reason };
        generate(&tokens[1..], bytes_max, &mut out).map_err(fault)?;
        let lines = text[entries.start..copied].iter().filter(|byte| **byte == b'\n');
        out.extend(lines);
    }
    copy(&text[copied..], &mut out);
    Ok(Some(out))
}

/// A byte that ends entries is a letter here.
fn copy(text: &[u8], out: &mut Vec<u8>) {
    for piece in text.split_inclusive(|byte| *byte == ENTRY_END) {
        match piece.split_last() {
            Some((&ENTRY_END, before)) => {
                out.extend_from_slice(before);
                out.extend_from_slice(b"\\030");
            }
            _ => out.extend_from_slice(piece),
        }
    }
}

fn generate(tokens: &[Token<'_>], bytes_max: usize, out: &mut Vec<u8>) -> Result<(), Reason> {
    let [range, owner, middle @ ..] = tokens else { return Err(Reason::Generate) };
    let (numbers, step) = range_of(range.text).ok_or(Reason::Generate)?;
    let words: Vec<Vec<u8>> = match middle {
        // A text in quotes alone is all of the data, as BIND has it.
        [head @ .., data] if data.quoted && head.iter().all(|token| !token.quoted) => {
            let head = head.iter().map(|token| token.text.to_vec());
            head.chain([data.text.to_vec()]).collect()
        }
        all if all.len() >= 2 => all.iter().map(in_quotes).collect(),
        _ => return Err(Reason::Generate),
    };
    for number in numbers.step_by(step) {
        substitute(owner.text, number, out)?;
        for word in &words {
            out.push(b' ');
            substitute(word, number, out)?;
        }
        out.push(ENTRY_END);
        if out.len() > bytes_max {
            return Err(Reason::TooLarge);
        }
    }
    Ok(())
}

fn in_quotes(token: &Token<'_>) -> Vec<u8> {
    if token.quoted { [b"\"", token.text, b"\""].concat() } else { token.text.to_vec() }
}

/// `START-STOP` or `START-STOP/STEP`.
fn range_of(text: &[u8]) -> Option<(std::ops::RangeInclusive<i64>, usize)> {
    let text = str::from_utf8(text).ok()?;
    let (range, step) = text.split_once('/').unwrap_or((text, "1"));
    let (start, stop) = range.split_once('-')?;
    let number = |text: &str| text.parse::<u32>().ok().filter(|number| *number <= i32::MAX as u32);
    let (start, stop, step) = (number(start)?, number(stop)?, number(step)?);
    (start <= stop && step > 0).then_some((i64::from(start)..=i64::from(stop), step as usize))
}

/// `$` is the number, `$$` a dollar, `${OFFSET,WIDTH,BASE}` the number in another form; what a backslash
/// escapes stays as it is. An offset holds for each `$` behind it, as in BIND.
fn substitute(mut text: &[u8], mut number: i64, out: &mut Vec<u8>) -> Result<(), Reason> {
    let first = number;
    loop {
        text = match text {
            [] => return Ok(()),
            [b'\\', byte, rest @ ..] => {
                out.extend_from_slice(&[b'\\', *byte]);
                rest
            }
            [b'$', b'$', rest @ ..] => {
                out.extend_from_slice(b"\\$");
                rest
            }
            [b'$', b'{', rest @ ..] => {
                let end = rest.iter().position(|byte| *byte == b'}').ok_or(Reason::Generate)?;
                let form = str::from_utf8(&rest[..end]).map_err(|_| Reason::Generate)?;
                let (offset, form) = form.split_once(',').unwrap_or((form, ""));
                let offset: i64 = offset.trim().parse().map_err(|_| Reason::Generate)?;
                number = first.saturating_add(offset);
                out.extend_from_slice(formatted(form, number)?.as_bytes());
                &rest[end + 1..]
            }
            [b'$', rest @ ..] => {
                out.extend_from_slice(number.to_string().as_bytes());
                rest
            }
            [byte, rest @ ..] => {
                out.push(*byte);
                rest
            }
        }
    }
}

/// `WIDTH,BASE`, or less.
fn formatted(form: &str, number: i64) -> Result<String, Reason> {
    let mut parts = form.split(',').map(str::trim).filter(|_| !form.is_empty());
    let mut next = |default| parts.next().unwrap_or(default);
    let (width, base) = (next("0"), next("d"));
    let width: usize = width.parse().ok().filter(|width| *width <= WIDTH_MAX).ok_or(Reason::Generate)?;
    let number = u64::try_from(number).map_err(|_| Reason::Generate)?;
    match (base, parts.next()) {
        ("d", None) => Ok(format!("{number:0width$}")),
        ("o", None) => Ok(format!("{number:0width$o}")),
        ("x", None) => Ok(format!("{number:0width$x}")),
        ("X", None) => Ok(format!("{number:0width$X}")),
        ("n", None) => Ok(nibbles(number, width)),
        ("N", None) => Ok(nibbles(number, width).to_ascii_uppercase()),
        _ => Err(Reason::Generate),
    }
}

/// Hexadecimal digits as labels, the last one first; `width` counts their dots too.
fn nibbles(mut number: u64, width: usize) -> String {
    let mut out = String::new();
    loop {
        write!(out, "{:x}", number & 0xf).expect("a string takes everything");
        number >>= 4;
        if out.len() >= width && number == 0 {
            return out;
        }
        out.push('.');
        if out.len() >= width && number == 0 {
            return out;
        }
    }
}

const NAME: &[u8] = b"$GENERATE";
/// The longest name.
const WIDTH_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(line: &str) -> Result<String, ZoneFault> {
        let text = format!("; one\n{line}\nlast A 192.0.2.1\n");
        let out = expand(text.as_bytes(), 10_000)?.expect("there is one");
        let text = String::from_utf8(out).unwrap().replace('\u{1e}', "|");
        let text = text.strip_prefix("; one\n").and_then(|text| text.strip_suffix("\nlast A 192.0.2.1\n"));
        Ok(text.expect("the rest stays").to_owned())
    }

    #[test]
    fn numbers_are_put_in_for_dollars() {
        for (line, records) in [
            ("$GENERATE 1-3 h$ A 192.0.2.$", "h1 A 192.0.2.1|h2 A 192.0.2.2|h3 A 192.0.2.3|"),
            (
                "$generate 2-6/2 $ 60 IN PTR h$.test.",
                "2 60 IN PTR h2.test.|4 60 IN PTR h4.test.|6 60 IN PTR h6.test.|",
            ),
            ("$GENERATE 7-7 a${0,3} CNAME b${-2,2,d}.c${16,4,x}", "a007 CNAME b05.c0017|"),
            ("$GENERATE 7-7 a CNAME ${1}.$", "a CNAME 8.8|"),
            ("$GENERATE 10-10 ${0,0,X} A 192.0.2.${1}", "A A 192.0.2.11|"),
            ("$GENERATE 18-18 ${0,7,n} A 192.0.2.1", "2.1.0.0 A 192.0.2.1|"),
            ("$GENERATE 1-1 a MX \"10 m$\"", "a MX 10 m1|"),
            ("$GENERATE 1-1 a TXT \"x $\" \"y\"", "a TXT \"x 1\" \"y\"|"),
            (r"$GENERATE 1-1 a\$b$$ A 192.0.2.$", r"a\$b\$ A 192.0.2.1|"),
        ] {
            assert_eq!(expanded(line).as_deref(), Ok(records), "{line}");
        }
    }

    #[test]
    fn what_is_none_is_told_with_its_line() {
        for line in [
            "$GENERATE",
            "$GENERATE 1-2",
            "$GENERATE 1-2 a",
            "$GENERATE 1-2 a A",
            "$GENERATE 3-2 a A 1",
            "$GENERATE 1 a A 1",
            "$GENERATE 1-2/0 a A 1",
            "$GENERATE 1-4294967295 a A 1",
            "$GENERATE 1-2 a${ A 1",
            "$GENERATE 1-2 a${0,999} A 1",
            "$GENERATE 1-2 a${-2} A 1",
            "$GENERATE 1-2 a${0,1,z} A 1",
        ] {
            assert_eq!(expanded(line), Err(ZoneFault { line: 2, reason: Reason::Generate }), "{line}");
        }
        let much = expanded("$GENERATE 0-2147483647 a$ A 192.0.2.1");
        assert_eq!(much, Err(ZoneFault { line: 2, reason: Reason::TooLarge }));
        assert_eq!(expand(b"a A 192.0.2.1 ; none\n", 10), Ok(None));
    }
}
