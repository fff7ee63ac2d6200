//! What a text message asks of us by a word: to stop, to begin again, to explain. A stop is heard in
//! many languages and in any spelling, and where a short text leaves doubt it is one: whoever wrote it
//! can say so again, whoever was texted again cannot take that back. Everything else is a reply.

use super::{opt_out, words};

/// What a text asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keyword {
    /// No more texts.
    Stop,
    /// Texts again. Means something only from a number that had stopped them.
    Start,
    /// Who we are; the provider answers it.
    Help,
}

/// A text of more words says something beside what it asks.
const DOUBT_WORDS_MAX: usize = 5;

/// One that begins with a stop may be longer.
const OPENING_WORDS_MAX: usize = 12;

/// The whole of a text, folded and without politeness. Those of mails count as well.
const STOPS: &[&str] = &[
    // English, with those that providers and the law name
    "stop",
    "stopall",
    "stop all",
    "stop it",
    "stop this",
    "stop now",
    "end",
    "quit",
    "cancel",
    "cancel all",
    "optout",
    "opt out",
    "revoke",
    "revoke all",
    "unsubscribe",
    "unsubscribe all",
    "remove",
    "no more",
    "no more texts",
    "do not text me",
    "don t text me",
    "wrong number",
    // German
    "stopp",
    "halt",
    "ende",
    "aufhoren",
    "aufhoeren",
    "abmelden",
    "abbestellen",
    "austragen",
    "keine sms",
    "keine sms mehr",
    // French
    "arret",
    "arreter",
    "arretez",
    "arrete",
    "desabonner",
    "desabonnement",
    "desinscrire",
    "stop sms",
    "plus de sms",
    // Spanish
    "alto",
    "parar",
    "pare",
    "para ya",
    "baja",
    "cancelar",
    "detener",
    "no mas",
    "no mas mensajes",
    "salir",
    // Portuguese
    "cancele",
    "sair",
    "remover",
    "descadastrar",
    "nao quero mais",
    "nao mais",
    // Italian
    "basta",
    "ferma",
    "fermati",
    "smettere",
    "smettetela",
    "cancellami",
    "annulla",
    // Dutch
    "uit",
    "stoppen",
    "afmelden",
    "uitschrijven",
    "geen sms meer",
    // Others that are read in Latin letters
    "stopp sms",
    "avsluta",
    "lopeta",
    "stop meg",
    "iptal",
    "dur",
];

/// Words that make any short text a stop, wherever they stand.
const DOUBTFUL: &[&str] = &[
    "stop",
    "stopp",
    "unsubscribe",
    "optout",
    "arret",
    "arretez",
    "desabonner",
    "abmelden",
    "baja",
    "basta",
    "descadastrar",
    "uitschrijven",
    "afmelden",
];

/// Words before one of them that turn it round.
const NEGATIONS: &[&str] = &[
    "not", "t", "dont", "never", "no", "non", "pas", "nicht", "nao", "niet", "bus", "full", "pit",
    "without",
];

/// Words after one of them that make it a visit.
const VISITS: &[&str] =
    &["by", "in", "over", "at", "off", "for", "here", "there", "round", "around"];

const STARTS: &[&str] = &["start", "unstop", "yes"];

const HELPS: &[&str] = &["help", "info", "aide", "hilfe", "ayuda", "ajuda", "aiuto", "hulp"];

/// Returns what a text asks by a word, if it does.
pub fn read(text: &str) -> Option<Keyword> {
    let space = words::phrase_space(text);
    let whole = opt_out::without_politeness(&space).join(" ");
    let is_one_of = |list: &[&str]| list.contains(&whole.as_str());
    if is_one_of(STOPS) || opt_out::asks(text, "") || is_doubtful(&space) {
        return Some(Keyword::Stop);
    }
    if is_one_of(STARTS) {
        return Some(Keyword::Start);
    }
    is_one_of(HELPS).then_some(Keyword::Help)
}

fn is_doubtful(space: &str) -> bool {
    let words: Vec<&str> = space.split_whitespace().collect();
    words.iter().enumerate().any(|(at, word)| {
        let turned = at > 0 && NEGATIONS.contains(&words[at - 1]);
        let visit = words.get(at + 1).is_some_and(|next| VISITS.contains(next));
        let is_short = words.len() <= DOUBT_WORDS_MAX
            || at == 0 && words.len() <= OPENING_WORDS_MAX && word.starts_with("stop");
        DOUBTFUL.contains(word) && is_short && !turned && !visit
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_stop_is_heard_in_any_spelling_and_language() {
        for text in [
            "STOP",
            "Stop.",
            "stop!!!",
            "STOP PLEASE",
            "please stop",
            "ＳＴＯＰ",
            "stop texting me",
            "stop texting me or I will call my lawyer",
            "unsubscribe me pls",
            "🛑 STOP 🛑",
            "STOPALL",
            "Cancel",
            "END",
            "quit",
            "Revoke",
            "opt-out",
            "OPTOUT",
            "I said stop",
            "ok stop now",
            "Alto",
            "¡BASTA!",
            "Baja por favor",
            "Arrêt",
            "ARRÊTEZ SVP",
            "me désabonner",
            "Stopp",
            "Bitte abmelden",
            "keine SMS mehr",
            "Sair",
            "não quero mais",
            "uitschrijven aub",
            "wrong number",
        ] {
            assert_eq!(read(text), Some(Keyword::Stop), "{text}");
        }
    }

    #[test]
    fn other_texts_are_what_they_say() {
        for text in [
            "don't stop by",
            "I'll stop by on Monday",
            "Please don't stop",
            "Stop by any time!",
            "Can we cancel Thursday's call?",
            "The bus stop is in front of the house",
            "By the end of the week",
            "Yes, call me at five",
            "Can you help me choose?",
            "Tell me more",
            "",
            "👍",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        for text in ["START", " start. ", "Unstop", "YES", "yes please"] {
            assert_eq!(read(text), Some(Keyword::Start), "{text}");
        }
        for text in ["HELP", "Info?", "help!", "Ayuda", "hilfe bitte"] {
            assert_eq!(read(text), Some(Keyword::Help), "{text}");
        }
    }

    proptest! {
        #[test]
        fn the_legal_words_stop_in_any_case_width_and_punctuation(
            word in prop_oneof![
                Just("stop"), Just("quit"), Just("end"), Just("revoke"), Just("opt out"),
                Just("cancel"), Just("unsubscribe"),
            ],
            before in "[ .,!*'\"(🛑-]{0,4}", after in "[ .,!?*'\")🙏-]{0,4}", style in 0..3u8,
        ) {
            let word: String = match style {
                0 => word.to_owned(),
                1 => word.to_uppercase(),
                _ => word.chars().map(|c| match c {
                    'a'..='z' => char::from_u32(u32::from(c) + 0xfee0).unwrap(),
                    other => other,
                }).collect(),
            };
            prop_assert_eq!(read(&format!("{before}{word}{after}")), Some(Keyword::Stop));
        }

        #[test]
        fn reading_is_total(text in "(?s).{0,200}") {
            read(&text);
        }
    }
}
