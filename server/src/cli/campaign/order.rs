//! Orders to a whole campaign: pause, go on, end.

use std::fmt;

use activities::campaign_verb::{self, Ordered, Verb};
use activities::campaigns::view;
use activities::campaigns::{Campaign, CampaignStatus};
use activities::shell::word;
use anyhow::bail;
use machine::explain::Shown;
use serde::Serialize;

use super::find;
use crate::cli::{ACTOR, Bench};
use crate::terminal::Output;

#[derive(Serialize)]
struct OrderedView {
    campaign: String,
    status: &'static str,
    changed: bool,
    /// Leads for which it was not over.
    live: i64,
}

impl fmt::Display for OrderedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let already = if self.changed { "" } else { " already" };
        write!(f, "campaign `{}` is {}{already}", self.campaign, self.status)?;
        if self.changed && self.live > 0 {
            let hear = if self.live == 1 { "hears" } else { "hear" };
            write!(f, "; {} in it {hear} of it now", leads(self.live))?;
        }
        Ok(())
    }
}

fn leads(count: i64) -> String {
    if count == 1 { "1 live lead".to_owned() } else { format!("{count} live leads") }
}

pub(super) async fn stop(
    name: String,
    yes: bool,
    output: Output,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    if !yes {
        let live = live(&bench, &find(&bench, &name).await?).await?;
        if !bench.terminal.is_interactive() {
            bail!(
                "a campaign that is stopped cannot be resumed: add --yes to end `{name}` for good, \
                 with {live}, or run `meridian campaign pause {}`",
                word(&name)
            );
        }
        let question = format!("End `{name}` for good, with {live}? [y/N] ");
        if !bench.terminal.confirms(&question)? {
            bail!(
                "nothing was changed; to let it rest, run `meridian campaign pause {}`",
                word(&name)
            );
        }
    }
    run(name, Verb::Stop, output, bench).await
}

/// Leads for which a campaign is not over.
struct Live {
    all: i64,
    /// As many of them have been taken, or are offered to somebody.
    with_person: i64,
}

impl fmt::Display for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&leads(self.all))?;
        match self.with_person {
            0 => Ok(()),
            n => write!(f, ", {n} of them with a person"),
        }
    }
}

/// Returns for how many leads a campaign is not over.
async fn live(bench: &Bench<'_>, campaign: &Campaign) -> anyhow::Result<Live> {
    let session = bench.session;
    let detail = view::read(&session.store, session.workspace, campaign.id).await?;
    let overview = detail.overview;
    let with_person = overview.states.get(Shown::WithPerson.as_str()).copied().unwrap_or_default();
    Ok(Live { all: overview.live, with_person })
}

pub(super) async fn run(
    name: String,
    verb: Verb,
    output: Output,
    bench: Bench<'_>,
) -> anyhow::Result<()> {
    let campaign = find(&bench, &name).await?;
    let session = bench.session;
    let (store, workspace) = (&session.store, session.workspace);
    let status = match verb {
        Verb::Pause => CampaignStatus::Paused,
        Verb::Resume(_) => CampaignStatus::Active,
        Verb::Stop => CampaignStatus::Stopped,
    };
    let live = live(&bench, &campaign).await?.all;
    let ordered = campaign_verb::order(store, workspace, campaign.id, verb, &ACTOR).await?;
    let (status, changed) = match ordered {
        Ordered::Done => (status, true),
        Ordered::Already => (status, false),
        // The start that was to come was cancelled.
        Ordered::StartCancelled => (CampaignStatus::Draft, true),
        Ordered::NotWhile(now) if now == CampaignStatus::Draft.as_str() => match verb {
            Verb::Stop => bail!(
                "campaign `{name}` is a draft, so there is nothing to stop: leave it as it is, or \
                 apply another file under its name"
            ),
            Verb::Pause | Verb::Resume(_) => bail!(
                "campaign `{name}` is a draft, so it cannot be {status}: run `meridian campaign \
                 start {}`",
                word(&name)
            ),
        },
        Ordered::NotWhile(now) => {
            bail!("campaign `{name}` is {now}, so it cannot be {status}")
        }
    };
    let view = OrderedView { campaign: name, status: status.as_str(), changed, live };
    bench.terminal.show(output.format(), &view)?;
    Ok(())
}
