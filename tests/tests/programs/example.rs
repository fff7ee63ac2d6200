//! The program in `examples/` drives a campaign by the API alone.

use std::path::Path;
use std::process::Output;

use activities::store::clock;
use serde_json::json;
use tests::end_to_end::PYTHON;
use tests::end_to_end::installation::Installation;
use tests::end_to_end::oracle::{self, assert_none};
use tokio::process::Command;

/// Everybody answers the first mail a day later.
const RECIPIENTS: &str = r#"
rules:
  - { name: keen, on: intro, share: 1.0, after: 1 day, do: reply, text: "With pleasure." }
"#;

/// Runs the example with a key.
async fn drive(installation: &Installation, secret: &str) -> Output {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/drive_campaign.py");
    let mut command = Command::new(PYTHON);
    command.arg(script).args(["--senders", "house", &installation.url()]);
    command.env_clear().env("MERIDIAN_API_KEY", secret).kill_on_drop(true);
    command.output().await.unwrap()
}

fn told(output: &Output) -> String {
    let text = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_makes_starts_answers_and_ends_a_campaign_and_may_be_run_again() {
    let installation = Installation::create().await;
    let recipients = installation.write("recipients.yaml", RECIPIENTS);
    let sender = format!("capture:{recipients}");
    installation.run(&["sender", "add", "house", &sender, "--from", "house@example.com"]).await;
    let mut serving = installation.serve();
    installation.ready(&mut serving).await;
    let mut owner = installation.database.owner().await;
    clock::set_factor(&mut owner, 86_400.0).await.unwrap();
    let key = installation.json(&["key", "create", "--role", "operator"]).await;
    let secret = key["secret"].as_str().unwrap();

    let output = drive(&installation, secret).await;
    let text = told(&output);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("leads: 3 new, 0 refused"), "{text}");
    assert!(text.contains("6 messages to 3 leads"), "{text}");
    for name in ["ana", "bruno", "carla"] {
        let address = format!("{name}@table-for-two.example");
        assert!(text.contains(&format!("{address} answered; taken over and won")), "{text}");
        assert!(text.contains(&format!("{address}: replied, 1 sent")), "{text}");
    }

    let again = drive(&installation, secret).await;
    let text = told(&again);
    assert!(again.status.success(), "{text}");
    assert!(text.contains("leads: 0 new"), "{text}");
    assert!(text.contains("campaign table-for-two is there already"), "{text}");

    let refused = drive(&installation, "mk_nonsense").await;
    assert!(!refused.status.success());
    assert!(told(&refused).contains("the key is unknown or revoked"), "{}", told(&refused));

    let handovers = installation.json(&["handover", "list", "--all"]).await;
    let handovers = handovers["handovers"].as_array().unwrap();
    assert!(handovers.iter().all(|it| it["result"] == json!("won")), "{handovers:?}");
    assert!(serving.terminate().await.success());
    assert_none("suspicious lines", oracle::suspicious(&installation.log()));
    installation.run(&["verify"]).await;
    installation.run(&["replay", "--all"]).await;
}
