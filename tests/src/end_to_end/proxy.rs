//! A way to the database that loses commits: the wish, so that nothing is done, or the answer, so that
//! nobody hears that it was.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use url::Url;

/// The number by which a client begins a connection of the protocol's third version.
const STARTUP: [u8; 4] = [0, 3, 0, 0];

/// Which commits are lost.
pub enum Losses {
    /// The answers to this share of all.
    Share {
        /// The share.
        share: f64,
        /// Where chance begins.
        seed: u64,
    },
    /// One of those that change anything, counted from 1.
    Nth {
        /// Which.
        n: usize,
        /// How.
        lost: Lost,
        /// What becomes of its connection.
        then: Then,
    },
    /// The first that changes this table.
    First {
        /// The table.
        changing: &'static str,
        /// How.
        lost: Lost,
        /// What becomes of its connection.
        then: Then,
    },
    /// None; they are only counted.
    None,
}

/// How a commit is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// It never arrives, and nothing is committed.
    Wish,
    /// It is done, and nobody hears of it.
    Answer,
}

/// What becomes of a connection that lost a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It is cut.
    Cut,
    /// Nothing passes any more, until the client goes.
    Silence,
    /// What was held back passes after [`Proxy::release`].
    Late,
}

/// A proxy; it ends with the test's runtime.
pub struct Proxy {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    host: String,
    struck: CancellationToken,
    released: CancellationToken,
    state: Mutex<State>,
}

struct State {
    losses: Losses,
    random: StdRng,
    /// What each commit changed that changed anything.
    commits: Vec<String>,
    cuts: usize,
}

impl Proxy {
    /// Starts a proxy before the database at `url`.
    pub async fn start(url: &str, losses: Losses) -> Self {
        let mut url: Url = url.parse().expect("our own URL");
        let host =
            format!("{}:{}", url.host_str().unwrap_or_default(), url.port().unwrap_or_default());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let port = listener.local_addr().expect("a listener has an address").port();
        url.set_port(Some(port)).expect("a Postgres URL has a port");
        let seed = if let Losses::Share { seed, .. } = losses { seed } else { 0 };
        let random = StdRng::seed_from_u64(seed);
        let state = Mutex::new(State { losses, random, commits: Vec::new(), cuts: 0 });
        let shared = Arc::new(Shared {
            host,
            struck: CancellationToken::new(),
            released: CancellationToken::new(),
            state,
        });
        let proxy = Self { url: url.to_string(), shared: Arc::clone(&shared) };
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, Arc::clone(&shared)));
            }
        });
        proxy
    }

    /// Returns the database behind it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns how many commits it has lost.
    pub fn cuts(&self) -> usize {
        self.shared.state().cuts
    }

    /// Returns, for each commit that changed anything, the tables.
    pub fn commits(&self) -> Vec<String> {
        self.shared.state().commits.clone()
    }

    /// Waits until it has lost the one that it was to lose.
    pub async fn struck(&self) {
        self.shared.struck.cancelled().await;
    }

    /// Lets pass what was held back.
    pub fn release(&self) {
        self.shared.released.cancel();
    }

    /// Loses no more.
    pub fn heal(&self) {
        self.shared.state().losses = Losses::None;
    }
}

impl Shared {
    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Whether this commit is lost, and how.
    fn lose(&self, changes: &BTreeSet<String>) -> Option<(Lost, Then)> {
        let mut state = self.state();
        let State { losses, random, commits, cuts } = &mut *state;
        if !changes.is_empty() {
            commits.push(changes.iter().map(String::as_str).collect::<Vec<_>>().join(" "));
        }
        let lost = match losses {
            Losses::Share { share, .. } => {
                random.random_bool(*share).then_some((Lost::Answer, Then::Cut))
            }
            Losses::Nth { n, lost, then } => {
                (!changes.is_empty() && commits.len() == *n).then_some((*lost, *then))
            }
            Losses::First { changing, lost, then } => {
                (*cuts == 0 && changes.contains(*changing)).then_some((*lost, *then))
            }
            Losses::None => None,
        };
        if lost.is_some() {
            *cuts += 1;
        }
        lost
    }
}

async fn carry(client: TcpStream, shared: Arc<Shared>) {
    let Ok(server) = TcpStream::connect(&shared.host).await else { return };
    let doom = Doom::default();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // Whichever ends takes the other along, and both connections with it.
    tokio::select! {
        () = ask(from_client, to_server, &shared, &doom) => {}
        () = answer(from_server, to_client, &shared, &doom) => {}
    }
}

/// What hangs over a connection, once its commit is to go without an answer.
#[derive(Default)]
struct Doom(Mutex<Option<Then>>);

impl Doom {
    fn set(&self, then: Then) {
        *self.0.lock().expect("no holder panics") = Some(then);
    }

    fn get(&self) -> Option<Then> {
        *self.0.lock().expect("no holder panics")
    }
}

async fn ask(mut client: OwnedReadHalf, mut server: OwnedWriteHalf, shared: &Shared, doom: &Doom) {
    let mut talk = Talk::default();
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let Ok(length @ 1..) = client.read(&mut bytes).await else { return };
        talk.unread.extend_from_slice(&bytes[..length]);
        while let Some(message) = talk.next() {
            if let Some(changes) = talk.hear(&message)
                && let Some((lost, then)) = shared.lose(&changes)
            {
                match lost {
                    Lost::Answer => doom.set(then),
                    Lost::Wish => {
                        shared.struck.cancel();
                        match then {
                            Then::Cut => return,
                            Then::Silence => return ignore(&mut client).await,
                            Then::Late => shared.released.cancelled().await,
                        }
                    }
                }
            }
            if server.write_all(&message).await.is_err() {
                return;
            }
        }
    }
}

async fn answer(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    shared: &Shared,
    doom: &Doom,
) {
    let mut bytes = vec![0; 64 * 1024];
    loop {
        let Ok(length @ 1..) = server.read(&mut bytes).await else { return };
        if let Some(then) = doom.get() {
            // The server has committed: this is its answer.
            shared.struck.cancel();
            match then {
                Then::Cut => return,
                Then::Silence => continue,
                Then::Late => shared.released.cancelled().await,
            }
        }
        if client.write_all(&bytes[..length]).await.is_err() {
            return;
        }
    }
}

/// Hears a client out.
async fn ignore(client: &mut OwnedReadHalf) {
    let mut bytes = vec![0; 1024];
    while matches!(client.read(&mut bytes).await, Ok(1..)) {}
}

/// What a client says, message by message.
#[derive(Default)]
struct Talk {
    unread: Vec<u8>,
    is_begun: bool,
    /// What each prepared statement changes.
    statements: HashMap<Vec<u8>, BTreeSet<String>>,
    /// What the open transaction has changed.
    changes: BTreeSet<String>,
}

impl Talk {
    /// Takes the next message, once it is whole.
    fn next(&mut self) -> Option<Vec<u8>> {
        // Before a connection has begun messages have no letter.
        let letter = usize::from(self.is_begun);
        let length = self.unread.get(letter..letter + 4)?.try_into().expect("four bytes");
        let length = letter + usize::try_from(u32::from_be_bytes(length)).expect("a length");
        if self.unread.len() < length {
            return None;
        }
        let message: Vec<u8> = self.unread.drain(..length).collect();
        self.is_begun |= message.get(4..8) == Some(&STARTUP);
        Some(message)
    }

    /// Notes what a message means. Returns what is to be committed, if it is a wish to commit.
    fn hear(&mut self, message: &[u8]) -> Option<BTreeSet<String>> {
        let (letter, body) = (message.first()?, message.get(5..)?);
        let mut texts = body.split(|byte| *byte == 0);
        match letter {
            b'Q' => {
                let query = String::from_utf8_lossy(texts.next()?).into_owned();
                if query == "COMMIT" {
                    return Some(std::mem::take(&mut self.changes));
                }
                if query.starts_with("BEGIN") || query.starts_with("ROLLBACK") {
                    self.changes.clear();
                }
                self.changes.extend(changed(&query));
            }
            b'P' => {
                let (name, query) = (texts.next()?.to_vec(), texts.next()?);
                self.statements.insert(name, changed(&String::from_utf8_lossy(query)));
            }
            b'B' => {
                let (_portal, name) = (texts.next()?, texts.next()?);
                self.changes.extend(self.statements.get(name).into_iter().flatten().cloned());
            }
            _ => {}
        }
        None
    }
}

/// The tables that a statement changes.
fn changed(query: &str) -> BTreeSet<String> {
    let words: Vec<&str> = query.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    let tables = words.windows(3).filter_map(|words| match words {
        ["INSERT", "INTO", table] | ["DELETE", "FROM", table] => Some(*table),
        // Locked with FOR UPDATE or FOR NO KEY UPDATE it is not changed; after DO it is known already.
        ["FOR" | "KEY" | "DO", "UPDATE", _] => None,
        [_, "UPDATE", table] => Some(*table),
        _ => None,
    });
    let first = match words[..] {
        ["UPDATE", table, ..] => Some(table),
        _ => None,
    };
    tables.chain(first).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_statement_changes_is_read_from_its_words() {
        let of = |query| changed(query).into_iter().collect::<Vec<_>>();
        assert_eq!(of("SELECT 1 FROM leads FOR NO KEY UPDATE OF leads"), [""; 0]);
        assert_eq!(of("SELECT 1 FROM leads FOR UPDATE SKIP LOCKED"), [""; 0]);
        assert_eq!(of("UPDATE sends s SET state = 'x'"), ["sends"]);
        assert_eq!(
            of("WITH gone AS (DELETE FROM tasks) INSERT INTO runners VALUES (1) \
                ON CONFLICT (runner_id) DO UPDATE SET beat_at = $2"),
            ["runners", "tasks"]
        );
    }

    #[test]
    fn a_talk_is_read_in_pieces_of_any_size() {
        let mut said = vec![0, 0, 0, 8, 4, 210, 22, 47];
        said.extend([0, 0, 0, 9, 0, 3, 0, 0, 0]);
        for (letter, body) in
            [(b'P', &b"s1\0DELETE FROM tasks\0\0\0"[..]), (b'B', b"\0s1\0\0"), (b'Q', b"COMMIT\0")]
        {
            said.push(letter);
            said.extend(u32::try_from(body.len() + 4).unwrap().to_be_bytes());
            said.extend(body);
        }
        let mut talk = Talk::default();
        let mut heard = Vec::new();
        for byte in said {
            talk.unread.push(byte);
            while let Some(message) = talk.next() {
                heard.extend(talk.hear(&message));
            }
        }
        assert_eq!(heard, [BTreeSet::from(["tasks".to_owned()])]);
        assert!(talk.unread.is_empty());
    }
}
