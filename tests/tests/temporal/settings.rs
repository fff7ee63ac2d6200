//! What is said of Temporal is used as its own programs use it; what cannot be used is told, with what
//! was said.

use tests::end_to_end::gateway::Gateway;
use tests::end_to_end::installation::Installation;
use tests::end_to_end::temporal_server::TemporalServer;
use tests::end_to_end::{PATIENCE, until};

use crate::stage;

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
