//! A mail server that follows a script: it can say anything, or cut the line, at every stage.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Where the dialogue stands when the script speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Point {
    Greeting,
    Ehlo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// Some of the message has arrived, and not its end.
    Body,
    /// The final dot has arrived.
    Message,
    Quit,
}

/// What the server does at a point.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    /// Sends these bytes and goes on.
    Say(Vec<u8>),
    /// Sends these bytes and closes the connection.
    SayAndCut(Vec<u8>),
    /// Closes the connection.
    Cut,
    /// Says nothing more, and keeps the connection open.
    Hang,
}

pub(crate) fn say(text: &str) -> Act {
    Act::Say(format!("{text}\r\n").into_bytes())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tls {
    Absent,
    /// After STARTTLS.
    Upgraded,
    /// From the first byte.
    Implicit,
}

/// What the server saw.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// Command lines, each with whether it came encrypted.
    pub(crate) commands: Vec<(bool, String)>,
    /// Messages that arrived whole.
    pub(crate) messages: Vec<Vec<u8>>,
    /// Messages the server has taken with a 2xx.
    pub(crate) accepted: usize,
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Server {
    pub(crate) async fn start(tls: Tls, script: impl IntoIterator<Item = (Point, Act)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let script: Arc<HashMap<_, _>> = Arc::new(script.into_iter().collect());
        let server = Self { address, seen: seen.clone() };
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let dialogue = Dialogue { script: script.clone(), seen: seen.clone(), tls };
                tokio::spawn(async move {
                    // A broken line is what is being tested.
                    let _end = if tls == Tls::Implicit {
                        match acceptor().accept(socket).await {
                            Ok(socket) => dialogue.run(Box::new(socket), true).await,
                            Err(error) => Err(error),
                        }
                    } else {
                        dialogue.run(Box::new(socket), false).await
                    };
                });
            }
        });
        server
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

fn acceptor() -> TlsAcceptor {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
    let certificate = CertificateDer::from_pem_file(format!("{data}/server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{data}/server.key")).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

struct Dialogue {
    script: Arc<HashMap<Point, Act>>,
    seen: Arc<Mutex<Seen>>,
    tls: Tls,
}

/// Whether the dialogue goes on.
type Next = std::io::Result<bool>;

impl Dialogue {
    async fn run(&self, socket: Box<dyn Socket>, mut encrypted: bool) -> std::io::Result<()> {
        let mut line = BufReader::new(socket);
        if !self.act(&mut line, Point::Greeting, b"220 double ready\r\n").await? {
            return Ok(());
        }
        loop {
            let mut command = String::new();
            if line.read_line(&mut command).await? == 0 {
                return Ok(());
            }
            let command = command.trim_end().to_owned();
            self.seen.lock().unwrap().commands.push((encrypted, command.clone()));
            let word = command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let goes_on = match word.as_str() {
                "EHLO" => {
                    let starttls = if self.tls == Tls::Upgraded && !encrypted {
                        "250-STARTTLS\r\n"
                    } else {
                        ""
                    };
                    let usual = format!(
                        "250-double\r\n{starttls}250-AUTH PLAIN LOGIN\r\n250-SIZE 10000000\r\n250 8BITMIME\r\n"
                    );
                    self.act(&mut line, Point::Ehlo, usual.as_bytes()).await?
                }
                "STARTTLS" => {
                    if !self.act(&mut line, Point::StartTls, b"220 go ahead\r\n").await? {
                        return Ok(());
                    }
                    line = BufReader::new(Box::new(acceptor().accept(line.into_inner()).await?));
                    encrypted = true;
                    true
                }
                "AUTH" => self.act(&mut line, Point::Auth, b"235 2.7.0 welcome\r\n").await?,
                "MAIL" => self.act(&mut line, Point::Mail, b"250 2.1.0 ok\r\n").await?,
                "RCPT" => self.act(&mut line, Point::Rcpt, b"250 2.1.5 ok\r\n").await?,
                "DATA" => {
                    let goes_on = self.act(&mut line, Point::Data, b"354 go ahead\r\n").await?;
                    let refused = self.script.get(&Point::Data).is_some();
                    goes_on && (refused || self.message(&mut line).await?)
                }
                "QUIT" => {
                    self.act(&mut line, Point::Quit, b"221 bye\r\n").await?;
                    false
                }
                _ => {
                    line.write_all(b"500 5.5.2 what?\r\n").await?;
                    true
                }
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    async fn message(&self, line: &mut BufReader<Box<dyn Socket>>) -> Next {
        let mut message = Vec::new();
        if self.script.contains_key(&Point::Body) {
            let mut some = [0; 1000];
            line.read_exact(&mut some).await?;
            return self.act(line, Point::Body, b"").await;
        }
        loop {
            let mut text = Vec::new();
            if line.read_until(b'\n', &mut text).await? == 0 {
                return Ok(false);
            }
            if text == b".\r\n" {
                break;
            }
            // Dot stuffing undone.
            message.extend(text.strip_prefix(b".").unwrap_or(&text));
        }
        self.seen.lock().unwrap().messages.push(message);
        let accepts = match self.script.get(&Point::Message) {
            None => true,
            Some(Act::Say(said) | Act::SayAndCut(said)) => said.starts_with(b"2"),
            Some(Act::Cut | Act::Hang) => false,
        };
        if accepts {
            self.seen.lock().unwrap().accepted += 1;
        }
        self.act(line, Point::Message, b"250 2.0.0 Ok: queued as 4F2A1\r\n").await
    }

    async fn act(&self, line: &mut BufReader<Box<dyn Socket>>, point: Point, usual: &[u8]) -> Next {
        match self.script.get(&point) {
            None => {
                line.write_all(usual).await?;
                line.flush().await?;
                Ok(true)
            }
            Some(Act::Say(said)) => {
                line.write_all(said).await?;
                line.flush().await?;
                Ok(true)
            }
            Some(Act::SayAndCut(said)) => {
                line.write_all(said).await?;
                line.flush().await?;
                line.shutdown().await?;
                Ok(false)
            }
            Some(Act::Cut) => Ok(false),
            Some(Act::Hang) => std::future::pending().await,
        }
    }
}
