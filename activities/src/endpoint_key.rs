//! Keys that others show us: the secret in a webhook's path and the key of the API. A key carries
//! its workspace in front of a random secret of 160 bits; only its SHA-256 is stored. A plain hash
//! is enough because nobody can guess 160 bits, and it lets every request be checked cheaply.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::base32;

const SECRET_LEN: usize = 20;

/// What a key opens. Its prefix tells people, and scanners for leaked secrets, what they look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyUse {
    /// The path of a webhook: `wk_…`.
    Webhook,
    /// The HTTP API: `mk_…`.
    Api,
}

/// A key as its holder presents it: `wk_{workspace}_{secret}`.
#[derive(Clone, PartialEq, Eq)]
pub struct EndpointKey {
    key_use: KeyUse,
    workspace: Uuid,
    secret: [u8; SECRET_LEN],
}

/// What is stored of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyHash([u8; 32]);

/// The text is no key of ours. Says nothing about how close it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a key")]
pub struct NotAKey;

impl EndpointKey {
    /// Makes a new random key.
    pub fn generate(key_use: KeyUse, workspace: Uuid) -> Self {
        let mut secret = [0; SECRET_LEN];
        rand::fill(&mut secret);
        Self { key_use, workspace, secret }
    }

    /// What the key claims to open.
    pub fn key_use(&self) -> KeyUse {
        self.key_use
    }

    /// The workspace inside whose wall to look the key up.
    pub fn workspace(&self) -> Uuid {
        self.workspace
    }

    /// The text to show its holder, once.
    pub fn reveal(&self) -> String {
        let prefix = self.key_use.prefix();
        format!("{prefix}_{}_{}", self.workspace.simple(), base32::encode(&self.secret))
    }

    /// The hash to store, and to find the row by.
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.reveal()).into())
    }
}

impl KeyHash {
    /// Reads a stored hash; `None` unless it has 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The bytes to store.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether this is the hash of `key`, in constant time.
    pub fn is_of(&self, key: &EndpointKey) -> bool {
        self.0.ct_eq(&key.hash().0).into()
    }
}

impl KeyUse {
    fn prefix(self) -> &'static str {
        match self {
            Self::Webhook => "wk",
            Self::Api => "mk",
        }
    }
}

impl FromStr for EndpointKey {
    type Err = NotAKey;

    fn from_str(text: &str) -> Result<Self, NotAKey> {
        // The longest genuine key; nothing longer is worth reading.
        if text.len() > 2 + 1 + 32 + 1 + SECRET_LEN * 8 / 5 {
            return Err(NotAKey);
        }
        let mut fields = text.splitn(3, '_');
        let (Some(prefix), Some(workspace), Some(secret)) =
            (fields.next(), fields.next(), fields.next())
        else {
            return Err(NotAKey);
        };
        let key_use = [KeyUse::Webhook, KeyUse::Api]
            .into_iter()
            .find(|key_use| key_use.prefix() == prefix)
            .ok_or(NotAKey)?;
        if workspace.len() != 32 {
            return Err(NotAKey);
        }
        let workspace = Uuid::try_parse(workspace).map_err(|_| NotAKey)?;
        let secret = base32::decode(secret)
            .and_then(|secret| <[u8; SECRET_LEN]>::try_from(secret).ok())
            .ok_or(NotAKey)?;
        Ok(Self { key_use, workspace, secret })
    }
}

impl fmt::Debug for EndpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointKey({}_{}_…)", self.key_use.prefix(), self.workspace.simple())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::{EndpointKey, KeyHash, KeyUse, NotAKey};

    #[test]
    fn a_key_is_read_back_with_its_workspace_and_matches_its_hash() {
        for key_use in [KeyUse::Webhook, KeyUse::Api] {
            let key = EndpointKey::generate(key_use, Uuid::from_u128(5));
            let read: EndpointKey = key.reveal().parse().expect("our own");
            assert_eq!(read, key);
            assert_eq!(read.workspace(), Uuid::from_u128(5));
            let stored = KeyHash::from_bytes(key.hash().as_bytes()).expect("32 bytes");
            assert!(stored.is_of(&read));
            assert!(!stored.is_of(&EndpointKey::generate(key_use, Uuid::from_u128(5))));
        }
    }

    #[test]
    fn the_secret_does_not_show_in_debug_output() {
        let key = EndpointKey::generate(KeyUse::Api, Uuid::nil());
        let secret = key.reveal().rsplit('_').next().expect("a secret").to_owned();
        assert!(!format!("{key:?}").contains(&secret));
    }

    #[test]
    fn a_key_for_one_use_is_not_one_for_the_other() {
        let key = EndpointKey::generate(KeyUse::Webhook, Uuid::nil());
        let other: EndpointKey =
            key.reveal().replacen("wk_", "mk_", 1).parse().expect("well-formed");
        assert!(!key.hash().is_of(&other));
    }

    proptest! {
        #[test]
        fn reading_is_total(text in ".{0,80}") {
            prop_assert_eq!(text.parse::<EndpointKey>(), Err(NotAKey));
        }

        #[test]
        fn a_changed_secret_never_matches(at in 36..68usize, to in "[a-z2-7]") {
            let key = EndpointKey::generate(KeyUse::Webhook, Uuid::from_u128(9));
            let text = key.reveal();
            let mut forged = text.clone();
            forged.replace_range(at..=at, &to);
            let read: EndpointKey = forged.parse().expect("well-formed");
            prop_assert_eq!(key.hash().is_of(&read), forged == text);
        }
    }
}
