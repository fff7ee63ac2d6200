//! Where nobody names a server, one of our own is started, and ends with us.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use tests::end_to_end::installation::{Installation, Serving};
use tests::end_to_end::until;

use crate::stage;

/// The threads of workers, as their queues are called.
#[cfg(target_os = "linux")]
const WORKERS: [&str; 3] = ["meridian-email", "meridian-leads", "meridian-sms"];

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_our_own_ends_with_us_and_sleeps_on_its_file() {
    let installation = Installation::create().await;
    let mut serving = installation.serve_with(&[("MERIDIAN_ENGINE", "temporal")]);
    installation.ready(&mut serving).await;
    let place = installation.place().join("temporal");
    let port: u16 = std::fs::read_to_string(place.join("port")).unwrap().parse().unwrap();
    assert!(answers(port) && place.join("server.db").exists());

    stage::one_lead_is_driven(&installation, &mut serving).await;
    #[cfg(target_os = "linux")]
    own_threads(&mut serving).await;

    // In whatever way.
    serving.kill().await;
    until(LIMIT, async || if answers(port) { Err("it answers".to_owned()) } else { Ok(()) }).await;
    let mut serving = installation.serve_with(&[("MERIDIAN_ENGINE", "temporal")]);
    installation.ready(&mut serving).await;
    assert!(answers(port), "another port than before");
    assert!(serving.terminate().await.success());
    assert!(!answers(port));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_and_without_the_program_it_is_said_how_to_get_one() {
    let installation = Installation::create().await;
    let mut serving =
        installation.serve_with(&[("MERIDIAN_ENGINE", "temporal"), ("PATH", "/nowhere")]);
    until(LIMIT, async || ended(&mut serving)).await;
    let said = installation.log();
    assert!(said.contains("TEMPORAL_ADDRESS") && said.contains("go install"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_starts_no_server_of_its_own() {
    let installation = Installation::create().await;
    let mut working = installation.work_with(&[("MERIDIAN_ENGINE", "temporal")]);
    until(LIMIT, async || ended(&mut working)).await;
    let said = installation.log();
    assert!(said.contains("told where Temporal is: set TEMPORAL_ADDRESS,"), "{said}");
    assert!(!installation.place().join("temporal").exists(), "it started one");
}

/// Waits until the worker of each queue has one thread to itself: what holds workflows up does not hold
/// mails up.
#[cfg(target_os = "linux")]
async fn own_threads(serving: &mut Serving) {
    until(LIMIT, async || {
        let mut threads = serving.threads();
        threads.retain(|name| WORKERS.contains(&name.as_str()));
        threads.sort();
        if threads == WORKERS { Ok(()) } else { Err(format!("{threads:?}")) }
    })
    .await;
}

fn ended(serving: &mut Serving) -> Result<(), String> {
    if serving.has_ended() { Ok(()) } else { Err("it runs".to_owned()) }
}

fn answers(port: u16) -> bool {
    TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok()
}
