//! What was done is on record, and what is done to the record is found.

use std::process::ExitCode;

use activities::audit_chain;

use crate::desk::Desk;

#[tokio::test]
async fn an_anchor_kept_elsewhere_finds_what_was_cut_off_and_written_anew() {
    let mut desk = Desk::new().await;
    for n in 0..3 {
        desk.types(&format!("suppression add ann{n}@example.com")).await.well();
    }
    let listed = desk.types("audit list").await.well();
    assert_eq!(listed.matches("suppression.add").count(), 3, "{listed}");
    audit_chain::seal(&desk.store, desk.workspace).await.unwrap();
    let told = desk.types("audit check --json").await.json();
    assert_eq!((&told["holds"], &told["sealed"]), (&true.into(), &3.into()));
    let anchor = told["anchor"].as_str().unwrap();
    let whole = format!("audit check --anchor {anchor}");
    desk.types(&whole).await.well();

    // The owner of the database takes the newest act away, with its seal.
    let (act, _) = anchor.split_once(':').unwrap();
    let cut = format!(
        "SELECT set_config('app.workspace_id', '{}', false);
         DELETE FROM audit_seals WHERE audit_id = {act};
         DELETE FROM audit WHERE audit_id = {act}",
        desk.workspace
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(cut)).execute(&mut desk.owner).await.unwrap();
    desk.types("audit check").await.well();
    let found = desk.types(&whole).await;
    assert_eq!(found.end, Ok(ExitCode::FAILURE));
    assert!(found.out.starts_with(&format!("act {act} is not as it was")), "{}", found.out);

    // What comes after it does not hide that.
    desk.types("suppression add eve@example.com").await.well();
    audit_chain::seal(&desk.store, desk.workspace).await.unwrap();
    desk.types("audit check").await.well();
    let found = desk.types(&format!("{whole} --json")).await;
    assert_eq!(found.end, Ok(ExitCode::FAILURE));
    let found: serde_json::Value = serde_json::from_str(&found.out).unwrap();
    assert_eq!(
        (&found["broken"], &found["sealed"]),
        (&act.parse::<i64>().unwrap().into(), &2.into())
    );
}
