//! What may depend on what. The machine cannot do I/O because it depends on nothing that can,
//! imports point down, one crate knows Temporal's SDK, and the dependency set keeps one TLS provider
//! and one version of each crate whose types cross our own borders.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Everything the machine may name.
const MACHINE_MAY_USE: [&str; 8] =
    ["chrono", "chrono-tz", "schemars", "serde", "serde_json", "statig", "thiserror", "uuid"];

/// Crates that can do I/O, or run futures that do: none of them may be anywhere below the machine.
const CAN_DO_IO: [&str; 12] = [
    "async-io",
    "async-std",
    "hyper",
    "lettre",
    "mio",
    "polling",
    "reqwest",
    "socket2",
    "sqlx",
    "sqlx-core",
    "tokio",
    "ureq",
];

/// Our own crates, each with those of ours that it may import.
const LAYERS: [(&str, &[&str]); 7] = [
    ("machine", &[]),
    ("ui", &[]),
    ("activities", &["machine"]),
    ("postgres_runner", &["activities", "machine"]),
    ("temporal_runner", &["activities", "machine"]),
    ("server", &["activities", "machine", "postgres_runner", "temporal_runner", "ui"]),
    ("tests", &["activities", "machine", "postgres_runner", "server", "temporal_runner", "ui"]),
];

/// The only one of our own crates that may import Temporal's SDK.
const KNOWS_TEMPORAL: &str = "temporal_runner";

/// What the names of the SDK's crates begin with.
const OF_TEMPORAL: &str = "temporalio";

/// Crates that bring a second TLS provider, or a system library.
const BANNED: [&str; 4] = ["aws-lc-rs", "aws-lc-sys", "native-tls", "openssl-sys"];

/// Crates of which there must be one version.
const ONE_VERSION: [&str; 6] = ["axum", "hyper", "reqwest", "rustls", "sqlx-core", "tower-http"];

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the crate lies in the workspace").to_owned()
}

fn metadata() -> Value {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    // Crates for other platforms were never fetched where only this one was built.
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .args(["--filter-platform", "host-tuple"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("no {field} in {value}"))
}

fn list<'a>(value: &'a Value, field: &str) -> &'a [Value] {
    value[field].as_array().unwrap_or_else(|| panic!("no {field} in {value}"))
}

/// Our own crates, by name.
fn members(metadata: &Value) -> BTreeMap<&str, &Value> {
    let ids: BTreeSet<_> =
        list(metadata, "workspace_members").iter().filter_map(Value::as_str).collect();
    let packages = list(metadata, "packages").iter();
    let ours = packages.filter(|package| ids.contains(text(package, "id")));
    ours.map(|package| (text(package, "name"), package)).collect()
}

/// What a crate depends on by itself, tests and build scripts left out.
fn dependencies(package: &Value) -> impl Iterator<Item = &Value> {
    list(package, "dependencies").iter().filter(|dependency| dependency["kind"].is_null())
}

#[test]
fn the_machine_depends_on_nothing_that_can_do_io() {
    let metadata = metadata();
    let machine = members(&metadata)["machine"];
    for dependency in dependencies(machine) {
        let name = text(dependency, "name");
        assert!(MACHINE_MAY_USE.contains(&name), "machine must not depend on {name}");
    }

    // Nor does anything that its dependencies bring along.
    let nodes: BTreeMap<&str, &Value> =
        list(&metadata["resolve"], "nodes").iter().map(|node| (text(node, "id"), node)).collect();
    let names: BTreeMap<&str, &str> = list(&metadata, "packages")
        .iter()
        .map(|package| (text(package, "id"), text(package, "name")))
        .collect();
    let mut seen = BTreeSet::new();
    let mut next = vec![text(machine, "id")];
    while let Some(id) = next.pop() {
        if !seen.insert(id) {
            continue;
        }
        assert!(!CAN_DO_IO.contains(&names[id]), "{} is below the machine", names[id]);
        for dependency in list(nodes[id], "deps") {
            if list(dependency, "dep_kinds").iter().any(|kind| kind["kind"].is_null()) {
                next.push(text(dependency, "pkg"));
            }
        }
    }
    assert!(seen.len() > MACHINE_MAY_USE.len(), "nothing was looked at");
}

#[test]
fn imports_point_down() {
    let metadata = metadata();
    let members = members(&metadata);
    let layers: BTreeMap<&str, &[&str]> = LAYERS.into_iter().collect();
    for (name, package) in &members {
        let may_use =
            layers.get(name).unwrap_or_else(|| panic!("{name} has no place among layers"));
        for dependency in list(package, "dependencies") {
            let dependency = text(dependency, "name");
            let ours = members.contains_key(dependency);
            assert!(!ours || may_use.contains(&dependency), "{name} must not import {dependency}");
        }
    }
}

#[test]
fn only_the_runner_for_temporal_knows_its_sdk() {
    let metadata = metadata();
    let mut importers = members(&metadata);
    importers.retain(|_, package| {
        // Those of tests and build scripts count too.
        let mut dependencies = list(package, "dependencies").iter();
        dependencies.any(|dependency| text(dependency, "name").starts_with(OF_TEMPORAL))
    });
    let importers: Vec<&str> = importers.into_keys().collect();
    assert_eq!(importers, [KNOWS_TEMPORAL], "who imports {OF_TEMPORAL}");
}

#[test]
fn there_is_one_tls_provider_and_one_version_of_what_crosses_borders() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let (name, version) = (locked(package, "name = "), locked(package, "version = "));
        versions.entry(name).or_default().push(version);
    }
    assert!(versions.len() > 100, "the lock file was not understood");
    for banned in BANNED {
        assert!(!versions.contains_key(banned), "{banned} is in Cargo.lock");
    }
    for one in ONE_VERSION {
        let found = versions.get(one).map_or(0, Vec::len);
        assert!(found <= 1, "{one} has {found} versions: {:?}", versions[one]);
    }
}

fn locked<'a>(package: &'a str, field: &str) -> &'a str {
    let value = package.lines().find_map(|line| line.strip_prefix(field));
    value.unwrap_or_else(|| panic!("no {field} in {package}")).trim_matches('"')
}
