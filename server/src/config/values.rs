//! What settings may say: each text is parsed here, and a fault names what to write instead.

use std::net::SocketAddr;
use std::path::PathBuf;

use activities::engine::{Engine, UnknownEngine};
use activities::mail::reach::Reach;
use temporal_runner::{InvalidPerSecond, PerSecond};
use url::Url;

use super::LogFormat;
use crate::serve::proxies::Proxies;

pub(super) fn directory(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.exists() && !path.is_dir() {
        return Err(format!("{text} is not a directory: name one, it is made if it is not there"));
    }
    std::path::absolute(&path).map_err(|error| format!("{text} is no path ({error})"))
}

pub(super) fn database_url(text: &str) -> Result<String, String> {
    let fix = "write it like postgres://user@host:5432/database";
    let url = Url::parse(text).map_err(|_| format!("is no address of a database: {fix}"))?;
    match url.scheme() {
        "postgres" | "postgresql" => Ok(text.to_owned()),
        // The rest may hold a password.
        other => Err(format!("begins with {other}://, and only Postgres will do: {fix}")),
    }
}

/// Reads the name of a workspace.
///
/// # Errors
///
/// What is wrong with it, and what to write instead.
pub fn workspace(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
    if (1..=60).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is no name of a workspace: use up to 60 lower-case letters, digits, - and _"
    ))
}

pub(super) fn engine(text: &str) -> Result<Engine, String> {
    text.parse().map_err(|unknown: UnknownEngine| unknown.to_string())
}

pub(super) fn queues(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=100).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` begins no name of a task queue: use up to 100 letters, digits, - _ and ."
    ))
}

pub(super) fn listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("`{text}` is not an address to listen on: write it like 127.0.0.1:8080")
    })
}

pub(super) fn public_url(text: &str) -> Result<Url, String> {
    beginning(text, "the beginning of a link", "https://mail.example.com")
}

pub(super) fn per_second(text: &str) -> Result<PerSecond, String> {
    text.parse().map_err(|invalid: InvalidPerSecond| invalid.to_string())
}

pub(super) fn temporal_ui(text: &str) -> Result<Url, String> {
    let examples = "http://127.0.0.1:8233 or https://cloud.temporal.io";
    beginning(text, "where Temporal's pages begin", examples)
}

/// Reads a web address that others are appended to.
fn beginning(text: &str, what: &str, examples: &str) -> Result<Url, String> {
    let fix = format!("write it like {examples}");
    let url = Url::parse(text).map_err(|_| format!("`{text}` is not a web address: {fix}"))?;
    let plain = url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    match (url.scheme(), url.host_str()) {
        ("http" | "https", Some(_)) if plain => Ok(url),
        _ => Err(format!("`{text}` is not {what}: {fix}")),
    }
}

pub(super) fn domain(text: &str) -> Result<String, String> {
    match format!("reply@{text}").parse::<activities::address::EmailAddress>() {
        Ok(address) => Ok(address.ascii_domain()),
        Err(_) => Err(format!("`{text}` is not a mail domain: write it like replies.example.com")),
    }
}

pub(super) fn connections(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(number @ 2..=1_000) => Ok(number),
        Ok(_) | Err(_) => Err(format!("`{text}` is not a number of connections: use 2 to 1000")),
    }
}

pub(super) fn log_filter(text: &str) -> Result<String, String> {
    // A word alone that is no level would be taken for a module, and everything else fall silent.
    let is_level = |part: &str| part.parse::<tracing::level_filters::LevelFilter>().is_ok();
    let is_told = text.split(',').all(|part| part.contains('=') || is_level(part.trim()));
    match tracing_subscriber::EnvFilter::try_new(text) {
        Ok(_) if is_told => Ok(text.to_owned()),
        Ok(_) | Err(_) => {
            Err(format!("`{text}` is not a log filter: write it like info or activities=debug"))
        }
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "json" => Ok(LogFormat::Json),
        "text" => Ok(LogFormat::Text),
        other => Err(format!("`{other}` is not a format: write json or text")),
    }
}

pub(super) fn otlp_endpoint(text: &str) -> Result<Url, String> {
    if !cfg!(feature = "otlp") {
        return Err(
            "this build sends no traces: build with `--features otlp`, or leave it out".to_owned()
        );
    }
    let fix = "write it like http://127.0.0.1:4318";
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.host().is_some() => Ok(url),
        // The rest may hold a password.
        Ok(_) | Err(_) => Err(format!("is not the address of a collector: {fix}")),
    }
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Ok(_) | Err(_) => Err(format!("`{text}` is not a share: write it like 0.05")),
    }
}

pub(super) fn reach(text: &str) -> Result<Reach, String> {
    match text {
        "yes" => Ok(Reach::Anywhere),
        "no" => Ok(Reach::Public),
        other => Err(format!("`{other}` is neither yes nor no")),
    }
}

pub(super) fn proxies(text: &str) -> Result<Proxies, String> {
    text.parse().map_err(|fault| {
        format!("{fault}: write addresses and networks like 10.0.0.5, 192.168.0.0/16")
    })
}
