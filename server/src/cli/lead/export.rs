//! Leads that go out to a file.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use activities::leads::export;
use activities::leads::search::Query;
use anyhow::{Context as _, bail};
use tokio::sync::mpsc;

use crate::cli::{ACTOR, Bench};

/// What an export may write over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    Nothing,
    Whatever,
}

/// Opens the file that an export goes to.
fn create(path: &Path, over: Over) -> anyhow::Result<File> {
    let opened = match over {
        Over::Nothing => File::create_new(path),
        Over::Whatever => File::create(path),
    };
    match opened {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            bail!("{} is there already: `--force` writes over it", path.display())
        }
        opened => opened.with_context(|| format!("cannot write {}", path.display())),
    }
}

pub(super) async fn run(
    query: Query,
    to: Option<(&Path, Over)>,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let session = bench.session;
    let (sender, mut chunks) = mpsc::channel(1);
    let mut file = to.map(|(path, over)| create(path, over)).transpose()?;
    let (store, workspace) = (&session.store, session.workspace);
    let made = async {
        let done = export::export(store, workspace, &query, &ACTOR, &sender).await;
        drop(sender);
        done
    };
    let written = async {
        while let Some(chunk) = chunks.recv().await {
            match &mut file {
                Some(file) => file.write_all(&chunk)?,
                None => bench.terminal.write(&chunk)?,
            }
        }
        io::Result::Ok(())
    };
    let (made, written) = tokio::join!(made, written);
    written.context("cannot write the leads")?;
    let leads = match made? {
        1 => "1 lead".to_owned(),
        n => format!("{n} leads"),
    };
    match to {
        Some((path, _)) => bench.terminal.print(&format!("{leads} in {}\n", path.display()))?,
        None => bench.terminal.remark(format_args!("{leads}"))?,
    }
    Ok(())
}
