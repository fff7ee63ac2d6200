//! Everything a runner does on the side: listening, showing that it lives, telling orders, reading
//! mail, finishing campaigns.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use activities::capture::player;
use activities::changes::News;
use activities::error::{Result, chain};
use activities::leads::erase;
use activities::mailroom::Mailroom;
use activities::store::{bell, captures, clock, reviews, work};
use activities::{audit_chain, campaign_verb, changes, interpret, life};
use machine::ids::WorkspaceId;
use sqlx::postgres::PgListener;

use super::Shared;

/// How often a runner shows that it lives.
const BEAT: Duration = Duration::from_secs(5);

/// How often campaigns are looked over, counters folded and acts sealed.
const ROUND: Duration = Duration::from_secs(10);

/// How often captured messages are looked over when nobody is about to answer one.
const PLAY_IDLE: Duration = Duration::from_secs(1);

/// How long the bell line rests after a failure.
const LINE_WAIT: Duration = Duration::from_millis(500);

/// How often the database's safety settings are checked.
const SAFETY: Duration = Duration::from_secs(60);

/// Rings the bells when a commit says that it brought work.
pub(crate) async fn listen(shared: Arc<Shared>, mut listener: PgListener) {
    while !shared.stopping() {
        let heard = tokio::select! {
            heard = listener.try_recv() => heard,
            () = shared.stop.cancelled() => return,
        };
        match heard {
            Ok(Some(rung)) if rung.channel() == bell::PLANS => shared.plans.notify_one(),
            Ok(Some(_)) => ring(&shared),
            Ok(None) => {
                // The database may be away, until a turn has proved otherwise.
                shared.ready.send_replace(false);
                ring(&shared);
                reconnect(&shared, &mut listener).await;
                // Who knows what was missed.
                ring(&shared);
                shared.plans.notify_one();
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "the bell line is disturbed");
                shared.pause(LINE_WAIT).await;
            }
        }
    }
}

/// Tries until the bell line is up again, or the runner stops.
async fn reconnect(shared: &Shared, listener: &mut PgListener) {
    while !shared.stopping() {
        let connected = tokio::select! {
            // To no new channel: the known ones are listened to with the connection.
            connected = listener.listen_all([]) => connected,
            () = shared.stop.cancelled() => return,
        };
        let Err(error) = connected else { return };
        tracing::warn!(error = chain(&error), "lost the bell line; reconnecting");
        shared.pause(LINE_WAIT).await;
    }
}

fn ring(shared: &Shared) {
    shared.work.notify_one();
    shared.chores.notify_one();
}

/// Shows again and again that this runner lives, and says when a silent one left something, or this one
/// may have lost something. Nothing that takes long happens in between: others would take this runner
/// for dead.
pub(crate) async fn keep_beating(shared: Arc<Shared>) {
    let mut checked = Instant::now();
    while !shared.stopping() {
        let beaten = async {
            let buried = life::beat(&shared.mailroom).await?;
            if shared.in_doubt.swap(false, Ordering::Relaxed) || buried > 0 {
                shared.look.notify_one();
            }
            if checked.elapsed() > SAFETY {
                shared.mailroom.store.check_safety().await?;
                checked = Instant::now();
            }
            Ok::<(), activities::error::ActivityError>(())
        };
        if let Err(error) = beaten.await {
            tracing::error!(error = chain(&error), "could not show that this runner lives");
        }
        shared.pause(BEAT).await;
    }
}

/// Tells orders, reads mail, finishes campaigns, folds counters and seals acts: at the bell, and now and then.
pub(crate) async fn do_chores(shared: Arc<Shared>) {
    let mut last_round = Instant::now();
    while !shared.stopping() {
        if let Err(error) = chores(&shared, &mut last_round).await {
            tracing::error!(error = chain(&error), "chores failed; trying again");
            shared.pause(Duration::from_secs(1)).await;
        }
        tokio::select! {
            () = shared.chores.notified() => {}
            () = tokio::time::sleep(ROUND) => {}
            () = shared.stop.cancelled() => {}
        }
    }
}

async fn chores(shared: &Shared, last_round: &mut Instant) -> Result<()> {
    let mailroom = &shared.mailroom;
    let mut conn = mailroom.store.begin_outside().await?;
    let untold = work::untold_campaigns(&mut conn).await?;
    let unread = work::uninterpreted_workspaces(&mut conn).await?;
    conn.commit().await?;
    for (workspace, campaign) in untold {
        let taken_up = |turned| shared.take_up(workspace, turned);
        let told = campaign_verb::tell(mailroom, workspace, campaign, taken_up).await;
        spare_others(workspace, told)?;
    }
    for workspace in unread {
        spare_others(workspace, read_mail(shared, workspace).await)?;
    }
    if last_round.elapsed() >= ROUND {
        *last_round = Instant::now();
        round(shared).await?;
    }
    Ok(())
}

/// Lets the trouble of one workspace be its own, unless the database is away for all.
fn spare_others(workspace: WorkspaceId, done: Result<()>) -> Result<()> {
    match done {
        Err(error) if !error.is_outage() => {
            tracing::error!(workspace.id = %workspace, error = chain(&error), "chores of a workspace failed");
            Ok(())
        }
        done => done,
    }
}

async fn read_mail(shared: &Shared, workspace: WorkspaceId) -> Result<()> {
    loop {
        let read = interpret::interpret(&shared.mailroom, workspace).await?;
        shared.work.notify_one();
        if read.mails == 0 || shared.stopping() {
            return Ok(());
        }
    }
}

async fn round(shared: &Shared) -> Result<()> {
    let mailroom = &shared.mailroom;
    let mut conn = mailroom.store.begin_outside().await?;
    let workspaces = work::due_workspaces(&mut conn).await?;
    conn.commit().await?;
    for (workspace, _) in workspaces {
        spare_others(workspace, tidy_up(mailroom, workspace).await)?;
    }
    Ok(())
}

async fn tidy_up(mailroom: &Mailroom, workspace: WorkspaceId) -> Result<()> {
    let mut tx = mailroom.store.begin(workspace).await?;
    let clocks = clock::read(&mut tx).await?;
    work::fold_counters(&mut tx, workspace).await?;
    reviews::forget_settled(&mut tx, workspace).await?;
    let finished = work::finish_campaigns(&mut tx, workspace, clocks.campaign).await?;
    for campaign in &finished {
        tx.tell(News::Campaign { campaign: *campaign, status: "finished".to_owned() });
    }
    tx.commit().await?;
    if !finished.is_empty() {
        let finished = finished.len();
        tracing::info!(workspace.id = %workspace, finished, "campaigns finished");
    }
    // First, for nothing else keeps it from growing.
    changes::forget(&mailroom.store, workspace).await?;
    audit_chain::seal(&mailroom.store, workspace).await?;
    erase::finish(mailroom, workspace).await?;
    Ok(())
}

/// Plays the recipients of captured messages, each at its time.
pub(crate) async fn play_recipients(shared: Arc<Shared>) {
    while !shared.stopping() {
        let wait = match play(&shared).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::error!(
                    error = chain(&error),
                    "recipients could not be played; trying again"
                );
                Duration::from_secs(1)
            }
        };
        shared.pause(wait).await;
    }
}

/// Plays what is due. Returns how long to wait.
async fn play(shared: &Shared) -> Result<Duration> {
    let mailroom = &shared.mailroom;
    let mut conn = mailroom.store.begin_outside().await?;
    let clocks = clock::read(&mut conn).await?;
    let playing = captures::playing_workspaces(&mut conn).await?;
    conn.commit().await?;
    let mut wait = PLAY_IDLE;
    for (workspace, play_at) in playing {
        if play_at <= clocks.campaign {
            player::play(mailroom, workspace).await?;
            return Ok(Duration::ZERO);
        }
        let until = clocks.wall_until(play_at).to_std().unwrap_or(PLAY_IDLE);
        wait = wait.min(until.max(Duration::from_millis(5)));
    }
    Ok(wait)
}
