//! Latin letters that Unicode does not decompose although people type them without their stroke.
//!
//! From the names in Unicode's character database: "LATIN SMALL LETTER X WITH …" is x. Six letters
//! without "WITH" are written out as English does it.

/// What people type for a lower-case letter, if that is another.
pub fn base_of(letter: char) -> Option<&'static str> {
    LETTERS.iter().find(|(_, letters)| letters.contains(letter)).map(|(base, _)| *base)
}

/// The letters by what they become.
pub const LETTERS: &[(&str, &str)] = &[
    ("a", "ᶏⱥ"),
    ("ae", "æ"),
    ("av", "ꜻ"),
    ("b", "ƀƃɓᵬᶀꞗ"),
    ("c", "ƈȼɕꞓꞔ"),
    ("d", "ðđƌȡɖɗᵭᶁᶑꟈ"),
    ("e", "ɇᶒⱸ"),
    ("f", "ƒᵮᶂꞙ"),
    ("g", "ǥɠᶃꞡ"),
    ("h", "ħɦⱨꞕ"),
    ("i", "ıɨᶖ"),
    ("j", "ȷɉɟʄʝ"),
    ("k", "ĸƙᶄⱪꝁꝃꝅꞣ"),
    ("l", "łƚȴɫɬɭᶅⱡꝉꞎ"),
    ("m", "ɱᵯᶆ"),
    ("n", "ŋƞȵɲɳᵰᶇꞑꞥ"),
    ("o", "øⱺꝋꝍ"),
    ("oe", "œ"),
    ("p", "ƥᵱᵽᶈꝑꝓꝕ"),
    ("q", "ɋʠꝗꝙ"),
    ("r", "ɍɼɽɾᵲᵳᶉꞧ"),
    ("s", "ȿʂᵴᶊẜẝꞩꟊ"),
    ("t", "ŧƫƭȶʈᵵⱦ"),
    ("th", "þᵺ"),
    ("u", "ᶙꞹ"),
    ("v", "ʋᶌⱱⱴꝟ"),
    ("w", "ⱳ"),
    ("x", "ᶍ"),
    ("y", "ƴɏỿ"),
    ("z", "ƶȥɀʐʑᵶᶎⱬ"),
];
