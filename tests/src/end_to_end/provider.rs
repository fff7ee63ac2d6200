//! Mailgun as our program sees it: signed posts over real HTTP, repeated until they are taken, some
//! of them twice, some by a client that hangs up.

use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac as _};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use sha2::Sha256;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use url::Url;

use super::installation::SIGNING_KEY;
use super::mail_server::Accepted;
use super::wall_seconds;

/// How long a caller waits before it posts again what was not taken.
const AGAIN: Duration = Duration::from_millis(50);

/// How long a caller waits for an answer: longer than the program waits for its database.
const PATIENCE: Duration = Duration::from_secs(20);

/// Returns the one client of a test process.
pub fn client() -> &'static reqwest::Client {
    static CLIENT: LazyLock<reqwest::Client> = LazyLock::new(|| {
        server::init_tls();
        let builder = reqwest::Client::builder().timeout(PATIENCE).no_proxy();
        builder.redirect(reqwest::redirect::Policy::none()).build().expect("a plain client")
    });
    &CLIENT
}

/// What is posted.
#[derive(Debug, Clone)]
pub struct Post {
    /// Where to.
    pub url: Url,
    /// The type of the body.
    pub content_type: String,
    /// The body.
    pub body: String,
    /// What names it in our tables: its token, or the send of its link.
    pub name: String,
}

/// How a post is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// Until it is taken.
    Once,
    /// Again after it was taken.
    Twice,
    /// First by a client that goes away after so many microseconds.
    HangUp(u64),
}

/// A provider with its webhooks set up.
#[derive(Clone)]
pub struct Provider {
    endpoint: Url,
    random: Arc<Mutex<StdRng>>,
}

impl Provider {
    /// Makes the provider that posts to `endpoint`.
    pub fn new(endpoint: &str, seed: u64) -> Self {
        let endpoint = endpoint.parse().expect("webhook add prints an address");
        Self { endpoint, random: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))) }
    }

    /// An event about a message.
    pub fn event(&self, mail: &Accepted, event: &str, more: &serde_json::Value) -> Post {
        let signature = self.signature();
        let mut data = json!({
            "event": event,
            "id": self.random_text(22),
            "timestamp": wall_seconds(),
            "recipient": mail.to,
            "message": { "headers": { "message-id": mail.message_id.trim_matches(['<', '>']) } },
            "flags": { "is-test-mode": false },
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            data[name] = value.clone();
        }
        let body = json!({
            "signature": {
                "timestamp": signature.timestamp,
                "token": signature.token,
                "signature": signature.mac,
            },
            "event-data": data,
        });
        Post {
            url: self.endpoint.clone(),
            content_type: "application/json".to_owned(),
            body: body.to_string(),
            name: signature.token,
        }
    }

    /// An answer to a message, as an inbound route posts it: as one form or the other.
    pub fn answer(&self, mail: &Accepted, text: &str, headers: &[(&str, &str)]) -> Post {
        self.route(mail, text, &[], headers)
    }

    /// An answer whose author the provider has looked at: `verdict` stands above all headers of the mail.
    pub fn vouched(&self, mail: &Accepted, text: &str, verdict: &[(&str, &str)]) -> Post {
        self.route(mail, text, verdict, &[])
    }

    fn route(
        &self,
        mail: &Accepted,
        text: &str,
        above: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> Post {
        let signature = self.signature();
        let answers = format!("<{}@recipients.example>", self.random_text(20));
        let mut listed = above.to_vec();
        listed.extend([
            ("From", mail.to.as_str()),
            ("To", "one@sender.example"),
            ("Message-Id", &answers),
            ("In-Reply-To", &mail.message_id),
            ("References", &mail.message_id),
        ]);
        let subject = format!("Re: {}", mail.subject);
        listed.push(("Subject", &subject));
        listed.extend(headers);
        let listed = serde_json::to_string(&listed).expect("plain data");
        let fields = [
            ("recipient", "one@sender.example"),
            ("sender", mail.to.as_str()),
            ("from", &mail.to),
            ("subject", &subject),
            ("body-plain", text),
            ("stripped-text", text),
            ("message-headers", &listed),
            ("timestamp", &signature.timestamp),
            ("token", &signature.token),
            ("signature", &signature.mac),
        ];
        let is_multipart = self.random(|random| random.random_bool(0.5));
        let (content_type, body) = if is_multipart { multipart(&fields) } else { form(&fields) };
        Post { url: self.endpoint.clone(), content_type, body, name: signature.token }
    }

    /// The click on the way out that a mail program makes for its reader (RFC 8058).
    pub fn one_click(accepted: &Accepted) -> Post {
        let link = accepted.unsubscribe.as_deref().unwrap_or_default().trim_matches(['<', '>']);
        let url: Url = link.parse().expect("the header holds one link in brackets");
        let (content_type, body) = form(&[("List-Unsubscribe", "One-Click")]);
        Post { url, content_type, body, name: accepted.send.to_string() }
    }

    /// Draws how to make a post.
    pub fn manner(&self) -> Manner {
        self.random(|random| match random.random_range(0..4) {
            0 => Manner::Twice,
            1 => Manner::HangUp(random.random_range(0..640)),
            _ => Manner::Once,
        })
    }

    fn signature(&self) -> Signature {
        let timestamp = format!("{:.0}", wall_seconds());
        let token = self.random_text(50);
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(SIGNING_KEY.as_bytes())
            .expect("HMAC takes keys of any length");
        mac.update(timestamp.as_bytes());
        mac.update(token.as_bytes());
        Signature { timestamp, token, mac: hex::encode(mac.finalize().into_bytes()) }
    }

    fn random_text(&self, length: usize) -> String {
        self.random(|random| (0..length).map(|_| random.random_range('a'..='z')).collect())
    }

    fn random<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.random.lock().expect("no holder panics"))
    }
}

struct Signature {
    timestamp: String,
    token: String,
    mac: String,
}

/// Makes a post until it is taken, and returns when that was, in seconds since 1970.
///
/// # Panics
///
/// When it is refused for good.
pub async fn deliver(post: &Post, manner: Manner) -> f64 {
    if let Manner::HangUp(after) = manner {
        hang_up(post, Duration::from_micros(after)).await;
    }
    let taken_at = post_until_taken(post).await;
    if manner == Manner::Twice {
        post_until_taken(post).await;
    }
    taken_at
}

/// Makes a post once.
///
/// # Errors
///
/// When there is no answer.
pub async fn post(post: &Post) -> reqwest::Result<reqwest::StatusCode> {
    let request = client().post(post.url.clone());
    let request = request.header("Content-Type", &post.content_type).body(post.body.clone());
    Ok(request.send().await?.status())
}

async fn post_until_taken(post: &Post) -> f64 {
    loop {
        match self::post(post).await {
            Ok(status) if status.is_success() => return wall_seconds(),
            Ok(status) if is_final(status) => panic!("{status} refused {post:?}"),
            // Down, ending or beginning: a provider comes back.
            Ok(_) | Err(_) => tokio::time::sleep(AGAIN).await,
        }
    }
}

/// Whether a provider would give up.
fn is_final(status: reqwest::StatusCode) -> bool {
    status.is_client_error() && status != reqwest::StatusCode::REQUEST_TIMEOUT
}

/// Sends the request and goes away without waiting for the answer; whether it was heard is open.
pub async fn hang_up(post: &Post, after: Duration) {
    let address = format!(
        "{}:{}",
        post.url.host_str().unwrap_or_default(),
        post.url.port().unwrap_or_default()
    );
    let Ok(mut stream) = TcpStream::connect(&address).await else { return };
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
        post.url.path(),
        post.content_type,
        post.body.len()
    );
    let _gone = stream.write_all(format!("{head}{}", post.body).as_bytes()).await;
    let begun = tokio::time::Instant::now();
    // Timers are no finer than a millisecond.
    while begun.elapsed() < after {
        tokio::task::yield_now().await;
    }
}

fn form(fields: &[(&str, &str)]) -> (String, String) {
    let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    ("application/x-www-form-urlencoded".to_owned(), body)
}

fn multipart(fields: &[(&str, &str)]) -> (String, String) {
    let boundary = "----boundary-of-the-tests";
    let parts = fields.iter().map(|(name, value)| {
        let head = format!("Content-Disposition: form-data; name=\"{name}\"");
        format!("--{boundary}\r\n{head}\r\n\r\n{value}\r\n")
    });
    let body = parts.chain([format!("--{boundary}--\r\n")]).collect();
    (format!("multipart/form-data; boundary={boundary}"), body)
}
