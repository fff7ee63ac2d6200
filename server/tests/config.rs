//! What is wrong with a configuration is told at once, with the fix.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use activities::mail::reach::Reach;
use clap::CommandFactory as _;
use server::cli::Cli;
use server::config::reader::{Environment, Faults};
use server::config::{self, Database, Flags, KeySource, LogFormat, Needs, RunFlags};
use server::serve::proxies::Proxies;
use temporal_runner::PerSecond;

struct Variables(Vec<(&'static str, &'static str)>);

impl Environment for Variables {
    fn get(&self, name: &str) -> Option<String> {
        self.0.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| (*name).to_owned()).collect()
    }
}

fn file(text: &str) -> (tempfile::TempDir, Flags) {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("meridian.toml");
    std::fs::write(&path, text).unwrap();
    (place, Flags { config: Some(path), ..Flags::default() })
}

/// Takes the path out, which is another one in every run.
fn told(faults: &Faults, place: &tempfile::TempDir) -> String {
    faults.to_string().replace(&place.path().display().to_string(), "")
}

#[test]
fn without_a_word_there_is_a_private_database_and_this_machine_alone() {
    let environment = Variables(vec![("MERIDIAN_DATA_DIR", "/srv/meridian")]);
    let (_place, flags) = file("");
    let config = config::read(&flags, &RunFlags::default(), &environment, Needs::Nothing).unwrap();
    assert_eq!(config.database, Database::Private);
    assert_eq!(config.workspace, "default");
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.link_base(), "http://127.0.0.1:8080");
    assert!(matches!(config.keys, KeySource::File(path) if path.ends_with("meridian/key")));
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn traces_are_configured_by_builds_that_send_them() {
    let environment = Variables(vec![("MERIDIAN_OTLP_ENDPOINT", "http://127.0.0.1:4318")]);
    let (_place, flags) = file("otlp_share = \"0.25\"\n");
    let read = config::read(&flags, &RunFlags::default(), &environment, Needs::Nothing);
    if cfg!(feature = "otlp") {
        let traces = read.unwrap().traces.unwrap();
        assert_eq!((traces.endpoint.as_str(), traces.share), ("http://127.0.0.1:4318/", 0.25));
    } else {
        let faults = read.unwrap_err().to_string();
        assert!(faults.contains("this build sends no traces"), "{faults}");
    }
}

#[test]
fn how_fast_temporal_hands_out_is_a_number_above_nothing() {
    let environment = Variables(vec![("MERIDIAN_TEMPORAL_EMAIL_PER_SECOND", "20")]);
    let (_place, flags) = file("temporal_sms_per_second = 0.5\n");
    let config = config::read(&flags, &RunFlags::default(), &environment, Needs::Nothing).unwrap();
    assert_eq!(config.temporal_email_per_second.map(PerSecond::get), Some(20.0));
    assert_eq!(config.temporal_sms_per_second.map(PerSecond::get), Some(0.5));
    for wrong in ["0", "-1", "inf", "NaN", "fast"] {
        let environment = Variables(vec![("MERIDIAN_TEMPORAL_SMS_PER_SECOND", wrong)]);
        let read = config::read(&flags, &RunFlags::default(), &environment, Needs::Nothing);
        let told = read.unwrap_err().to_string();
        let fault = "MERIDIAN_TEMPORAL_SMS_PER_SECOND: `";
        assert!(told.contains(fault) && told.contains("is not a number above 0"), "{told}");
    }
}

#[test]
fn flags_go_over_the_environment_and_that_over_the_file() {
    let (_place, flags) = file(
        "workspace = \"of-file\"\nlisten = \"127.0.0.1:1\"\nconnections = 7\nlog_format = \"json\"\n",
    );
    let environment = Variables(vec![
        ("MERIDIAN_WORKSPACE", "of-environment"),
        ("MERIDIAN_LISTEN", "127.0.0.1:2"),
    ]);
    let run = RunFlags { listen: Some("127.0.0.1:3".to_owned()), ..RunFlags::default() };
    let config = config::read(&flags, &run, &environment, Needs::Nothing).unwrap();
    assert_eq!(config.workspace, "of-environment");
    assert_eq!(config.listen.port(), 3);
    assert_eq!(config.connections, 7);
    assert_eq!(config.log_format, Some(LogFormat::Json));
}

#[test]
fn every_fault_is_told_at_once() {
    let (place, flags) = file(
        "listen = \"everywhere\"\nconections = 7\nallow_internal_hosts = \"maybe\"\ntrusted_proxies = \"10.0.0.0/40\"\nworkspace = [\"a\"]\nreply_domain = \"no domain\"\n",
    );
    let environment = Variables(vec![
        ("DATABASE_URL", "mysql://root:secret@example.com/x"),
        ("MERIDIAN_DATA_DIR", "/dev/null"),
        ("MERIDIAN_LOG_FORMAT", "xml"),
    ]);
    let run = RunFlags {
        public_url: Some("mail.example.com".to_owned()),
        connections: Some("0".to_owned()),
        ..RunFlags::default()
    };
    let faults = config::read(&flags, &run, &environment, Needs::Production).unwrap_err();
    let told = told(&faults, &place);
    assert!(!told.contains("secret"), "{told}");
    insta::assert_snapshot!(told);
}

#[test]
fn a_file_that_does_not_read_is_told_with_its_line() {
    let (place, flags) = file("listen = \"127.0.0.1:8080\"\nworkspace = default\n");
    let faults = config::read(&flags, &RunFlags::default(), &Variables(Vec::new()), Needs::Nothing)
        .unwrap_err();
    insta::assert_snapshot!(told(&faults, &place));
}

#[test]
fn to_serve_others_a_database_and_a_public_address_are_needed() {
    let (place, flags) = file("");
    let faults =
        config::read(&flags, &RunFlags::default(), &Variables(Vec::new()), Needs::Production)
            .unwrap_err();
    insta::assert_snapshot!(told(&faults, &place));
}

#[test]
fn a_variable_without_effect_is_worth_a_word() {
    let (_place, flags) = file("");
    let environment = Variables(vec![
        ("MERIDIAN_DATA_DIRECTORY", "/srv"),
        ("MERIDIAN_WORKSPCE", "a"),
        ("MERIDIAN_COLOUR_OF_THE_SKY", "blue"),
        ("MERIDIAN_KEY", "00"),
        ("HOME", "/root"),
    ]);
    let config = config::read(&flags, &RunFlags::default(), &environment, Needs::Nothing).unwrap();
    insta::assert_debug_snapshot!(config.warnings);
}

#[test]
fn who_is_believed_and_who_is_spoken_to_has_to_be_said() {
    let (_place, flags) = file("allow_internal_hosts = true\n");
    let environment = Variables(vec![("MERIDIAN_TRUSTED_PROXIES", "10.0.0.0/8, 127.0.0.1")]);
    let config = config::read(&flags, &RunFlags::default(), &environment, Needs::Nothing).unwrap();
    assert_eq!(config.reach, Reach::Anywhere);
    assert_ne!(config.proxies, Proxies::default());
    let (_place, flags) = file("");
    let nothing = Variables(Vec::new());
    let config = config::read(&flags, &RunFlags::default(), &nothing, Needs::Nothing).unwrap();
    assert_eq!((config.reach, config.proxies), (Reach::Public, Proxies::default()));
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn what_is_mistyped_is_told() {
    for line in [
        "",
        "campaign",
        "campain list",
        "sender add ada",
        "sender add ada capture: --from nobody",
        "sender add ada capture: --from a@example.com --zone Mars/Olympus",
        "sender add ada capture: --from a@example.com --spacing soon",
        "campaign enroll spring",
        "campaign enroll spring --all --tag a",
        "campaign resume spring",
        "enrollment list --state asleep",
        "replay",
        "workspace add Größe",
    ] {
        let words = std::iter::once("meridian").chain(line.split_whitespace());
        // Help is wrapped to the width of the terminal, which must not decide a test.
        let error = Cli::command().term_width(100).try_get_matches_from(words).unwrap_err();
        let name = if line.is_empty() { "nothing" } else { line };
        let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        insta::assert_snapshot!(format!("mistyped_{name}"), error.to_string());
    }
}
