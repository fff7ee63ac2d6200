//! What else is wrong with a file that is no campaign: where the parser gives up, something that fits is
//! put in the place of what does not, and it is asked again. What was put there is shown to nobody.

use activities::campaigns::check;
use activities::spelling;
use machine::document::{CampaignDocument, Fault};
use serde_json::{Value, json};

/// Faults that are looked for.
const FAULTS_MAX: usize = 50;

/// Beside what was probably meant so many words are listed.
const LISTED_MAX: usize = 8;

/// Begins what the parser says of a field that is not there.
const MISSING: &str = "missing field `";

/// Returns every fault of a text that can be found, the parser's own first one too.
pub(super) fn further(text: &str) -> Vec<Fault> {
    let Ok(mut value) = serde_saphyr::from_str::<Value>(text) else { return Vec::new() };
    let mut faults: Vec<Fault> = Vec::new();
    for _ in 0..FAULTS_MAX {
        let found = match read(&value) {
            Ok(document) => {
                faults.extend(faults_of(&document, &faults));
                break;
            }
            Err(found) => found,
        };
        let mended = mend(&value, &found);
        faults.push(found);
        match mended {
            Some(mended) => value = mended,
            None => break,
        }
    }
    faults
}

/// What is wrong with a document that was mended, but for the places that were.
fn faults_of(document: &CampaignDocument, mended: &[Fault]) -> Vec<Fault> {
    // Others may name a key that was mended.
    if mended.iter().any(|fault| fault.field == "steps" || fault.field.ends_with("key")) {
        return Vec::new();
    }
    let mut faults = check::faults(document);
    faults.retain(|fault| {
        mended
            .iter()
            .all(|it| !fault.field.starts_with(&it.field) && !it.field.starts_with(&fault.field))
    });
    faults
}

fn read(value: &Value) -> Result<CampaignDocument, Fault> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let message = error.into_inner().to_string();
        let named = |words: &str| message.strip_prefix(words)?.split('`').next();
        let is_missing = "is missing".to_owned();
        let (field, message) = match (named(MISSING), path.as_str()) {
            (Some(name), ".") => (name.to_owned(), is_missing),
            (Some(name), path) => (format!("{path}.{name}"), is_missing),
            (None, path) => (path.to_owned(), told(&message)),
        };
        Fault { field, message }
    })
}

/// Returns the value with something in the place of `fault` that the parser takes.
fn mend(value: &Value, fault: &Fault) -> Option<Value> {
    let stand_ins = [
        json!("UTC"),
        json!("stand-in"),
        json!("1 day"),
        json!("2026-01-01"),
        json!("12:00"),
        json!("mon"),
        json!("stop"),
        json!(1),
        json!(true),
        json!([]),
        json!({}),
    ];
    let with = stand_ins.into_iter().map(Some).chain([None]);
    with.filter_map(|stand_in| {
        let mut mended = value.clone();
        put(&mut mended, &fault.field, stand_in)?;
        let still = read(&mended).is_err_and(|next| next.field == fault.field);
        (!still).then_some(mended)
    })
    .next()
}

/// Puts `stand_in` at `path`; `None` takes away what is there.
fn put(value: &mut Value, path: &str, stand_in: Option<Value>) -> Option<()> {
    let (parent, name) = match path.rfind(['.', '[']) {
        Some(at) => (&path[..at], path[at + 1..].trim_end_matches(']')),
        None => ("", path),
    };
    let mut place = value;
    for part in parent.split(['.', '[']).filter(|part| !part.is_empty()) {
        let part = part.trim_end_matches(']');
        place = match place {
            Value::Array(items) => items.get_mut(part.parse::<usize>().ok()?)?,
            Value::Object(fields) => fields.get_mut(part)?,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return None,
        };
    }
    match (place, stand_in) {
        (Value::Object(fields), Some(stand_in)) => drop(fields.insert(name.to_owned(), stand_in)),
        (Value::Object(fields), None) => drop(fields.remove(name)?),
        (Value::Array(items), Some(stand_in)) => {
            *items.get_mut(name.parse::<usize>().ok()?)? = stand_in;
        }
        // Those behind it would get other numbers.
        (Value::Array(_), None) => return None,
        (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_), _) => return None,
    }
    Some(())
}

/// Says in the words of whoever wrote the file what a parser stumbled over.
pub(super) fn told(message: &str) -> String {
    let named = |words: &str| message.strip_prefix(words)?.split('`').next();
    if let Some(name) = named("unknown variant `") {
        return format!("`{name}` is not known here{}", instead(name, message));
    }
    if let Some(name) = named("unknown field `") {
        return format!("`{name}` is nothing that can stand here{}", instead(name, message));
    }
    if let Some(name) = named(MISSING) {
        return format!("`{name}` is missing");
    }
    let wanted = message.strip_prefix("invalid type: ").and_then(|it| it.rsplit_once("expected "));
    match wanted {
        Some((_, "a sequence")) => "a list is needed: begin every entry with `- `".to_owned(),
        Some((_, "a map")) => "fields are needed: write each as `name: value`".to_owned(),
        Some((_, wanted)) if wanted.starts_with("struct ") => {
            "fields are needed: write each as `name: value`".to_owned()
        }
        Some((_, "a string")) => "a text is needed".to_owned(),
        Some((_, "a boolean")) => "write true or false".to_owned(),
        Some((_, "u8" | "u16" | "u32" | "u64" | "i32" | "i64" | "usize")) => {
            "a whole number is needed".to_owned()
        }
        Some(_) | None => message.to_owned(),
    }
}

/// Tells what may be written instead of `name`: what was probably meant, or everything there is.
fn instead(name: &str, message: &str) -> String {
    let expected = message.split_once(", expected ").map(|(_, rest)| rest).unwrap_or_default();
    let known: Vec<&str> = expected.split('`').skip(1).step_by(2).collect();
    if known.is_empty() {
        return String::new();
    }
    let begins_alike = |known: &&&str| known.len() >= 3 && name.starts_with(**known);
    let meant =
        spelling::nearest(name, &known).or_else(|| known.iter().find(begins_alike).copied());
    let quoted: Vec<String> = known.iter().map(|known| format!("`{known}`")).collect();
    let all = quoted.join(", ");
    match meant {
        Some(meant) if known.len() > LISTED_MAX => format!(": did you mean `{meant}`?"),
        Some(meant) => format!(": use one of {all}; did you mean `{meant}`?"),
        None => format!(": use one of {all}"),
    }
}
