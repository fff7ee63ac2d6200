//! What Temporal's own lists can be searched by: ids and the words of states.

use std::time::{Duration, Instant};

use machine::ids::{CampaignId, WorkspaceId};
use temporalio_client::Connection;
use temporalio_client::tonic::{Request, Status};
use temporalio_common::protos::temporal::api::enums::v1::IndexedValueType;
use temporalio_common::protos::temporal::api::operatorservice::v1::{
    AddSearchAttributesRequest, ListSearchAttributesRequest,
};
use temporalio_common::search_attributes::{
    SearchAttributeKey, SearchAttributeUpdate, SearchAttributes,
};

const WORKSPACE: SearchAttributeKey<String> = SearchAttributeKey::keyword("MeridianWorkspace");
const CAMPAIGN: SearchAttributeKey<String> = SearchAttributeKey::keyword("MeridianCampaign");
const STATE: SearchAttributeKey<String> = SearchAttributeKey::keyword("MeridianState");
const STEP: SearchAttributeKey<String> = SearchAttributeKey::keyword("MeridianStep");

/// The names of all of them; each is a keyword.
pub const NAMES: [&str; 4] =
    ["MeridianWorkspace", "MeridianCampaign", "MeridianState", "MeridianStep"];

/// The step of a lead to which none will come.
const NO_STEP: &str = "-";

/// How long a server may take to know of attributes that were added.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);

/// What a workflow begins with.
pub(crate) fn beginning(workspace: WorkspaceId, campaign: CampaignId) -> SearchAttributes {
    SearchAttributes::new([
        WORKSPACE.value_set(workspace.to_string()),
        CAMPAIGN.value_set(campaign.to_string()),
        STATE.value_set("queued".to_owned()),
    ])
}

/// Where a lead is. A server refuses the task that takes a value away, again and again, so there is always
/// a step.
pub(crate) fn standing(state: &str, step: Option<&str>) -> [SearchAttributeUpdate; 2] {
    let step = step.unwrap_or(NO_STEP).to_owned();
    [STATE.value_set(state.to_owned()), STEP.value_set(step)]
}

/// Makes sure that the namespace knows them. Returns whether it does: where it does not and we may not
/// tell it, workflows go without.
pub(crate) async fn ensure(connection: &Connection, namespace: &str) -> bool {
    let missing = match missing(connection, namespace).await {
        Ok(missing) if missing.is_empty() => return true,
        Ok(missing) => missing,
        Err(status) => return refuse(status.message()),
    };
    let keyword = IndexedValueType::Keyword as i32;
    let request = AddSearchAttributesRequest {
        search_attributes: missing.into_iter().map(|name| (name.to_owned(), keyword)).collect(),
        namespace: namespace.to_owned(),
    };
    let mut service = connection.operator_service();
    if let Err(status) = service.add_search_attributes(Request::new(request)).await {
        return refuse(status.message());
    }
    let began = Instant::now();
    while began.elapsed() < KNOWN_WITHIN {
        if self::missing(connection, namespace).await.is_ok_and(|missing| missing.is_empty()) {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    refuse("the server has not taken them in yet")
}

async fn missing(
    connection: &Connection,
    namespace: &str,
) -> Result<Vec<&'static str>, Box<Status>> {
    let request = ListSearchAttributesRequest { namespace: namespace.to_owned() };
    let mut service = connection.operator_service();
    let listed = service.list_search_attributes(Request::new(request)).await;
    let known = listed.map_err(Box::new)?.into_inner().custom_attributes;
    Ok(NAMES.into_iter().filter(|name| !known.contains_key(*name)).collect())
}

fn refuse(why: &str) -> bool {
    tracing::warn!(
        why,
        "Temporal's lists cannot be searched by campaign and state; temporal/README.md says how to \
         register the search attributes"
    );
    false
}
