//! Encodings of names that are not UTF-8: named by the torrent, or guessed from its names.

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::*;

/// How the names of a torrent are encoded where they are not UTF-8.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Charset(&'static Encoding);

impl Default for Charset {
    fn default() -> Self {
        Self::UTF_8
    }
}

impl std::fmt::Debug for Charset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl Charset {
    /// Not known to be anything else.
    pub const UTF_8: Self = Self(UTF_8);

    /// As a column holds it.
    pub fn number(self) -> u32 {
        NUMBERED.iter().position(|encoding| *encoding == self.0).unwrap_or(0) as u32
    }

    /// From [`Charset::number`]; UTF-8 if there is none with that number.
    pub fn from_number(number: u32) -> Self {
        Self(NUMBERED.get(number as usize).copied().unwrap_or(UTF_8))
    }

    /// Its name in the Encoding Standard.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// By the label in a torrent's `encoding`: those of the Encoding Standard, and `cp` with a number.
    pub fn named(label: &[u8]) -> Option<Self> {
        let found = Encoding::for_label(label).or_else(|| {
            let plain: Vec<u8> = label.iter().copied().filter(u8::is_ascii_alphanumeric).collect();
            Encoding::for_label(&plain)
        });
        let code_page = || {
            let label = std::str::from_utf8(label).ok()?.trim().to_ascii_lowercase();
            let digits =
                ["cp", "ms", "windows-", "ibm", "x-cp"].iter().find_map(|start| label.strip_prefix(start));
            Self::code_page(digits?.trim_start_matches(['-', '_']).parse().ok()?)
        };
        found.map(Self::of).or_else(code_page)
    }

    /// By the number in a torrent's `codepage`, as Windows counts them.
    pub fn code_page(number: i64) -> Option<Self> {
        let found = CODE_PAGES.iter().find(|(page, _)| *page == number);
        found.map(|(_, encoding)| Self::of(encoding))
    }

    /// The encoding of all these names together: the one that they are said to be in if they can
    /// be, else the likeliest. UTF-8 if they all are.
    pub fn of_names<'a>(names: impl Iterator<Item = &'a [u8]> + Clone, said: Option<Self>) -> Self {
        let mut odd = names.filter(|name| std::str::from_utf8(name).is_err()).peekable();
        if odd.peek().is_none() {
            return Self::UTF_8;
        }
        let fits = |name: &[u8], encoding: &'static Encoding| !encoding.decode_without_bom_handling(name).1;
        if let Some(Self(said)) = said.filter(|said| *said != Self::UTF_8)
            && odd.clone().take(NAMES_MAX).all(|name| fits(name, said))
        {
            return Self(said);
        }
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
        let mut text = Vec::new();
        for name in odd.take(NAMES_MAX) {
            text.clear();
            // What stands for a space in names tells the detector where words end. No second byte
            // of a character looks like a full stop.
            text.extend(name.iter().take(NAME_BYTES_MAX).map(|&byte| if byte == b'.' { b' ' } else { byte }));
            text.push(b'\n');
            detector.feed(&text, false);
        }
        detector.feed(b"", true);
        Self::of(detector.guess(None, Utf8Detection::Deny))
    }

    /// A name as text. What is UTF-8 is taken as that: torrents mix both.
    pub fn decode(self, raw: &[u8]) -> Cow<'_, str> {
        match std::str::from_utf8(raw) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => self.0.decode_without_bom_handling(raw).0,
        }
    }

    /// Only those that have a number.
    fn of(encoding: &'static Encoding) -> Self {
        match encoding {
            _ if encoding == GB18030 => Self(GBK),
            _ if NUMBERED.contains(&encoding) => Self(encoding),
            _ => Self::UTF_8,
        }
    }
}

/// In the order of their numbers, which the archive keeps: new ones come at the end.
const NUMBERED: &[&Encoding] = &[
    UTF_8,
    GBK,
    BIG5,
    SHIFT_JIS,
    EUC_JP,
    EUC_KR,
    WINDOWS_1251,
    KOI8_R,
    KOI8_U,
    IBM866,
    WINDOWS_1252,
    WINDOWS_1250,
    ISO_8859_2,
    WINDOWS_1253,
    ISO_8859_7,
    WINDOWS_1254,
    WINDOWS_1255,
    ISO_8859_8,
    WINDOWS_1256,
    ISO_8859_6,
    WINDOWS_1257,
    ISO_8859_4,
    ISO_8859_13,
    WINDOWS_1258,
    WINDOWS_874,
    ISO_8859_5,
    ISO_8859_3,
    ISO_8859_10,
    ISO_8859_14,
    ISO_8859_15,
    ISO_8859_16,
    MACINTOSH,
    X_MAC_CYRILLIC,
];

/// Windows' code page identifiers.
const CODE_PAGES: &[(i64, &Encoding)] = &[
    (65001, UTF_8),
    (936, GBK),
    (20936, GBK),
    (54936, GBK),
    (950, BIG5),
    (932, SHIFT_JIS),
    (20932, EUC_JP),
    (51932, EUC_JP),
    (949, EUC_KR),
    (51949, EUC_KR),
    (1251, WINDOWS_1251),
    (20866, KOI8_R),
    (21866, KOI8_U),
    (866, IBM866),
    (1252, WINDOWS_1252),
    (28591, WINDOWS_1252),
    (20127, WINDOWS_1252),
    (1250, WINDOWS_1250),
    (28592, ISO_8859_2),
    (28593, ISO_8859_3),
    (28594, ISO_8859_4),
    (28595, ISO_8859_5),
    (28596, ISO_8859_6),
    (28597, ISO_8859_7),
    (28598, ISO_8859_8),
    (28599, WINDOWS_1254),
    (28603, ISO_8859_13),
    (28605, ISO_8859_15),
    (1253, WINDOWS_1253),
    (1254, WINDOWS_1254),
    (1255, WINDOWS_1255),
    (1256, WINDOWS_1256),
    (1257, WINDOWS_1257),
    (1258, WINDOWS_1258),
    (874, WINDOWS_874),
    (10000, MACINTOSH),
    (10007, X_MAC_CYRILLIC),
];

/// Names looked at; a guess gets no better after some kilobytes.
const NAMES_MAX: usize = 256;
const NAME_BYTES_MAX: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    fn guessed(names: &[&[u8]]) -> Charset {
        Charset::of_names(names.iter().copied(), None)
    }

    fn encoded(encoding: &'static Encoding, text: &str) -> Vec<u8> {
        let (bytes, _, lossy) = encoding.encode(text);
        assert!(!lossy, "{text}");
        bytes.into_owned()
    }

    const NAMES: &[(&Encoding, &str)] = &[
        (GBK, "[电影天堂]让子弹飞.国语中字.1024x576.rmvb"),
        (GBK, "周杰伦 - 范特西"),
        (BIG5, "臥虎藏龍.國語中字.mkv"),
        (SHIFT_JIS, "[アニメ] 新世紀エヴァンゲリオン 第01話 「使徒、襲来」.avi"),
        (EUC_KR, "무한도전 제작진과의 대화.avi"),
        (WINDOWS_1251, "Иван Васильевич меняет профессию.1973.avi"),
        (KOI8_R, "Собачье сердце - Михаил Булгаков.mp3"),
        (WINDOWS_1252, "Les Misérables - La bataille des âmes.avi"),
        (WINDOWS_1252, "Die Fälscher - Österreich für Anfänger"),
        (EUC_JP, "機動戦士ガンダム 第一話 大地に立つ.avi"),
    ];

    #[test]
    fn encodings_are_guessed_and_decoded() {
        for &(encoding, name) in NAMES {
            let raw = encoded(encoding, name);
            let charset = guessed(&[&raw, b"ascii only.txt", "dé.txt".as_bytes()]);
            assert_eq!(charset.decode(&raw), name, "taken for {charset:?}");
            assert_eq!(charset.decode("dé.txt".as_bytes()), "dé.txt");
        }
        assert_eq!(guessed(&[b"plain", "schön".as_bytes()]), Charset::UTF_8);
    }

    /// Names of torrents that other programs were reported to show as garbage.
    #[test]
    fn names_that_other_programs_garbled() {
        for (names, expected) in [
            (&[&b"06 - Telephone (feat. Beyonc\xe9).flac"[..]][..], &["06 - Telephone (feat. Beyoncé).flac"][..]),
            (
                &[b"1024\xb2\xdd\xc1\xf1\xc9\xe7\x85^ t66y.com.jpg", b"AVDVD \xb3\xc9\xc8\xcb\xb9\xe2\xb5\xfa.url"],
                &["1024草榴社區 t66y.com.jpg"],
            ),
            (
                &[b"\xc5\xf1\xeb\xe8 \xef\xe0\xf0\xed\xe8 \xe2\xf1\xe5\xe3\xee \xec\xe8\xf0\xe0 (\xd4\xf0\xe0\xed\xf6\xe8\xff, 1956).mkv"],
                &["Если парни всего мира (Франция, 1956).mkv"],
            ),
            (&[b"Za\xbf\xf3\xb3\xe6 g\xea\xb6l\xb1 ja\xbc\xf1.txt"], &["Zażółć gęślą jaźń.txt"]),
            (&[b"\xd0\xa1\xbc\xa6\xbf\xec\xc5\xdc(\xb9\xfa\xd3\xa2\xcb\xab\xd3\xef)"], &["小鸡快跑(国英双语)"]),
        ] {
            let charset = guessed(names);
            for (raw, text) in names.iter().zip(expected) {
                assert_eq!(charset.decode(raw), *text, "taken for {charset:?}");
            }
        }
    }

    #[test]
    fn what_a_torrent_says_counts_if_it_can_be_so() {
        let raw = encoded(BIG5, "龍");
        let said = |label: &[u8]| Charset::of_names([&raw[..]].into_iter(), Charset::named(label));
        assert_eq!(said(b"Big5").decode(&raw), "龍");
        assert_eq!(said(b"utf-8"), said(b"nonsense"));
        for (label, encoding) in [
            (&b"GBK"[..], GBK),
            (b"gb2312", GBK),
            (b"CP936", GBK),
            (b"Shift-JIS", SHIFT_JIS),
            (b"SJIS", SHIFT_JIS),
            (b"cp949", EUC_KR),
            (b"EUC-KR", EUC_KR),
            (b"BIG5", BIG5),
            (b"CP1251", WINDOWS_1251),
            (b"windows-1251", WINDOWS_1251),
            (b"Latin-1", WINDOWS_1252),
            (b"ISO-8859-1", WINDOWS_1252),
            (b"UTF-8", UTF_8),
            (b"utf8", UTF_8),
        ] {
            assert_eq!(Charset::named(label), Some(Charset(encoding)), "{label:?}");
        }
        assert_eq!(Charset::code_page(932), Some(Charset(SHIFT_JIS)));
        assert_eq!((Charset::code_page(1), Charset::named(b"")), (None, None));
        assert_eq!(
            Charset::of_names([&b"\x81\xff"[..]].into_iter(), Charset::code_page(932)).decode(b"a"),
            "a"
        );
    }

    #[test]
    fn numbers_come_back() {
        for (number, &encoding) in NUMBERED.iter().enumerate() {
            assert_eq!(Charset::from_number(number as u32), Charset(encoding));
            assert_eq!(Charset(encoding).number(), number as u32);
        }
        assert_eq!(Charset::from_number(999), Charset::UTF_8);
        for (page, _) in CODE_PAGES.iter().skip(1) {
            assert_ne!(Charset::code_page(*page), Some(Charset::UTF_8), "{page}");
        }
    }
}
