//! The corpus of automatic answers and of the replies that look like them. Each file tells what it
//! must be taken for; see `corpus/auto_replies/README.md`.

use std::fs;
use std::path::{Path, PathBuf};

use activities::inbound::classification::{Kind, classify};
use activities::inbound::{Envelope, InboundMail};
use chrono::{DateTime, NaiveDate, Utc};

/// What a file says it holds.
struct Case {
    name: String,
    expect: String,
    back_on: Option<NaiveDate>,
    received: DateTime<Utc>,
    mail: String,
}

impl Case {
    fn load(path: &Path) -> Self {
        let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
        let text = fs::read_to_string(path).expect("readable");
        let (head, mail) = text.split_once("\n\n").expect("a head, an empty line, a mail");
        let field = |wanted: &str| {
            head.lines()
                .filter_map(|line| line.split_once(": "))
                .find(|(field, _)| *field == wanted)
                .map(|(_, value)| value)
        };
        assert!(field("why").is_some_and(|why| !why.is_empty()), "{name} says why");
        Self {
            expect: field("expect").expect("expect").to_owned(),
            back_on: field("back_on")
                .filter(|date| *date != "none")
                .map(|date| date.parse().expect("a date")),
            received: field("received").expect("received").parse().expect("a time"),
            mail: mail.replace('\n', "\r\n"),
            name,
        }
    }

    /// What is wrong with the answer, if anything is.
    fn check(&self) -> Option<String> {
        let mail = InboundMail::from_raw(self.mail.as_bytes(), &Envelope::default());
        let kind = classify(&mail.expect("a mail"), self.received);
        let (found, back_on) = match &kind {
            Kind::Reply => ("reply", None),
            Kind::OptOutRequest => ("opt_out", None),
            Kind::AutoReply(notice) => ("auto_reply", notice.back_on),
            Kind::DeliveryReport(_) => ("delivery_report", None),
            Kind::FeedbackReport(_) => ("feedback_report", None),
        };
        (found != self.expect || back_on != self.back_on).then(|| {
            format!(
                "{}: expected {} {:?}, found {found} {back_on:?}",
                self.name, self.expect, self.back_on
            )
        })
    }
}

fn corpus() -> Vec<Case> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/auto_replies");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the corpus")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    paths.sort();
    paths.iter().map(|path| Case::load(path)).collect()
}

#[test]
fn every_mail_of_the_corpus_is_taken_for_what_it_is() {
    let cases = corpus();
    assert!(cases.len() >= 60, "the corpus has {} mails", cases.len());
    let wrong: Vec<String> = cases.iter().filter_map(Case::check).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// The answer to a notice may not depend on how its header names are written.
#[test]
fn the_case_of_header_names_changes_nothing() {
    for case in corpus() {
        let (headers, body) = case.mail.split_once("\r\n\r\n").expect("headers and a body");
        let upper: Vec<String> = headers
            .split("\r\n")
            .map(|line| match line.split_once(':') {
                Some((name, value)) if !line.starts_with([' ', '\t']) => {
                    format!("{}:{value}", name.to_uppercase())
                }
                Some(_) | None => line.to_owned(),
            })
            .collect();
        let shouted = Case { mail: format!("{}\r\n\r\n{body}", upper.join("\r\n")), ..case };
        assert_eq!(shouted.check(), None);
    }
}
