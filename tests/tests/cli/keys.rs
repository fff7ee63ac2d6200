//! The master key belongs to its database: without it nobody who opted out would be known.

use crate::desk::Desk;

#[tokio::test]
async fn a_database_is_not_worked_on_without_the_key_it_was_first_used_with() {
    let mut desk = Desk::new().await;
    let key = desk.place.path().join("key");
    let (before, aside) = (key.clone(), desk.place.path().join("aside"));
    std::fs::rename(&before, &aside).unwrap();
    // Used before it kept a note of its key.
    let error = desk.types("suppression list").await.error();
    assert!(error.contains("was used before") && !key.exists(), "{error}");
    std::fs::rename(&aside, &before).unwrap();
    desk.types("suppression add ann@example.com").await.well();
    assert_eq!(desk.count("SELECT count(*) FROM oldest_key").await, 1);
    let (kept, other) = (desk.place.path().join("copy"), desk.place.path().join("other"));
    std::fs::rename(&key, &kept).unwrap();

    let error = desk.types("suppression list").await.error();
    assert!(error.contains("is not there") && error.contains("who opted out"), "{error}");
    assert!(!key.exists(), "no key is made for a database that has one");
    let told = desk.types("doctor").await;
    assert!(told.out.contains("is not there"), "{}", told.out);
    assert_eq!(told.end, Ok(std::process::ExitCode::FAILURE));

    // Another key, as a second machine would have made for itself.
    activities::key_ring::KeyRing::load_or_create(&other).unwrap();
    std::fs::copy(&other, &key).unwrap();
    let error = desk.types("lead export").await.error();
    assert!(error.contains("begins with another key"), "{error}");
    let told = desk.types("doctor").await;
    assert!(told.out.contains("begins with another key"), "{}", told.out);

    // A rotation appends: the first key stays the first.
    let ring = [std::fs::read(&kept).unwrap(), std::fs::read(&other).unwrap()].concat();
    std::fs::write(&key, ring).unwrap();
    desk.types("suppression list").await.well();
}
