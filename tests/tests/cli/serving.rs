//! The HTTP side: probes, metrics, limits and headers.

use activities::key_ring::KeyRing;
use activities::mailroom::Mailroom;
use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use server::metrics::Metrics;
use server::serve::proxies::Proxies;
use server::serve::{self, Routes};
use tokio::sync::watch;
use tower::ServiceExt as _;

use crate::desk::Desk;

async fn get(router: &Router, path: &str) -> (StatusCode, header::HeaderMap, String) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn probes_metrics_and_headers() {
    let desk = Desk::new().await;
    let leads = desk.file("leads.csv", "email\nann@example.com\nbob@example.com\n");
    desk.types(&format!("lead import {leads}")).await.well();
    let file = desk.file(
        "spring.yaml",
        "name: spring\nzone: UTC\nsteps:\n  - { key: a, email: { subject: A, body: A } }\n",
    );
    desk.types(&format!("campaign apply {file}")).await.well();
    desk.types("campaign start spring").await.well();

    let url = "https://mail.example.com/".parse().unwrap();
    let keys = std::sync::Arc::new(KeyRing::generate());
    let room = Mailroom::new(desk.store.clone(), keys, url, None, uuid::Uuid::nil());
    let (is_ready, ready) = watch::channel(false);
    let metrics = Metrics::install().unwrap();
    let router = serve::router(
        &room,
        metrics.clone(),
        ready,
        Routes { open: Some(Proxies::default()), metrics: true, workflows: None },
    );

    assert_eq!(get(&router, "/healthz").await.0, StatusCode::OK);
    assert_eq!(get(&router, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
    is_ready.send_replace(true);
    assert_eq!(get(&router, "/readyz").await.0, StatusCode::OK);

    let (status, headers, text) = get(&router, "/metrics").await;
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("state=\"queued\"} 2"), "{text}");
    assert!(text.contains("# TYPE meridian_enrollments gauge"), "{text}");
    assert!(text.contains("meridian_connections{use=\"idle\"}"), "{text}");
    // Nobody works here: what is due waits.
    let lag = text.lines().find_map(|line| line.strip_prefix("meridian_due_lag_seconds "));
    assert!(lag.unwrap().parse::<f64>().unwrap() > 0.0, "{text}");
    assert!(!text.contains("example.com"), "{text}");
    let (_, _, text) = get(&router, "/metrics").await;
    let measured = "meridian_http_seconds_count{route=\"/readyz\",status=\"503\"} 1";
    assert!(text.contains(measured), "{text}");
    assert_eq!(headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    assert_eq!(headers[header::CACHE_CONTROL], "no-store");

    assert_eq!(get(&router, "/nothing").await.0, StatusCode::NOT_FOUND);
    assert_eq!(get(&router, "/u/nonsense").await.0, StatusCode::NOT_FOUND);

    let named = |id: &'static str| Request::get("/healthz").header("x-request-id", id);
    for (given, is_kept) in [("from-the-crm-7", true), ("a b", false), ("\u{1b}[31m", false)] {
        let Ok(request) = named(given).body(Body::empty()) else { continue };
        let answered = router.clone().oneshot(request).await.unwrap();
        assert_eq!(answered.headers()["x-request-id"] == given, is_kept, "{given}");
    }

    let probes = serve::router(
        &room,
        metrics.clone(),
        is_ready.subscribe(),
        Routes { open: None, metrics: true, workflows: None },
    );
    assert_eq!(get(&probes, "/healthz").await.0, StatusCode::OK);
    assert_eq!(get(&probes, "/u/nonsense").await.2, "not found\n");
    assert_eq!(get(&probes, "/metrics").await.0, StatusCode::OK);
    let routes = Routes { open: Some(Proxies::default()), metrics: false, workflows: None };
    let open = serve::router(&room, metrics, is_ready.subscribe(), routes);
    assert_eq!(get(&open, "/metrics").await.0, StatusCode::NOT_FOUND);
    assert_eq!(get(&open, "/readyz").await.0, StatusCode::OK);
}
