//! Who takes part in a rehearsal, and what the gate would know: read once, before it begins.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use machine::context::Facts;
use machine::country;
use machine::ids::{CampaignId, EnrollmentId, LeadId, SenderId, WorkspaceId};
use machine::key::{StepKey, VariantKey};
use machine::sequence::{Channel, StepKind};
use machine::signal::{Answer, Missing, Refusal};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::address::EmailAddress;
use crate::campaigns::Campaign;
use crate::campaigns::enroll::{Enrolled, Pages, Selection};
use crate::content::body::Footer;
use crate::content::step::{CompiledStep, RenderFault, Rendered, Values};
use crate::error::Result;
use crate::header_text::HeaderText;
use crate::ids;
use crate::mailroom::Mailroom;
use crate::phone::PhoneNumber;
use crate::send::slots::{Book, CampaignLimits, Outage, SenderLimits};
use crate::senders::{self, Sender, SenderStatus};
use crate::sms::{self, Measure};
use crate::store::leads::{self, Lead};
use crate::store::prepares::LeadRow;
use crate::store::quotas::{self, Scope};
use crate::store::{Tx, prepares, suppressions};
use crate::suppression_key::SuppressionHash;
use crate::versions::Loaded;

/// Leads that are read at a time.
const PAGE: usize = 1_000;

/// What all actors share.
pub(super) struct Stage {
    pub(super) workspace: WorkspaceId,
    pub(super) campaign: CampaignId,
    pub(super) version: Arc<Loaded>,
    pub(super) book: Book,
    pub(super) senders: BTreeMap<SenderId, Sender>,
}

/// One lead of the audience.
pub(super) struct Actor {
    pub(super) lead: LeadId,
    pub(super) enrollment: EnrollmentId,
    pub(super) email: Option<EmailAddress>,
    pub(super) phone: Option<PhoneNumber>,
    pub(super) zone: Tz,
    /// All zones it may live in.
    pub(super) zones: Vec<Tz>,
    pub(super) facts: Facts,
    /// Who writes to the lead on each channel.
    pub(super) senders: BTreeMap<Channel, SenderId>,
    /// The channels on which nobody may.
    pub(super) suppressed: BTreeSet<Channel>,
    attributes: Map<String, Value>,
}

/// Reads the audience of a campaign, at most `limit` leads of it, and what the gate knows. Also
/// returns what became of those who would not enter.
///
/// # Errors
///
/// When the database fails.
pub(super) async fn cast(
    room: &Mailroom,
    workspace: WorkspaceId,
    campaign: &Campaign,
    selection: &Selection,
    limit: usize,
    now: DateTime<Utc>,
) -> Result<(Stage, Vec<Actor>, Enrolled)> {
    let known = senders::list(&room.store, workspace).await?;
    let mut tx = room.store.begin(workspace).await?;
    let name = (campaign.sequence, campaign.version);
    let mut loaded = room.versions.get(&mut tx, workspace, &[name].into()).await?;
    let version = loaded.remove(&name).expect("it was asked for");
    let allowed = &campaign.settings.senders;
    let senders: BTreeMap<SenderId, Sender> = known
        .into_iter()
        .filter(|it| allowed.contains(&it.id) && it.status == SenderStatus::Active)
        .map(|sender| (sender.id, sender))
        .collect();
    let book = open_book(&mut tx, campaign, &senders, now).await?;
    let mut pages = Pages::new(campaign.id, selection, &version.document, &version.version, now);
    let mut actors = Vec::new();
    let mut left_out = Enrolled::default();
    while actors.len() < limit {
        let wanted = PAGE.min(limit - actors.len());
        let Some(page) = pages.next(&mut tx, wanted).await? else { break };
        page.left_out.iter().for_each(|(_, why)| left_out.leave_out(*why));
        read_page(&mut tx, room, &version, &senders, &page.leads, &mut actors).await?;
    }
    // The quotas were locked to be read whole; nothing is to be written.
    drop(tx);
    let stage = Stage { workspace, campaign: campaign.id, version, book, senders };
    Ok((stage, actors, left_out))
}

async fn open_book(
    tx: &mut Tx,
    campaign: &Campaign,
    senders: &BTreeMap<SenderId, Sender>,
    now: DateTime<Utc>,
) -> Result<Book> {
    let workspace = tx.workspace();
    let mut owners: Vec<(Scope, Uuid)> =
        senders.keys().map(|sender| (Scope::Sender, sender.uuid())).collect();
    owners.push((Scope::Campaign, campaign.id.uuid()));
    let since = now.date_naive() - TimeDelta::days(1);
    let counts = quotas::lock(tx, workspace, &owners, since).await?;
    let settings = &campaign.settings;
    let limits = CampaignLimits { per_day: settings.per_day, zone: settings.zone };
    let of_sender = |sender: &Sender| SenderLimits {
        per_day: sender.per_day,
        spacing: TimeDelta::seconds(sender.spacing_s.into()),
        zone: sender.zone,
        next_free_at: sender.next_free_at,
        outage: Outage::None,
    };
    Ok(Book {
        senders: senders.iter().map(|(id, sender)| (id.uuid(), of_sender(sender))).collect(),
        campaigns: [(campaign.id.uuid(), limits)].into(),
        counts,
        ..Book::default()
    })
}

async fn read_page(
    tx: &mut Tx,
    room: &Mailroom,
    version: &Loaded,
    senders: &BTreeMap<SenderId, Sender>,
    page: &[LeadId],
    actors: &mut Vec<Actor>,
) -> Result<()> {
    let workspace = tx.workspace();
    let uuids: Vec<Uuid> = page.iter().map(|lead| lead.uuid()).collect();
    let found: HashMap<Uuid, LeadRow> = prepares::leads(tx, workspace, &uuids)
        .await?
        .into_iter()
        .map(|row| (row.lead_id, row))
        .collect();
    let key = &room.suppressions;
    let of_mailbox = |it: &EmailAddress| vec![key.address(it.as_str()), key.domain(it.domain())];
    let of_phone = |it: &PhoneNumber| vec![key.address(it.as_str())];
    let email_of = |lead: &Lead| -> Option<EmailAddress> {
        found.get(&lead.id.uuid())?.email.as_deref()?.parse().ok()
    };
    let phone_of = |lead: &Lead| -> Option<PhoneNumber> {
        found.get(&lead.id.uuid())?.phone.as_deref()?.parse().ok()
    };
    let mut leads = leads::read(tx, workspace, page).await?;
    leads.sort_by_key(|lead| lead.id);
    let hashes: Vec<_> = leads
        .iter()
        .flat_map(|lead| {
            let phones = phone_of(lead).iter().flat_map(of_phone).collect::<Vec<_>>();
            email_of(lead).iter().flat_map(of_mailbox).chain(phones).collect::<Vec<_>>()
        })
        .collect();
    let in_force = suppressions::in_force(tx, workspace, &hashes).await?;
    for lead in leads {
        let (email, phone) = (email_of(&lead), phone_of(&lead));
        let is_in_force =
            |hashes: Vec<SuppressionHash>| hashes.iter().any(|it| in_force.contains(it));
        let channels = [
            (Channel::Email, email.as_ref().is_some_and(|it| is_in_force(of_mailbox(it)))),
            (Channel::Sms, phone.as_ref().is_some_and(|it| is_in_force(of_phone(it)))),
        ];
        let suppressed = channels.into_iter().filter(|(_, is)| *is).map(|(channel, _)| channel);
        let chosen = [Channel::Email, Channel::Sms].into_iter().filter_map(|channel| {
            let fit = senders.values().filter(|sender| {
                sender.channel == channel && sender.status == SenderStatus::Active
            });
            Some((
                channel,
                senders::choose(
                    fit.map(|it| (it.id, i32::try_from(it.weight).unwrap_or(i32::MAX))),
                    lead.id,
                )?,
            ))
        });
        let named = version.version.attributes.iter();
        let country = lead.attributes.get("country").and_then(Value::as_str);
        let facts = Facts {
            zone: lead.zone,
            country: country.and_then(|country| country.parse().ok()),
            consent: lead.consent,
            attributes: named
                .filter_map(|name| {
                    Some((name.clone(), lead.attributes.get(name.as_str())?.clone()))
                })
                .collect(),
            in_flight: Vec::new(),
        };
        let campaign = &version.version.zone;
        let zones = country::candidates(facts.zone.as_ref(), facts.country, campaign);
        actors.push(Actor {
            lead: lead.id,
            enrollment: ids::new(),
            email,
            phone,
            zone: match zones {
                [only] => *only,
                _ => version.version.zone,
            },
            zones: zones.to_vec(),
            facts,
            senders: chosen.collect(),
            suppressed: suppressed.collect(),
            attributes: lead.attributes,
        });
    }
    Ok(())
}

impl Stage {
    /// Calls `visit` with the key of every step that is a message or a call, in order.
    pub(super) fn each_message(&self, visit: &mut impl FnMut(&StepKey)) {
        self.version.version.each_step(&mut |step| match &step.kind {
            StepKind::Message { .. } | StepKind::Call => visit(&step.key),
            StepKind::WaitUntil(_)
            | StepKind::Condition { .. }
            | StepKind::Handover
            | StepKind::Finish => {}
        });
    }

    /// Returns what a message comes to if it is a text, or what would stand against it.
    pub(super) fn check_wording(
        &self,
        actor: &Actor,
        step: &StepKey,
        variant: Option<&VariantKey>,
        channel: Channel,
    ) -> Result<Option<Measure>, Answer> {
        let content = || Answer::Rejected { class: Refusal::Content, retry_after_s: None };
        let held = |fields| Answer::Held { missing: Missing::Variables { fields } };
        let has_address = match channel {
            Channel::Email => actor.email.is_some(),
            Channel::Sms => actor.phone.is_some(),
            Channel::Call => false,
        };
        if !has_address {
            return Err(Answer::Held { missing: Missing::Address { channel } });
        }
        let sender = actor.senders.get(&channel).and_then(|sender| self.senders.get(sender));
        let sender = sender.ok_or(Answer::Held { missing: Missing::Sender { channel } })?;
        let Some(Ok(wording)) = self.version.wordings.get(&(step.clone(), variant.cloned())) else {
            return Err(content());
        };
        let way_out = "https://example.com/u/rehearsal";
        match self.render(wording, actor, sender, way_out, None) {
            Ok(rendered) if channel == Channel::Sms => {
                let text = sms::travelling(rendered.text.trim_end());
                let fits = text.chars().count() <= sms::CHARACTERS_MAX;
                fits.then(|| Some(sms::measure(&text))).ok_or_else(content)
            }
            Ok(_) => Ok(None),
            Err(RenderFault::Missing { fields }) => Err(held(fields)),
            Err(RenderFault::Unusable { field, .. }) => Err(held(vec![field])),
            Err(
                RenderFault::Subject(_)
                | RenderFault::EmptyBody
                | RenderFault::TooLong { .. }
                | RenderFault::NoPlainText,
            ) => Err(content()),
        }
    }

    /// Renders a wording with an actor's data.
    pub(super) fn render(
        &self,
        wording: &CompiledStep,
        actor: &Actor,
        sender: &Sender,
        way_out: &str,
        footer: Option<&Footer<'_>>,
    ) -> Result<Rendered, RenderFault> {
        let sending = self.sending_values(actor, sender, way_out);
        wording.render(Values::new(&actor.attributes, &sending), footer)
    }

    fn sending_values(&self, actor: &Actor, sender: &Sender, way_out: &str) -> Map<String, Value> {
        let name = sender.from_name.as_ref().map(HeaderText::as_str);
        let mut values = Map::new();
        if let Some(email) = &actor.email {
            values.insert("email".to_owned(), email.as_str().into());
        }
        if let Some(phone) = &actor.phone {
            values.insert("phone".to_owned(), phone.as_str().into());
        }
        let sender = json!({ "name": name, "address": sender.from.as_str() });
        values.insert("sender".to_owned(), sender);
        values.insert("campaign".to_owned(), json!({ "name": self.version.document.name }));
        values.insert("unsubscribe_url".to_owned(), way_out.into());
        values
    }
}
