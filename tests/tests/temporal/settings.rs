//! What is said of Temporal is used as its own programs use it; what cannot be used is told, with what
//! was said.

use tests::end_to_end::gateway::Gateway;
use tests::end_to_end::installation::Installation;
use tests::end_to_end::temporal_server::{TemporalServer, engine};
use tests::end_to_end::{PATIENCE, until};

use crate::stage;

/// Where nobody listens.
const NOBODY: &str = "127.0.0.1:9";

/// What the doctor says of an installation whose leads are driven, wherever the server is.
const RUNS: &str = "\nok engine one process runs leads; temporal drives new campaigns\n";
const ON_TIME: &str = "\nok temporal no lead of Temporal is late\n";

const ENGINE: (&str, &str) = ("MERIDIAN_ENGINE", "temporal");

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_settings_that_is_not_there_is_named() {
    let installation = Installation::create().await;
    let file = ("TEMPORAL_CONFIG_FILE", "/nowhere/temporal.toml");
    let mut serving = installation.serve_with(&[ENGINE, file]);
    until(PATIENCE, async || if serving.has_ended() { Ok(()) } else { Err("it runs".to_owned()) })
        .await;
    let said = installation.log();
    assert!(said.contains("/nowhere/temporal.toml, which is not there"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_is_not_there_is_named() {
    let temporal = TemporalServer::start().await;
    let installation = Installation::create().await;
    let address = temporal.address();
    let elsewhere = ("TEMPORAL_NAMESPACE", "nope");
    let mut serving = installation.serve_with(&[ENGINE, ("TEMPORAL_ADDRESS", &address), elsewhere]);
    until(PATIENCE, async || {
        serving.assert_running();
        let is_told = installation.log().contains("has no namespace `nope`");
        if is_told { Ok(()) } else { Err("nobody says so".to_owned()) }
    })
    .await;
    let variables = [ENGINE, ("TEMPORAL_ADDRESS", &address), elsewhere];
    let (code, said) = doctor(&installation, &variables).await;
    let is_fault =
        format!("\nFAULT temporal's server Temporal at http://{address}/ has no namespace `nope`:");
    assert!(code == Some(1) && said.contains(&is_fault), "{said}");
    assert!(serving.terminate().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_asks_the_server_that_is_named() {
    let temporal = TemporalServer::start().await;
    let installation = Installation::create().await;
    let address = temporal.address();
    let mut serving = installation.serve_with(&engine(&address));
    installation.ready(&mut serving).await;

    let (code, said) = doctor(&installation, &engine(&address)).await;
    let is_there = format!("\nok temporal's server {address}\n");
    for line in [RUNS, ON_TIME, &is_there] {
        assert!(said.contains(line), "{said}");
    }
    assert_eq!(code, Some(0), "{said}");

    let (code, said) = doctor(&installation, &engine(NOBODY)).await;
    let is_away = format!("Temporal at http://{NOBODY}/ does not answer: Connection refused");
    let is_fault = format!("\nFAULT temporal's server {is_away}");
    let fix = "\nsee that it runs, and that TEMPORAL_… is set as for `temporal workflow list`\n";
    for line in [RUNS, ON_TIME, &is_fault, fix] {
        assert!(said.contains(line), "{said}");
    }
    assert_eq!(code, Some(1), "{said}");
    assert!(serving.terminate().await.success());
}

/// Returns how `meridian doctor` ends, and what it prints, every gap as one space.
async fn doctor(installation: &Installation, variables: &[(&str, &str)]) -> (Option<i32>, String) {
    let (status, printed, _) = installation.try_run_with(variables, &["doctor"]).await;
    let lines = printed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    (status.code(), lines.collect::<Vec<_>>().join("\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_gateway_it_is_reached_with_a_certificate_and_a_key() {
    let temporal = TemporalServer::start().await;
    let address = temporal.address().parse().expect("an address");
    let gateway = Gateway::before(address, "sesame").await;
    let installation = Installation::create().await;
    let settings = gateway.settings();
    let serve_with_key = |key| {
        let told = settings.iter().map(|(name, value)| (*name, value.as_str()));
        let told: Vec<(&str, &str)> = told.chain([ENGINE, ("TEMPORAL_API_KEY", key)]).collect();
        installation.serve_with(&told)
    };

    let serving = serve_with_key("simsim");
    let is_told = || installation.log().contains("this key is not known");
    until(PATIENCE, async || if is_told() { Ok(()) } else { Err(installation.log()) }).await;
    serving.kill().await;

    let mut serving = serve_with_key("sesame");
    installation.ready(&mut serving).await;
    stage::one_lead_is_driven(&installation, &mut serving).await;
    assert!(!installation.log().contains("sesame"), "the key is in the log");
    assert!(serving.terminate().await.success());

    // The same in a file.
    let installation = Installation::create().await;
    let [address, trusted, shown, shown_key] = settings.map(|(_, value)| value);
    let file = installation.write(
        "temporal.toml",
        &format!(
            "[profile.cloud]\naddress = \"{address}\"\napi_key = \"sesame\"\n\
             [profile.cloud.tls]\nserver_ca_cert_path = \"{trusted}\"\n\
             client_cert_path = \"{shown}\"\nclient_key_path = \"{shown_key}\"\n"
        ),
    );
    let told = [ENGINE, ("TEMPORAL_CONFIG_FILE", &file), ("TEMPORAL_PROFILE", "cloud")];
    let mut serving = installation.serve_with(&told);
    installation.ready(&mut serving).await;
    stage::one_lead_is_driven(&installation, &mut serving).await;
    assert!(serving.terminate().await.success());
}
