//! The words of absence notices in English, German, French, Spanish, Portuguese, Italian and Dutch,
//! folded as `words` folds them (no capitals, no accents; German umlauts also as two letters). Data
//! only: how the words combine is told in `dates` and `return_date`.

use chrono::Weekday;

/// First words of a subject that a person's reply keeps.
pub(super) const REPLY_PREFIXES: &[&str] =
    &["re", "aw", "antw", "sv", "rv", "res", "rif", "ref", "fwd", "wg", "tr"];

/// What the subject of an automatic answer says.
pub(super) const SUBJECTS: &[&str] = &[
    "automatic reply", "auto reply", "autoreply", "automatic response", "auto response",
    "autoresponse", "automated reply", "automated response", "out of office", "out of the office",
    "ooo", "on vacation", "on holiday", "on annual leave", "on leave", "away from my desk",
    "away from the office", "absence notice", "automatische antwort", "automatische antwoord",
    "abwesenheitsnotiz", "abwesenheitsmeldung", "abwesenheitsbenachrichtigung", "abwesenheit",
    "abwesend", "nicht im buro", "nicht im buero", "im urlaub", "reponse automatique",
    "message d absence", "absence", "absent", "absente", "absent du bureau", "en conges",
    "respuesta automatica", "fuera de la oficina", "ausente", "de vacaciones", "resposta automatica",
    "ausencia", "fora do escritorio", "de ferias", "risposta automatica", "fuori ufficio", "assenza",
    "automatisch antwoord", "afwezig", "afwezigheid", "afwezigheidsbericht",
];

/// What the body of an automatic answer says, and a person's letter hardly ever.
pub(super) const BODIES: &[&str] = &[
    "i am out of the office", "i am out of office", "i m out of the office", "i m out of office",
    "i am currently out of", "i m currently out of", "i will be out of", "i ll be out of",
    "i am away from the office", "i am away from my desk", "i am currently away",
    "i m currently away", "i will be away", "i am on annual leave", "i am on leave",
    "i am currently on leave", "i am on vacation", "i am currently on vacation",
    "i m on vacation", "i am on holiday", "on parental leave", "on maternity leave",
    "on paternity leave", "limited access to my email", "limited access to email",
    "limited access to my emails", "no access to my email", "no access to email",
    "this is an automatic", "this is an automated", "automatically generated",
    "will reply to your email upon my return", "upon my return", "when i return",
    "ich bin nicht im buro", "ich bin nicht im buero", "ich bin derzeit nicht", "ich bin zurzeit nicht",
    "ich bin zur zeit nicht", "ich bin aktuell nicht", "ich bin momentan nicht",
    "ich bin abwesend", "bin ich abwesend", "ich bin derzeit abwesend", "bin ich nicht im",
    "ich bin im urlaub", "ich befinde mich im urlaub", "bin ich im urlaub", "in elternzeit",
    "wird nicht weitergeleitet", "nicht automatisch weitergeleitet", "automatisch erzeugt",
    "automatisch generiert", "nach meiner ruckkehr", "nach meiner rueckkehr",
    "ich bin ab dem", "wieder fur sie da", "wieder erreichbar",
    "je suis absent", "je suis absente", "je suis actuellement absent",
    "je suis actuellement absente", "je serai absent", "je serai absente", "je suis en conges",
    "je suis en conge", "je suis actuellement en conges", "a mon retour", "reponse automatique",
    "message automatique", "estoy fuera de la oficina", "me encuentro fuera", "estare fuera",
    "estare ausente", "estoy ausente", "estoy de vacaciones", "mensaje automatico",
    "respuesta automatica", "a mi regreso", "a mi vuelta", "estou ausente", "estarei ausente",
    "estou fora do escritorio", "fora do escritorio", "estou de ferias", "mensagem automatica",
    "resposta automatica", "sono fuori ufficio", "saro fuori ufficio", "sono assente",
    "saro assente", "sono in ferie", "messaggio automatico", "al mio rientro",
    "ik ben afwezig", "ben ik afwezig", "ik ben niet aanwezig", "ik ben met vakantie",
];

/// Months in their order, each with its names and abbreviations.
const MONTHS: &[&[&str]] = &[
    &[
        "january", "jan", "januar", "janner", "jaenner", "jan", "janvier", "janv", "enero", "ene",
        "janeiro", "gennaio", "gen", "januari",
    ],
    &[
        "february", "feb", "februar", "feber", "fevrier", "fevr", "fev", "febrero", "fevereiro",
        "febbraio", "februari",
    ],
    &["march", "mar", "marz", "maerz", "mrz", "mars", "marzo", "marco", "maart", "mrt"],
    &["april", "apr", "avril", "avr", "abril", "abr", "aprile"],
    &["may", "mai", "mayo", "maio", "maggio", "mag", "mei"],
    &["june", "jun", "juni", "juin", "junio", "junho", "giugno", "giu"],
    &["july", "jul", "juli", "juillet", "juil", "julio", "julho", "luglio", "lug"],
    &["august", "aug", "aout", "agosto", "ago", "augustus"],
    &[
        "september", "sep", "sept", "septembre", "septiembre", "setiembre", "setembro", "set",
        "settembre", "sett",
    ],
    &["october", "oct", "oktober", "okt", "octobre", "octubre", "outubro", "out", "ottobre", "ott"],
    &["november", "nov", "novembre", "noviembre", "novembro"],
    &[
        "december", "dec", "dezember", "dez", "decembre", "diciembre", "dic", "dezembro",
        "dicembre",
    ],
];

/// Abbreviations that are everyday words in another language: months only after a day.
const MONTHS_AFTER_A_DAY: &[&str] = &["out", "set", "ago", "mag", "gen", "may", "mar", "mars"];

/// Weekdays with their full names; abbreviations are too short to mean one thing.
const WEEKDAYS: &[(Weekday, &[&str])] = &[
    (Weekday::Mon, &["monday", "montag", "lundi", "lunes", "lunedi", "maandag"]),
    (Weekday::Tue, &["tuesday", "dienstag", "mardi", "martes", "martedi", "dinsdag", "tue"]),
    (
        Weekday::Wed,
        &["wednesday", "mittwoch", "mercredi", "miercoles", "mercoledi", "woensdag", "wed"],
    ),
    (Weekday::Thu, &["thursday", "donnerstag", "jeudi", "jueves", "giovedi", "donderdag", "thu"]),
    (Weekday::Fri, &["friday", "freitag", "vendredi", "viernes", "venerdi", "vrijdag", "fri"]),
    (Weekday::Sat, &["saturday", "samstag", "sonnabend", "samedi", "sabado", "sabato", "zaterdag"]),
    (Weekday::Sun, &["sunday", "sonntag", "dimanche", "domingo", "domenica", "zondag"]),
];

/// Portuguese weekdays are ordinals: days only before `feira` or after one of [`FEIRA_LEADS`].
const FEIRAS: &[(Weekday, &str)] = &[
    (Weekday::Mon, "segunda"),
    (Weekday::Tue, "terca"),
    (Weekday::Wed, "quarta"),
    (Weekday::Thu, "quinta"),
    (Weekday::Fri, "sexta"),
];
const FEIRA_LEADS: &[&str] = &["na", "ate"];

/// Words for this day.
pub(super) const TODAY: &[&str] = &["today", "heute", "hui", "hoy", "hoje", "oggi", "vandaag"];
/// Words for the next day; `morgen` and `mañana` also mean the morning.
pub(super) const TOMORROW: &[&str] = &["tomorrow", "morgen", "demain", "manana", "amanha", "domani"];

/// Words that may stand between a cue, or the link of a range, and its date.
pub(super) const FILLERS: &[&str] = &[
    "on", "the", "am", "dem", "den", "der", "zum", "le", "la", "l", "au", "el", "il", "lo", "op", "de",
    "di", "do", "da", "dia", "al", "alla", "em", "no", "na", "a", "o", "including", "inclusive",
    "einschliesslich", "einschl", "inkl", "inclusief", "inclus", "compris", "y", "e", "and", "und",
    "next", "this", "vsl", "voraussichtlich", "kommenden",
];

/// Words that link the two ends of a range: the second end is the last day.
pub(super) const RANGE_LINKS: &[&str] = &[
    "to", "bis", "au", "al", "a", "ate", "tot", "til", "till", "until", "through", "thru", "jusqu",
    "hasta", "fino", "m", "met", "zum",
];

/// Words that link two ends only after one of [`BETWEEN`].
pub(super) const AND: &[&str] = &["and", "und", "et", "y", "e", "en"];
/// Words that announce such a pair.
pub(super) const BETWEEN: &[&str] = &["between", "zwischen", "entre", "tra", "fra", "tussen", "both"];

/// What the words before a date make of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cue {
    /// The date is the day of return.
    Back,
    /// The date is the last day away.
    Until,
    /// The date is the first day of something: of the absence, or, where the sentence speaks of
    /// returning, of the time after it.
    From,
    /// The day of return follows the date.
    After,
    /// Bounds the date from above; with a negation, the date is the day of return.
    Before,
}

/// Cues, each a sequence of words. Where several end at one place the longest counts.
pub(super) const CUES: &[(&str, Cue)] = &[
    ("until", Cue::Until), ("till", Cue::Until), ("til", Cue::Until), ("through", Cue::Until),
    ("thru", Cue::Until), ("up to", Cue::Until), ("bis", Cue::Until), ("jusqu", Cue::Until),
    ("jusque", Cue::Until), ("hasta", Cue::Until), ("ate", Cue::Until), ("fino", Cue::Until),
    ("sino al", Cue::Until), ("sino a", Cue::Until), ("tot", Cue::Until), ("t m", Cue::Until),
    ("tot en met", Cue::Until), ("last day away", Cue::Until), ("letzter tag", Cue::Until),
    ("ends on", Cue::Until), ("ends", Cue::Until), ("endet am", Cue::Until),
    ("back", Cue::Back), ("return", Cue::Back), ("returning", Cue::Back), ("returns", Cue::Back),
    ("resume", Cue::Back), ("resuming", Cue::Back), ("reopen", Cue::Back), ("reopens", Cue::Back),
    ("reopening", Cue::Back), ("again", Cue::Back), ("rejoin", Cue::Back),
    ("zuruck", Cue::Back), ("zurueck", Cue::Back), ("wieder", Cue::Back), ("ruckkehr", Cue::Back),
    ("rueckkehr", Cue::Back), ("zuruckkehren", Cue::Back), ("zurueckkehren", Cue::Back),
    ("erst ab", Cue::Back), ("erst ab dem", Cue::Back), ("erst am", Cue::Back),
    ("erst wieder", Cue::Back), ("erst wieder ab", Cue::Back), ("wieder ab", Cue::Back),
    ("wieder ab dem", Cue::Back), ("zuruck ab", Cue::Back), ("zuruck ab dem", Cue::Back),
    ("retour", Cue::Back), ("reviens", Cue::Back), ("reviendrai", Cue::Back), ("revenir", Cue::Back),
    ("rentre", Cue::Back), ("rentrerai", Cue::Back), ("reprends", Cue::Back),
    ("reprendrai", Cue::Back), ("reprise", Cue::Back), ("rouvrira", Cue::Back),
    ("rouvrirons", Cue::Back), ("retour a partir du", Cue::Back), ("retour des le", Cue::Back),
    ("vuelta", Cue::Back), ("vuelvo", Cue::Back), ("volvere", Cue::Back), ("volver", Cue::Back),
    ("volvemos", Cue::Back), ("regreso", Cue::Back), ("regresare", Cue::Back),
    ("regresar", Cue::Back), ("reincorporo", Cue::Back), ("reincorporare", Cue::Back),
    ("reincorporacion", Cue::Back), ("retomare", Cue::Back), ("incorporo", Cue::Back),
    ("incorporare", Cue::Back),
    ("volta", Cue::Back), ("volto", Cue::Back), ("voltarei", Cue::Back), ("voltar", Cue::Back),
    ("regresso", Cue::Back), ("regressarei", Cue::Back), ("regressar", Cue::Back),
    ("retorno", Cue::Back), ("retornarei", Cue::Back), ("retornar", Cue::Back),
    ("rientro", Cue::Back), ("rientrero", Cue::Back), ("rientrare", Cue::Back),
    ("torno", Cue::Back), ("tornero", Cue::Back), ("tornare", Cue::Back), ("ritorno", Cue::Back),
    ("ritornero", Cue::Back), ("riprendero", Cue::Back), ("riapertura", Cue::Back),
    ("riapriamo", Cue::Back),
    ("terug", Cue::Back), ("weer", Cue::Back), ("terugkeer", Cue::Back), ("hervat", Cue::Back),
    ("terug vanaf", Cue::Back), ("weer vanaf", Cue::Back),
    ("from", Cue::From), ("starting", Cue::From), ("beginning", Cue::From), ("as of", Cue::From),
    ("since", Cue::From), ("ab", Cue::From), ("ab dem", Cue::From), ("seit", Cue::From),
    ("seit dem", Cue::From), ("vom", Cue::From), ("von", Cue::From), ("a partir du", Cue::From),
    ("a compter du", Cue::From), ("des le", Cue::From), ("des", Cue::From), ("depuis", Cue::From),
    ("du", Cue::From), ("a partir del", Cue::From), ("desde", Cue::From), ("del", Cue::From),
    ("a partir de", Cue::From), ("a partir do", Cue::From), ("a partire dal", Cue::From),
    ("dal", Cue::From), ("dall", Cue::From), ("vanaf", Cue::From), ("van", Cue::From),
    ("starting from", Cue::From), ("starting on", Cue::From),
    ("after", Cue::After), ("nach dem", Cue::After), ("nach", Cue::After), ("apres", Cue::After),
    ("despues", Cue::After), ("depois", Cue::After), ("dopo", Cue::After),
    ("before", Cue::Before), ("prior to", Cue::Before), ("vor dem", Cue::Before),
    ("vor", Cue::Before), ("avant", Cue::Before), ("antes", Cue::Before), ("prima", Cue::Before),
    ("voor", Cue::Before), ("earlier than", Cue::Before), ("sooner than", Cue::Before),
    ("by", Cue::Before), ("spatestens", Cue::Before), ("later than", Cue::Before),
    ("since the", Cue::From), ("deadline", Cue::Before),
];

/// Words that show a sentence to speak of the time after the absence.
pub(super) const RETURNING: &[&str] = &[
    "back", "return", "returning", "returns", "resume", "available", "reachable", "again", "reopen",
    "reopens", "wieder", "zuruck", "zurueck", "erreichbar", "verfugbar", "verfuegbar", "ruckkehr",
    "rueckkehr", "retour", "reviens", "reviendrai", "rentre", "rentrerai", "reprends", "reprendrai",
    "disponible", "joignable", "nouveau", "vuelta", "vuelvo", "volvere", "volver", "regreso",
    "regresare", "nuevo", "reincorporo", "reincorporare", "volta", "volto", "voltarei", "voltar",
    "regresso", "regressarei", "retorno", "retornarei", "disponivel", "rientro", "rientrero",
    "rientrare", "torno", "tornero", "ritorno", "ritornero", "disponibile", "raggiungibile", "nuovo",
    "terug", "weer", "bereikbaar", "aanwezig", "beschikbaar", "rejoin", "volvemos", "riapriamo",
    "reabrimos", "rouvrirons", "incorporo", "incorporare", "beantworten", "riprendero",
];

/// Words that turn a sentence round.
pub(super) const NEGATIONS: &[&str] = &[
    "not", "won", "wont", "t", "unable", "cannot", "never", "without", "nicht", "kein", "keine", "ne",
    "n", "pas", "no", "nao", "non", "niet", "nessun", "indisponible", "unavailable",
];

/// Words that show a sentence to speak of an absence.
pub(super) const ABSENCE: &[&str] = &[
    "out", "away", "absent", "absence", "leave", "vacation", "vacations", "holiday", "holidays",
    "unavailable", "closed", "ooo", "travelling", "traveling", "abwesend", "abwesenheit", "urlaub",
    "geschlossen", "elternzeit", "dienstreise", "nicht", "betriebsferien", "absente", "conge",
    "conges", "vacances", "ferme", "fermes", "deplacement", "ausente", "fuera", "vacaciones", "cerrado",
    "cerrados", "cerrada", "permiso", "fora", "ferias", "fechado", "fechados", "ausencia", "assente",
    "fuori", "ferie", "chiuso", "chiusi", "assenza", "afwezig", "afwezigheid", "vakantie", "gesloten",
    "verlof", "viaggio", "viaje",
];

/// The number of a month, one to twelve.
pub(super) fn month(word: &str) -> Option<u32> {
    let at = MONTHS.iter().position(|names| names.contains(&word))?;
    u32::try_from(at + 1).ok()
}

/// Whether the word is a month also where the day follows it, as in `November 24`.
pub(super) fn leads_a_day(word: &str) -> bool {
    // "May 24" is a date all the same: the day after it says so.
    word == "may" || !MONTHS_AFTER_A_DAY.contains(&word)
}

/// The day of the week a word names, given the words around it.
pub(super) fn weekday(before: Option<&str>, word: &str, after: Option<&str>) -> Option<Weekday> {
    let plain = WEEKDAYS.iter().find(|(_, names)| names.contains(&word)).map(|(day, _)| *day);
    plain.or_else(|| {
        let is_day = after == Some("feira") || before.is_some_and(|lead| FEIRA_LEADS.contains(&lead));
        FEIRAS.iter().find(|(_, name)| is_day && *name == word).map(|(day, _)| *day)
    })
}
