//! What a file's people become among the leads we have. As a rule a value the file gives wins over
//! the one we had, an empty one changes nothing, and tags are added.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use machine::context::{Consent, Consents};
use machine::ids::{LeadId, WorkspaceId};
use serde_json::{Map, Value};

use super::row::Person;
use super::{Options, Policy, RowOutcome};
use crate::error::Result;
use crate::ids;
use crate::leads::tell_changed;
use crate::phone::PhoneNumber;
use crate::store::leads::{self, Address, Lead, NewLead};
use crate::store::{Store, clock, locks, suppressions};
use crate::suppression_key::{SuppressionHash, SuppressionKey};
use crate::tag::Tag;

/// What became of a person of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Merged {
    /// It is one of our leads.
    Stored(RowOutcome),
    /// It is one of our leads, without its number, which belongs to another.
    WithoutNumber(RowOutcome),
    /// It may not be one: the owner of its address was erased.
    AddressErased,
    /// It may not be one: the owner of its number was erased.
    NumberErased,
}

/// Stores people, all or none, and tells the enrollments of those that changed. No two of them share
/// an address or a number. Returns what became of each, by line.
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
    let mut tx = store.begin_batch(workspace).await?;
    locks::lock_exclusive(&mut tx, &[locks::import_key(workspace)]).await?;
    let addresses: Vec<_> = people.iter().filter_map(|person| person.address.as_ref()).collect();
    let known = leads::ids_at(&mut tx, workspace, &addresses).await?;
    let numbers: Vec<&PhoneNumber> = people.iter().filter_map(|it| it.phone.as_ref()).collect();
    let holders = leads::ids_at_numbers(&mut tx, workspace, &numbers).await?;
    // Who has no address in the file is known by the number.
    let id_of = |person: &Person| match (&person.address, &person.phone) {
        (Some(address), _) => known.get(address.as_str()).copied(),
        (None, Some(number)) => holders.get(number.as_str()).copied(),
        (None, None) => None,
    };
    // Consent that is withdrawn stops: no gate may be under way that has not seen it.
    let refusing: Vec<i64> = people
        .iter()
        .filter(|person| refuses(person.consent))
        .filter_map(|person| Some(locks::lead_key(workspace, id_of(person)?)))
        .collect();
    locks::lock_exclusive(&mut tx, &refusing).await?;
    let ids: HashSet<LeadId> = people.iter().filter_map(id_of).collect();
    let ids: Vec<LeadId> = ids.into_iter().collect();
    let current = leads::lock(&mut tx, workspace, &ids).await?;
    let mut current: HashMap<LeadId, Lead> =
        current.into_iter().map(|lead| (lead.id, lead)).collect();
    let tags = leads::tags_of(&mut tx, workspace, &ids).await?;
    let hashes = hashes(key, people, &known, &holders);
    let erased = suppressions::erased(&mut tx, workspace, &hashes).await?;
    let is_erased = |text: &str| !erased.is_empty() && erased.contains(&key.address(text));
    // What we know stays under this policy, and that is asked for then only.
    let reached = match options.policy {
        Policy::Fill => leads::with_numbers(&mut tx, workspace, &ids).await?,
        Policy::Overwrite | Policy::Skip => HashSet::new(),
    };
    let now = clock::read(&mut tx).await?.campaign;

    let mut changes = Changes::default();
    let mut results = Vec::with_capacity(people.len());
    for person in people {
        let known = id_of(person).and_then(|id| current.get(&id));
        let number = person.phone.as_ref();
        let address = person.address.as_ref();
        let merged = if known.is_none() && address.is_some_and(|it| is_erased(it.as_str())) {
            Merged::AddressErased
        } else if number.is_some_and(|number| is_erased(number.as_str())) {
            Merged::NumberErased
        } else {
            let keeps = known.is_some_and(|lead| reached.contains(&lead.id));
            let number = number
                .filter(|_| !keeps)
                .map(|number| Number { number, holder: holders.get(number.as_str()).copied() });
            match known {
                Some(known) => {
                    let (lead, merged) = changes.meet(known, person, number, &tags, options.policy);
                    // Another row may be about the same person: one by the address, one by the number.
                    current.insert(lead.id, lead);
                    merged
                }
                None => changes.add(person, number),
            }
        };
        results.push((person.line, merged));
    }
    let new: Vec<NewLead<'_>> = changes
        .added
        .iter()
        .map(|(lead, person)| NewLead {
            lead,
            addresses: person.address.iter().map(Address::Email).collect(),
        })
        .collect();
    leads::insert(&mut tx, workspace, &new, &options.source, now).await?;
    let changed: Vec<Lead> = changes.changed.into_values().collect();
    let versions = leads::update(&mut tx, workspace, &changed, now).await?;
    leads::set_numbers(&mut tx, workspace, &changes.numbers).await?;
    leads::add_tags(&mut tx, workspace, &changes.tags).await?;
    let to_tell: Vec<LeadId> = changes.to_tell.into_iter().collect();
    tell_changed(&mut tx, workspace, &to_tell, &versions, now).await?;
    tx.commit().await?;
    Ok(results)
}

/// What is to be written.
#[derive(Default)]
struct Changes<'p> {
    added: Vec<(Lead, &'p Person)>,
    changed: BTreeMap<LeadId, Lead>,
    tags: Vec<(LeadId, &'p Tag)>,
    /// Numbers that are new to their leads.
    numbers: Vec<(LeadId, &'p PhoneNumber)>,
    /// Leads of which the machine may read something new.
    to_tell: BTreeSet<LeadId>,
}

/// The hashes of what people would be reached by and are not yet.
fn hashes(
    key: &SuppressionKey,
    people: &[Person],
    known: &HashMap<String, LeadId>,
    holders: &HashMap<String, LeadId>,
) -> Vec<SuppressionHash> {
    let addresses = people.iter().filter_map(|person| Some(person.address.as_ref()?.as_str()));
    let addresses = addresses.filter(|address| !known.contains_key(*address));
    let numbers = people.iter().filter_map(|person| Some(person.phone.as_ref()?.as_str()));
    let numbers = numbers.filter(|number| !holders.contains_key(*number));
    addresses.chain(numbers).map(|text| key.address(text)).collect()
}

/// A number that a file gives, and whose it is.
#[derive(Clone, Copy)]
struct Number<'p> {
    number: &'p PhoneNumber,
    holder: Option<LeadId>,
}

impl<'p> Changes<'p> {
    /// A person nobody knew.
    fn add(&mut self, person: &'p Person, number: Option<Number<'p>>) -> Merged {
        let lead = merge(&empty(ids::new()), person, Policy::Overwrite);
        let id = lead.id;
        self.tags.extend(person.tags.iter().map(|tag| (id, tag)));
        self.added.push((lead, person));
        match self.reach(id, number) {
            Reach::New | Reach::AsBefore => Merged::Stored(RowOutcome::Added(id)),
            Reach::Taken => Merged::WithoutNumber(RowOutcome::Added(id)),
        }
    }

    /// A person we know. Returns what we know of it now.
    fn meet(
        &mut self,
        known: &Lead,
        person: &'p Person,
        number: Option<Number<'p>>,
        tags: &HashMap<LeadId, Vec<String>>,
        policy: Policy,
    ) -> (Lead, Merged) {
        if policy == Policy::Skip {
            return (known.clone(), Merged::Stored(RowOutcome::Unchanged(known.id)));
        }
        let lead = merge(known, person, policy);
        let id = lead.id;
        let has = |tag: &Tag| {
            let tags = tags.get(&id);
            tags.is_some_and(|tags| tags.iter().any(|one| one == tag.as_str()))
        };
        let new_tags: Vec<_> = person.tags.iter().filter(|tag| !has(tag)).collect();
        let reach = self.reach(id, number);
        let is_told = lead != *known || reach == Reach::New;
        let outcome = if is_told || !new_tags.is_empty() {
            self.to_tell.extend(is_told.then_some(id));
            self.tags.extend(new_tags.into_iter().map(|tag| (id, tag)));
            self.changed.insert(id, lead.clone());
            RowOutcome::Changed(id)
        } else {
            RowOutcome::Unchanged(id)
        };
        let merged = match reach {
            Reach::New | Reach::AsBefore => Merged::Stored(outcome),
            Reach::Taken => Merged::WithoutNumber(outcome),
        };
        (lead, merged)
    }

    /// Gives a lead a number that nobody has.
    fn reach(&mut self, lead: LeadId, number: Option<Number<'p>>) -> Reach {
        match number {
            None => Reach::AsBefore,
            Some(Number { number, holder: None }) => {
                self.numbers.push((lead, number));
                Reach::New
            }
            Some(Number { holder: Some(holder), .. }) if holder == lead => Reach::AsBefore,
            Some(Number { holder: Some(_), .. }) => Reach::Taken,
        }
    }
}

/// What a file says about the number of a lead.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// It has another one.
    New,
    /// Nothing, or what we know.
    AsBefore,
    /// It is another lead's.
    Taken,
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
