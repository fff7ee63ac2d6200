//! What is heard of a person, as it would come in.

use activities::address::EmailAddress;
use activities::inbound::Envelope;
use activities::ingest::{NewEvent, Played, Provider};
use activities::mail::message_id::MessageId;
use activities::store::clock;
use machine::ids::{EnrollmentId, SendId};
use machine::signal::Bounce;
use machine::state::Responder;
use sqlx::Row as _;

use super::Inner;
use crate::world::news::{Author, News};

impl Inner {
    /// Returns the event that brings `news` of an enrollment.
    pub(super) async fn event(&mut self, enrollment: EnrollmentId, news: &News) -> NewEvent {
        self.orders += 1;
        let key = format!("news-{}", self.orders);
        let newest = self.sent.iter().rev().find(|(of, _, _)| *of == enrollment);
        let newest = newest.map(|(_, send, _)| *send);
        let at_step = |step: &String| {
            let of = self.sent.iter().rev();
            let mut of = of.filter(|(of, _, sent)| *of == enrollment && sent.step == *step);
            of.next().map(|(_, send, _)| *send).expect("the step was sent")
        };
        let newest_or = || newest.expect("something was sent");
        // A single word may be one of ours.
        if let News::Reply { text } = news
            && text.contains(' ')
        {
            self.written.push(text.clone());
        }
        match news {
            News::Reply { text } => self.mail(enrollment, newest, key, text, None).await,
            News::OutOfOffice { back_on } => {
                let text = match back_on {
                    Some(back_on) => format!("I am back on {}.", back_on.format("%-d %B %Y")),
                    None => "I am not at my desk.".to_owned(),
                };
                self.mail(enrollment, newest, key, &text, Some("auto-replied")).await
            }
            News::Bounce(Bounce::Hard) => {
                NewEvent::of_played(newest_or(), key, Played::BouncedHard)
            }
            News::Bounce(Bounce::Soft) => {
                NewEvent::of_played(newest_or(), key, Played::BouncedSoft)
            }
            News::OptOut => match newest {
                Some(send) => NewEvent::of_played(send, key, Played::OptedOut),
                None => self.mail(enrollment, None, key, "unsubscribe", None).await,
            },
            News::Complaint => NewEvent::of_played(newest_or(), key, Played::Complained),
            News::TeamAnswer { of, author, text } => {
                self.team_answer(enrollment, (*of, *author), key, text).await
            }
            News::Delivered { step } => NewEvent::of_played(at_step(step), key, Played::Delivered),
            News::Click { step } => NewEvent::of_played(at_step(step), key, Played::Clicked),
        }
    }

    /// An answer to the newest mail to one of our own people, which it quotes.
    async fn team_answer(
        &self,
        enrollment: EnrollmentId,
        (of, author): (Responder, Author),
        key: String,
        text: &str,
    ) -> NewEvent {
        let mut conn = self.store.begin(self.workspace).await.expect("the database answers");
        let told = sqlx::query(
            "SELECT s.send_id, s.address, d.from_address, c.text \
             FROM sends s JOIN senders d USING (workspace_id, sender_id) \
             JOIN send_contents c USING (workspace_id, send_id) \
             WHERE s.enrollment_id = $1 AND s.kind = 'handover' AND s.step_key = $2 \
               AND s.state = 'accepted' ORDER BY s.gate_at DESC, s.visit DESC LIMIT 1",
        )
        .bind(enrollment.uuid())
        .bind(of.as_str())
        .fetch_one(&mut *conn)
        .await
        .expect("that person was told");
        let now = clock::read(&mut conn).await.expect("a clock").campaign;
        let sender: EmailAddress =
            told.get::<String, _>("from_address").parse().expect("an address");
        let id = MessageId::of_send(SendId::new(told.get("send_id")), &sender);
        let from = match author {
            Author::Themselves | Author::TheirMachine => told.get("address"),
            Author::Stranger => "mallory@evil.example".to_owned(),
        };
        let head = match author {
            Author::TheirMachine => "Auto-Submitted: auto-replied\r\n",
            Author::Themselves | Author::Stranger => "",
        };
        let quoted: String =
            told.get::<String, _>("text").lines().map(|line| format!("> {line}\r\n")).collect();
        let raw = format!(
            "From: {from}\r\nTo: {to}\r\nSubject: Re: the lead\r\nMessage-ID: <{key}@team.example>\r\n\
             In-Reply-To: {id}\r\n{head}\r\n{text}\r\n\r\nOn Monday {to} wrote:\r\n{quoted}",
            to = sender.as_str(),
        );
        let envelope =
            Envelope { sender: Some(from), recipients: vec![sender.as_str().to_owned()] };
        let (room, workspace) = (&self.room, self.workspace);
        NewEvent::of_raw_mail(
            room,
            workspace,
            Provider::Capture,
            key,
            raw.as_bytes(),
            envelope,
            now,
        )
    }

    /// A mail of the lead, as it would come in.
    async fn mail(
        &self,
        enrollment: EnrollmentId,
        answers: Option<SendId>,
        key: String,
        text: &str,
        auto_submitted: Option<&str>,
    ) -> NewEvent {
        let mut conn = self.store.begin(self.workspace).await.expect("the database answers");
        let from: String = sqlx::query_scalar(
            "SELECT a.address FROM addresses a JOIN enrollments e USING (workspace_id, lead_id) \
             WHERE e.enrollment_id = $1 AND a.channel = 'email'",
        )
        .bind(enrollment.uuid())
        .fetch_one(&mut *conn)
        .await
        .expect("an address");
        let now = clock::read(&mut conn).await.expect("a clock").campaign;
        let sender = match answers {
            Some(send) => sqlx::query_scalar(
                "SELECT d.from_address FROM sends s JOIN senders d USING (workspace_id, sender_id) \
                 WHERE s.send_id = $1",
            )
            .bind(send.uuid())
            .fetch_one(&mut *conn)
            .await
            .expect("a sender"),
            None => "anna@senders.example".to_owned(),
        };
        let sender: EmailAddress = sender.parse().expect("an address");
        let mut raw = format!(
            "From: {from}\r\nTo: {sender}\r\nSubject: Re: us\r\nDate: {}\r\nMessage-ID: <{key}@leads.example>\r\n",
            now.to_rfc2822(),
            sender = sender.as_str(),
        );
        if let Some(send) = answers {
            let id = MessageId::of_send(send, &sender);
            raw.push_str(&format!("In-Reply-To: {id}\r\nReferences: {id}\r\n"));
        }
        if let Some(word) = auto_submitted {
            raw.push_str(&format!("Auto-Submitted: {word}\r\n"));
        }
        raw.push_str(&format!("\r\n{text}\r\n"));
        let envelope =
            Envelope { sender: Some(from), recipients: vec![sender.as_str().to_owned()] };
        let raw = raw.as_bytes();
        NewEvent::of_raw_mail(
            &self.room,
            self.workspace,
            Provider::Capture,
            key,
            raw,
            envelope,
            now,
        )
    }
}
