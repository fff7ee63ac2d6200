//! Handing over a message when the line is cut, or the server says no, at every stage.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod double;

use std::time::{Duration, Instant};

use activities::address::EmailAddress;
use activities::lease::{Ended, Lease};
use activities::mail::smtp::{Envelope, Limits, SetupFault, SmtpTransport};
use activities::outcome::{Outcome, Refusal, RefusalClass};
use double::{Act, Point, Server, Tls, say};
use futures::future::join_all;
use machine::ids::SendId;
use secrecy::SecretString;
use uuid::Uuid;

const BUDGET: Duration = Duration::from_secs(60);
const MESSAGE: &[u8] = b"Subject: x\r\n\r\nfirst\r\n.dots.\r\n..\r\n.\r\nlast\r\n";

/// Long enough for a line on this machine, short enough to wait for in a test.
const IMPATIENT: Limits = Limits {
    connect: Duration::from_millis(1_500),
    dialogue: Duration::from_millis(3_000),
    reply: Duration::from_millis(1_000),
};

fn account(server: &Server, rest: &str) -> SmtpTransport {
    let url = format!("smtp+plain://127.0.0.1:{}{rest}", server.address.port());
    transport(&url, None)
}

fn transport(url: &str, password: Option<&str>) -> SmtpTransport {
    let password = password.map(|it| SecretString::from(it.to_owned()));
    SmtpTransport::new(url.parse().unwrap(), password.as_ref()).unwrap()
}

fn encrypted(server: &Server, scheme: &str, host: &str, password: &str) -> SmtpTransport {
    let ca = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/authority.pem");
    let port = server.address.port();
    transport(&format!("{scheme}://ada@example.com@{host}:{port}?ca={ca}"), Some(password))
}

async fn send_to(transport: &SmtpTransport, to: &str, message: &[u8]) -> Outcome {
    let from: EmailAddress = "grace@example.com".parse().unwrap();
    let to: EmailAddress = to.parse().unwrap();
    let envelope = Envelope { from: &from, to: &to, send: SendId::new(Uuid::from_u128(7)) };
    transport.send(&envelope, message, &Lease::new(BUDGET)).await.unwrap()
}

async fn send(transport: &SmtpTransport) -> Outcome {
    send_to(transport, "ada@example.org", MESSAGE).await
}

/// What the gate's caller may conclude.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Accepted,
    NotSent(RefusalClass),
    Unknown,
}

fn verdict(outcome: &Outcome) -> Verdict {
    match outcome {
        Outcome::Accepted { .. } => Verdict::Accepted,
        Outcome::Refused(refusal) => Verdict::NotSent(refusal.class),
        Outcome::Unknown { .. } => Verdict::Unknown,
    }
}

fn refusal(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

const BEFORE_THE_DOT: [Point; 5] =
    [Point::Greeting, Point::Ehlo, Point::Mail, Point::Rcpt, Point::Data];

#[tokio::test]
async fn a_message_arrives_byte_for_byte() {
    let server = Server::start(Tls::Absent, []).await;
    let outcome = send(&account(&server, "")).await;
    let Outcome::Accepted { provider_id, detail } = outcome else { panic!("{outcome:?}") };
    assert_eq!(provider_id.as_deref(), Some("4F2A1"));
    assert_eq!(detail.as_str(), "2.0.0 Ok: queued as 4F2A1");
    let seen = server.seen();
    assert_eq!(seen.messages, [MESSAGE]);
    let commands: Vec<_> =
        seen.commands.iter().map(|(_, command)| command.as_str()).take(5).collect();
    assert_eq!(
        commands,
        [
            "EHLO example.com",
            "EHLO example.com",
            "MAIL FROM:<grace@example.com>",
            "RCPT TO:<ada@example.org>",
            "DATA"
        ]
    );
}

#[tokio::test]
async fn a_line_cut_before_the_dot_means_not_sent() {
    for point in BEFORE_THE_DOT {
        for act in [
            Act::Cut,
            Act::SayAndCut(b"250-half a rep".to_vec()),
            say("what is this"),
            say("999 what"),
            Act::Say(b"250 gr\xfc\xdfe\r\n".to_vec()),
        ] {
            let server = Server::start(Tls::Absent, [(point, act.clone())]).await;
            let outcome = send(&account(&server, "").with_limits(IMPATIENT)).await;
            assert_eq!(
                verdict(&outcome),
                Verdict::NotSent(RefusalClass::Retry),
                "{point:?} {act:?}"
            );
            assert_eq!(server.seen().messages.len(), 0);
        }
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_before_the_dot_means_not_sent() {
    join_all(BEFORE_THE_DOT.map(async |point| {
        let server = Server::start(Tls::Absent, [(point, Act::Hang)]).await;
        let outcome = send(&account(&server, "").with_limits(IMPATIENT)).await;
        assert_eq!(verdict(&outcome), Verdict::NotSent(RefusalClass::Retry), "{point:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_refusal_before_the_dot_means_not_sent() {
    use RefusalClass::{Account, Content, Recipient, Retry};
    for (point, reply, class) in [
        (Point::Greeting, "421 4.3.2 busy", Retry),
        (Point::Greeting, "554 5.7.1 go away", Account),
        (Point::Ehlo, "550 your name is strange", Account),
        (Point::Mail, "451 4.3.0 later", Retry),
        (Point::Mail, "553 5.7.1 not your address", Account),
        (Point::Mail, "354 what", Retry),
        (Point::Rcpt, "550 5.1.1 no such user", Recipient),
        (Point::Rcpt, "452 4.2.2 full", Retry),
        (Point::Rcpt, "550-5.7.1 no\r\n550 5.7.1 relaying", Account),
        (Point::Rcpt, "354 what", Retry),
        (Point::Data, "554 5.7.1 policy", Content),
        (Point::Data, "250 what", Retry),
    ] {
        let server = Server::start(Tls::Absent, [(point, say(reply))]).await;
        let outcome = send(&account(&server, "")).await;
        assert_eq!(verdict(&outcome), Verdict::NotSent(class), "{point:?} {reply}");
        assert_eq!(server.seen().messages.len(), 0);
    }
}

#[tokio::test]
async fn a_line_cut_inside_the_message_means_not_sent() {
    // More than the buffers between us hold, so that the end cannot have been written.
    let large = [&MESSAGE[..14], &b"0123456789\r\n".repeat(2_000_000)].concat();
    for act in [Act::Cut, Act::Hang] {
        let server = Server::start(Tls::Absent, [(Point::Body, act.clone())]).await;
        let transport = account(&server, "").with_limits(IMPATIENT);
        let outcome = send_to(&transport, "ada@example.org", &large).await;
        assert_eq!(verdict(&outcome), Verdict::NotSent(RefusalClass::Retry), "{act:?} {outcome:?}");
        assert_eq!(server.seen().messages.len(), 0);
    }
}

#[tokio::test]
async fn without_an_answer_to_the_message_nobody_knows() {
    for act in [
        Act::Cut,
        Act::Hang,
        Act::SayAndCut(b"250-queued\r\n".to_vec()),
        Act::SayAndCut(b"25".to_vec()),
        Act::Say(b"250 gr\xfc\xdfe\r\n".to_vec()),
        say("354 go ahead"),
        say("what is this"),
    ] {
        let server = Server::start(Tls::Absent, [(Point::Message, act.clone())]).await;
        let outcome = send(&account(&server, "").with_limits(IMPATIENT)).await;
        assert_eq!(verdict(&outcome), Verdict::Unknown, "{act:?} {outcome:?}");
        assert_eq!(server.seen().messages.len(), 1);
    }
}

#[tokio::test]
async fn an_answer_to_the_message_is_believed() {
    use RefusalClass::{Content, Retry};
    for (act, expected) in [
        (Act::SayAndCut(b"250 ok\r\n".to_vec()), Verdict::Accepted),
        (say("250-2.0.0 ok\r\n250 2.0.0 queued as X"), Verdict::Accepted),
        (say("251 forwarded"), Verdict::Accepted),
        (say("451 4.3.0 queue full"), Verdict::NotSent(Retry)),
        (Act::SayAndCut(b"421 4.7.0 slow down\r\n".to_vec()), Verdict::NotSent(Retry)),
        (say("554 5.7.1 spam"), Verdict::NotSent(Content)),
    ] {
        let server = Server::start(Tls::Absent, [(Point::Message, act.clone())]).await;
        let outcome = send(&account(&server, "")).await;
        assert_eq!(verdict(&outcome), expected, "{act:?}");
        assert_eq!(server.seen().accepted == 1, expected == Verdict::Accepted);
    }
}

#[tokio::test]
async fn a_silent_good_bye_does_not_hold_up_the_answer() {
    let server = Server::start(Tls::Absent, [(Point::Quit, Act::Hang)]).await;
    let start = Instant::now();
    assert_eq!(verdict(&send(&account(&server, "")).await), Verdict::Accepted);
    assert!(start.elapsed() < Duration::from_secs(4));
}

#[tokio::test]
async fn a_reply_that_no_parser_expects_does_not_panic() {
    for greeting in ["250- \r\n250 ok", "250 ", "250-\r\n250-\r\n250 "] {
        let server = Server::start(Tls::Absent, [(Point::Ehlo, say(greeting))]).await;
        let outcome = send(&account(&server, "").with_limits(IMPATIENT)).await;
        assert!(
            matches!(verdict(&outcome), Verdict::NotSent(_) | Verdict::Accepted),
            "{outcome:?}"
        );
    }
    // 100 kB of text, and a code hidden behind it.
    let flood = format!("550 {}\r\n", "x".repeat(100_000));
    let server = Server::start(Tls::Absent, [(Point::Rcpt, Act::Say(flood.into_bytes()))]).await;
    let refused = refusal(send(&account(&server, "")).await);
    assert!(refused.detail.as_str().len() <= 400);
}

#[tokio::test]
async fn what_the_server_says_is_kept_as_one_short_line() {
    let said = "550-5.1.1 The address\r\n550-5.1.1 does not \t exist\r\n550 5.1.1 here";
    let server = Server::start(Tls::Absent, [(Point::Rcpt, say(said))]).await;
    let refused = refusal(send(&account(&server, "")).await);
    assert_eq!(refused.code, Some(550));
    assert_eq!(refused.enhanced.map(|it| it.to_string()).as_deref(), Some("5.1.1"));
    assert_eq!(refused.detail.as_str(), "5.1.1 The address does not exist here");
}

#[tokio::test]
async fn nobody_there_means_not_sent() {
    let server = Server::start(Tls::Absent, []).await;
    let port = {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        free.local_addr().unwrap().port()
    };
    for url in [
        format!("smtp+plain://127.0.0.1:{port}"),
        "smtp+plain://no.such.host.invalid?insecure=yes".to_owned(),
    ] {
        let outcome = send(&transport(&url, None).with_limits(IMPATIENT)).await;
        assert_eq!(verdict(&outcome), Verdict::NotSent(RefusalClass::Retry), "{url}");
    }
    drop(server);
}

#[tokio::test]
async fn the_budget_of_the_call_ends_every_wait() {
    let from: EmailAddress = "grace@example.com".parse().unwrap();
    let envelope = Envelope { from: &from, to: &from, send: SendId::new(Uuid::nil()) };
    for (point, expected) in
        [(Point::Rcpt, Verdict::NotSent(RefusalClass::Retry)), (Point::Message, Verdict::Unknown)]
    {
        let server = Server::start(Tls::Absent, [(point, Act::Hang)]).await;
        let start = Instant::now();
        let outcome = account(&server, "")
            .send(&envelope, MESSAGE, &Lease::new(Duration::from_secs(1)))
            .await
            .unwrap();
        assert_eq!(verdict(&outcome), expected);
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
async fn a_call_that_is_given_up_meanwhile_hands_nothing_over() {
    let server = Server::start(Tls::Absent, []).await;
    let from: EmailAddress = "grace@example.com".parse().unwrap();
    let envelope = Envelope { from: &from, to: &from, send: SendId::new(Uuid::nil()) };
    let lease = Lease::new(BUDGET).as_long_as(|| false);
    let outcome = account(&server, "").send(&envelope, MESSAGE, &lease).await;
    assert_eq!(outcome, Err(Ended));
    assert!(server.seen().commands.iter().any(|(_, it)| it == "DATA"), "asked at the last moment");
    assert!(server.seen().messages.is_empty());
}

#[tokio::test]
async fn bounces_are_asked_to_carry_our_id_where_the_server_can() {
    let server =
        Server::start(Tls::Absent, [(Point::Ehlo, say("250-double\r\n250-dsn\r\n250 8BITMIME"))])
            .await;
    assert_eq!(verdict(&send(&account(&server, "")).await), Verdict::Accepted);
    let mail = server.seen().commands.into_iter().find(|(_, it)| it.starts_with("MAIL")).unwrap().1;
    assert_eq!(
        mail,
        "MAIL FROM:<grace@example.com> RET=HDRS ENVID=00000000-0000-0000-0000-000000000007"
    );
}

#[tokio::test]
async fn addresses_in_other_scripts() {
    let server = Server::start(Tls::Absent, []).await;
    let transport = account(&server, "");
    let domain_only = send_to(&transport, "ada@bücher.example", MESSAGE).await;
    assert_eq!(verdict(&domain_only), Verdict::Accepted);
    assert!(
        server.seen().commands.iter().any(|(_, it)| it == "RCPT TO:<ada@xn--bcher-kva.example>")
    );
    let refused = send_to(&transport, "用户@bücher.example", MESSAGE).await;
    assert_eq!(verdict(&refused), Verdict::NotSent(RefusalClass::SmtpUtf8));

    let server = Server::start(
        Tls::Absent,
        [(Point::Ehlo, say("250-double\r\n250-SMTPUTF8\r\n250 8BITMIME"))],
    )
    .await;
    let sent =
        send_to(&account(&server, ""), "用户@bücher.example", "Subject: ü\r\n\r\nx\r\n".as_bytes())
            .await;
    assert_eq!(verdict(&sent), Verdict::Accepted);
    assert!(
        server
            .seen()
            .commands
            .iter()
            .any(|(_, it)| it == "MAIL FROM:<grace@example.com> SMTPUTF8 BODY=8BITMIME")
    );
}

#[tokio::test]
async fn the_password_is_only_said_on_an_encrypted_line() {
    for (tls, scheme) in [(Tls::Upgraded, "smtp"), (Tls::Implicit, "smtps")] {
        let server = Server::start(tls, []).await;
        let outcome = send(&encrypted(&server, scheme, "localhost", "geheim")).await;
        assert_eq!(verdict(&outcome), Verdict::Accepted, "{scheme} {outcome:?}");
        for (encrypted, command) in server.seen().commands {
            assert!(encrypted || command.starts_with("EHLO") || command == "STARTTLS", "{command}");
        }
        assert_eq!(server.seen().messages, [MESSAGE]);
    }
}

#[tokio::test]
async fn encryption_is_never_given_up() {
    use RefusalClass::{Account, Retry};
    for (tls, scheme, host, script, class) in [
        // Stripped by someone in between.
        (Tls::Absent, "smtp", "localhost", vec![], Account),
        (
            Tls::Upgraded,
            "smtp",
            "localhost",
            vec![(Point::StartTls, say("454 4.7.0 not now"))],
            Retry,
        ),
        (Tls::Upgraded, "smtp", "localhost", vec![(Point::StartTls, Act::Cut)], Retry),
        (Tls::Upgraded, "smtp", "localhost", vec![(Point::StartTls, Act::Hang)], Retry),
        // The certificate is for another name.
        (Tls::Upgraded, "smtp", "127.0.0.1", vec![], Retry),
        (Tls::Implicit, "smtps", "127.0.0.1", vec![], Retry),
        // No TLS behind the port.
        (Tls::Absent, "smtps", "localhost", vec![], Retry),
    ] {
        let server = Server::start(tls, script).await;
        let transport = encrypted(&server, scheme, host, "geheim").with_limits(IMPATIENT);
        let outcome = send(&transport).await;
        assert_eq!(
            verdict(&outcome),
            Verdict::NotSent(class),
            "{tls:?} {scheme} {host} {outcome:?}"
        );
        let seen = server.seen();
        assert!(seen.messages.is_empty());
        assert!(
            seen.commands.iter().all(|(_, it)| !it.starts_with("AUTH") && !it.starts_with("MAIL"))
        );
    }
    // An authority we do not know.
    let server = Server::start(Tls::Upgraded, []).await;
    let url = format!("smtp://localhost:{}", server.address.port());
    let outcome = send(&transport(&url, None)).await;
    assert_eq!(verdict(&outcome), Verdict::NotSent(Retry));
}

#[tokio::test]
async fn a_login_that_fails_is_the_accounts_fault() {
    use RefusalClass::{Account, Retry};
    let no_auth = "250-double\r\n250-STARTTLS\r\n250 8BITMIME";
    for (script, class) in [
        (vec![(Point::Auth, say("535 5.7.8 no"))], Account),
        (vec![(Point::Auth, say("534 5.7.9 app password needed"))], Account),
        (vec![(Point::Auth, say("454 4.7.0 later"))], Retry),
        (vec![(Point::Auth, Act::Cut)], Retry),
        (vec![(Point::Ehlo, say(no_auth))], Account),
    ] {
        let server = Server::start(Tls::Upgraded, script.clone()).await;
        let outcome = send(&encrypted(&server, "smtp", "localhost", "geheim")).await;
        assert_eq!(verdict(&outcome), Verdict::NotSent(class), "{script:?} {outcome:?}");
        assert!(server.seen().commands.iter().all(|(_, it)| !it.starts_with("MAIL")));
    }
}

#[tokio::test]
async fn an_account_is_probed_without_naming_a_recipient() {
    let from: EmailAddress = "grace@example.com".parse().unwrap();
    let server = Server::start(Tls::Upgraded, []).await;
    let probed = encrypted(&server, "smtp", "localhost", "geheim").probe(&from).await.unwrap();
    assert!(probed.encrypted && probed.logged_in && !probed.reports_bounces_by_id);
    assert_eq!(probed.size_max, Some(10_000_000));
    let seen = server.seen();
    assert_eq!(seen.commands.last().unwrap().1, "QUIT");
    assert!(
        seen.messages.is_empty() && seen.commands.iter().all(|(_, it)| !it.starts_with("RCPT"))
    );
}

#[tokio::test]
async fn a_probe_says_what_to_do() {
    let from: EmailAddress = "grace@example.com".parse().unwrap();
    let mut told = String::new();
    let mut tell = |what: &str, port: u16, fault: activities::mail::smtp::ProbeFault| {
        let text = fault.to_string().replace(&format!(":{port}"), ":PORT");
        told.push_str(&format!("{what}\n    {text}\n"));
    };
    for (what, tls, scheme, host, script) in [
        ("wrong port kind", Tls::Absent, "smtps", "localhost", vec![]),
        ("no starttls", Tls::Absent, "smtp", "localhost", vec![]),
        ("wrong name", Tls::Upgraded, "smtp", "127.0.0.1", vec![]),
        (
            "wrong password",
            Tls::Upgraded,
            "smtp",
            "localhost",
            vec![(Point::Auth, say("535 5.7.8 Error: authentication failed"))],
        ),
        (
            "foreign sender",
            Tls::Upgraded,
            "smtp",
            "localhost",
            vec![(Point::Mail, say("553 5.7.1 Sender address rejected: not owned by user"))],
        ),
        ("silent", Tls::Implicit, "smtp", "localhost", vec![(Point::Greeting, Act::Hang)]),
        (
            "busy",
            Tls::Upgraded,
            "smtp",
            "localhost",
            vec![(Point::Greeting, say("421 4.3.2 too busy"))],
        ),
        (
            "banned",
            Tls::Upgraded,
            "smtp",
            "localhost",
            vec![(Point::Greeting, say("554 5.7.1 listed"))],
        ),
    ] {
        let server = Server::start(tls, script).await;
        let transport = encrypted(&server, scheme, host, "geheim").with_limits(IMPATIENT);
        tell(what, server.address.port(), transport.probe(&from).await.unwrap_err());
    }
    let server = Server::start(Tls::Upgraded, []).await;
    let port = server.address.port();
    let unknown_issuer = transport(&format!("smtp://localhost:{port}"), None);
    tell("unknown issuer", port, unknown_issuer.probe(&from).await.unwrap_err());
    let free = {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        free.local_addr().unwrap().port()
    };
    let nobody = transport(&format!("smtp+plain://127.0.0.1:{free}"), None);
    tell("nobody there", free, nobody.probe(&from).await.unwrap_err());
    insta::assert_snapshot!(told);
}

#[test]
fn an_account_without_its_password_or_certificate_is_not_set_up() {
    let account = "smtp://ada@localhost".parse().unwrap();
    assert!(matches!(SmtpTransport::new(account, None), Err(SetupFault::NoPassword)));
    let account = "smtp://localhost?ca=/no/such/file.pem".parse().unwrap();
    assert!(matches!(SmtpTransport::new(account, None), Err(SetupFault::RootCertificate { .. })));
    let transport = transport("smtp://ada@localhost", Some("geheim"));
    assert!(!format!("{transport:?}").contains("geheim"));
}
