//! What headers mean that are none of ours: words of other languages, and ours with a slip of the
//! finger. Whether a column is taken for what it may mean is not decided here.

use machine::key::AttributeName;

use crate::spelling;

/// Names of columns, and of attributes that texts and rules know.
const KNOWN: [&str; 11] = [
    "email",
    "phone",
    "zone",
    "tags",
    "consent",
    "sms_consent",
    "call_consent",
    "first_name",
    "last_name",
    "company",
    "country",
];

/// The fewest letters of a name in which one that is wrong does not make another word.
const LETTERS_MIN: usize = 4;

/// What headers of other languages mean here.
const FOREIGN: [(&str, &str); 87] = [
    ("vorname", "first_name"),
    ("prenom", "first_name"),
    ("nombre", "first_name"),
    ("nombres", "first_name"),
    ("primer_nombre", "first_name"),
    ("nome", "first_name"),
    ("primeiro_nome", "first_name"),
    ("nome_proprio", "first_name"),
    ("voornaam", "first_name"),
    ("fornavn", "first_name"),
    ("fornamn", "first_name"),
    ("imie", "first_name"),
    ("nachname", "last_name"),
    ("familienname", "last_name"),
    ("nom", "last_name"),
    ("nom_de_famille", "last_name"),
    ("apellido", "last_name"),
    ("apellidos", "last_name"),
    ("primer_apellido", "last_name"),
    ("sobrenome", "last_name"),
    ("apelido", "last_name"),
    ("ultimo_nome", "last_name"),
    ("nome_de_familia", "last_name"),
    ("cognome", "last_name"),
    ("achternaam", "last_name"),
    ("efternavn", "last_name"),
    ("etternavn", "last_name"),
    ("efternamn", "last_name"),
    ("nazwisko", "last_name"),
    ("firma", "company"),
    ("unternehmen", "company"),
    ("entreprise", "company"),
    ("societe", "company"),
    ("empresa", "company"),
    ("companhia", "company"),
    ("organizacao", "company"),
    ("organizacion", "company"),
    ("azienda", "company"),
    ("societa", "company"),
    ("ditta", "company"),
    ("bedrijf", "company"),
    ("foretag", "company"),
    ("virksomhed", "company"),
    ("telefon", "phone"),
    ("telefonnummer", "phone"),
    ("handy", "phone"),
    ("handynummer", "phone"),
    ("mobil", "phone"),
    ("mobilnummer", "phone"),
    ("telefono", "phone"),
    ("numero_de_telefono", "phone"),
    ("movil", "phone"),
    ("telefone", "phone"),
    ("numero_de_telefone", "phone"),
    ("telemovel", "phone"),
    ("celular", "phone"),
    ("cellulare", "phone"),
    ("portable", "phone"),
    ("numero_de_telephone", "phone"),
    ("telefoon", "phone"),
    ("telefoonnummer", "phone"),
    ("mobiel", "phone"),
    ("zeitzone", "zone"),
    ("fuseau_horaire", "zone"),
    ("fuso_horario", "zone"),
    ("fuso_orario", "zone"),
    ("zona_horaria", "zone"),
    ("huso_horario", "zone"),
    ("tijdzone", "zone"),
    ("tidszon", "zone"),
    ("tidszone", "zone"),
    ("land", "country"),
    ("pays", "country"),
    ("pais", "country"),
    ("paese", "country"),
    ("kraj", "country"),
    ("schlagworte", "tags"),
    ("mots_cles", "tags"),
    ("etiquetas", "tags"),
    ("etichette", "tags"),
    ("marcadores", "tags"),
    ("einwilligung", "consent"),
    ("consentement", "consent"),
    ("consentimento", "consent"),
    ("consentimiento", "consent"),
    ("consenso", "consent"),
    ("toestemming", "consent"),
];

/// A column that is kept as an attribute, and whose header may mean what has a name here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptColumn {
    /// The header.
    pub header: String,
    /// The attribute that it is kept as.
    pub attribute: AttributeName,
    /// What it may mean.
    pub meaning: &'static str,
}

/// Returns what a word of another language means here.
pub(super) fn translated(name: &str) -> Option<&'static str> {
    FOREIGN.iter().find(|(word, _)| *word == name).map(|(_, meaning)| *meaning)
}

/// Returns the name of ours that was probably meant by one that is none.
pub(super) fn misspelt(name: &str) -> Option<&'static str> {
    if KNOWN.contains(&name) || name.len() < LETTERS_MIN {
        return None;
    }
    KNOWN.into_iter().find(|known| spelling::is_one_slip(name, known))
}

#[cfg(test)]
mod tests {
    use super::misspelt;

    #[test]
    fn a_name_with_one_slip_is_told_and_another_word_is_not() {
        for (name, meant) in [
            ("consnet", Some("consent")),
            ("consents", Some("consent")),
            ("emial", Some("email")),
            ("phon", Some("phone")),
            ("frist_name", Some("first_name")),
            ("last_nime", Some("last_name")),
            ("tgas", Some("tags")),
            ("consent", None),
            ("comment", None),
            ("contact", None),
            ("stage", None),
            ("tag", None),
            ("rooms", None),
            ("", None),
        ] {
            assert_eq!(misspelt(name), meant, "{name}");
        }
    }
}
