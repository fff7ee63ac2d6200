//! A commit of a small campaign is lost: it never arrives, or nobody hears that it was done; and the
//! process lives through it, or is killed in that moment. Whatever a process is at, in the end everybody
//! has ended as scripted, and nobody has a mail twice.
//!
//! Which commits, and in which way, is by chance; with `COMMITS=all` it is each of them in both ways,
//! which takes half an hour.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::seq::IteratorRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tests::cluster::Database;
use tests::end_to_end::installation::Installation;
use tests::end_to_end::mail_server::{Delays, MailServer};
use tests::end_to_end::oracle::{self, assert_none, nothing};
use tests::end_to_end::provider::Provider;
use tests::end_to_end::proxy::{Losses, Lost, Proxy, Then};
use tests::end_to_end::recipients::Recipients;
use tests::end_to_end::{PATIENCE, seed, tell, until};
use tokio_util::sync::CancellationToken;

/// One of each kind that does the same each time it is written to.
const LEADS: u32 = 9;

/// A day of the campaign is a tenth of a second.
const FACTOR: f64 = 864_000.0;

/// How many commits are lost when not all are.
const SAMPLE: usize = 5;

/// What the commits of a campaign change at least.
const CHANGED: [&str; 9] = [
    "counter_deltas",
    "enrollments",
    "inbound_events",
    "journal",
    "quotas",
    "runners",
    "sends",
    "signals",
    "suppressions",
];

#[tokio::test(flavor = "multi_thread")]
async fn any_commit_may_be_lost_while_the_process_lives() {
    lose_each(Then::Cut).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_process_may_be_killed_at_any_commit() {
    lose_each(Then::Silence).await;
}

async fn lose_each(then: Then) {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let is_thorough = std::env::var("COMMITS").is_ok_and(|commits| commits == "all");
    let mut stage = Stage::set(random.random()).await;
    let commits = stage.perform(Losses::None, then).await;
    let changed: BTreeSet<&str> = commits.iter().flat_map(|tables| tables.split(' ')).collect();
    let missing = CHANGED.iter().filter(|table| !changed.contains(*table));
    assert_none("never changed", missing);
    let every = (1..=commits.len()).flat_map(|n| [(n, Lost::Wish), (n, Lost::Answer)]);
    let chosen = if is_thorough { every.collect() } else { every.sample(&mut random, SAMPLE) };
    for (n, lost) in chosen {
        tell(format_args!("commit {n} of {}: {lost:?} lost, {then:?}", commits.len()));
        stage.perform(Losses::Nth { n, lost, then }, then).await;
    }
}

/// A campaign that is about to begin, as often as one likes.
struct Stage {
    installation: Installation,
    mail_server: Arc<MailServer>,
    provider: Provider,
    beginning: Database,
}

impl Stage {
    async fn set(seed: u64) -> Self {
        let mail_server = Arc::new(MailServer::start(Delays::default()).await);
        let installation = Installation::create().await;
        let endpoint = installation.begin(&mail_server, LEADS, FACTOR).await;
        let beginning = installation.database.clone();
        Self { installation, mail_server, provider: Provider::new(&endpoint, seed), beginning }
    }

    /// Runs the campaign to its end, and checks it. Returns what was committed before the loss.
    async fn perform(&mut self, losses: Losses, then: Then) -> Vec<String> {
        let database = self.beginning.copy().await;
        self.installation.move_to(database.clone());
        self.mail_server.forget();
        let (installation, mail_server) = (&self.installation, &self.mail_server);
        let recipients =
            Recipients::new(Arc::clone(mail_server), self.provider.clone(), database.clone());
        let stop = CancellationToken::new();
        let playing = tokio::spawn(recipients.play(stop.clone()));

        let is_lossless = matches!(losses, Losses::None);
        let proxy = Proxy::start(&database.url, losses).await;
        let mut serving = installation.serve_through(proxy.url());
        if then == Then::Silence && !is_lossless {
            tokio::select! {
                () = proxy.struck() => {
                    serving.kill().await;
                    // What half a minute would bring about.
                    age_runners(&database).await;
                    serving = installation.serve();
                }
                // The campaign may need fewer commits than it did the first time.
                () = until(PATIENCE, async || self.settled(&database).await) => {}
            }
        }
        until(PATIENCE, async || {
            // A process that loses its first words with the database does not start.
            if proxy.cuts() > 0 && !installation.log().contains("running") && serving.has_ended() {
                serving = installation.serve();
            }
            serving.assert_running();
            self.settled(&database).await
        })
        .await;
        if then == Then::Silence {
            installation.review(mail_server).await;
            until(PATIENCE, async || {
                serving.assert_running();
                self.settled(&database).await?;
                nothing(in_review(&database).await)
            })
            .await;
        }
        stop.cancel();
        let done = playing.await.unwrap();
        assert!(serving.terminate().await.success());

        let accepted = mail_server.accepted();
        assert_none("to be reviewed", in_review(&database).await);
        assert_none("accepted twice", oracle::accepted_twice(&accepted));
        assert_none("sent after a stop", oracle::sent_after_stop(&accepted, &done));
        assert_none("sent during absences", oracle::sent_during_absence(&database, &done).await);
        assert_none("not stored once", oracle::not_stored_once(&database, &done).await);
        installation.run(&["verify"]).await;
        let replayed = installation.json(&["replay", "--all"]).await;
        assert_eq!(replayed["equal"], LEADS, "{replayed}");
        let commits = proxy.commits();
        database.remove().await;
        commits
    }

    async fn settled(&self, database: &Database) -> Result<(), String> {
        nothing(oracle::unsettled(database, &self.mail_server).await)
    }
}

async fn in_review(database: &Database) -> Vec<String> {
    let sends = oracle::sends(database).await;
    oracle::to_review(&sends).into_iter().map(|send| format!("{send:?} waits")).collect()
}

/// Makes every runner's last sign of life older than silence may last.
async fn age_runners(database: &Database) {
    let mut owner = database.owner().await;
    sqlx::query("UPDATE runners SET beat_at = beat_at - interval '30 seconds'")
        .execute(&mut owner)
        .await
        .expect("the owner may write anything");
}
