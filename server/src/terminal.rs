//! What commands print: tables and sentences for people, JSON for programs. Results go to standard
//! output, progress and remarks to standard error, so that a pipe gets results alone.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use secrecy::SecretString;
use serde::Serialize;

/// For whom results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// The flag of every command that a program may read.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Output {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Output {
    /// Returns for whom to write.
    pub fn format(self) -> Format {
        if self.json { Format::Json } else { Format::Text }
    }
}

/// Where a command's words go.
pub struct Terminal {
    out: Box<dyn Write + Send>,
    remarks: Box<dyn Write + Send>,
    interactive: bool,
}

impl Terminal {
    /// Returns the terminal of this process.
    pub fn of_process() -> Self {
        Self {
            out: Box::new(io::stdout()),
            remarks: Box::new(io::stderr()),
            interactive: io::stderr().is_terminal() && io::stdin().is_terminal(),
        }
    }

    /// Returns one that writes elsewhere and has nobody to ask.
    pub fn into(out: impl Write + Send + 'static, remarks: impl Write + Send + 'static) -> Self {
        Self { out: Box::new(out), remarks: Box::new(remarks), interactive: false }
    }

    /// Prints a result.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn show<T: Serialize + fmt::Display>(
        &mut self,
        format: Format,
        result: &T,
    ) -> io::Result<()> {
        match format {
            Format::Text => writeln!(self.out, "{}", result.to_string().trim_end())?,
            Format::Json => {
                serde_json::to_writer_pretty(&mut self.out, result)?;
                writeln!(self.out)?;
            }
        }
        self.out.flush()
    }

    /// Prints a text as it is.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn print(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", text.trim_end())?;
        self.out.flush()
    }

    /// Writes a part of a result that is made piece by piece.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&mut self, part: &[u8]) -> io::Result<()> {
        self.out.write_all(part)?;
        self.out.flush()
    }

    /// Says something beside the result.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn remark(&mut self, text: impl fmt::Display) -> io::Result<()> {
        writeln!(self.remarks, "{text}")?;
        self.remarks.flush()
    }

    /// Whether a person sits in front of it.
    pub fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Asks for a secret without showing it.
    ///
    /// # Errors
    ///
    /// When the terminal cannot be read.
    pub fn ask_secret(&mut self, question: &str) -> io::Result<SecretString> {
        let terminal = Term::stderr();
        terminal.write_str(question)?;
        Ok(terminal.read_secure_line()?.into())
    }

    /// Asks whether something is meant; everything but a yes is a no.
    ///
    /// # Errors
    ///
    /// When the terminal cannot be read.
    pub fn confirms(&mut self, question: &str) -> io::Result<bool> {
        let terminal = Term::stderr();
        terminal.write_str(question)?;
        let answer = terminal.read_line()?;
        Ok(matches!(answer.trim(), "y" | "Y" | "yes" | "Yes"))
    }

    /// Returns a bar for work with a known end. It is shown to people only.
    pub fn progress(&self, what: &'static str, total: u64) -> ProgressBar {
        if !self.interactive {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(
            "{msg} {wide_bar} {human_pos}/{human_len} {per_sec} {eta} left",
        )
        .expect("the template is well formed");
        let bar = ProgressBar::new(total).with_style(style);
        bar.set_message(what);
        bar
    }
}
