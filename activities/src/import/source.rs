//! A CSV file as records of text, however it is written: its encoding and delimiter are found by
//! looking at it first. It knows neither columns nor leads.

use std::cell::Cell;
use std::io::{self, Read, Seek, SeekFrom};
use std::rc::Rc;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use csv::StringRecord;
use encoding_rs::{Decoder, Encoding, UTF_8, UTF_16BE, UTF_16LE};

/// Bytes that are read at a time.
const CHUNK: usize = 64 * 1024;

/// The longest record, in bytes of UTF-8. What is longer lacks a closing quotation mark.
const RECORD_MAX: u64 = 1024 * 1024;

/// The most columns a file may have.
pub(super) const COLUMNS_MAX: usize = 1_000;

const DELIMITERS: [u8; 4] = [b',', b';', b'\t', b'|'];

/// Why a file cannot be read, or not to its end.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The system says no.
    #[error("the file cannot be read")]
    Io(#[from] io::Error),
    /// Nothing in it.
    #[error("the file is empty; its first line names the columns, one of them `email` or `phone`")]
    Empty,
    /// A workbook, not text.
    #[error("the file is a spreadsheet; save it as CSV (UTF-8) and import that")]
    Spreadsheet,
    /// Not text at all.
    #[error("the file is not text; save it as CSV (UTF-8) and import that")]
    NotText,
    /// No column for addresses or numbers.
    #[error(
        "no column is named `email` or `phone`, only {headers}; say which one holds the addresses: \
         --map \"{example}\""
    )]
    NoAddresses {
        /// What the columns are named; the first of many.
        headers: String,
        /// One that may hold them, and what.
        example: String,
    },
    /// More columns than anybody means.
    #[error(
        "the file has {columns} columns, and at most {COLUMNS_MAX} are read; save it with those that \
         are needed"
    )]
    TooManyColumns {
        /// How many.
        columns: usize,
    },
    /// A column was mapped that is not there.
    #[error("the file has no column `{header}`, only {headers}")]
    NoSuchColumn {
        /// The one that was mapped.
        header: String,
        /// What the columns are named; the first of many.
        headers: String,
    },
    /// A quotation mark without its partner, which would swallow the rest of the file.
    #[error(
        "the quotation mark that opens on line {line} is never closed; close it and import the file \
         again: what stands before that line is imported"
    )]
    QuoteNotClosed {
        /// Where it opens.
        line: u64,
    },
    /// A record without an end.
    #[error("the record on line {line} is longer than 1 MiB; a closing quotation mark is missing")]
    RecordTooLong {
        /// Where it begins.
        line: u64,
    },
}

/// A file that is read record by record.
pub(super) struct Source<R> {
    reader: csv::Reader<Bounded<Transcoder<R>>>,
    /// Bytes handed out since the last record.
    handed_out: Rc<Cell<u64>>,
    /// The line of a quotation mark that was open when the file ended.
    left_open: Rc<Cell<Option<u64>>>,
    bytes_read: Rc<Cell<u64>>,
    bytes: u64,
    delimiter: char,
}

/// One record.
pub(super) struct Record {
    /// The line it begins on.
    pub(super) line: u64,
    pub(super) cells: StringRecord,
    /// What stands between its cells.
    pub(super) delimiter: char,
}

impl<R: Read + Seek> Source<R> {
    /// Looks at the whole file, then begins to read it.
    pub(super) fn open(mut file: R) -> Result<Self, Unreadable> {
        let form = Form::of(&mut file)?;
        file.seek(SeekFrom::Start(0))?;
        let bytes_read = Rc::new(Cell::new(0));
        let handed_out = Rc::new(Cell::new(0));
        let left_open = Rc::new(Cell::new(None));
        let transcoder = Transcoder {
            file,
            decoder: form.encoding.new_decoder_with_bom_removal(),
            read: vec![0; CHUNK],
            decoded: String::with_capacity(3 * CHUNK),
            given: 0,
            at_end: false,
            last: '\n',
            bytes_read: Rc::clone(&bytes_read),
        };
        let reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .delimiter(form.delimiter)
            .from_reader(Bounded {
                inner: transcoder,
                handed_out: Rc::clone(&handed_out),
                quotes: Quotes::new(form.delimiter),
                left_open: Rc::clone(&left_open),
            });
        let mut source = Self {
            reader,
            handed_out,
            left_open,
            bytes_read,
            bytes: form.bytes,
            delimiter: char::from(form.delimiter),
        };
        if form.first_line == FirstLine::NamesDelimiter {
            source.next_record()?;
        }
        Ok(source)
    }
}

impl<R: Read> Source<R> {
    /// Returns the names of the columns.
    pub(super) fn header(&mut self) -> Result<StringRecord, Unreadable> {
        self.next_record()?.map(|record| record.cells).ok_or(Unreadable::Empty)
    }

    /// Returns the next record that is not an empty line.
    pub(super) fn next_record(&mut self) -> Result<Option<Record>, Unreadable> {
        self.handed_out.set(0);
        let mut cells = StringRecord::new();
        let begin = self.reader.position().line();
        match self.reader.read_record(&mut cells) {
            Ok(true) => {
                let breaks = cells.iter().map(|cell| cell.matches('\n').count()).sum::<usize>();
                let breaks = u64::try_from(breaks).expect("a record is short");
                // Where the reader stands now is behind the record; empty lines came before it.
                let line = self.reader.position().line().saturating_sub(1 + breaks).max(begin);
                match self.left_open.get() {
                    // The reader is ahead of us: only the last record holds the open mark.
                    Some(open) if line <= open && open <= line + breaks => {
                        Err(Unreadable::QuoteNotClosed { line: open })
                    }
                    Some(_) | None => {
                        let delimiter = self.delimiter;
                        Ok(Some(Record { line, cells, delimiter }))
                    }
                }
            }
            Ok(false) => Ok(None),
            Err(_) if self.handed_out.get() > RECORD_MAX => {
                Err(Unreadable::RecordTooLong { line: begin })
            }
            Err(error) => match error.into_kind() {
                csv::ErrorKind::Io(error) => Err(Unreadable::Io(error)),
                // What is decoded is UTF-8, and records may differ in length.
                _ => Err(Unreadable::NotText),
            },
        }
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read.get()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// How a file is written.
struct Form {
    encoding: &'static Encoding,
    delimiter: u8,
    first_line: FirstLine,
    bytes: u64,
}

/// What the first line of a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstLine {
    /// The names of the columns.
    Header,
    /// Spreadsheet programs' `sep=;`.
    NamesDelimiter,
}

impl Form {
    fn of(file: &mut impl Read) -> Result<Self, Unreadable> {
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
        let mut utf8 = UTF_8.new_decoder_without_bom_handling();
        let mut is_utf8 = true;
        let mut sample = Vec::new();
        let mut chunk = vec![0; CHUNK];
        let mut text = String::with_capacity(3 * CHUNK + 16);
        let mut bytes = 0_u64;
        loop {
            let length = fill(file, &mut chunk)?;
            let (part, at_end) = (&chunk[..length], length < chunk.len());
            if bytes == 0 {
                sample.extend_from_slice(part);
            }
            bytes += u64::try_from(length).expect("a chunk is short");
            detector.feed(part, at_end);
            if is_utf8 {
                text.clear();
                let (_, _, is_malformed) = utf8.decode_to_string(part, &mut text, at_end);
                is_utf8 = !is_malformed;
            }
            if at_end {
                break;
            }
        }
        let encoding = match Encoding::for_bom(&sample) {
            Some((encoding, _)) => encoding,
            None if sample.starts_with(b"PK\x03\x04") => return Err(Unreadable::Spreadsheet),
            None if sample.starts_with(b"\xd0\xcf\x11\xe0") => return Err(Unreadable::Spreadsheet),
            None => match wide_without_mark(&sample) {
                Some(encoding) => encoding,
                None if sample.contains(&0) => return Err(Unreadable::NotText),
                None if is_utf8 => UTF_8,
                None => detector.guess(None, Utf8Detection::Deny),
            },
        };
        let (text, _) = encoding.decode_with_bom_removal(&sample);
        let first = text.lines().find(|line| !line.trim().is_empty()).ok_or(Unreadable::Empty)?;
        let (delimiter, first_line) = delimiter(first);
        Ok(Self { encoding, delimiter, first_line, bytes })
    }
}

/// UTF-16 without a byte-order mark: of plain letters every other byte is zero.
fn wide_without_mark(sample: &[u8]) -> Option<&'static Encoding> {
    let (pairs, _) = sample[..sample.len().min(512)].as_chunks::<2>();
    let is_most = |test: fn(&[u8; 2]) -> bool| {
        pairs.iter().filter(|pair| test(pair)).count() * 10 > pairs.len() * 8
    };
    if is_most(|pair| pair[0] == 0 && pair[1] != 0) {
        Some(UTF_16BE)
    } else if is_most(|pair| pair[0] != 0 && pair[1] == 0) {
        Some(UTF_16LE)
    } else {
        None
    }
}

/// Returns the delimiter that the first line names, or that parts it best.
fn delimiter(line: &str) -> (u8, FirstLine) {
    let named = line.trim_end_matches(['\r', '\n']).strip_prefix("sep=").map(str::as_bytes);
    if let Some([delimiter]) = named
        && DELIMITERS.contains(delimiter)
    {
        return (*delimiter, FirstLine::NamesDelimiter);
    }
    let count = |delimiter: u8| {
        let mut is_quoted = false;
        let parts = line.bytes().filter(|byte| {
            is_quoted ^= *byte == b'"';
            !is_quoted && *byte == delimiter
        });
        parts.count()
    };
    // Of those that occur equally often the first one: most files have commas.
    let best = DELIMITERS.into_iter().rev().max_by_key(|delimiter| count(*delimiter));
    (best.expect("there are candidates"), FirstLine::Header)
}

/// Reads until the chunk is full or the file ends.
fn fill(file: &mut impl Read, chunk: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < chunk.len() {
        match file.read(&mut chunk[length..]) {
            Ok(0) => break,
            Ok(more) => length += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

/// Reads any encoding as UTF-8, and any end of a line as a line feed, the last one too: lines are
/// counted by them.
struct Transcoder<R> {
    file: R,
    decoder: Decoder,
    read: Vec<u8>,
    decoded: String,
    /// Bytes of `decoded` that were handed out.
    given: usize,
    at_end: bool,
    /// The last letter before `decoded`.
    last: char,
    bytes_read: Rc<Cell<u64>>,
}

impl<R> Transcoder<R> {
    fn end_lines(&mut self) {
        let before = self.last;
        self.last = self.decoded.chars().next_back().unwrap_or(before);
        if before == '\r' || self.decoded.contains('\r') {
            if before == '\r' && self.decoded.starts_with('\n') {
                self.decoded.remove(0);
            }
            self.decoded = self.decoded.replace("\r\n", "\n").replace('\r', "\n");
        }
        if self.at_end && !matches!(self.last, '\r' | '\n') {
            self.decoded.push('\n');
        }
    }
}

impl<R: Read> Read for Transcoder<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.given == self.decoded.len() {
            if self.at_end {
                return Ok(0);
            }
            let length = fill(&mut self.file, &mut self.read)?;
            self.at_end = length < self.read.len();
            let length_read = u64::try_from(length).expect("a chunk is short");
            self.bytes_read.set(self.bytes_read.get() + length_read);
            self.decoded.clear();
            self.given = 0;
            // Room for the longest form of a chunk, so that nothing is left undecoded.
            let room = self.decoder.max_utf8_buffer_length(length);
            self.decoded.reserve(room.expect("a chunk is short"));
            let part = &self.read[..length];
            let _ = self.decoder.decode_to_string(part, &mut self.decoded, self.at_end);
            self.end_lines();
        }
        let rest = &self.decoded.as_bytes()[self.given..];
        let length = rest.len().min(out.len());
        out[..length].copy_from_slice(&rest[..length]);
        self.given += length;
        Ok(length)
    }
}

/// Where text stands in a CSV file, by the rules of RFC 4180 section 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    FieldStart,
    Plain,
    Quoted,
    /// Behind a mark that closes the field, or is the first of a pair.
    Mark,
}

/// Follows the quotation marks through a file, for the CSV reader takes an open one for a closed one.
struct Quotes {
    delimiter: u8,
    place: Place,
    line: u64,
    /// The line on which the last quoted field began.
    opened: u64,
}

impl Quotes {
    fn new(delimiter: u8) -> Self {
        Self { delimiter, place: Place::FieldStart, line: 1, opened: 1 }
    }

    fn follow(&mut self, text: &[u8]) {
        for &byte in text {
            self.place = match (self.place, byte) {
                (Place::FieldStart, b'"') => {
                    self.opened = self.line;
                    Place::Quoted
                }
                (Place::Quoted, b'"') => Place::Mark,
                (Place::Quoted, _) | (Place::Mark, b'"') => Place::Quoted,
                (Place::FieldStart | Place::Plain | Place::Mark, byte)
                    if byte == self.delimiter || byte == b'\n' =>
                {
                    Place::FieldStart
                }
                (Place::FieldStart | Place::Plain | Place::Mark, _) => Place::Plain,
            };
            self.line += u64::from(byte == b'\n');
        }
    }

    fn left_open(&self) -> Option<u64> {
        (self.place == Place::Quoted).then_some(self.opened)
    }
}

/// Refuses to hand out more than one record may have, and notes a quotation mark that is open at the
/// end.
struct Bounded<R> {
    inner: R,
    handed_out: Rc<Cell<u64>>,
    quotes: Quotes,
    left_open: Rc<Cell<Option<u64>>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.handed_out.get() > RECORD_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let length = self.inner.read(out)?;
        match length {
            0 => self.left_open.set(self.quotes.left_open()),
            length => self.quotes.follow(&out[..length]),
        }
        let handed_out = u64::try_from(length).expect("a buffer is short");
        self.handed_out.set(self.handed_out.get() + handed_out);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::{Source, Unreadable};

    fn read(bytes: &[u8]) -> Result<Vec<(u64, Vec<String>)>, Unreadable> {
        let mut source = Source::open(Cursor::new(bytes.to_vec()))?;
        let mut records = Vec::new();
        while let Some(record) = source.next_record()? {
            records.push((record.line, record.cells.iter().map(str::to_owned).collect()));
        }
        Ok(records)
    }

    fn wide(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn encodings_and_delimiters_are_found() {
        let latin: Vec<u8> = "email;Ort\nada@example.com;München, Grünwald\n"
            .chars()
            .map(|c| u8::try_from(u32::from(c)).unwrap())
            .collect();
        let text = "email\tOrt\nada@example.com\tMünchen, Grünwald\n";
        let expected = [
            (1, vec!["email".to_owned(), "Ort".to_owned()]),
            (2, vec!["ada@example.com".to_owned(), "München, Grünwald".to_owned()]),
        ];
        for bytes in [
            latin,
            text.as_bytes().to_vec(),
            [b"\xef\xbb\xbf", text.as_bytes()].concat(),
            [b"\xff\xfe".to_vec(), wide(text, u16::to_le_bytes)].concat(),
            [b"\xfe\xff".to_vec(), wide(text, u16::to_be_bytes)].concat(),
            wide(text, u16::to_le_bytes),
            "email|Ort\r\nada@example.com|\"München, Grünwald\"".into(),
        ] {
            assert_eq!(read(&bytes).unwrap(), expected);
        }
    }

    #[test]
    fn a_letter_of_another_encoding_far_behind_the_start_is_read_right() {
        let mut bytes = b"email,town\n".to_vec();
        for number in 0..20_000 {
            bytes.extend(format!("a{number}@example.com,Town\n").into_bytes());
        }
        bytes.extend(b"ada@example.com,M\xfcnchen\n");
        assert_eq!(read(&bytes).unwrap().last().unwrap().1[1], "München");
    }

    #[test]
    fn a_quoted_delimiter_in_the_header_counts_for_nothing() {
        let records = read(b"\"a;b;c;d\",email\nx,y\n").unwrap();
        assert_eq!(records[1].1, ["x", "y"]);
    }

    #[test]
    fn a_line_that_names_the_delimiter_is_passed_by() {
        let records = read(b"sep=;\nemail;a,b\nx;y\n").unwrap();
        let lines: Vec<_> = records.iter().map(|(line, cells)| (*line, cells.len())).collect();
        assert_eq!(lines, [(2, 2), (3, 2)]);
    }

    #[test]
    fn lines_are_counted_through_quoted_breaks_and_empty_lines() {
        for text in [
            "email,a\n\nx,\"one\ntwo\"\n\n\ny,z\n",
            "email,a\r\n\r\nx,\"one\r\ntwo\"\r\n\r\n\r\ny,z",
        ] {
            let records = read(text.as_bytes()).unwrap();
            let lines: Vec<_> = records.iter().map(|(line, _)| *line).collect();
            assert_eq!(lines, [1, 3, 7], "{text:?}");
        }
    }

    #[test]
    fn a_line_end_that_falls_between_two_readings_is_one() {
        for padding in super::CHUNK - 20..super::CHUNK {
            let text = format!("email,a\r\nx,{}\r\ny,z\r\n", "p".repeat(padding));
            let records = read(text.as_bytes()).unwrap();
            let lines: Vec<_> = records.iter().map(|(line, _)| *line).collect();
            assert_eq!(lines, [1, 2, 3], "{padding}");
        }
    }

    #[test]
    fn a_quotation_mark_that_is_never_closed_ends_the_reading() {
        let mut bytes = b"email,a\nx,\"".to_vec();
        bytes.extend(std::iter::repeat_n(*b"line\n", 500_000).flatten());
        assert!(matches!(read(&bytes), Err(Unreadable::RecordTooLong { line: 2 })));
    }

    #[test]
    fn a_quotation_mark_that_is_open_at_the_end_is_named_and_the_records_before_it_are_read() {
        for (text, open) in [
            ("email,a\nx,y\nz,\"one\ntwo,\nthree\n", 3),
            ("email,a\nx,y\n\"z,one\n", 3),
            ("email,a\nx,y\nz,\"one \"\"two\"\"", 3),
        ] {
            let mut source = Source::open(Cursor::new(text.as_bytes().to_vec())).unwrap();
            assert_eq!(source.header().unwrap().len(), 2);
            assert_eq!(source.next_record().unwrap().unwrap().cells, vec!["x", "y"]);
            let error = source.next_record().err();
            assert!(
                matches!(error, Some(Unreadable::QuoteNotClosed { line }) if line == open),
                "{text:?}: {error:?}"
            );
        }
        for text in [
            "email,a\nx,\"one \"\"two\"\"\"\n",
            "email,a\nx,5\" pipe\n",
            "email,a\nx,\"one\n\"\n",
            "email,a\nx,\"\"",
        ] {
            assert_eq!(read(text.as_bytes()).unwrap().len(), 2, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_text_is_named() {
        assert!(matches!(read(b""), Err(Unreadable::Empty)));
        assert!(matches!(read(b" \n\n"), Err(Unreadable::Empty)));
        assert!(matches!(read(b"PK\x03\x04\x14\0"), Err(Unreadable::Spreadsheet)));
        assert!(matches!(read(b"\x7fELF\x02\x01\x01\0\0\0"), Err(Unreadable::NotText)));
    }
}
