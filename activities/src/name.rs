//! Names that people give to what they set up, such as senders, agents and keys, and remarks about them.
//! They stand in tables, logs and mails, so they are one line of plain text.

/// The longest name, in characters.
const NAME_MAX: usize = 100;

/// The longest remark, in characters.
const REMARK_MAX: usize = 300;

/// A text that is no such line; it says what is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("use 1 to {max} characters, and no line breaks or other control characters")]
pub struct InvalidLine {
    max: usize,
}

/// Reads a name, without the blanks around it.
///
/// # Errors
///
/// [`InvalidLine`].
pub fn read(text: &str) -> Result<String, InvalidLine> {
    line(text, NAME_MAX)
}

/// Reads what somebody says about a thing, such as why a sender is paused.
///
/// # Errors
///
/// [`InvalidLine`].
pub fn read_remark(text: &str) -> Result<String, InvalidLine> {
    line(text, REMARK_MAX)
}

fn line(text: &str, max: usize) -> Result<String, InvalidLine> {
    let text = text.trim();
    let is_line = (1..=max).contains(&text.chars().count()) && !text.contains(char::is_control);
    if is_line { Ok(text.to_owned()) } else { Err(InvalidLine { max }) }
}
