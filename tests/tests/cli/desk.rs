//! A person at a terminal: commands in, text and JSON out, one database to itself.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use activities::key_ring::KeyRing;
use activities::store::{Store, workspaces};
use clap::Parser as _;
use machine::ids::WorkspaceId;
use serde_json::Value;
use server::cli::{self, Cli};
use server::config::reader::Environment;
use server::terminal::Terminal;
use sqlx::PgConnection;
use tests::cluster::Database;

pub(crate) struct Desk {
    pub(crate) owner: PgConnection,
    pub(crate) store: Store,
    pub(crate) workspace: WorkspaceId,
    pub(crate) place: tempfile::TempDir,
    variables: Variables,
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) remarks: String,
    pub(crate) end: Result<ExitCode, String>,
}

impl Said {
    pub(crate) fn well(self) -> String {
        assert_eq!(self.end, Ok(ExitCode::SUCCESS), "{}{}", self.out, self.remarks);
        self.out
    }

    pub(crate) fn json(self) -> Value {
        let out = self.well();
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}"))
    }

    pub(crate) fn error(self) -> String {
        self.end.expect_err("the command fails")
    }
}

impl Desk {
    pub(crate) async fn new() -> Self {
        let database = Database::create().await;
        let store = database.store().await;
        let workspace = workspaces::ensure(&store, workspaces::DEFAULT).await.unwrap();
        let place = tempfile::tempdir().unwrap();
        KeyRing::load_or_create(&place.path().join("key")).unwrap();
        let data_dir = place.path().display().to_string();
        let variables = Variables(vec![
            ("DATABASE_URL".to_owned(), database.url.clone()),
            ("MERIDIAN_DATA_DIR".to_owned(), data_dir),
        ]);
        Self { owner: database.owner().await, store, workspace, place, variables }
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.variables.0.push((name.to_owned(), value.to_owned()));
    }

    /// Runs a command, given as it is typed; words in double quotes stay together.
    pub(crate) async fn types(&self, line: &str) -> Said {
        let words = split(line);
        let words = std::iter::once("meridian".to_owned()).chain(words);
        let cli = match Cli::try_parse_from(words) {
            Ok(cli) => cli,
            Err(error) => panic!("{line}: {error}"),
        };
        let (out, remarks) = (Paper::default(), Paper::default());
        let mut terminal = Terminal::into(out.clone(), remarks.clone());
        let end = cli::run_in(cli, &self.variables, &mut terminal).await;
        Said {
            out: out.text(),
            remarks: remarks.text(),
            end: end.map_err(|error| cli::told(&error)),
        }
    }

    /// Writes a file and returns its path.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.place.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    pub(crate) async fn count(&mut self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.owner).await.unwrap()
    }
}

fn split(line: &str) -> Vec<String> {
    let parts = line.split('"').enumerate();
    let words = parts.flat_map(|(index, part)| match index % 2 {
        0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
        _ => vec![part.to_owned()],
    });
    words.collect()
}

#[derive(Clone, Debug)]
struct Variables(Vec<(String, String)>);

impl Environment for Variables {
    fn get(&self, name: &str) -> Option<String> {
        let value = self.0.iter().rev().find(|(known, _)| known == name)?.1.clone();
        Some(value).filter(|value| !value.is_empty())
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| name.clone()).collect()
    }
}

/// Something to write on.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
