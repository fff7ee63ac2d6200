//! What is said of Temporal and cannot be used is told, with what was said.

use tests::end_to_end::installation::Installation;
use tests::end_to_end::temporal_server::TemporalServer;
use tests::end_to_end::{PATIENCE, until};

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
    assert!(serving.terminate().await.success());
}
