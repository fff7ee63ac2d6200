//! The versions that enrollments run, loaded once and kept: a version never changes.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, RwLock};

use machine::document::{self, CampaignDocument};
use machine::document::{EmailDocument, SmsDocument, StepDocument};
use machine::ids::{SequenceId, WorkspaceId};
use machine::key::{StepKey, VariantKey};
use machine::sequence::Version;
use sqlx::PgConnection;

use crate::content::step::{BodySource, CompiledStep};
use crate::error::{ActivityError, Result};

/// A version with the document it was made from.
#[derive(Debug)]
pub struct Loaded {
    /// What the machine runs.
    pub version: Version,
    /// What the author wrote; the texts are in it.
    pub document: CampaignDocument,
    /// Which sequence.
    pub sequence: SequenceId,
    /// Which of its versions.
    pub number: i32,
    /// The wordings of its mails and texts, checked; a fault is the step's, not the campaign's.
    pub wordings: Wordings,
    /// The keys of its mails in the order of the sequence.
    pub mails: Vec<StepKey>,
    /// The keys of its texts in the order of the sequence.
    pub texts: Vec<StepKey>,
}

/// Every version this process has met.
#[derive(Debug, Default, Clone)]
pub struct Versions {
    loaded: Arc<RwLock<HashMap<Key, Arc<Loaded>>>>,
}

type Key = (WorkspaceId, SequenceId, i32);

impl Versions {
    /// Returns the versions with these names, in any order, from memory or from the store.
    ///
    /// # Errors
    ///
    /// When one is missing, or does not compile under this build.
    pub async fn get(
        &self,
        conn: &mut PgConnection,
        workspace: WorkspaceId,
        names: &BTreeSet<(SequenceId, i32)>,
    ) -> Result<HashMap<(SequenceId, i32), Arc<Loaded>>> {
        let mut found = HashMap::with_capacity(names.len());
        for &(sequence, number) in names {
            let key = (workspace, sequence, number);
            let known = self.loaded.read().expect("no writer panics").get(&key).cloned();
            let loaded = match known {
                Some(loaded) => loaded,
                None => {
                    let loaded = Arc::new(load(conn, workspace, sequence, number).await?);
                    let mut all = self.loaded.write().expect("no writer panics");
                    Arc::clone(all.entry(key).or_insert(loaded))
                }
            };
            found.insert((sequence, number), loaded);
        }
        Ok(found)
    }
}

async fn load(
    conn: &mut PgConnection,
    workspace: WorkspaceId,
    sequence: SequenceId,
    number: i32,
) -> Result<Loaded> {
    let row = sqlx::query!(
        r#"
        SELECT document FROM sequence_versions
        WHERE workspace_id = $1 AND sequence_id = $2 AND version = $3
        "#,
        workspace.uuid(),
        sequence.uuid(),
        number,
    )
    .fetch_optional(conn)
    .await?;
    let wrong = |why: String| ActivityError::Stored { what: "sequence version", why };
    let row = row.ok_or_else(|| wrong(format!("version {number} of {sequence} is not there")))?;
    let document: CampaignDocument =
        serde_json::from_value(row.document).map_err(|error| wrong(error.to_string()))?;
    let version = document::compile(&document).map_err(|faults| {
        wrong(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    })?;
    let mut wordings = HashMap::new();
    let (mut mails, mut texts) = (Vec::new(), Vec::new());
    collect_wordings(&document.steps, &mut wordings, &mut mails, &mut texts);
    Ok(Loaded { version, document, sequence, number, wordings, mails, texts })
}

/// The checked wordings of a version, by step and variant.
pub type Wordings =
    HashMap<(StepKey, Option<VariantKey>), std::result::Result<CompiledStep, String>>;

/// Returns the checked wordings of a document.
pub fn wordings(document: &CampaignDocument) -> Wordings {
    let mut wordings = HashMap::new();
    collect_wordings(&document.steps, &mut wordings, &mut Vec::new(), &mut Vec::new());
    wordings
}

fn collect_wordings(
    steps: &[StepDocument],
    wordings: &mut Wordings,
    mails: &mut Vec<StepKey>,
    texts: &mut Vec<StepKey>,
) {
    for step in steps {
        if let Some(email) = &step.email {
            mails.push(step.key.clone());
            for (variant, compiled) in compile_email(email) {
                wordings.insert((step.key.clone(), variant), compiled);
            }
        }
        if let Some(sms) = &step.sms {
            texts.push(step.key.clone());
            for (variant, compiled) in compile_sms(sms) {
                wordings.insert((step.key.clone(), variant), compiled);
            }
        }
        if let Some(condition) = &step.condition {
            collect_wordings(&condition.then, wordings, mails, texts);
            collect_wordings(&condition.otherwise, wordings, mails, texts);
        }
    }
}

type Compiled = std::result::Result<CompiledStep, String>;

fn compile_email(email: &EmailDocument) -> Vec<(Option<VariantKey>, Compiled)> {
    if email.variants.is_empty() {
        let compiled = wording(email.subject.as_ref(), email.body.as_ref(), email.html.as_ref());
        return vec![(None, compiled)];
    }
    let variants = email.variants.iter().map(|variant| {
        let subject = variant.subject.as_ref().or(email.subject.as_ref());
        let compiled = wording(subject, variant.body.as_ref(), variant.html.as_ref());
        (Some(variant.key.clone()), compiled)
    });
    variants.collect()
}

/// A text is the plain part of a mail without a subject.
fn compile_sms(sms: &SmsDocument) -> Vec<(Option<VariantKey>, Compiled)> {
    let single = sms.body.iter().map(|body| (None, wording(None, Some(body), None)));
    let variants = sms
        .variants
        .iter()
        .map(|variant| (Some(variant.key.clone()), wording(None, Some(&variant.body), None)));
    single.chain(variants).collect()
}

fn wording(subject: Option<&String>, body: Option<&String>, html: Option<&String>) -> Compiled {
    let source = match (body, html) {
        (Some(text), None) => BodySource::Text(text),
        (None, Some(html)) => BodySource::Html(html),
        (Some(text), Some(html)) => BodySource::Both { text, html },
        (None, None) => return Err("has no text".to_owned()),
    };
    CompiledStep::compile(subject.map(String::as_str), source)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}
