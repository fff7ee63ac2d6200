//! Temporal's own development server as a child of ours: whoever else answers at its port is not taken for
//! it, and processes that share a data directory share the server.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use tests::end_to_end::installation::Installation;
use tests::end_to_end::{PATIENCE, until};

const TEMPORAL: [(&str, &str); 1] = [("MERIDIAN_ENGINE", "temporal")];

fn port(installation: &Installation) -> u16 {
    let file = installation.place().join("temporal/port");
    std::fs::read_to_string(file).unwrap().parse().unwrap()
}

fn answers(port: u16) -> bool {
    TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_at_the_port_of_last_time_is_left_alone() {
    let installation = Installation::create().await;
    let stranger = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let taken = stranger.local_addr().unwrap().port();
    std::fs::create_dir_all(installation.place().join("temporal")).unwrap();
    installation.write("temporal/port", &taken.to_string());
    let mut serving = installation.serve_with(&TEMPORAL);
    installation.ready(&mut serving).await;
    let ours = port(&installation);
    assert_ne!(ours, taken);
    assert!(answers(ours));
    assert!(serving.terminate().await.success());
    assert!(!answers(ours));
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_with_one_data_directory_share_a_server() {
    let installation = Installation::create().await;
    let mut serving = installation.serve_with(&TEMPORAL);
    installation.ready(&mut serving).await;
    let ours = port(&installation);
    let mut working = installation.work_with(&TEMPORAL);
    until(PATIENCE, async || {
        working.assert_running();
        let drives = installation.log().matches("Temporal drives leads").count();
        if drives == 2 { Ok(()) } else { Err(format!("{drives} processes drive leads")) }
    })
    .await;
    assert_eq!(port(&installation), ours);

    // The other one goes on with a server of its own, on the same file and port.
    assert!(serving.terminate().await.success());
    until(PATIENCE, async || {
        working.assert_running();
        if answers(ours) { Ok(()) } else { Err("no server answers".to_owned()) }
    })
    .await;
    assert!(working.terminate().await.success());
    assert!(!answers(ours));
}
