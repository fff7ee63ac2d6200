//! What every test here needs: a Temporal server, a mail server, an installation whose leads Temporal
//! drives, and recipients who play their parts.

use std::sync::Arc;

use activities::store::clock;
use chrono::TimeDelta;
use tests::cluster::Database;
use tests::end_to_end::installation::{Installation, Serving};
use tests::end_to_end::mail_server::{Accepted, Delays, MailServer};
use tests::end_to_end::oracle::{self, assert_none, nothing};
use tests::end_to_end::provider::Provider;
use tests::end_to_end::recipients::{self, Done, Mail, Part, Recipients};
use tests::end_to_end::temporal_server::{LIMITS, TemporalServer, engine};
use tests::end_to_end::{PATIENCE, seed, tell, until, wall_seconds};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A day of the campaign is a second.
const FACTOR: f64 = 86_400.0;

pub(crate) const CAMPAIGN: &str = "three-mails";

/// A campaign under way.
pub(crate) struct Stage {
    pub(crate) temporal: TemporalServer,
    pub(crate) mail_server: Arc<MailServer>,
    pub(crate) installation: Installation,
    pub(crate) database: Database,
    begun: Instant,
    leads: u32,
    stop: CancellationToken,
    playing: JoinHandle<Vec<Done>>,
}

impl Stage {
    /// Sets a campaign for so many recipients up, and starts it.
    pub(crate) async fn set(leads: u32) -> (Self, Serving) {
        Self::set_with(TemporalServer::start().await, leads).await
    }

    /// As [`Stage::set`], on this server.
    pub(crate) async fn set_with(temporal: TemporalServer, leads: u32) -> (Self, Serving) {
        let begun = Instant::now();
        let delays = Delays { before: 15, after: 15, slow: 150, hold: 1_500, ask: 0 };
        let mail_server = Arc::new(MailServer::start(delays).await);
        let installation = Installation::create().await;
        // First, for it says which engine new campaigns get.
        let mut serving = serve(&installation, &temporal);
        installation.ready(&mut serving).await;
        let endpoint = installation.begin_within(LIMITS, &mail_server, leads, FACTOR).await;
        let database = installation.database.clone();
        let provider = Provider::new(&endpoint, seed());
        let recipients = Recipients::new(Arc::clone(&mail_server), provider, database.clone());
        let stop = CancellationToken::new();
        let playing = tokio::spawn(recipients.play(stop.clone()));
        let stage =
            Self { temporal, mail_server, installation, database, begun, leads, stop, playing };
        (stage, serving)
    }

    /// Starts `meridian serve` once more.
    pub(crate) fn serve(&self) -> Serving {
        serve(&self.installation, &self.temporal)
    }

    /// Starts another `meridian serve` beside, at an address of its own.
    pub(crate) fn serve_elsewhere(&self) -> Serving {
        let address = self.temporal.address();
        let listen = ("MERIDIAN_LISTEN", "127.0.0.1:0");
        let [engine, temporal] = engine(&address);
        self.installation.serve_with(&[engine, temporal, listen])
    }

    /// Starts a `meridian worker` beside.
    pub(crate) fn work(&self) -> Serving {
        let address = self.temporal.address();
        self.installation.work_with(&engine(&address))
    }

    /// Returns what Temporal's program says of how many workflows there are.
    pub(crate) async fn count(&self, query: &str) -> String {
        self.temporal.run(&["workflow", "count", "--query", query]).await
    }

    /// Signals what is no poke of ours to every lead whose workflow goes on: it looks, and goes on.
    pub(crate) async fn signal_nonsense(&self) {
        let listed = self.temporal.json(&["workflow", "list"]).await;
        let mut heard = 0;
        for workflow in listed.as_array().unwrap() {
            let id = workflow["execution"]["workflowId"].as_str().unwrap();
            let named = ["--workflow-id", id];
            let described = ["workflow", "describe"];
            let described = self.temporal.json(&[described, named].concat()).await;
            let status = &described["workflowExecutionInfo"]["status"];
            if status == "WORKFLOW_EXECUTION_STATUS_RUNNING" {
                let signal = ["workflow", "signal", "--name", "look_again"];
                // A history that is kept is to tell nothing of the machine it was made on.
                let nonsense = ["--input", "\"nonsense\"", "--identity", "temporal-cli"];
                self.temporal.run(&[&signal[..], &named, &nonsense].concat()).await;
                heard += 1;
            }
        }
        assert!(heard > 0, "nobody is on the way");
        self.tell(&format!("{heard} workflows heard nonsense"));
    }

    /// Returns the first mails of those who will opt out of the second one, which is not under way yet: it
    /// comes four seconds later.
    pub(crate) fn first_mails_of_who_opts_out(&self) -> Vec<Accepted> {
        let mut accepted = self.mail_server.accepted();
        accepted.retain(|first| {
            Part::of(recipients::number(&first.to)) == Part::OptsOut(Mail::Second)
                && recipients::mail(first) == Mail::First
                && wall_seconds() < first.at + 2.0
        });
        accepted
    }

    /// Waits until so many mails were accepted.
    pub(crate) async fn accepted(&self, serving: &mut Serving, enough: usize) {
        until(PATIENCE, async || {
            serving.assert_running();
            let accepted = self.mail_server.accepted().len();
            if accepted >= enough { Ok(()) } else { Err(format!("{accepted} mails accepted")) }
        })
        .await;
        self.tell(&format!("{enough} mails"));
    }

    /// Waits until everybody has ended as scripted, up to what a person has to look at.
    pub(crate) async fn settled(&self, serving: &mut Serving) {
        until(PATIENCE, async || {
            serving.assert_running();
            nothing(oracle::unsettled(&self.database, &self.mail_server).await)
        })
        .await;
        self.tell("everybody has ended as scripted");
    }

    /// Waits until every lead that lives has heard of the last verb, and nothing is under way.
    pub(crate) async fn paused(&self) {
        let mut owner = self.database.owner().await;
        until(PATIENCE, async || {
            let deaf: i64 = sqlx::query_scalar(
                "SELECT (SELECT count(*) FROM enrollments AS e JOIN campaigns AS c USING (workspace_id, campaign_id)
                         WHERE e.ended_at IS NULL AND e.verb_seq < c.verb_seq)
                      + (SELECT count(*) FROM sends WHERE state = 'dispatching')",
            )
            .fetch_one(&mut owner)
            .await
            .unwrap();
            if deaf == 0 { Ok(()) } else { Err(format!("{deaf} leads or sends go on")) }
        })
        .await;
    }

    /// Waits until so many days of the campaign have passed.
    pub(crate) async fn days_pass(&self, days: i64) {
        let mut owner = self.database.owner().await;
        let end = clock::read(&mut owner).await.unwrap().campaign + TimeDelta::days(days);
        until(PATIENCE, async || {
            let now = clock::read(&mut owner).await.unwrap().campaign;
            if now >= end { Ok(()) } else { Err(format!("it is {now}")) }
        })
        .await;
    }

    pub(crate) fn tell(&self, what: &str) {
        tell(format_args!("{:.0?}: {what}", self.begun.elapsed()));
    }

    /// Judges what is left, and ends what runs. Returns what Temporal has stored.
    pub(crate) async fn judge(mut self, serving: Serving) -> Vec<u8> {
        self.stop.cancel();
        let done = (&mut self.playing).await.unwrap();
        let accepted = self.mail_server.accepted();
        tell(format_args!("{} mails, {} answers", accepted.len(), done.len()));
        assert_none("accepted twice", oracle::accepted_twice(&accepted));
        assert_none("sent after a stop", oracle::sent_after_stop(&accepted, &done));
        assert_none("not stored once", oracle::not_stored_once(&self.database, &done).await);
        assert!(serving.terminate().await.success());
        let logged = self.installation.log();
        assert!(
            !logged.contains("panicked") && !logged.contains("@recipients.example"),
            "{logged}"
        );
        self.installation.run(&["verify"]).await;
        let replayed = self.installation.json(&["replay", "--all"]).await;
        assert_eq!(replayed["equal"], self.leads, "{replayed}");
        let histories = self.temporal.replay_histories().await;
        tell(format_args!("{histories} histories go the same way"));
        self.temporal.kill().await;
        self.temporal.stored()
    }
}

fn serve(installation: &Installation, temporal: &TemporalServer) -> Serving {
    let address = temporal.address();
    installation.serve_with(&engine(&address))
}

/// Has a campaign of one mail drive one lead to its end.
pub(crate) async fn one_lead_is_driven(installation: &Installation, serving: &mut Serving) {
    installation.begin_one_mail(None, "ada@recipients.example\n", "0 days").await;
    installation.finish(serving, 1).await;
    let shown = installation.json(&["campaign", "show", "spring"]).await;
    assert_eq!(shown["engine"], "temporal");
}
