//! Names in the letters of people, as the DNS knows them (UTS #46, RFC 5891).

use std::borrow::Cow;

/// The text is no name in any script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoDomain;

/// What is asked for in the place of a host name: itself if it is ASCII, else its form with `xn--`.
pub fn to_ascii(host: &str) -> Result<Cow<'_, str>, NoDomain> {
    if host.is_ascii() {
        return Ok(Cow::Borrowed(host));
    }
    idna::domain_to_ascii_cow(host.as_bytes(), idna::AsciiDenyList::EMPTY).map_err(|_| NoDomain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_all_scripts_have_one_form() {
        for (host, ascii) in [
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example.", "xn--bcher-kva.example."),
            ("bu\u{308}cher.example", "xn--bcher-kva.example"),
            ("straße.example", "xn--strae-oqa.example"),
            ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
            ("пример.испытание", "xn--e1afmkfd.xn--80akhbyknj4f"),
            ("_tcp.Box", "_tcp.Box"),
        ] {
            assert_eq!(to_ascii(host).as_deref(), Ok(ascii), "{host}");
        }
        for bad in ["a\u{202e}b.example", "xn--ü.example"] {
            assert!(to_ascii(bad).is_err(), "{bad}");
        }
    }
}
