//! Whether a person's reply asks us to stop writing. Only short, plain requests count: the whole
//! reply, or its first line, says nothing else. Everything longer is a reply like any other, which
//! stops or hands over anyway; a person reads it and decides.

use super::words;

/// A reply of more words says something beside the request.
const WORDS_MAX: usize = 6;

/// Words that add nothing to a request.
const POLITE: &[&str] = &[
    "please",
    "pls",
    "plz",
    "thanks",
    "thank",
    "thx",
    "hi",
    "hello",
    "hey",
    "dear",
    "sir",
    "madam",
    "regards",
    "kindly",
    "just",
    "now",
    "immediately",
    "asap",
    "bitte",
    "danke",
    "hallo",
    "merci",
    "bonjour",
    "svp",
    "favor",
    "gracias",
    "hola",
    "obrigado",
    "obrigada",
    "favore",
    "grazie",
    "ciao",
    "alstublieft",
    "aub",
    "bedankt",
    "sofort",
    "cordialement",
    "groeten",
];

/// Requests that count only as the whole reply: each is also an everyday word.
const WHOLE_REPLIES: &[&str] = &[
    "stop",
    "stopp",
    "quit",
    "end",
    "revoke",
    "cancel",
    "remove",
    "arret",
    "arretez",
    "baja",
    "basta",
    "parar",
    "pare",
    "remover",
    "cancellazione",
    "abmelden",
    "austragen",
];

/// Requests that count as the whole reply or as its first line.
const REQUESTS: &[&str] = &[
    // English
    "unsubscribe",
    "unsubscribe me",
    "unsub",
    "opt out",
    "optout",
    "opt me out",
    "remove me",
    "remove me from your list",
    "remove me from this list",
    "remove me from your mailing list",
    "remove my email",
    "remove my address",
    "take me off",
    "take me off your list",
    "take me off this list",
    "take me off your mailing list",
    "stop emailing me",
    "stop emailing",
    "stop mailing me",
    "stop writing me",
    "stop writing to me",
    "stop contacting me",
    "stop messaging me",
    "stop texting me",
    "stop sending me emails",
    "stop sending me these emails",
    "stop sending emails",
    "stop spamming me",
    "no more emails",
    "no more mails",
    "no more messages",
    "do not contact me",
    "do not contact me again",
    "do not email me",
    "do not email me again",
    "don t contact me",
    "don t contact me again",
    "don t email me",
    "don t email me again",
    "never contact me again",
    "never email me again",
    "leave me alone",
    "delete my data",
    "delete my address",
    // German
    "abmeldung",
    "abbestellen",
    "newsletter abbestellen",
    "newsletter abmelden",
    "vom newsletter abmelden",
    "mich abmelden",
    "mich austragen",
    "tragen sie mich aus",
    "keine mails mehr",
    "keine e mails mehr",
    "keine weiteren mails",
    "keine weiteren e mails",
    "keine werbung",
    "keine werbung mehr",
    "nicht mehr anschreiben",
    "nicht mehr kontaktieren",
    "schreiben sie mir nicht mehr",
    "kontaktieren sie mich nicht mehr",
    "entfernen sie mich",
    "entfernen sie mich aus ihrem verteiler",
    "nehmen sie mich aus dem verteiler",
    "nehmen sie mich aus ihrem verteiler",
    "streichen sie mich aus ihrer liste",
    "loschen sie meine daten",
    "loeschen sie meine daten",
    // French
    "desinscrire",
    "desinscription",
    "desinscrivez moi",
    "me desinscrire",
    "desabonner",
    "desabonnement",
    "desabonnez moi",
    "me desabonner",
    "retirez moi de votre liste",
    "ne me contactez plus",
    "ne m ecrivez plus",
    // Spanish
    "darme de baja",
    "deme de baja",
    "dar de baja",
    "quiero darme de baja",
    "solicito la baja",
    "cancelar suscripcion",
    "desuscribirme",
    "no me escriban mas",
    "no me contacten mas",
    "no mas correos",
    // Portuguese
    "descadastrar",
    "descadastre me",
    "cancelar inscricao",
    "cancelar assinatura",
    "cancelar subscricao",
    "remova me da lista",
    "retire me da lista",
    "nao me contacte mais",
    // Italian
    "cancellami",
    "cancellatemi",
    "disiscrivimi",
    "disiscrizione",
    "rimuovetemi",
    "non contattatemi piu",
    "non scrivetemi piu",
    // Dutch
    "uitschrijven",
    "afmelden",
    "schrijf mij uit",
    "meld mij af",
    "verwijder mij van de lijst",
    "geen mails meer",
    "geen e mails meer",
    "niet meer mailen",
];

/// Words that make any short reply a request.
const KEYWORDS: &[&str] = &[
    "unsubscribe",
    "opt out",
    "opt me out",
    "remove me",
    "take me off",
    "stop emailing",
    "stop mailing",
    "stop contacting",
    "stop sending",
    "stop spamming",
    "stop writing",
    "keine mails mehr",
    "keine e mails mehr",
    "aus dem verteiler",
    "aus ihrem verteiler",
    "newsletter abbestellen",
    "desinscrire",
    "desinscrivez",
    "desabonner",
    "desabonnez",
    "darme de baja",
    "deme de baja",
    "descadastrar",
    "disiscrivimi",
    "cancellatemi",
    "uitschrijven",
    "geen mails meer",
    "geen e mails meer",
];

/// Words right before a keyword that turn it round: `don't unsubscribe me`.
const NEGATIONS: &[&str] =
    &["not", "t", "dont", "never", "nicht", "pas", "no", "nao", "non", "niet"];

/// First words of a greeting line.
const GREETINGS: &[&str] = &[
    "hi",
    "hello",
    "hey",
    "dear",
    "good",
    "hallo",
    "guten",
    "sehr",
    "liebe",
    "lieber",
    "bonjour",
    "hola",
    "ola",
    "buongiorno",
    "ciao",
    "beste",
    "geachte",
];

/// Whether a reply asks us to stop writing. `text` is the reply without what it quotes; a reply
/// without text is judged by its subject, as mail programs write it for a `mailto:` link.
pub fn asks(text: &str, subject: &str) -> bool {
    if text.trim().is_empty() {
        return is_request(&words_of(subject));
    }
    let words = words_of(text);
    is_request(&words)
        || (words.len() <= WORDS_MAX && holds_keyword(&words))
        || opens_with_one(text)
}

/// Folded words without the polite ones.
fn words_of(text: &str) -> Vec<String> {
    without_politeness(&words::phrase_space(text))
}

/// Leaves the polite words out of a text made by [`words::phrase_space`].
pub(super) fn without_politeness(space: &str) -> Vec<String> {
    let all: Vec<&str> = space.split_whitespace().collect();
    let mut kept = Vec::new();
    for (at, word) in all.iter().enumerate() {
        let of_thank_you = *word == "you" && at > 0 && all[at - 1] == "thank";
        let of_por_favor = matches!(*word, "por" | "per")
            && all.get(at + 1).is_some_and(|next| matches!(*next, "favor" | "favore"));
        if !POLITE.contains(word) && !of_thank_you && !of_por_favor {
            kept.push((*word).to_owned());
        }
    }
    kept
}

fn is_request(words: &[String]) -> bool {
    let phrase = words.join(" ");
    REQUESTS.contains(&phrase.as_str()) || WHOLE_REPLIES.contains(&phrase.as_str())
}

fn holds_keyword(words: &[String]) -> bool {
    KEYWORDS.iter().any(|keyword| {
        let keyword: Vec<&str> = keyword.split(' ').collect();
        words.windows(keyword.len()).enumerate().any(|(at, window)| {
            let before = words[..at].iter().rfind(|word| *word != "me");
            let turned = before.is_some_and(|word| NEGATIONS.contains(&word.as_str()));
            window == keyword && !turned
        })
    })
}

/// Whether the first line, or the one after a greeting, is a request and nothing else.
fn opens_with_one(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let is_one = |line: &str| REQUESTS.contains(&words_of(line).join(" ").as_str());
    let Some(first) = lines.next() else { return false };
    if is_one(first) {
        return true;
    }
    let space = words::phrase_space(first);
    let greeting = space.split_whitespace().next().is_some_and(|word| GREETINGS.contains(&word))
        && space.split_whitespace().count() <= 5;
    greeting && lines.next().is_some_and(is_one)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::asks;

    #[test]
    fn plain_requests_in_seven_languages_are_heard() {
        for text in [
            "unsubscribe",
            "UNSUBSCRIBE!!!",
            "Unsubscribe please",
            "Please remove me from your list. Thank you!",
            "ＳＴＯＰ",
            "Stop.",
            "STOP PLEASE",
            "opt-out",
            "unsubscribe me pls 🙏",
            "Not interested, please remove me",
            "Don't email me again.",
            "Hi Bob,\n\nplease unsubscribe me.\n\nKind regards\nAda Example\nHead of Example",
            "Unsubscribe\n\nAda Example\nExample Ltd, 1 Example Street, Exampletown",
            "Abmelden",
            "Bitte abmelden, danke",
            "Bitte keine E-Mails mehr.",
            "Nehmen Sie mich bitte aus dem Verteiler",
            "Désinscrire",
            "Merci de me désabonner",
            "Désinscrivez-moi s'il vous plaît",
            "Darme de baja, por favor",
            "BAJA",
            "Descadastrar por favor",
            "Cancellatemi, grazie",
            "Graag uitschrijven",
            "Geen mails meer aub",
        ] {
            assert!(asks(text, "Re: Hello"), "{text}");
        }
        assert!(asks("", "Unsubscribe"), "what a mailto link sends");
    }

    #[test]
    fn replies_that_only_mention_such_words_are_replies() {
        for text in [
            "Don't unsubscribe me, I like it",
            "I'll stop by on Monday.",
            "Please stop by our stand",
            "Can we cancel Thursday's call?",
            "We want to end the year with you",
            "Ich muss mich für heute abmelden",
            "Non voglio disiscrivermi, anzi",
            "Sounds good, call me.\n\nAda\nUnsubscribe from our own newsletter here",
            "Our guests unsubscribe from your competitor's newsletter all the time, so tell me more",
            "",
        ] {
            assert!(!asks(text, "Re: Hello"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn asking_is_total(text in "(?s).{0,200}", subject in ".{0,40}") {
            asks(&text, &subject);
        }

        #[test]
        fn the_legal_words_stop_in_any_case_and_punctuation(
            word in prop_oneof![
                Just("stop"), Just("quit"), Just("end"), Just("revoke"), Just("opt out"),
                Just("cancel"), Just("unsubscribe"),
            ],
            before in "[ .,!*'\"(-]{0,4}", after in "[ .,!?*'\")-]{0,4}", upper in any::<bool>(),
        ) {
            let word = if upper { word.to_uppercase() } else { word.to_owned() };
            let text = format!("{before}{word}{after}");
            prop_assert!(asks(&text, ""));
        }
    }
}
