//! What of a database is somebody's own: addresses, names and texts, which no other system may be told.

use aho_corasick::AhoCorasick;
use sqlx::PgConnection;

/// What is shorter stands by chance in what means something else. No name may be: it would not be looked for.
const LENGTH_MIN: i32 = 4;

/// The personal texts of a database.
pub struct Personal {
    texts: Vec<String>,
    finder: AhoCorasick,
}

impl Personal {
    /// Reads every address, name and attribute of leads, agents and senders that its rows hold, and every line of
    /// what was written to them, and adds what they wrote, which is sealed; as they stand in texts and in
    /// JSON. Words of ours, as keys of steps and states are, must not be among them: they are told to
    /// everybody.
    ///
    /// # Panics
    ///
    /// When there is none, a name is too short to be looked for, or the database does not answer.
    pub async fn of(owner: &mut PgConnection, written: &[String]) -> Self {
        let texts = sqlx::query_scalar(
            r"WITH texts (text) AS (
                  SELECT address FROM addresses
                  UNION SELECT address FROM sends
                  UNION SELECT unnest(ARRAY[name, email]) FROM agents
                  UNION SELECT unnest(ARRAY[from_name, from_address]) FROM senders
                  UNION SELECT value FROM leads, jsonb_each_text(attributes)
                  UNION SELECT line FROM send_contents,
                      regexp_split_to_table(concat_ws(E'\n', subject, text, html), '\s*\n\s*') AS line)
              SELECT DISTINCT trim(text) FROM texts WHERE length(trim(text)) >= $1",
        );
        let mut texts: Vec<String> =
            texts.bind(LENGTH_MIN).fetch_all(&mut *owner).await.expect("the database answers");
        let short = sqlx::query_scalar(
            r"WITH names (name) AS (
                  SELECT name FROM agents
                  UNION SELECT from_name FROM senders
                  UNION SELECT value FROM leads, jsonb_each_text(attributes) WHERE key LIKE '%name')
              SELECT name FROM names WHERE length(name) BETWEEN 1 AND $1 - 1",
        );
        let short: Vec<String> =
            short.bind(LENGTH_MIN).fetch_all(&mut *owner).await.expect("the database answers");
        assert!(short.is_empty(), "too short to be looked for, use longer ones: {short:?}");
        texts.extend_from_slice(written);
        assert!(!texts.is_empty(), "there is nobody");
        let in_json = |text: &String| {
            let quoted = serde_json::to_string(text).expect("a text is JSON");
            quoted.trim_matches('"').to_owned()
        };
        let escaped: Vec<String> = texts.iter().map(in_json).collect();
        texts.extend(escaped);
        let finder = AhoCorasick::new(&texts).expect("they are few");
        Self { texts, finder }
    }

    /// Returns those that stand in `bytes`.
    pub fn told_in(&self, bytes: &[u8]) -> Vec<&str> {
        let found = self.finder.find_overlapping_iter(bytes);
        let mut told: Vec<&str> = found.map(|it| self.texts[it.pattern()].as_str()).collect();
        told.sort_unstable();
        told.dedup();
        told
    }
}
