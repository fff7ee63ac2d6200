//! What a file's people become among the leads we have: a value the file gives wins over the one we
//! had, an empty one changes nothing, tags are added.

use std::collections::HashMap;

use machine::context::{Consent, Consents};
use machine::ids::{LeadId, WorkspaceId};
use machine::signal::Signal;
use serde_json::{Map, Value};

use super::Totals;
use super::row::Person;
use crate::error::Result;
use crate::ids;
use crate::store::leads::{self, Lead, NewLead};
use crate::store::signals::{self, Content, NewSignal};
use crate::store::{Store, clock, locks};
use crate::tag::Tag;

/// Stores people, all or none, and tells the enrollments of those that changed. No two of them share
/// an address.
pub(super) async fn store(
    store: &Store,
    workspace: WorkspaceId,
    people: &[Person],
    source: &str,
) -> Result<Totals> {
    if people.is_empty() {
        return Ok(Totals::default());
    }
    let mut tx = store.begin_batch(workspace).await?;
    locks::lock_exclusive(&mut tx, &[locks::import_key(workspace)]).await?;
    let addresses: Vec<_> = people.iter().map(|person| &person.address).collect();
    let known = leads::ids_at(&mut tx, workspace, &addresses).await?;
    let id_of = |person: &Person| known.get(person.address.as_str()).copied();
    // Consent that is withdrawn stops: no gate may be under way that has not seen it.
    let refusing: Vec<i64> = people
        .iter()
        .filter(|person| refuses(person.consent))
        .filter_map(|person| Some(locks::lead_key(workspace, id_of(person)?)))
        .collect();
    locks::lock_exclusive(&mut tx, &refusing).await?;
    let ids: Vec<LeadId> = known.values().copied().collect();
    let current = leads::lock(&mut tx, workspace, &ids).await?;
    let current: HashMap<LeadId, Lead> = current.into_iter().map(|lead| (lead.id, lead)).collect();
    let tags = leads::tags_of(&mut tx, workspace, &ids).await?;
    let now = clock::read(&mut tx).await?.campaign;

    let merged = Merged::of(people, |person| current.get(&id_of(person)?), &tags);
    let added = merged.added.iter();
    let new: Vec<NewLead<'_>> =
        added.map(|(lead, person)| NewLead { lead, address: &person.address }).collect();
    leads::insert(&mut tx, workspace, &new, source, now).await?;
    let versions = leads::update(&mut tx, workspace, &merged.changed, now).await?;
    leads::add_tags(&mut tx, workspace, &merged.tags).await?;

    let concerned = signals::enrollments_of(&mut tx, workspace, &merged.to_tell).await?;
    let told: Vec<NewSignal> = concerned
        .into_iter()
        .filter_map(|(enrollment, lead)| {
            Some(NewSignal {
                enrollment,
                content: Content::Known(Signal::AttributeChanged),
                source_key: format!("lead/{lead}/{}", versions.get(&lead)?),
                event: None,
                refs: None,
            })
        })
        .collect();
    signals::write(&mut tx, workspace, &told, now).await?;
    let totals = merged.totals();
    tx.commit().await?;
    Ok(totals)
}

/// What is to be written.
#[derive(Default)]
struct Merged<'p> {
    added: Vec<(Lead, &'p Person)>,
    changed: Vec<Lead>,
    unchanged: u64,
    tags: Vec<(LeadId, &'p Tag)>,
    /// Leads of which the machine may read something new.
    to_tell: Vec<LeadId>,
}

impl<'p> Merged<'p> {
    fn of<'l>(
        people: &'p [Person],
        current: impl Fn(&Person) -> Option<&'l Lead>,
        tags: &HashMap<LeadId, Vec<String>>,
    ) -> Self {
        let mut merged = Self::default();
        for person in people {
            let Some(known) = current(person) else {
                let lead = merge(&empty(ids::new()), person);
                merged.tags.extend(person.tags.iter().map(|tag| (lead.id, tag)));
                merged.added.push((lead, person));
                continue;
            };
            let lead = merge(known, person);
            let has = |tag: &Tag| {
                let tags = tags.get(&lead.id);
                tags.is_some_and(|tags| tags.iter().any(|one| one == tag.as_str()))
            };
            let new_tags: Vec<_> = person.tags.iter().filter(|tag| !has(tag)).collect();
            if lead == *known && new_tags.is_empty() {
                merged.unchanged += 1;
                continue;
            }
            if lead != *known {
                merged.to_tell.push(lead.id);
            }
            merged.tags.extend(new_tags.into_iter().map(|tag| (lead.id, tag)));
            merged.changed.push(lead);
        }
        merged
    }

    fn totals(&self) -> Totals {
        let count = |length: usize| u64::try_from(length).expect("a batch is short");
        Totals {
            added: count(self.added.len()),
            changed: count(self.changed.len()),
            unchanged: self.unchanged,
            refused: 0,
        }
    }
}

fn merge(known: &Lead, person: &Person) -> Lead {
    let mut lead = known.clone();
    lead.zone = person.zone.or(lead.zone);
    lead.consent = Consents {
        email: said(person.consent.email, lead.consent.email),
        sms: said(person.consent.sms, lead.consent.sms),
        call: said(person.consent.call, lead.consent.call),
    };
    for (name, value) in &person.attributes {
        lead.attributes.insert(name.as_str().to_owned(), Value::String(value.clone()));
    }
    lead
}

fn said(new: Consent, known: Consent) -> Consent {
    match new {
        Consent::Unknown => known,
        Consent::Granted | Consent::Refused => new,
    }
}

fn refuses(consent: Consents) -> bool {
    [consent.email, consent.sms, consent.call].contains(&Consent::Refused)
}

fn empty(id: LeadId) -> Lead {
    Lead {
        id,
        version: 1,
        zone: None,
        consent: Consents::default(),
        attributes: Map::new(),
        erased_at: None,
    }
}
