//! The report's own words in both languages.

use crate::layer::{LayerName, Verdict};

/// The same in Indonesian and in English.
#[derive(Clone, Copy, Debug)]
pub(super) struct Both {
    pub(super) id: &'static str,
    pub(super) en: &'static str,
}

pub(super) const fn both(id: &'static str, en: &'static str) -> Both {
    Both { id, en }
}

pub(super) const TITLE: Both =
    both("Bukti pemisahan data pribadi dan data pembayaran", "Evidence that personal and payment data are kept apart");
pub(super) const CLAIM: Both = both(
    "Yang dibuktikan: hanya layanan perdagangan yang dapat menjangkau data pembayaran dan data pribadi pengguna; etalase \
     sosial tidak menerima, menyimpan, maupun mencatatnya.",
    "What is to be shown: only commerce services reach payment data and the personal data of users; the social showcase \
     neither receives, stores nor logs them.",
);
pub(super) const PICTURE: Both = both("Siapa berhubungan dengan siapa", "Who talks to whom");
pub(super) const PICTURE_HELP: Both = both(
    "Garis penuh: hubungan yang dinyatakan dan dipakai. Garis putus-putus merah dengan palang: percobaan terlarang antara \
     kedua wilayah yang ditolak, dengan jumlahnya.",
    "Solid line: a declared relation. Red dashed line with a bar: forbidden attempts between the two territories, refused, \
     with their number.",
);
pub(super) const LAYERS: Both = both("Lapisan pembuktian", "The layers of the proof");
pub(super) const TRIED: Both = both("pemeriksaan", "checks");
pub(super) const EXPECTED: Both = both("Seharusnya", "Must be");
pub(super) const OBSERVED: Both = both("Teramati", "Seen");
pub(super) const SUBJECT: Both = both("Yang diperiksa", "What was tried");
pub(super) const MORE: Both = both("Selebihnya ada di berkas", "The rest is in the file");
pub(super) const NOT_RUN: Both = both("Tidak dijalankan", "Not run");
pub(super) const TIMELINE: Both = both("Satu pembelian, langkah demi langkah", "One purchase, step by step");
pub(super) const NOT_COVERED: Both = both("Yang tidak dicakup", "What is not covered");
pub(super) const ASSUMPTIONS: Both = both("Yang dipercaya tanpa dibuktikan", "What is believed without being shown");
pub(super) const ORIGINAL: Both = both(
    "Butir-butir berikut diterjemahkan dari pernyataan yang ditandatangani, yang berbahasa Inggris dan tetap menjadi acuan.",
    "The following items are quoted from the signed statement.",
);
pub(super) const UNTRANSLATED: Both = both("(dalam bahasa Inggris)", "");
pub(super) const PUBLIC: Both = both("hanya data publik", "public data only");
pub(super) const CHECK: Both = both("Memeriksa sendiri", "Check it yourself");
pub(super) const CHECK_HELP: Both = both(
    "Jalankan perintah ini pada salinan bukti, tanpa jaringan. Bandingkan sidik kunci penanda tangan dengan yang disampaikan \
     kepada Anda melalui jalur lain.",
    "Run this command on a copy of the evidence, without a network. Compare the fingerprint of the signer's key with the \
     one that reached you by another way.",
);
pub(super) const SIGNER: Both = both("Sidik kunci penanda tangan", "Fingerprint of the signer's key");
pub(super) const PREVIOUS: Both = both("Bukti sebelumnya", "The evidence before");
pub(super) const WINDOW: Both = both("Waktu pemeriksaan", "Time of the checks");
pub(super) const FIGURES: Both = both("Angka", "Figures");
pub(super) const GLOSSARY: Both = both("Istilah", "Terms");

pub(super) const TERMS: [(Both, Both); 6] = [
    (
        both("Etalase", "Showcase"),
        both(
            "Bagian sosial aplikasi: menampilkan barang. Tidak berwenang memegang data pribadi maupun pembayaran.",
            "The social part of the app: it shows goods. It may hold neither personal nor payment data.",
        ),
    ),
    (
        both("Perdagangan", "Commerce"),
        both(
            "Penyelenggara perdagangan berizin: akun, pesanan, pembayaran, penjual (Permendag 31/2023).",
            "The licensed marketplace: accounts, orders, payments, sellers (Permendag 31/2023).",
        ),
    ),
    (
        both("Data pribadi", "Personal data"),
        both(
            "Data tentang orang yang dapat dikenali (UU 27/2022).",
            "Data about people who can be identified (Law 27/2022).",
        ),
    ),
    (
        both("Sertifikat", "Certificate"),
        both(
            "Tanda pengenal kriptografis tiap layanan; nama pemanggil hanya diambil dari sini.",
            "The cryptographic identity of a service; who called is taken from nothing else.",
        ),
    ),
    (
        both("Kenari", "Canary"),
        both(
            "Nilai unik yang sengaja ditanam, lalu dicari di tempat yang tidak boleh memuatnya.",
            "A unique value, planted on purpose and searched for where it must not be.",
        ),
    ),
    (
        both("Jejak", "Trace"),
        both(
            "Catatan siapa memanggil siapa, kapan, dan hasilnya.",
            "A record of who called whom, when, and what came of it.",
        ),
    ),
];

pub(super) const fn verdict(verdict: Verdict) -> Both {
    match verdict {
        Verdict::Holds => both("TERBUKTI", "HOLDS"),
        Verdict::Violated => both("DILANGGAR", "VIOLATED"),
        Verdict::Unknown => both("BELUM TERBUKTI", "NOT PROVEN"),
    }
}

pub(super) const fn sentence(verdict: Verdict) -> Both {
    match verdict {
        Verdict::Holds => both(
            "Semua lapisan dijalankan dan tidak satu pun menemukan penyimpangan.",
            "Every layer ran, and none found anything that must not be.",
        ),
        Verdict::Violated => both(
            "Ditemukan hal yang tidak boleh terjadi. Setiap temuan disebutkan di bawah lapisannya.",
            "Something was found that must not be. Each finding is named under its layer.",
        ),
        Verdict::Unknown => both(
            "Tidak ada pelanggaran yang ditemukan, tetapi ada yang tidak dapat dilihat. Ini belum merupakan bukti.",
            "No violation was found, but something could not be seen. This is not yet a proof.",
        ),
    }
}

/// What a figure of the statement counts.
pub(super) fn figure(name: &str) -> Option<Both> {
    Some(match name {
        "declaredEdges" => both("Hubungan yang dinyatakan", "Declared relations"),
        "declaredEdgesUnused" => both("di antaranya tidak terpakai", "of these, unused"),
        "forbiddenPairs" => both("Pasangan terlarang", "Forbidden pairs"),
        "forbiddenPairsUntried" => both("di antaranya tidak dicoba", "of these, not tried"),
        "spans" => both("Rentang jejak yang dibaca", "Spans that were read"),
        "calls" => both("Panggilan", "Calls"),
        _ => return None,
    })
}

/// What a layer is called, and which question it answers.
pub(super) const fn layer(name: LayerName) -> (Both, Both) {
    match name {
        LayerName::Contracts => (
            both("Kontrak", "Contracts"),
            both(
                "Apakah setiap metode hanya boleh dipanggil oleh pihak yang berwenang atas datanya?",
                "May each method be called only by those who may hold what it carries?",
            ),
        ),
        LayerName::Code => (
            both("Kode", "Code"),
            both(
                "Apakah program hanya memuat kontrak pihak yang boleh dipanggilnya?",
                "Does each program contain only contracts of those whom it may call?",
            ),
        ),
        LayerName::Identities => (
            both("Identitas", "Identities"),
            both(
                "Apakah setiap layanan memiliki satu sertifikat dari wilayahnya sendiri, dengan kunci yang terlindung?",
                "Has each service one certificate of its own territory, with a protected key?",
            ),
        ),
        LayerName::Network => (
            both("Kebijakan jaringan", "Network policies"),
            both(
                "Apakah kebijakan yang dipasang mengizinkan persis hubungan yang dinyatakan?",
                "Do the deployed policies allow exactly the declared relations?",
            ),
        ),
        LayerName::Packets => (
            both("Paket nyata", "Real packets"),
            both(
                "Apakah paket yang benar-benar dikirim sampai hanya ke tempat yang diizinkan?",
                "Do packets that are really sent arrive only where they may?",
            ),
        ),
        LayerName::Stores => (
            both("Penyimpanan", "Stores"),
            both(
                "Apakah setiap basis data hanya dapat dibuka oleh pemiliknya?",
                "Can each database be opened by its owner alone?",
            ),
        ),
        LayerName::Probes => (
            both("Percobaan terlarang", "Forbidden attempts"),
            both(
                "Apakah setiap panggilan terlarang, dicoba dengan sertifikat setiap layanan, ditolak dan tercatat?",
                "Is every forbidden call, tried with every service's certificate, refused and recorded?",
            ),
        ),
        LayerName::Canaries => (
            both("Kenari", "Canaries"),
            both(
                "Apakah nilai pribadi dari satu pembelian muncul di tempat etalase menerima, menyimpan, atau mencatat?",
                "Do private values of a purchase appear in what the showcase received, stored or logged?",
            ),
        ),
        LayerName::Traces => (
            both("Jejak panggilan", "Traces"),
            both(
                "Apakah semua panggilan yang teramati memang dinyatakan, dan apakah jumlahnya cocok dengan pencacah?",
                "Was every observed call declared, and do their numbers agree with the counters?",
            ),
        ),
        LayerName::Records => (
            both("Catatan akses", "Access records"),
            both(
                "Apakah setiap akses ke data terlindung tercatat dalam rantai yang utuh?",
                "Is every access to protected data recorded in an unbroken chain?",
            ),
        ),
    }
}
