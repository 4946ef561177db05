//! Names that look like those of real torrents: made of dictionary words, in the shapes that
//! releases have, a few of them in other scripts. The same generator state gives the same name.

use crate::base::Rng;

/// What a torrent is said to contain; decides its files' names and sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Genre {
    /// `Title.Words.2019.1080p.WEB-DL.x264-GROUP`
    Film,
    /// `Title.Words.S02.720p.HDTV-GROUP`
    Series,
    /// `Artist - Album (1998) [FLAC]`
    Music,
    /// `Title words - Author (epub)`
    Book,
    /// `title-words-4.2.1-x64`
    Software,
}

/// A title and the genre it belongs to.
pub(crate) fn title(rng: &mut Rng) -> (String, Genre) {
    let year = 1960 + rng.below(66);
    let group = pick(rng, GROUPS);
    let resolution = pick(rng, RESOLUTIONS);
    match rng.below(10) {
        0..=2 => (format!("{}.{year}.{resolution}.WEB-DL.x264-{group}", phrase(rng, "."),), Genre::Film),
        3..=4 => {
            let season = 1 + rng.below(12);
            (format!("{}.S{season:02}.{resolution}.HDTV-{group}", phrase(rng, ".")), Genre::Series)
        }
        5..=6 => {
            let format = pick(rng, &["FLAC", "MP3 320", "24bit-96kHz", "V0"]);
            (format!("{} - {} ({year}) [{format}]", phrase(rng, " "), phrase(rng, " ")), Genre::Music)
        }
        7 => (format!("{} - {} ({year})", phrase(rng, " "), word(rng)), Genre::Book),
        8 => {
            let (major, minor) = (1 + rng.below(20), rng.below(30));
            (format!("{}_{major}.{minor}_x64", phrase(rng, "_")).to_lowercase(), Genre::Software)
        }
        _ => {
            let foreign = pick(rng, FOREIGN);
            let more = pick(rng, FOREIGN);
            (format!("[{group}] {foreign} {more} {} ({year})", word(rng)), Genre::Film)
        }
    }
}

/// A title as an old client wrote it: bytes of a legacy encoding, and the same text in UTF-8.
pub(crate) fn legacy(rng: &mut Rng) -> (Vec<u8>, String) {
    let tail = format!(" {} {}", word(rng), 1990 + rng.below(30));
    // "电影" (film) in GBK; it is not valid UTF-8.
    let mut gbk = b"\xb5\xe7\xd3\xb0".to_vec();
    gbk.extend_from_slice(tail.as_bytes());
    (gbk, format!("电影{tail}"))
}

/// The name of file `index` of a torrent of that genre; distinct for every index.
pub(crate) fn file(rng: &mut Rng, genre: Genre, index: usize) -> String {
    let number = index + 1;
    match genre {
        Genre::Film => {
            let extension = pick(rng, &["mkv", "mp4", "srt", "nfo", "jpg"]);
            format!("{}.{number:03}.{extension}", phrase(rng, "."))
        }
        Genre::Series => format!("{}.E{number:02}.mkv", phrase(rng, ".")),
        Genre::Music => {
            let extension = pick(rng, &["flac", "mp3", "flac", "mp3", "cue"]);
            format!("{number:02} - {}.{extension}", phrase(rng, " "))
        }
        Genre::Book => {
            let extension = pick(rng, &["epub", "pdf", "mobi"]);
            format!("{} {number}.{extension}", phrase(rng, " "))
        }
        Genre::Software => {
            let extension = pick(rng, &["dat", "cab", "dll", "txt", "bin"]);
            format!("{}_{number}.{extension}", phrase(rng, "_"))
        }
    }
}

/// A folder inside a torrent; its name never has an extension, so it never collides with a file.
pub(crate) fn folder(rng: &mut Rng) -> &'static str {
    pick(rng, FOLDERS)
}

fn phrase(rng: &mut Rng, separator: &str) -> String {
    let mut phrase = String::from(word(rng));
    for _ in 0..1 + rng.below(3) {
        phrase.push_str(separator);
        phrase.push_str(word(rng));
    }
    phrase
}

fn word(rng: &mut Rng) -> &'static str {
    if rng.below(40) == 0 { pick(rng, ACCENTED) } else { pick(rng, WORDS) }
}

fn pick(rng: &mut Rng, list: &'static [&'static str]) -> &'static str {
    list[rng.index(list.len())]
}

const GROUPS: &[&str] = &["NOVA", "LUMEN", "ORCHID", "PAPER", "DELTA9", "QUARTZ", "mSD", "FENNEC"];
const RESOLUTIONS: &[&str] = &["480p", "720p", "1080p", "2160p"];
const FOLDERS: &[&str] = &["CD1", "CD2", "Extras", "Scans", "Subs", "Sample", "Artwork", "Дополнительно"];
const ACCENTED: &[&str] =
    &["Café", "Été", "Señor", "Über", "Smörgåsbord", "Élan", "Niño", "Fjörd", "Šťastný"];
const FOREIGN: &[&str] = &[
    "春の雪",
    "星空",
    "東京物語",
    "銀河",
    "風の歌",
    "夜航船",
    "山水",
    "红楼",
    "長城",
    "바다",
    "하늘",
    "겨울밤",
    "Война",
    "Весна",
    "Москва",
    "Мастер",
    "ليل",
    "بحر",
    "שיר",
    "Θάλασσα",
];
const WORDS: &[&str] = &[
    "Amber",
    "Anchor",
    "Apple",
    "Arctic",
    "Arrow",
    "Ashes",
    "Atlas",
    "Autumn",
    "Bamboo",
    "Basalt",
    "Beacon",
    "Birch",
    "Blossom",
    "Bridge",
    "Bronze",
    "Canyon",
    "Canvas",
    "Carbon",
    "Castle",
    "Cedar",
    "Cinder",
    "Circle",
    "Citadel",
    "Clover",
    "Cobalt",
    "Comet",
    "Compass",
    "Copper",
    "Coral",
    "Cosmic",
    "Crater",
    "Crimson",
    "Crystal",
    "Dancer",
    "Daughter",
    "Dawn",
    "Desert",
    "Distant",
    "Dragon",
    "Dream",
    "Dune",
    "Eagle",
    "Echo",
    "Eclipse",
    "Ember",
    "Empire",
    "Empty",
    "Endless",
    "Engine",
    "Falcon",
    "Feather",
    "Fire",
    "Forest",
    "Forgotten",
    "Fossil",
    "Fountain",
    "Fox",
    "Frozen",
    "Garden",
    "Ghost",
    "Giant",
    "Glacier",
    "Glass",
    "Golden",
    "Granite",
    "Harbour",
    "Harvest",
    "Hazel",
    "Hidden",
    "Hollow",
    "Horizon",
    "Hunter",
    "Indigo",
    "Iron",
    "Island",
    "Ivory",
    "Jade",
    "Journey",
    "Juniper",
    "Kingdom",
    "Lantern",
    "Last",
    "Legend",
    "Letters",
    "Library",
    "Lighthouse",
    "Lost",
    "Lunar",
    "Magnet",
    "Maple",
    "Marble",
    "Meadow",
    "Memory",
    "Meridian",
    "Midnight",
    "Mirror",
    "Mist",
    "Monsoon",
    "Mountain",
    "Nebula",
    "Night",
    "Northern",
    "Oak",
    "Ocean",
    "Olive",
    "Onyx",
    "Orbit",
    "Orchard",
    "Owl",
    "Paper",
    "Passage",
    "Pearl",
    "Phantom",
    "Pilot",
    "Pine",
    "Planet",
    "Prairie",
    "Prism",
    "Quiet",
    "Radio",
    "Rain",
    "Raven",
    "Red",
    "Reef",
    "River",
    "Road",
    "Saffron",
    "Sailor",
    "Sapphire",
    "Scarlet",
    "Secret",
    "Shadow",
    "Signal",
    "Silence",
    "Silver",
    "Sky",
    "Snow",
    "Solar",
    "Song",
    "Southern",
    "Spark",
    "Spring",
    "Station",
    "Stone",
    "Storm",
    "Summer",
    "Sunken",
    "Temple",
    "Thunder",
    "Tide",
    "Tiger",
    "Timber",
    "Tower",
    "Trail",
    "Twilight",
    "Valley",
    "Velvet",
    "Violet",
    "Voyage",
    "Walnut",
    "Water",
    "Whale",
    "Whisper",
    "Wild",
    "Willow",
    "Window",
    "Winter",
    "Wolf",
    "Wonder",
    "Yellow",
    "Zenith",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_names_and_indexes_keep_files_apart() {
        let (mut a, mut b) = (Rng::seeded(5), Rng::seeded(5));
        for _ in 0..100 {
            assert_eq!(title(&mut a), title(&mut b));
        }
        for genre in [Genre::Film, Genre::Series, Genre::Music, Genre::Book, Genre::Software] {
            let mut names: Vec<_> = (0..500).map(|index| file(&mut a, genre, index)).collect();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), 500, "{genre:?}");
        }
    }

    #[test]
    fn a_legacy_name_is_not_utf8() {
        let (raw, text) = legacy(&mut Rng::seeded(1));
        assert!(std::str::from_utf8(&raw).is_err());
        assert!(text.starts_with("电影"));
    }
}
