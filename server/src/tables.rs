//! Tables for people: aligned columns, no lines between rows, and nothing that a terminal of 80
//! columns would break.

use std::fmt;

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Row};

/// One column.
#[derive(Debug, Clone, Copy)]
pub enum Column<'a> {
    /// A text, at the left.
    Text(&'a str),
    /// A number, at the right.
    Number(&'a str),
}

/// A table that is being filled.
pub struct Table {
    inner: comfy_table::Table,
    alignments: Vec<CellAlignment>,
    empty: &'static str,
}

impl Table {
    /// Returns a table with these columns, which says `empty` if it stays without rows.
    pub fn new(columns: &[Column<'_>], empty: &'static str) -> Self {
        let mut inner = comfy_table::Table::new();
        inner.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        let (heads, alignments): (Vec<Cell>, Vec<CellAlignment>) = columns
            .iter()
            .map(|column| match column {
                Column::Text(head) => (head, CellAlignment::Left),
                Column::Number(head) => (head, CellAlignment::Right),
            })
            .map(|(head, alignment)| (Cell::new(head).set_alignment(alignment), alignment))
            .unzip();
        inner.set_header(Row::from(heads));
        Self { inner, alignments, empty }
    }

    /// Adds a row: one text for each column.
    pub fn row<I>(&mut self, cells: I)
    where
        I: IntoIterator,
        I::Item: fmt::Display,
    {
        let cells = cells
            .into_iter()
            .zip(&self.alignments)
            .map(|(cell, alignment)| Cell::new(plain(&cell)).set_alignment(*alignment));
        self.inner.add_row(Row::from(cells.collect::<Vec<_>>()));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.inner.is_empty() {
            return writeln!(f, "{}", self.empty);
        }
        for line in self.inner.lines() {
            // Each line begins with the padding of the first column.
            writeln!(f, "{}", line.strip_prefix(' ').unwrap_or(&line).trim_end())?;
        }
        Ok(())
    }
}

/// What lead files and the world's mails say may hold anything: control characters other than line
/// breaks, which could speak to the terminal, are shown as U+FFFD.
fn plain(value: &impl fmt::Display) -> String {
    let is_control = |c: char| c.is_control() && c != '\n';
    value.to_string().replace(is_control, "\u{fffd}")
}

/// Facts about one thing: names at the left, what they are at the right.
pub struct Facts(Vec<(&'static str, String)>);

impl Facts {
    /// Returns an empty list.
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a fact.
    pub fn add(&mut self, name: &'static str, value: impl fmt::Display) -> &mut Self {
        self.0.push((name, plain(&value)));
        self
    }

    /// Adds a fact if there is one.
    pub fn add_some(&mut self, name: &'static str, value: Option<impl fmt::Display>) -> &mut Self {
        if let Some(value) = value {
            self.add(name, value);
        }
        self
    }
}

impl Default for Facts {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        self.0.iter().try_for_each(|(name, value)| writeln!(f, "{name:width$}  {value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_an_empty_table_says_so() {
        let mut table = Table::new(&[Column::Text("name"), Column::Number("sent")], "no sender");
        assert_eq!(table.to_string(), "no sender\n");
        table.row(["a", "1"]);
        table.row(["longer", "1000"]);
        assert_eq!(table.to_string(), "name    sent\na          1\nlonger  1000\n");
    }

    #[test]
    fn nothing_that_is_shown_speaks_to_the_terminal() {
        let mut table = Table::new(&[Column::Text("name")], "nobody");
        table.row(["\u{1b}[2Jeve\r"]);
        assert_eq!(table.to_string(), "name\n\u{fffd}[2Jeve\u{fffd}\n");
        let mut facts = Facts::new();
        facts.add("name", "\u{9b}31meve");
        assert_eq!(facts.to_string(), "name  \u{fffd}31meve\n");
    }
}
