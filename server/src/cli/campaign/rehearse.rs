//! `meridian campaign rehearse`: whom a campaign would write to and when, if nobody answered.

use std::collections::BTreeMap;
use std::fmt;

use activities::campaigns::CampaignStatus;
use activities::campaigns::enroll::Selection;
use activities::rehearsal::summary::{self, HeldLeads, Summary, Texts};
use activities::rehearsal::{self, Course, Rehearsed, Touch};
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use machine::key::StepKey;
use machine::sequence::Channel;
use machine::state::Why;
use serde::Serialize;

use crate::cli::Bench;
use crate::cli::lead;
use crate::tables::{Column, Facts, Table};
use crate::terminal::Output;
use crate::{timeline, times};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Rehearse {
    /// The campaign
    name: String,
    /// Only this lead, by its mail address, number or id
    #[arg(long, value_name = "LEAD")]
    lead: Option<String>,
    /// Rehearse with at most this many leads
    #[arg(long, default_value = "10000", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    /// Print at most this many messages one by one
    #[arg(long, default_value = "20")]
    rows: usize,
    #[command(flatten)]
    output: Output,
}

#[derive(Serialize)]
struct Rehearsal {
    campaign: String,
    status: CampaignStatus,
    version: i32,
    from: DateTime<Utc>,
    zone: Tz,
    leads: usize,
    /// Leads that get a message or a call.
    reached: usize,
    touches: usize,
    /// Calls among them.
    calls: usize,
    first_at: Option<DateTime<Utc>>,
    last_at: Option<DateTime<Utc>>,
    no_address: u64,
    filtered_out: u64,
    recently_contacted: u64,
    with_person: u64,
    days: Vec<Day>,
    held: Vec<Held>,
    endings: BTreeMap<&'static str, usize>,
    /// How many leads are handed over, by what hands them over.
    handed_over: BTreeMap<String, usize>,
    /// What the texts of each step come to.
    texts: BTreeMap<StepKey, Texts>,
    courses: Vec<CourseView>,
    #[serde(skip)]
    steps: Vec<StepKey>,
    #[serde(skip)]
    rows: usize,
}

/// What leaves on one day of the campaign's calendar.
#[derive(Serialize)]
struct Day {
    day: NaiveDate,
    total: usize,
    steps: BTreeMap<StepKey, usize>,
}

/// Leads that would be held for the same reason.
#[derive(Serialize)]
struct Held {
    step: StepKey,
    why: String,
    leads: usize,
    example: Option<String>,
}

impl From<summary::Day> for Day {
    fn from(day: summary::Day) -> Self {
        let summary::Day { day, total, steps } = day;
        Self { day, total, steps }
    }
}

impl From<HeldLeads> for Held {
    fn from(held: HeldLeads) -> Self {
        let HeldLeads { step, missing, leads, example } = held;
        Self { step, why: timeline::lacks(&missing), leads, example }
    }
}

#[derive(Serialize)]
struct CourseView {
    #[serde(flatten)]
    course: Course,
    senders: BTreeMap<String, String>,
}

pub(super) async fn run(command: Rehearse, bench: Bench<'_>) -> anyhow::Result<()> {
    let campaign = super::find(&bench, &command.name).await?;
    let session = bench.session;
    let selection = match &command.lead {
        Some(who) => Selection::Leads(vec![lead::find(session, who).await?]),
        None => Selection::Audience,
    };
    let room = session.mailroom(bench.config)?;
    let limit = usize::try_from(command.limit).unwrap_or(usize::MAX);
    let bar = bench.terminal.progress("rehearsing", 0);
    let workspace = session.workspace;
    let done = rehearsal::run(&room, workspace, campaign.id, &selection, limit).await;
    bar.finish_and_clear();
    let rows = if command.lead.is_some() { usize::MAX } else { command.rows };
    bench.terminal.show(command.output.format(), &Rehearsal::of(done?, rows))?;
    Ok(())
}

impl Rehearsal {
    fn of(done: Rehearsed, rows: usize) -> Self {
        let zone = done.campaign.settings.zone;
        let summary = Summary::of(&done.courses, zone);
        let Summary { touches, first_at, last_at, days, held, endings, texts, .. } = summary;
        let Summary { reached, calls, handed_over, .. } = summary;
        let sender_name = |touch: &Touch| {
            let sender = touch.sender?;
            Some((sender.to_string(), done.senders.get(&sender)?.clone()))
        };
        let views = done.courses.into_iter().map(|course| {
            let senders = course.touches.iter().filter_map(sender_name).collect();
            CourseView { course, senders }
        });
        let courses: Vec<CourseView> = views.collect();
        Self {
            campaign: done.campaign.name,
            status: done.campaign.status,
            version: done.campaign.version,
            from: done.from,
            zone,
            leads: courses.len(),
            reached,
            touches,
            calls,
            first_at,
            last_at,
            no_address: done.left_out.no_address,
            filtered_out: done.left_out.filtered_out,
            recently_contacted: done.left_out.recently_contacted,
            with_person: done.left_out.with_person,
            days: days.into_iter().map(Day::from).collect(),
            held: held.into_iter().map(Held::from).collect(),
            endings,
            handed_over,
            texts,
            courses,
            steps: done.steps,
            rows,
        }
    }

    fn touches_table(&self) -> Table {
        let columns = [
            Column::Text("when, on the lead's clock"),
            Column::Text("lead"),
            Column::Text("step"),
            Column::Text("wording"),
            Column::Text("from"),
            Column::Text("moved by"),
        ];
        let mut all: Vec<(&Touch, &CourseView)> = self
            .courses
            .iter()
            .flat_map(|it| it.course.touches.iter().map(move |t| (t, it)))
            .collect();
        all.sort_by_key(|(touch, _)| touch.at);
        let mut table = Table::new(&columns, "nothing would leave");
        for (touch, view) in all.into_iter().take(self.rows) {
            let sender = touch.sender.and_then(|sender| view.senders.get(&sender.to_string()));
            let approval = if touch.needs_approval { ", once approved" } else { "" };
            table.row([
                times::on(view.course.zone, touch.at),
                address(&view.course, touch.channel),
                format!("{}{approval}", touch.step),
                touch.variant.as_ref().map(ToString::to_string).unwrap_or_default(),
                sender.cloned().unwrap_or_default(),
                touch.moved_by.map(moved_by).unwrap_or_default(),
            ]);
        }
        table
    }

    fn days_table(&self) -> Table {
        let mut columns = vec![Column::Text("day"), Column::Number("messages")];
        columns.extend(self.steps.iter().map(|key| Column::Number(key.as_str())));
        let mut table = Table::new(&columns, "");
        for day in &self.days {
            let mut cells = vec![day.day.format("%a %-d %b %Y").to_string(), day.total.to_string()];
            cells.extend(self.steps.iter().map(|step| match day.steps.get(step) {
                Some(n) => n.to_string(),
                None => String::new(),
            }));
            table.row(cells);
        }
        table
    }
}

impl fmt::Display for Rehearsal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut facts = Facts::new();
        facts
            .add(
                "rehearsal",
                format!("{}, version {}, if nobody answers", self.campaign, self.version),
            )
            .add("from", times::on(self.zone, self.from));
        writeln!(f, "{facts}")?;
        match self.status {
            CampaignStatus::Draft => {}
            CampaignStatus::Active
            | CampaignStatus::Paused
            | CampaignStatus::Stopped
            | CampaignStatus::Finished => {
                let status = self.status;
                writeln!(
                    f,
                    "The campaign is {status}. This is what would happen if everybody began"
                )?;
                writeln!(
                    f,
                    "now, not what its leads still get: see `meridian enrollment list`.\n"
                )?;
            }
        }
        write!(f, "{}", self.touches_table())?;
        if self.touches > self.rows {
            let more = self.touches - self.rows;
            writeln!(f, "and {more} more: --rows N prints them, --lead ADDRESS follows one lead")?;
        }
        if !self.days.is_empty() {
            write!(f, "\n{}", self.days_table())?;
        }
        writeln!(f)?;
        if let (Some(first), Some(last)) = (self.first_at, self.last_at) {
            let counted = |n: usize, what: &str| match n {
                1 => format!("1 {what}"),
                n => format!("{n} {what}s"),
            };
            let mut what = counted(self.touches - self.calls, "message");
            if self.calls > 0 {
                what = format!("{what} and {}", counted(self.calls, "call"));
            }
            let leads = counted(self.leads, "lead");
            let whom = match self.reached {
                reached if reached == self.leads => leads,
                reached => format!("{reached} of {leads}"),
            };
            writeln!(
                f,
                "{what} to {whom}, from {} to {}",
                times::on(self.zone, first),
                times::on(self.zone, last)
            )?;
        }
        for (step, Texts { texts, parts, wide }) in &self.texts {
            write!(f, "  `{step}`: {texts} texts in {parts} parts")?;
            match wide {
                0 => writeln!(f)?,
                n => writeln!(f, ", {n} of them in the 16-bit alphabet (70 characters a part)")?,
            }
        }
        for held in &self.held {
            let example = held.example.as_deref().unwrap_or("-");
            let Held { step, why, leads, .. } = held;
            writeln!(f, "  {leads} would be held at `{step}`: {why} (for example {example})")?;
        }
        for (cause, n) in &self.handed_over {
            writeln!(f, "  {n} would be handed over to a person: {cause}")?;
        }
        for (what, n) in &self.endings {
            if !matches!(*what, "finished" | "held" | "handed_over") {
                writeln!(f, "  {n} {}", in_words(what))?;
            }
        }
        for (n, what) in [
            (self.no_address, "have no address to write to"),
            (self.filtered_out, "do not pass the campaign's filter"),
            (self.recently_contacted, super::start::RECENTLY_CONTACTED),
            (self.with_person, super::start::WITH_PERSON),
        ] {
            if n > 0 {
                writeln!(f, "  {n} {what}")?;
            }
        }
        Ok(())
    }
}

/// Where a message would go; where nobody knows, whom it is for.
fn address(course: &Course, channel: Channel) -> String {
    let address = match channel {
        Channel::Email | Channel::Call => course.email.as_ref(),
        Channel::Sms => course.phone.as_ref(),
    };
    address.cloned().unwrap_or_else(|| course.lead.to_string())
}

fn moved_by(why: Why) -> String {
    timeline::why(why)
}

fn in_words(ending: &str) -> &'static str {
    match ending {
        "met" => "have met the goal already",
        "suppressed" => "are on the list of suppressions and get nothing",
        "unmailable" => "would get a mail whose text comes out empty or too long",
        _ => "are still on their way after 400 days",
    }
}
