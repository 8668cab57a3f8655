//! Sentences of the signed statement, which is in English, as the report says them in Indonesian. A sentence that nobody
//! has translated is shown in English and says so: nothing of the statement is left out.

use super::escape;
use super::page::said;
use super::text::{Both, UNTRANSLATED, both};

/// A number within a sentence.
const NUMBER: &str = "{}";

/// What `prove` states. Where a sentence has numbers, both languages have them in the same order.
const SENTENCES: [Both; 8] = [
    both("mesh yang terdiri atas {} layanan dalam {} wilayah", "the mesh of {} workloads in {} domains"),
    both(
        "Layanan di wilayah yang berwenang memegang suatu golongan data, beserta simpul, otoritas sertifikat, dan kernelnya, \
         dianggap tepercaya.",
        "A workload of a domain that may hold a class of data, its node, its certificate authority and the kernel are trusted.",
    ),
    both(
        "Jaringan menegakkan kebijakan yang dibaca; pada lapisan paket nyata, nftables yang menegakkannya di mesin ini.",
        "The network enforces the policies that were read; in packets, nftables enforced them here.",
    ),
    both(
        "Program yang berjalan dibangun dari ruang kerja kode yang dependensinya diperiksa.",
        "The code that runs was built from the workspace whose dependencies were looked at.",
    ),
    both(
        "Apa yang diterima etalase disalin setelah TLS dan HTTP/2 dilepas, tajuk demi tajuk dan bingkai demi bingkai: nilai \
         yang bagian-bagiannya terpisah oleh bingkai panggilan lain tidak ditemukan di sana.",
        "What the showcase received was copied after TLS and HTTP/2 were taken off, header by header and frame by frame: a \
         value of which another call's frame came between two parts is not found there.",
    ),
    both(
        "Semua proses mesh pada satu mesin berjalan sebagai satu pengguna: hak akses berkas diperiksa, demikian pula proses \
         mana yang membuka penyimpanan mana, tetapi proses milik pengguna itu dapat membuka penyimpanan mana pun.",
        "All processes of a mesh on one machine run as one user: modes of files are looked at, and which process has which \
         store open, but a process of that user could open any.",
    ),
    both(
        "{} bidang pribadi dalam kontrak tidak memuat nilai tanaman; canaries/leaves.tsv menyebut masing-masing beserta \
         alasannya.",
        "{} private leaves of the contracts held no planted value; canaries/leaves.tsv names each of them and the reason.",
    ),
    both(
        "Apa yang dilakukan pemanggil yang diizinkan dengan data yang diterimanya.",
        "What an allowed caller does with what it received.",
    ),
];

/// The sentence in Indonesian, if somebody has translated it.
#[must_use]
pub fn indonesian(sentence: &str) -> Option<String> {
    SENTENCES.iter().find_map(|both| {
        let numbers = numbers(both.en, sentence)?;
        Some(numbers.into_iter().fold(both.id.to_owned(), |text, number| text.replacen(NUMBER, number, 1)))
    })
}

/// The numbers that make `sentence` out of `pattern`; none if nothing does.
fn numbers<'a>(pattern: &str, sentence: &'a str) -> Option<Vec<&'a str>> {
    let mut parts = pattern.split(NUMBER);
    let mut rest = sentence.strip_prefix(parts.next()?)?;
    let mut numbers = Vec::new();
    for part in parts {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at_checked(digits).filter(|(number, _)| !number.is_empty())?;
        numbers.push(number);
        rest = after.strip_prefix(part)?;
    }
    rest.is_empty().then_some(numbers)
}

/// The sentence in both languages.
pub(super) fn html(sentence: &str) -> String {
    let original = escape(sentence);
    match indonesian(sentence) {
        Some(id) => format!("<span lang=\"id\">{}</span><span lang=\"en\">{original}</span>", escape(&id)),
        None => format!("<span lang=\"en\" class=\"keep\">{original}</span> {}", said(UNTRANSLATED)),
    }
}
