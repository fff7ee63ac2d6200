//! Leads whose histories grow too long for Temporal: each goes on in a new one, with nothing to carry.

use tests::end_to_end::oracle::{self, assert_none};
use tests::end_to_end::temporal_server::{Histories, TemporalServer};

use crate::stage::Stage;

const LEADS: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_lead_whose_history_is_long_goes_on_in_a_new_one() {
    let temporal = TemporalServer::of_its_own(Histories::Short).await;
    let (stage, mut serving) = Stage::set_with(temporal, LEADS).await;
    stage.settled(&mut serving).await;
    let continued = stage.count("ExecutionStatus='ContinuedAsNew'").await;
    assert!(!continued.contains("Total: 0"), "every history was short enough: {continued}");
    assert_none("to be reviewed", oracle::to_review(&oracle::sends(&stage.database).await));
    stage.judge(serving).await;
}
