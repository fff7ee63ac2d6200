//! Links into Temporal's own pages: to a lead's workflow, and to the list of a campaign's. Knows where the
//! pages begin and how they are named, and asks Temporal nothing.

use machine::ids::{CampaignId, EnrollmentId, WorkspaceId};
use temporal_runner::ConnectionError;
use url::Url;

use crate::config::Config;
use crate::temporal_server;

/// Where Temporal's pages of our namespace are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowPages {
    ui: Url,
    namespace: String,
}

impl WorkflowPages {
    /// Returns the pages of `namespace` that begin at `ui`, an address by HTTP.
    pub fn new(ui: Url, namespace: String) -> Self {
        Self { ui, namespace }
    }

    /// Returns the pages that the configuration names, else those of a development server of our own;
    /// `None` where nobody knows of any.
    ///
    /// # Errors
    ///
    /// When what is said of Temporal does not read well, or names a file that is not there.
    pub fn find(config: &Config) -> Result<Option<Self>, ConnectionError> {
        let ui = match (&config.temporal_ui, temporal_runner::address()?) {
            (Some(ui), _) => Some(ui.clone()),
            // Where the pages of a server are that others run, its address does not tell.
            (None, Some(_)) => None,
            (None, None) => temporal_server::last_ui(&config.data_dir),
        };
        let namespace = temporal_runner::namespace()?;
        Ok(ui.map(|ui| Self::new(ui, namespace)))
    }

    /// Returns the pages as [`Self::find`] does, or none, with a word in the log, where they cannot be
    /// named: they are worth no failure.
    pub fn find_or_warn(config: &Config) -> Option<Self> {
        Self::find(config).unwrap_or_else(|error| {
            tracing::warn!(%error, "no links to Temporal's pages");
            None
        })
    }

    /// Where they begin.
    pub fn ui(&self) -> &Url {
        &self.ui
    }

    /// Returns the page of a lead's workflow.
    pub fn lead(&self, workspace: WorkspaceId, enrollment: EnrollmentId) -> Url {
        let id = temporal_runner::workflow_id(workspace, enrollment);
        self.page(&["namespaces", &self.namespace, "workflows", &id])
    }

    /// Returns the list of a campaign's workflows. It needs our search attributes.
    pub fn campaign(&self, campaign: CampaignId) -> Url {
        let mut url = self.page(&["namespaces", &self.namespace, "workflows"]);
        let query = format!("MeridianCampaign = '{campaign}'");
        url.query_pairs_mut().append_pair("query", &query);
        url
    }

    fn page(&self, segments: &[&str]) -> Url {
        let mut url = self.ui.clone();
        let mut path = url.path_segments_mut().expect("http and https have paths");
        path.pop_if_empty().extend(segments);
        drop(path);
        url
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn pages(ui: &str) -> WorkflowPages {
        WorkflowPages::new(ui.parse().unwrap(), "team.a1b2".to_owned())
    }

    #[test]
    fn the_slashes_of_a_workflow_id_are_no_path() {
        let nil = Uuid::nil();
        let (workspace, enrollment) = (WorkspaceId::new(nil), EnrollmentId::new(nil));
        for (ui, start) in [
            ("https://cloud.temporal.io", "https://cloud.temporal.io"),
            ("http://127.0.0.1:8233/", "http://127.0.0.1:8233"),
            ("https://ops.example/temporal/", "https://ops.example/temporal"),
            ("https://ops.example/temporal", "https://ops.example/temporal"),
        ] {
            assert_eq!(
                pages(ui).lead(workspace, enrollment).as_str(),
                format!("{start}/namespaces/team.a1b2/workflows/w%2F{nil}%2Fe%2F{nil}")
            );
        }
    }

    #[test]
    fn the_list_of_a_campaign_is_searched_by_its_id() {
        let nil = Uuid::nil();
        assert_eq!(
            pages("https://cloud.temporal.io").campaign(CampaignId::new(nil)).as_str(),
            format!(
                "https://cloud.temporal.io/namespaces/team.a1b2/workflows?query=MeridianCampaign+%3D+%27{nil}%27"
            )
        );
    }
}
