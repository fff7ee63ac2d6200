//! The mail server of a world, as a mailbox provider runs one (RFC 5321, RFC 2034): it takes messages,
//! refuses them, keeps its answer back or never gives it, as the scenario says.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard};

use activities::mail::message_id::MessageId;
use machine::ids::SendId;
use machine::signal::Refusal;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::agent;
use super::provider::{Reception, Script, Whose};
use super::sequence::{FALLBACK, OWNER};

/// A mail server; it ends with its world.
pub(super) struct MailServer {
    port: u16,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

struct Shared {
    state: Mutex<State>,
    /// How often it was told to answer the calls it holds.
    answers: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    script: Script,
    taken: Vec<SendId>,
    /// Calls whose answer is kept back.
    held: Vec<SendId>,
    /// Calls whose answer nobody will ever hear.
    lost: Vec<SendId>,
}

impl MailServer {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let port = listener.local_addr().expect("a listener has an address").port();
        let (answers, _) = watch::channel(0);
        let shared = Arc::new(Shared { state: Mutex::default(), answers });
        let serving = tokio::spawn(serve(listener, Arc::clone(&shared)));
        Self { port, shared, serving }
    }

    /// Returns it as the URL of a sender.
    pub(super) fn url(&self) -> String {
        format!("smtp+plain://127.0.0.1:{}", self.port)
    }

    /// Answers as `script` says from now on.
    pub(super) fn script(&self, script: Script) {
        self.shared.state().script = script;
    }

    /// Takes the messages it holds, and says so.
    pub(super) fn answer(&self) {
        let mut state = self.shared.state();
        let held = std::mem::take(&mut state.held);
        state.taken.extend(held);
        drop(state);
        self.shared.answers.send_modify(|times| *times += 1);
    }

    /// Returns what it took behind the first `known`, in order.
    pub(super) fn taken_after(&self, known: usize) -> Vec<SendId> {
        self.shared.state().taken[known..].to_vec()
    }

    /// Returns the calls that it will never answer.
    pub(super) fn lost(&self) -> Vec<SendId> {
        self.shared.state().lost.clone()
    }

    /// Gives up a call that it will never answer. Returns whether it was one.
    pub(super) fn give_up(&self, send: SendId) -> bool {
        let mut state = self.shared.state();
        let before = state.lost.len();
        state.lost.retain(|lost| *lost != send);
        state.lost.len() < before
    }

    /// Returns the calls that are open on its side, and stay so until it is told something.
    pub(super) fn open(&self) -> Vec<SendId> {
        let state = self.shared.state();
        [&state.held[..], &state.lost].concat()
    }

    /// Hangs up on everybody.
    pub(super) fn close(&self) {
        self.serving.abort();
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // Dropped with this task, and every connection with it.
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.expect("a listener accepts");
        connections.spawn(talk(stream, Arc::clone(&shared)));
        while connections.try_join_next().is_some() {}
    }
}

/// One connection, until either side ends it.
async fn talk(stream: TcpStream, shared: Arc<Shared>) -> std::io::Result<()> {
    let (reads, mut writes) = stream.into_split();
    let mut lines = BufReader::new(reads).lines();
    writes.write_all(b"220 mx.leads.example ESMTP\r\n").await?;
    let mut whose = Whose::Lead;
    while let Some(line) = lines.next_line().await? {
        let verb = line.get(..4).unwrap_or_default().to_ascii_uppercase();
        let reply = match verb.as_str() {
            "EHLO" => {
                "250-mx.leads.example\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES"
            }
            "RCPT" => {
                whose = whose_is(&line);
                "250 2.1.5 ok"
            }
            "DATA" => {
                writes.write_all(b"354 go on\r\n").await?;
                let mut send = None;
                while let Some(line) = lines.next_line().await? {
                    if line == "." {
                        break;
                    }
                    send = send.or_else(|| send_of(&line));
                }
                let send = send.expect("every mail of ours is named after its send");
                &shared.answer_to(send, whose).await
            }
            "QUIT" => {
                writes.write_all(b"221 2.0.0 bye\r\n").await?;
                return Ok(());
            }
            _ => "250 2.0.0 ok",
        };
        // In one piece: of two small ones the second waits for the other side's word on the first.
        writes.write_all(format!("{reply}\r\n").as_bytes()).await?;
    }
    Ok(())
}

impl Shared {
    /// Returns the answer to a message, when it is to be given.
    async fn answer_to(&self, send: SendId, whose: Whose) -> String {
        let taken = "250 2.0.0 taken".to_owned();
        let mut answers = self.answers.subscribe();
        let verdict = {
            let mut state = self.state();
            let verdict = state.script.judge(whose);
            match verdict {
                Reception::Take => state.taken.push(send),
                Reception::Refuse(_) => {}
                Reception::Hold => state.held.push(send),
                Reception::LoseAnswer => {
                    state.taken.push(send);
                    state.lost.push(send);
                }
            }
            verdict
        };
        match verdict {
            Reception::Take => taken,
            Reception::Refuse(class) => refusal(class).to_owned(),
            Reception::Hold => {
                // Whoever waits for an answer goes with the server.
                let _ = answers.changed().await;
                taken
            }
            Reception::LoseAnswer => std::future::pending().await,
        }
    }
}

fn refusal(class: Refusal) -> &'static str {
    match class {
        Refusal::Retry => "451 4.3.0 later",
        Refusal::Recipient => "550 5.1.1 nobody of that name",
        Refusal::Content => "554 5.6.0 not such a text",
        Refusal::Account => "550 5.7.8 not from you",
        Refusal::Suppressed => panic!("no provider knows our suppressions"),
    }
}

fn whose_is(rcpt: &str) -> Whose {
    let is_of = |address: &str| rcpt.contains(&format!("<{address}>"));
    let is_ours = is_of(OWNER) || is_of(FALLBACK) || rcpt.contains(agent::DOMAIN);
    if is_ours { Whose::Team } else { Whose::Lead }
}

fn send_of(line: &str) -> Option<SendId> {
    let (name, value) = line.split_once(':')?;
    let id: MessageId =
        name.eq_ignore_ascii_case("message-id").then(|| value.trim().parse().ok())??;
    id.send_id()
}
