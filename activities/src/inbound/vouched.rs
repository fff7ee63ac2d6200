//! Whether the server that took a mail in vouches for the domain of its author. Only what stands above
//! the first `Received` was written there: everything below came with the mail, and anybody can write it.

use super::{InboundMail, Mailbox, header_in};

/// Whether Mailgun found the author's domain confirmed: by a signature of that domain (DKIM), or because
/// a server of that domain brought it (SPF). It says so only where its spam filter adds headers; silence
/// is no word for anybody.
pub fn by_mailgun(mail: &InboundMail) -> bool {
    let mut from = mail.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("From"));
    let (Some((_, from)), None) = (from.next(), from.next()) else { return false };
    let Some(author) = Mailbox::parse(from).and_then(|it| domain_of(&it.address)) else {
        return false;
    };
    let received = mail.headers.iter().position(|(name, _)| name.eq_ignore_ascii_case("Received"));
    let Some(above) = received.map(|end| &mail.headers[..end]) else { return false };
    signed(mail, above, &author) || brought(mail, above, &author)
}

fn signed(mail: &InboundMail, above: &[(String, String)], author: &str) -> bool {
    let signatures = mail.headers.iter();
    let mut signatures =
        signatures.filter(|(name, _)| name.eq_ignore_ascii_case("DKIM-Signature")).peekable();
    // Which of several was found good is not said.
    passes(above, "X-Mailgun-Dkim-Check-Result")
        && signatures.peek().is_some()
        && signatures
            .all(|(_, value)| signed_by(value).is_some_and(|domain| is_aligned(&domain, author)))
}

fn brought(mail: &InboundMail, above: &[(String, String)], author: &str) -> bool {
    let sender = mail.mail_from.as_deref().and_then(domain_of);
    passes(above, "X-Mailgun-Spf") && sender.is_some_and(|sender| is_aligned(&sender, author))
}

/// Whether there is one verdict of this name, and it is good.
fn passes(above: &[(String, String)], name: &str) -> bool {
    let verdicts = above.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).count();
    let verdict = header_in(above, name).unwrap_or_default();
    verdicts == 1 && verdict.trim().eq_ignore_ascii_case("pass")
}

/// The domain that a signature is of: its tag `d`.
fn signed_by(signature: &str) -> Option<String> {
    let tag = signature.split(';').filter_map(|tag| tag.split_once('='));
    let mut domains = tag.filter(|(name, _)| name.trim() == "d").map(|(_, value)| value);
    let (Some(domain), None) = (domains.next(), domains.next()) else { return None };
    let domain: String = domain.chars().filter(|sign| !sign.is_whitespace()).collect();
    Some(domain.to_lowercase()).filter(|domain| domain.contains('.'))
}

fn domain_of(address: &str) -> Option<String> {
    let (_, domain) = address.rsplit_once('@')?;
    Some(domain.to_lowercase()).filter(|domain| domain.contains('.'))
}

/// Whether two domains belong together: they are the same, or one lies in the other.
fn is_aligned(one: &str, other: &str) -> bool {
    let lies_in = |inner: &str, outer: &str| {
        inner.strip_suffix(outer).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    lies_in(one, other) || lies_in(other, one)
}

#[cfg(test)]
mod tests {
    use super::by_mailgun;
    use crate::inbound::{Envelope, InboundMail};

    fn is_vouched(head: &str, sender: &str) -> bool {
        let raw = format!("{}\nFrom: Ann <ann@agents.example>\n\nYes", head.trim());
        let envelope = Envelope { sender: Some(sender.to_owned()), recipients: Vec::new() };
        let raw = raw.replace('\n', "\r\n");
        by_mailgun(&InboundMail::from_raw(raw.as_bytes(), &envelope).expect("a mail"))
    }

    const OURS: &str = "Received: from mail.agents.example by mxa.mailgun.org";

    #[test]
    fn a_good_signature_of_the_authors_domain_vouches() {
        let good = "X-Mailgun-Dkim-Check-Result: Pass";
        for (domain, vouches) in [
            ("agents.example", true),
            ("mail.agents.example", true),
            ("AGENTS.example", true),
            ("gents.example", false),
            ("evil.example", false),
            ("example", false),
        ] {
            let head =
                format!("{good}\n{OURS}\nDKIM-Signature: v=1; d={domain}; s=x; h=from; b=aa");
            assert_eq!(is_vouched(&head, "x@evil.example"), vouches, "{domain}");
        }
        for bad in ["Fail", "None", "", "Pass, really"] {
            let head = format!(
                "X-Mailgun-Dkim-Check-Result: {bad}\n{OURS}\nDKIM-Signature: d=agents.example"
            );
            assert!(!is_vouched(&head, ""), "{bad}");
        }
        assert!(!is_vouched(&format!("{good}\n{OURS}"), ""), "nobody signed");
        let two = "DKIM-Signature: d=agents.example\nDKIM-Signature: d=evil.example";
        assert!(!is_vouched(&format!("{good}\n{OURS}\n{two}"), ""), "which of the two?");
    }

    #[test]
    fn a_server_of_the_authors_domain_vouches() {
        let head = format!("X-Mailgun-Spf: Pass\n{OURS}");
        assert!(is_vouched(&head, "ann@agents.example"));
        assert!(is_vouched(&head, "bounces@out.agents.example"));
        assert!(!is_vouched(&head, "ann@evil.example"));
        assert!(!is_vouched(&head, ""));
        let forged = format!("Return-Path: <ann@agents.example>\n{head}");
        assert!(!is_vouched(&forged, "ann@evil.example"));
        assert!(!is_vouched(&format!("X-Mailgun-Spf: SoftFail\n{OURS}"), "ann@agents.example"));
    }

    #[test]
    fn what_came_with_the_mail_vouches_for_nobody() {
        for head in [
            format!("{OURS}\nX-Mailgun-Spf: Pass"),
            "X-Mailgun-Spf: Pass".to_owned(),
            format!("X-Mailgun-Spf: Pass\nX-Mailgun-Spf: Pass\n{OURS}"),
            format!("X-Mailgun-Spf: Pass\n{OURS}\nFrom: ann@agents.example"),
        ] {
            assert!(!is_vouched(&head, "ann@agents.example"), "{head}");
        }
    }
}
