//! What a torrent is, guessed from what most of its bytes are.

use crate::model::Torrent;

/// Kinds people look for. The number is what the column holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Category {
    /// None of the others.
    #[default]
    Other = 0,
    /// Films and series.
    Video = 1,
    /// Music and audio books.
    Audio = 2,
    /// Books, papers, comics.
    Text = 3,
    /// Pictures.
    Image = 4,
    /// Programs, games, disc images.
    Software = 5,
    /// Packed files.
    Archive = 6,
}

impl Category {
    /// Every category, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Other, Self::Video, Self::Audio, Self::Text, Self::Image, Self::Software, Self::Archive];

    /// From the column; unknown numbers are [`Category::Other`].
    pub fn from_number(number: u8) -> Self {
        Self::ALL.get(usize::from(number)).copied().unwrap_or_default()
    }

    /// Lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Other => "other",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Text => "text",
            Self::Image => "image",
            Self::Software => "software",
            Self::Archive => "archive",
        }
    }

    /// The category with the most bytes among the first files.
    pub fn of(torrent: &Torrent) -> Self {
        let mut bytes = [0u64; Self::ALL.len()];
        for file in torrent.files.iter().take(FILES_MAX) {
            let category = file.path.last().map(|name| of_name(name)).unwrap_or_default();
            let sum = &mut bytes[category as usize];
            *sum = sum.saturating_add(file.size_bytes);
        }
        let most = Self::ALL.into_iter().max_by_key(|category| bytes[*category as usize]);
        most.filter(|category| bytes[*category as usize] > 0).unwrap_or_default()
    }
}

fn of_name(name: &[u8]) -> Category {
    let Some(dot) = name.iter().rposition(|&byte| byte == b'.') else { return Category::Other };
    let mut lower = [0; EXTENSION_MAX];
    let extension = &name[dot + 1..];
    let Some(lower) = lower.get_mut(..extension.len()) else { return Category::Other };
    lower.copy_from_slice(extension);
    lower.make_ascii_lowercase();
    match &*lower {
        b"mkv" | b"mp4" | b"avi" | b"wmv" | b"mov" | b"ts" | b"m2ts" | b"vob" | b"mpg" | b"mpeg" | b"m4v"
        | b"webm" | b"flv" | b"rmvb" | b"ogm" => Category::Video,
        b"mp3" | b"flac" | b"m4a" | b"m4b" | b"wav" | b"ape" | b"ogg" | b"opus" | b"aac" | b"dsf" | b"wv" => {
            Category::Audio
        }
        b"pdf" | b"epub" | b"mobi" | b"azw3" | b"djvu" | b"cbr" | b"cbz" | b"fb2" | b"txt" | b"doc"
        | b"docx" => Category::Text,
        b"jpg" | b"jpeg" | b"png" | b"gif" | b"bmp" | b"webp" | b"tif" | b"tiff" => Category::Image,
        b"exe" | b"iso" | b"apk" | b"msi" | b"dmg" | b"pkg" | b"nsp" | b"xci" | b"bin" | b"img" | b"deb" => {
            Category::Software
        }
        b"zip" | b"rar" | b"7z" | b"tar" | b"gz" | b"xz" | b"zst" | b"bz2" => Category::Archive,
        _ => Category::Other,
    }
}

/// Enough to know; keeps a list of a hundred thousand files cheap.
const FILES_MAX: usize = 1_000;

/// No extension listed above is longer.
const EXTENSION_MAX: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::tests::torrent;

    #[test]
    fn the_most_bytes_decide() {
        let mut torrent = torrent(1, "Film.MKV", 1);
        assert_eq!(Category::of(&torrent), Category::Video);
        torrent.files.push(u64::MAX, [&b"a"[..], b"b.flac"].into_iter());
        assert_eq!(Category::of(&torrent), Category::Audio);
        torrent.files = crate::model::FileList::default();
        assert_eq!(Category::of(&torrent), Category::Other);
    }

    #[test]
    fn numbers_survive() {
        assert!(Category::ALL.into_iter().all(|category| Category::from_number(category as u8) == category));
        assert_eq!(Category::from_number(200), Category::Other);
    }
}
