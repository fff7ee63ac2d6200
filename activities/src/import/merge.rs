//! What a file's people become among the leads we have. As a rule a value the file gives wins over
//! the one we had, an empty one changes nothing, and tags are added.

use std::collections::HashMap;

use machine::context::{Consent, Consents};
use machine::ids::{LeadId, WorkspaceId};
use serde_json::{Map, Value};

use super::fault::Reason;
use super::row::Person;
use super::{Options, Policy, RowOutcome};
use crate::error::Result;
use crate::ids;
use crate::leads::tell_changed;
use crate::store::leads::{self, Address, Lead, NewLead};
use crate::store::{Store, clock, locks, suppressions};
use crate::suppression_key::{SuppressionHash, SuppressionKey};
use crate::tag::Tag;

/// What became of a person of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Merged {
    /// It is one of our leads.
    Stored(RowOutcome),
    /// It may not be one.
    Refused(Reason),
}

/// Stores people, all or none, and tells the enrollments of those that changed. No two of them share
/// an address. Returns what became of each, by line.
pub(super) async fn store(
    store: &Store,
    key: &SuppressionKey,
    workspace: WorkspaceId,
    people: &[Person],
    options: &Options,
) -> Result<Vec<(u64, Merged)>> {
    if people.is_empty() {
        return Ok(Vec::new());
    }
    let mut tx = store.begin(workspace).await?;
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
    let hash = |person: &Person| key.address(person.address.as_str());
    let new = people.iter().filter(|person| id_of(person).is_none());
    let hashes: Vec<SuppressionHash> = new.map(hash).collect();
    let erased = suppressions::erased(&mut tx, workspace, &hashes).await?;
    let now = clock::read(&mut tx).await?.campaign;

    let mut changes = Changes::default();
    let mut results = Vec::with_capacity(people.len());
    for person in people {
        let merged = match id_of(person).and_then(|id| current.get(&id)) {
            Some(known) => Merged::Stored(changes.meet(known, person, &tags, options.policy)),
            None if !erased.is_empty() && erased.contains(&hash(person)) => {
                Merged::Refused(Reason::Erased)
            }
            None => Merged::Stored(changes.add(person)),
        };
        results.push((person.line, merged));
    }
    let new: Vec<NewLead<'_>> = changes
        .added
        .iter()
        .map(|(lead, person)| NewLead { lead, addresses: vec![Address::Email(&person.address)] })
        .collect();
    leads::insert(&mut tx, workspace, &new, &options.source, now).await?;
    let versions = leads::update(&mut tx, workspace, &changes.changed, now).await?;
    leads::add_tags(&mut tx, workspace, &changes.tags).await?;
    tell_changed(&mut tx, workspace, &changes.to_tell, &versions, now).await?;
    tx.commit().await?;
    Ok(results)
}

/// What is to be written.
#[derive(Default)]
struct Changes<'p> {
    added: Vec<(Lead, &'p Person)>,
    changed: Vec<Lead>,
    tags: Vec<(LeadId, &'p Tag)>,
    /// Leads of which the machine may read something new.
    to_tell: Vec<LeadId>,
}

impl<'p> Changes<'p> {
    /// A person nobody knew.
    fn add(&mut self, person: &'p Person) -> RowOutcome {
        let lead = merge(&empty(ids::new()), person, Policy::Overwrite);
        let id = lead.id;
        self.tags.extend(person.tags.iter().map(|tag| (id, tag)));
        self.added.push((lead, person));
        RowOutcome::Added(id)
    }

    /// A person we know.
    fn meet(
        &mut self,
        known: &Lead,
        person: &'p Person,
        tags: &HashMap<LeadId, Vec<String>>,
        policy: Policy,
    ) -> RowOutcome {
        if policy == Policy::Skip {
            return RowOutcome::Unchanged(known.id);
        }
        let lead = merge(known, person, policy);
        let has = |tag: &Tag| {
            let tags = tags.get(&lead.id);
            tags.is_some_and(|tags| tags.iter().any(|one| one == tag.as_str()))
        };
        let new_tags: Vec<_> = person.tags.iter().filter(|tag| !has(tag)).collect();
        if lead == *known && new_tags.is_empty() {
            return RowOutcome::Unchanged(known.id);
        }
        if lead != *known {
            self.to_tell.push(lead.id);
        }
        self.tags.extend(new_tags.into_iter().map(|tag| (lead.id, tag)));
        self.changed.push(lead);
        RowOutcome::Changed(known.id)
    }
}

fn merge(known: &Lead, person: &Person, policy: Policy) -> Lead {
    let mut lead = known.clone();
    let fills = policy == Policy::Fill;
    lead.zone = if fills { lead.zone.or(person.zone) } else { person.zone.or(lead.zone) };
    let consent = |new, known| if fills { filled(new, known) } else { said(new, known) };
    lead.consent = Consents {
        email: consent(person.consent.email, lead.consent.email),
        sms: consent(person.consent.sms, lead.consent.sms),
        call: consent(person.consent.call, lead.consent.call),
    };
    for (name, value) in &person.attributes {
        let is_known = lead.attributes.get(name.as_str()).is_some_and(is_something);
        if !(fills && is_known) {
            lead.attributes.insert(name.as_str().to_owned(), Value::String(value.clone()));
        }
    }
    lead
}

fn is_something(value: &Value) -> bool {
    !value.is_null() && value.as_str() != Some("")
}

fn said(new: Consent, known: Consent) -> Consent {
    match new {
        Consent::Unknown => known,
        Consent::Granted | Consent::Refused => new,
    }
}

/// What we know stays, but for a refusal: whatever the policy, it counts.
fn filled(new: Consent, known: Consent) -> Consent {
    match (new, known) {
        (Consent::Refused, _) | (_, Consent::Unknown) => new,
        (Consent::Unknown | Consent::Granted, Consent::Granted | Consent::Refused) => known,
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
