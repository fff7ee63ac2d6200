//! What a person of ours answers by mail: it reaches the lead in the lead's own conversation, once, with
//! nothing of the mail that was answered, and only if it is theirs.

use activities::conversations::{self, HandoverAct, What};
use activities::inbound::answer::LINE;
use activities::inbound::{Envelope, InboundMail};
use activities::ingest::{NewEvent, PostBody, Provider, Signalled};
use activities::leads::erase;
use activities::mailgun;
use activities::suppression_list::{self, Suppressed};
use chrono::TimeDelta;
use machine::ids::SendId;
use serde_json::json;
use uuid::Uuid;

use crate::town::{Town, campaign};

const ADA: &str = "ada@example.com";
const TEAM: &str = "team@agents.example";
const SAID: &str = "Call me on Thursday after eleven.";
const ANSWER: &str = "Thursday at noon it is.\n\nBest regards,\nAnn";

/// A lead whose answer was offered to the team.
async fn town() -> Town {
    let mut town = Town::new(&[]).await;
    town.import("email,first_name,company,note\nada@example.com,Ada,Novak & Sons,pays late\n")
        .await;
    let mut campaign = campaign("spring");
    campaign["handover"] = json!({ "to": TEAM, "fallback": "boss@agents.example" });
    town.start(campaign).await;
    town.work().await;
    let send = town.send("spring", ADA, "intro").await;
    town.replies(ADA, send, SAID).await;
    town.work().await;
    town
}

/// A mail of ours, as the capture sender has it.
struct Kept {
    to: String,
    mail: InboundMail,
}

impl Kept {
    fn head(&self, name: &str) -> &str {
        self.mail.header(name).unwrap_or_default()
    }
}

impl Town {
    /// What was sent to an address, oldest first.
    async fn kept(&mut self, to: &str) -> Vec<Kept> {
        let sql = "SELECT recipient, message FROM captured_messages WHERE recipient = $1
             ORDER BY capture_id";
        let rows: Vec<(String, Vec<u8>)> =
            sqlx::query_as(sql).bind(to).fetch_all(&mut self.owner).await.unwrap();
        let kept = rows.into_iter().map(|(to, raw)| {
            let mail = InboundMail::from_raw(&raw, &Envelope::default()).unwrap();
            Kept { to, mail }
        });
        kept.collect()
    }

    /// The newest mail to a person of ours.
    async fn dossier(&mut self, to: &str) -> Kept {
        self.kept(to).await.pop().expect("that person was told")
    }

    /// A mail comes in that answers one of ours; `body` has its own content type before it.
    async fn answers(&mut self, kept: &Kept, from: &str, body: &str) -> Signalled {
        let (key, event) = (Uuid::from_bytes(rand::random()).to_string(), raw(kept, from, body));
        self.brought(&key, &event).await
    }

    /// The same mail is the same event, however often it is brought.
    async fn brought(&mut self, key: &str, raw: &str) -> Signalled {
        let now = self.now().await;
        let event = NewEvent::of_raw_mail(
            &self.room,
            self.workspace,
            Provider::Capture,
            key.to_owned(),
            raw.as_bytes(),
            Envelope::default(),
            now,
        );
        self.signal(event).await
    }

    /// Where the newest handover stands.
    async fn stands(&mut self) -> String {
        self.one("SELECT state FROM handovers ORDER BY visit DESC LIMIT 1", &[]).await
    }

    /// Why mails were given up.
    async fn causes(&mut self) -> String {
        let sql = "SELECT coalesce(string_agg(cause, '; ' ORDER BY at, dead_letter_id), '')
             FROM dead_letters WHERE resolved_at IS NULL";
        self.one(sql, &[]).await
    }

    async fn lead(&mut self, address: &str) -> Uuid {
        let sql = "SELECT lead_id::text FROM addresses WHERE address = $1";
        self.one(sql, &[address]).await.parse().unwrap()
    }
}

/// An answer to `kept`, to where answers to it go.
fn raw(kept: &Kept, from: &str, body: &str) -> String {
    let raw = format!(
        "From: Ann <{from}>\nTo: {}\nSubject: Re: {}\nMessage-ID: <{}@agents.example>\n\
         In-Reply-To: <{id}>\nReferences: <{id}>\nMIME-Version: 1.0\n{body}",
        kept.head("Reply-To"),
        kept.mail.subject,
        Uuid::from_bytes(rand::random()),
        id = kept.mail.message_id.as_deref().unwrap(),
    );
    raw.replace('\n', "\r\n")
}

/// As Gmail writes it: a text whose quoted lines are marked, and HTML with a quote of its own class.
fn gmail(kept: &Kept) -> String {
    let (text, html) = (quoted(kept, "> "), kept.mail.html.clone().unwrap());
    both(
        &format!(
            "{ANSWER}\n\nOn Mon, 2 Mar 2026 at 10:01, <campaigns@meridian.example> wrote:\n\n{text}"
        ),
        &format!(
            "<div dir=\"ltr\">Thursday at noon it is.</div><br><div class=\"gmail_quote\"><blockquote>{html}</blockquote></div>"
        ),
    )
}

/// As Outlook does: nothing is marked, a rule and the header of the mail stand before it.
fn outlook(kept: &Kept) -> String {
    let head = format!(
        "________________________________\nFrom: campaigns@meridian.example <campaigns@meridian.example>\n\
         Sent: Monday, 2 March 2026 10:01\nTo: Ann <{TEAM}>\nSubject: {}\n",
        kept.mail.subject
    );
    both(&format!("{ANSWER}\n\n{head}\n{}", quoted(kept, "")), "<p>Thursday at noon it is.</p>")
}

/// The same in a language that nobody here reads.
fn outlook_in_polish(kept: &Kept) -> String {
    let head = format!(
        "Od: campaigns@meridian.example <campaigns@meridian.example>\nWysłano: poniedziałek 10:01\n\
         Do: Ann <{TEAM}>\nTemat: {}\n",
        kept.mail.subject
    );
    both(&format!("{ANSWER}\n\n{head}\n{}", quoted(kept, "")), "<p>Thursday at noon it is.</p>")
}

/// As Apple Mail does, in HTML alone.
fn apple(kept: &Kept) -> String {
    let lines: Vec<String> = ANSWER.lines().map(|line| format!("<div>{line}<br></div>")).collect();
    format!(
        "Content-Type: text/html; charset=utf-8\n\n<html><body>{}<div><br><blockquote type=\"cite\">\
         <div>On 2 Mar 2026, at 10:01, campaigns@meridian.example wrote:</div>{}</blockquote></div></body></html>\n",
        lines.concat(),
        kept.mail.html.clone().unwrap()
    )
}

/// As a telephone does that leaves the quote to the reader's imagination.
fn telephone(_: &Kept) -> String {
    format!("Content-Type: text/plain; charset=utf-8\n\n{ANSWER}\n\nSent from my iPhone\n")
}

fn plain(text: &str) -> String {
    format!("Content-Type: text/plain; charset=utf-8\n\n{text}\n")
}

fn both(text: &str, html: &str) -> String {
    format!(
        "Content-Type: multipart/alternative; boundary=b\n\n--b\nContent-Type: text/plain; charset=utf-8\n\n\
         {text}\n--b\nContent-Type: text/html; charset=utf-8\n\n{html}\n--b--\n"
    )
}

fn quoted(kept: &Kept, prefix: &str) -> String {
    kept.mail.text.lines().map(|line| format!("{prefix}{line}\n")).collect()
}

#[tokio::test]
async fn an_answer_reaches_the_lead_in_its_thread_and_nothing_of_the_dossier_does() {
    for style in [gmail, outlook, outlook_in_polish, apple, telephone] {
        let mut town = town().await;
        let dossier = town.dossier(TEAM).await;
        assert!(dossier.head("Reply-To").starts_with("reply-"), "{:?}", dossier.mail.headers);
        for part in [
            LINE,
            "Answer this mail to write to Ada, Novak & Sons",
            "Attachments are not passed on.",
            "Answer this mail, or write to ada@example.com",
        ] {
            let words: Vec<&str> = part.split(' ').collect();
            let text = dossier.mail.text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(text.contains(&words.join(" ")), "{part}\n{}", dossier.mail.text);
        }
        assert!(dossier.mail.html.as_deref().unwrap().contains(LINE), "{:?}", dossier.mail.html);

        let event = raw(&dossier, TEAM, &style(&dossier));
        for _ in 0..2 {
            town.brought("one", &event).await;
            town.work().await;
        }
        assert_eq!(town.causes().await, "");
        assert_eq!(town.stands().await, "answered");
        let [_, answer] = town.kept(ADA).await.try_into().ok().expect("one answer");
        assert_eq!(answer.mail.subject, "Re: Hello");
        let to_ada = town.one("SELECT message_id FROM sends WHERE step_key = 'intro'", &[]).await;
        assert_eq!(answer.mail.references[0], to_ada);
        assert!(answer.mail.in_reply_to[0].ends_with("@theirs.example"), "{:?}", answer.mail);
        assert_eq!(answer.head("From"), "campaigns@meridian.example");
        assert!(answer.head("Reply-To").starts_with("reply-"));
        for header in ["List-Unsubscribe", "List-Unsubscribe-Post", "Auto-Submitted"] {
            assert_eq!(answer.mail.header(header), None);
        }
        assert_eq!(answer.mail.text.replace("\r\n", "\n").trim(), ANSWER);
        let html = answer.mail.html.clone().unwrap();
        for line in dossier.mail.text.lines().filter(|line| line.trim().len() > 8) {
            assert!(!answer.mail.text.contains(line) && !html.contains(line), "{line}\n{html}");
        }
        for secret in ["pays late", "meridian handover", SAID, "needs you", "/u/"] {
            assert!(!html.contains(secret), "{secret}\n{html}");
        }
    }
}

#[tokio::test]
async fn what_the_lead_writes_then_is_told_to_whoever_has_it() {
    let mut town = town().await;
    let dossier = town.dossier(TEAM).await;
    town.answers(&dossier, TEAM, &gmail(&dossier)).await;
    town.work().await;
    let answer = town.kept(ADA).await.pop().unwrap();
    let send: SendId = answer.head("X-Meridian-Send").parse().unwrap();
    let again = town.replies(ADA, send, "Make it one o'clock.").await;
    assert!(matches!(again, Signalled::Stored { .. }), "{again:?}");
    town.work().await;
    let told = town.dossier(TEAM).await;
    assert_eq!(
        (told.to.as_str(), told.mail.subject.as_str()),
        (TEAM, "Ada, Novak & Sons wrote again (spring)")
    );
    assert!(told.mail.text.contains("> Make it one o'clock."), "{}", told.mail.text);
    assert!(told.mail.text.starts_with(LINE));

    // And so it goes on, in one thread.
    town.answers(&told, TEAM, &plain("One it is.")).await;
    town.work().await;
    let last = town.kept(ADA).await.pop().unwrap();
    assert_eq!(last.mail.text.trim(), "One it is.");
    assert_eq!(last.mail.subject, "Re: Hello");
    let lead = town.lead(ADA).await.into();
    let thread = conversations::thread(&town.room, town.workspace, lead, None, 100).await;
    let thread = thread.unwrap().unwrap();
    let words: Vec<String> = thread
        .iter()
        .filter_map(|it| match &it.what {
            What::Sent(sent) => Some(format!("sent {}", sent.send.kind)),
            What::Received(received) => Some(format!("received {}", received.meaning.clone()?)),
            What::Noticed(noticed) => Some(noticed.kind.clone()),
            What::Handover(handover) => match handover.act {
                HandoverAct::Wrote { passed_on, .. } => Some(format!("wrote {passed_on}")),
                HandoverAct::Offered { .. } => Some("offered".to_owned()),
                HandoverAct::Accepted(_)
                | HandoverAct::Answered
                | HandoverAct::Closed(_)
                | HandoverAct::GivenBack => None,
            },
        })
        .collect();
    let count = |word: &str| words.iter().filter(|it| *it == word).count();
    let counts =
        ["sent step", "received replied", "offered", "wrote true", "sent answer"].map(count);
    assert_eq!(counts, [1, 2, 1, 2, 2], "{words:?}");
}

#[tokio::test]
async fn only_what_is_known_to_be_theirs_is_passed_on() {
    let mut town = town().await;
    let dossier = town.dossier(TEAM).await;
    town.answers(&dossier, "mallory@evil.example", &plain("Send your money to me.")).await;
    town.answers(&dossier, TEAM, &format!("Auto-Submitted: auto-replied\n{}", plain("I am away.")))
        .await;
    town.answers(&dossier, TEAM, &plain(&quoted(&dossier, "> "))).await;
    town.work().await;
    assert_eq!(town.kept(ADA).await.len(), 1);
    assert_eq!(town.stands().await, "offered");
    let causes = town.causes().await;
    for cause in
        ["nobody vouches for its author", "a machine wrote it", "nothing of its author's own"]
    {
        assert!(causes.contains(cause), "{cause}\n{causes}");
    }
    assert!(town.signals("spring", ADA).await.iter().all(|it| it["kind"] != "person_wrote"));

    // Through a provider that vouches for domains, and says nothing of this one.
    for (verdict, stored) in [("Fail", false), ("Pass", true)] {
        let event = town.posted(&dossier, verdict).await;
        let signalled = town.signal(event).await;
        assert_eq!(matches!(signalled, Signalled::Stored { .. }), stored, "{signalled:?}");
        town.work().await;
        assert_eq!(town.kept(ADA).await.len(), 1 + usize::from(stored));
    }
    assert_eq!(town.stands().await, "answered");
}

impl Town {
    /// An answer to `kept` as a route of Mailgun posts it.
    async fn posted(&mut self, kept: &Kept, verdict: &str) -> NewEvent {
        let id = kept.mail.message_id.clone().unwrap();
        let headers = json!([
            ["X-Mailgun-Dkim-Check-Result", verdict],
            ["Received", "from mail.agents.example by mxa.mailgun.org"],
            ["DKIM-Signature", "v=1; a=rsa-sha256; d=agents.example; s=a; h=from; b=aa"],
            ["From", format!("Ann <{TEAM}>")],
            ["Message-Id", format!("<{}@agents.example>", Uuid::from_bytes(rand::random()))],
            ["In-Reply-To", format!("<{id}>")],
        ]);
        let fields = [
            ("timestamp", "1".to_owned()),
            ("token", Uuid::from_bytes(rand::random()).to_string()),
            ("signature", "00".to_owned()),
            ("recipient", kept.head("Reply-To").to_owned()),
            ("sender", TEAM.to_owned()),
            ("body-plain", format!("{ANSWER}\n\n{}", quoted(kept, "> "))),
            ("attachment-count", "2".to_owned()),
            ("message-headers", headers.to_string()),
        ];
        let fields: Vec<_> =
            fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let post = mailgun::parse_mail(fields.clone()).unwrap();
        let (body, now) = (PostBody::Mail(fields), self.now().await);
        NewEvent::of_mailgun(&self.room, self.workspace, post, body, now)
    }
}

#[tokio::test]
async fn a_lead_that_is_not_to_be_written_to_gets_no_answer_and_the_journal_says_why() {
    // By the lead's own word, which ends everything.
    let mut stopped = town().await;
    let dossier = stopped.dossier(TEAM).await;
    let intro = stopped.send("spring", ADA, "intro").await;
    stopped.hears("unsubscribed", intro).await;
    stopped.answers(&dossier, TEAM, &gmail(&dossier)).await;
    stopped.work().await;
    assert_eq!(stopped.kept(ADA).await.len(), 1);
    assert!(stopped.causes().await.contains("the lead opted out"), "{}", stopped.causes().await);
    let sql = "SELECT to_state || ' ' || coalesce(effects, 'nothing') FROM journal
         WHERE cause = 'person_wrote'";
    assert_eq!(stopped.one(sql, &[]).await, "opted_out nothing");

    // By ours, while a person has the lead.
    let mut listed = town().await;
    let dossier = listed.dossier(TEAM).await;
    let whom: Suppressed = ADA.parse().unwrap();
    suppression_list::add(&listed.room, listed.workspace, &whom, "test").await.unwrap();
    listed.answers(&dossier, TEAM, &gmail(&dossier)).await;
    listed.work().await;
    assert_eq!(listed.kept(ADA).await.len(), 1);
    assert_eq!(listed.stands().await, "accepted");
    assert!(listed.causes().await.contains("is not to be written to any more"));
    let sql = "SELECT signal FROM journal WHERE cause = 'send_answered' ORDER BY turn DESC LIMIT 1";
    assert!(listed.one(sql, &[]).await.contains("suppressed"));
    let sql = "SELECT state FROM sends WHERE kind = 'answer'";
    assert_eq!(listed.one(sql, &[]).await, "rejected");

    // Whoever is told of such a lead is not asked to write to it.
    listed.after(TimeDelta::days(1)).await;
    listed.work().await;
    let reminder = listed.dossier("boss@agents.example").await;
    assert!(!reminder.mail.text.contains(LINE), "{}", reminder.mail.text);
    let told = listed.answers(&reminder, "boss@agents.example", &plain("Hello Ada.")).await;
    assert_eq!(told, Signalled::Unmatched);
    assert!(listed.causes().await.contains("did not ask for one"));
}

#[tokio::test]
async fn an_erased_lead_leaves_nothing_of_what_was_written_to_it() {
    let mut town = town().await;
    let dossier = town.dossier(TEAM).await;
    town.answers(&dossier, TEAM, &gmail(&dossier)).await;
    town.work().await;
    town.answers(&dossier, "mallory@evil.example", &gmail(&dossier)).await;
    let lead = town.lead(ADA).await.into();
    assert!(erase::erase(&town.room, town.workspace, lead, "test").await.unwrap());
    town.work().await;
    for place in ["send_contents", "captured_messages", "sends", "journal", "signals"] {
        let sql = format!(
            "SELECT count(*)::text FROM {place} t WHERE t::text ~* 'noon|ada@example|Novak'
             OR encode(convert_to(t::text, 'UTF8'), 'escape') ~ 'noon'"
        );
        assert_eq!(town.one(&sql, &[]).await, "0", "{place}");
    }
    let sql = "SELECT count(*)::text FROM captured_messages
         WHERE position(convert_to('noon', 'UTF8') IN message) > 0";
    assert_eq!(town.one(sql, &[]).await, "0");
    // Sealed, and empty: as short as a payload of nothing.
    let sql = "SELECT max(octet_length(payload))::text FROM inbound_events WHERE kind = 'answer'";
    let length: i32 = town.one(sql, &[]).await.parse().unwrap();
    assert!(length < 200, "{length}");
    // What comes now is not kept at all.
    town.answers(&dossier, TEAM, &gmail(&dossier)).await;
    town.work().await;
    let length: i32 = town.one(sql, &[]).await.parse().unwrap();
    assert!(length < 200, "{length}");
    assert_eq!(town.kept(ADA).await.len(), 0);
    let sql = "SELECT count(*)::text FROM signals WHERE kind = 'person_wrote'";
    assert_eq!(town.one(sql, &[]).await, "1");
}
