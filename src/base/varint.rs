//! Numbers in as few bytes as they need: seven bits a byte, the lowest first, the top bit for more.

/// Appends `number`, 1 to 10 bytes.
pub fn push(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number off the front; `None` if the bytes end before it does, or it is beyond 64 bits.
pub fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        if shift == 63 && byte > 1 {
            return None;
        }
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip_and_damage_is_seen() {
        for number in [0, 1, 127, 128, 300, 1 << 35, u64::MAX] {
            let mut out = Vec::new();
            push(&mut out, number);
            assert_eq!(take(&mut &out[..]), Some(number));
            assert_eq!(take(&mut &out[..out.len() - 1]), None);
        }
        assert_eq!(take(&mut &[0x80; 11][..]), None);
        let beyond = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2];
        assert_eq!(take(&mut &beyond[..]), None, "bits that do not fit are damage, not dropped");
    }

    quickcheck::quickcheck! {
        fn what_is_pushed_is_taken_and_nothing_more(numbers: Vec<u64>, shift: u8) -> bool {
            let mut out = Vec::new();
            let numbers: Vec<u64> = numbers.iter().map(|number| number >> (shift % 64)).collect();
            numbers.iter().for_each(|number| push(&mut out, *number));
            let mut rest = &out[..];
            numbers.iter().all(|number| take(&mut rest) == Some(*number)) && rest.is_empty()
        }

        fn what_is_taken_is_pushed_as_short_or_shorter(bytes: Vec<u8>) -> bool {
            let mut rest = &bytes[..];
            let Some(number) = take(&mut rest) else { return true };
            let mut out = Vec::new();
            push(&mut out, number);
            let used = bytes.len() - rest.len();
            out.len() < used || out == bytes[..used]
        }
    }
}
