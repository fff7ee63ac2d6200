//! Where settings are said: flags over the environment over a file. Collects every fault, and knows no
//! setting but by its names.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{Config, FILE, Flags, KEY_VARIABLE, OTHER_VARIABLES, RunFlags, SETTINGS};
use activities::spelling;

/// One setting under its three names.
pub(super) struct Setting {
    pub(super) key: &'static str,
    pub(super) flag: Option<&'static str>,
    pub(super) variable: &'static str,
}

/// One thing wrong with the configuration, and the way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it was said: a flag, a variable, a file.
    pub place: String,
    /// What is wrong, and what to write instead.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Every fault of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let many = if self.0.len() == 1 { "fault" } else { "faults" };
        write!(f, "the configuration has {} {many}", self.0.len())?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

impl std::error::Error for Faults {}

/// The process's environment, or a made-up one.
pub trait Environment {
    /// Returns a variable, if it is set and not empty.
    fn get(&self, name: &str) -> Option<String>;
    /// Returns the names of all variables.
    fn names(&self) -> Vec<String>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy)]
pub struct ProcessEnvironment;

impl Environment for ProcessEnvironment {
    fn get(&self, name: &str) -> Option<String> {
        // Text that is no Unicode is told as the fault it will be where it is read.
        let value = std::env::var_os(name)?.to_string_lossy().into_owned();
        Some(value).filter(|value| !value.is_empty())
    }

    fn names(&self) -> Vec<String> {
        std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect()
    }
}

/// Where settings are looked for, and what was wrong with them so far.
pub(super) struct Reader<'a> {
    flags: [(&'static str, Option<&'a String>); 13],
    environment: &'a dyn Environment,
    file: toml::Table,
    file_name: String,
    faults: Vec<Fault>,
    /// Settings that were said somewhere, rightly or wrongly.
    said: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(
        flags: &'a Flags,
        run: &'a RunFlags,
        environment: &'a dyn Environment,
    ) -> Self {
        let mut faults = Vec::new();
        let named =
            flags.config.clone().or_else(|| environment.get("MERIDIAN_CONFIG").map(PathBuf::from));
        let (file, file_name) = load(named.as_deref(), &mut faults);
        for key in file.keys() {
            if SETTINGS.iter().all(|setting| setting.key != key) {
                let known: Vec<&str> = SETTINGS.iter().map(|setting| setting.key).collect();
                let message = match spelling::nearest(key, &known) {
                    Some(meant) => format!("is not a setting: did you mean `{meant}`?"),
                    None => format!("is not a setting: there are {}", known.join(", ")),
                };
                faults.push(Fault { place: format!("{key} in {file_name}"), message });
            }
        }
        Self {
            flags: [
                ("--database-url", flags.database_url.as_ref()),
                ("--data-dir", flags.data_dir.as_ref()),
                ("--workspace", flags.workspace.as_ref()),
                ("--allow-internal-hosts", flags.allow_internal_hosts.as_ref()),
                ("--log", flags.log.as_ref()),
                ("--engine", run.engine.as_ref()),
                ("--listen", run.listen.as_ref()),
                ("--metrics-listen", run.metrics_listen.as_ref()),
                ("--public-url", run.public_url.as_ref()),
                ("--connections", run.connections.as_ref()),
                ("--log-format", run.log_format.as_ref()),
                ("--otlp-endpoint", run.otlp_endpoint.as_ref()),
                ("--otlp-share", run.otlp_share.as_ref()),
            ],
            environment,
            file,
            file_name,
            faults,
            said: Vec::new(),
        }
    }

    /// Returns a setting from the first place that says it, if that reads well.
    pub(super) fn take<T>(
        &mut self,
        setting: &Setting,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let (place, text) = self.find(setting)?;
        self.said.push(setting.key);
        match parse(text.trim()) {
            Ok(value) => Some(value),
            Err(message) => {
                self.faults.push(Fault { place, message });
                None
            }
        }
    }

    fn find(&mut self, setting: &Setting) -> Option<(String, String)> {
        let flag = self.flags.iter().find(|(name, _)| Some(*name) == setting.flag);
        if let Some((name, Some(text))) = flag {
            return Some(((*name).to_owned(), (*text).clone()));
        }
        if let Some(text) = self.environment.get(setting.variable) {
            return Some((setting.variable.to_owned(), text));
        }
        let place = format!("{} in {}", setting.key, self.file_name);
        match self.file.get(setting.key)? {
            toml::Value::String(text) => Some((place, text.clone())),
            toml::Value::Integer(number) => Some((place, number.to_string())),
            toml::Value::Float(number) => Some((place, number.to_string())),
            toml::Value::Boolean(true) => Some((place, "yes".to_owned())),
            toml::Value::Boolean(false) => Some((place, "no".to_owned())),
            toml::Value::Datetime(_) | toml::Value::Array(_) | toml::Value::Table(_) => {
                self.said.push(setting.key);
                let message = "is neither a text nor a number".to_owned();
                self.faults.push(Fault { place, message });
                None
            }
        }
    }

    pub(super) fn require(&mut self, setting: &Setting, fix: &str) {
        if !self.said.contains(&setting.key) {
            let message = format!("is missing: {fix}");
            self.faults.push(Fault { place: setting.variable.to_owned(), message });
        }
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        let known: Vec<&str> = SETTINGS
            .iter()
            .map(|setting| setting.variable)
            .chain(OTHER_VARIABLES)
            .chain([KEY_VARIABLE])
            .collect();
        let mut unknown: Vec<String> = self.environment.names();
        unknown.retain(|name| name.starts_with("MERIDIAN_") && !known.contains(&name.as_str()));
        unknown.sort();
        unknown
            .into_iter()
            .map(|name| match spelling::nearest(&name, &known) {
                Some(meant) => format!("{name} has no effect: did you mean {meant}?"),
                None => format!("{name} has no effect: no setting has this name"),
            })
            .collect()
    }

    pub(super) fn finish(self, config: Config) -> Result<Config, Faults> {
        if self.faults.is_empty() { Ok(config) } else { Err(Faults(self.faults)) }
    }
}

/// Reads the file that was named, or the usual one if it is there.
fn load(named: Option<&Path>, faults: &mut Vec<Fault>) -> (toml::Table, String) {
    let path = named.unwrap_or(Path::new(FILE));
    let name = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return (toml::Table::new(), name);
        }
        Err(error) => {
            let message = format!("cannot be read ({error}): correct the path, or leave it out");
            faults.push(Fault { place: name.clone(), message });
            return (toml::Table::new(), name);
        }
    };
    match text.parse::<toml::Table>() {
        Ok(table) => (table, name),
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(&text, span.start));
            let message = error.message().replace('\n', " ");
            faults.push(Fault { place: format!("{name}:{line}"), message });
            (toml::Table::new(), name)
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}
