//! Sealing: how credentials and raw payloads rest in the database. XChaCha20-Poly1305 under a key
//! of the row's own, derived from the [`KeyRing`]; the row's place is bound in, so a blob copied to
//! another row, column or workspace does not open. It knows nothing of what it seals.
//!
//! A blob is `key id (4) | nonce (24) | ciphertext and tag`.

use std::fmt;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::{SecretSlice, SecretString};
use uuid::Uuid;

use crate::key_ring::{KeyId, KeyRing, SecretKey};

const PURPOSE: &str = "meridian seal v1";
const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;

/// Where a sealed value rests. Whoever opens it must name the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// The table's name.
    pub table: &'a str,
    /// The column's name.
    pub column: &'a str,
    /// The workspace that owns the row.
    pub workspace: Uuid,
    /// The row.
    pub row: Uuid,
}

/// Why a blob did not open. None says more about its content than that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Too short to be a sealed value.
    #[error("the value in {place} is not a sealed value")]
    NotSealed {
        /// Table and column.
        place: String,
    },
    /// Sealed with a key that this ring does not hold.
    #[error(
        "the value in {place} was sealed with key {key}, which is not in the key ring; \
         restore the key file or MERIDIAN_KEY it was sealed with"
    )]
    UnknownKey {
        /// Table and column.
        place: String,
        /// The key it asks for.
        key: KeyId,
    },
    /// Changed since it was sealed, or sealed for another row, column or workspace.
    #[error("the value in {place} does not open: it was changed or belongs to another row")]
    Altered {
        /// Table and column.
        place: String,
    },
    /// Opened, and is not text.
    #[error("the value in {place} is not text")]
    NotText {
        /// Table and column.
        place: String,
    },
}

/// Seals `plain` for `place` with the newest key. The same value sealed twice looks different.
pub fn seal(keys: &KeyRing, place: Place<'_>, plain: &[u8]) -> Vec<u8> {
    let bound = place.to_bytes();
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce);
    let sealed = cipher(&keys.derive_newest(PURPOSE, &bound))
        .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: &bound })
        .expect("a value in memory is shorter than the cipher's limit of 256 GB");

    let mut blob = Vec::with_capacity(KeyId::LEN + NONCE_LEN + sealed.len());
    blob.extend_from_slice(keys.newest().as_bytes());
    blob.extend_from_slice(&nonce);
    blob.extend_from_slice(&sealed);
    blob
}

/// Opens what [`seal`] made for the same place.
///
/// # Errors
///
/// [`SealError`]: never transient, every retry fails alike.
pub fn open(keys: &KeyRing, place: Place<'_>, blob: &[u8]) -> Result<SecretSlice<u8>, SealError> {
    open_bytes(keys, place, blob).map(SecretSlice::from)
}

/// Opens a value that was text when it was sealed.
///
/// # Errors
///
/// [`SealError`], as [`open`], and [`SealError::NotText`].
pub fn open_text(keys: &KeyRing, place: Place<'_>, blob: &[u8]) -> Result<SecretString, SealError> {
    let bytes = open_bytes(keys, place, blob)?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SecretString::from(text)),
        Err(error) => {
            // Into a box that wipes itself, since it may still be a secret.
            drop(SecretSlice::from(error.into_bytes()));
            Err(SealError::NotText { place: place.to_string() })
        }
    }
}

/// Whether `blob` was sealed with a key that is no longer the newest, so that a rotation should
/// seal it again.
pub fn is_outdated(keys: &KeyRing, blob: &[u8]) -> bool {
    !blob.starts_with(keys.newest().as_bytes())
}

fn open_bytes(keys: &KeyRing, place: Place<'_>, blob: &[u8]) -> Result<Vec<u8>, SealError> {
    let (id, nonce, sealed) =
        split(blob).ok_or_else(|| SealError::NotSealed { place: place.to_string() })?;
    let bound = place.to_bytes();
    let key = keys
        .derive(id, PURPOSE, &bound)
        .ok_or_else(|| SealError::UnknownKey { place: place.to_string(), key: id })?;
    cipher(&key)
        .decrypt(&XNonce::from(nonce), Payload { msg: sealed, aad: &bound })
        .map_err(|_| SealError::Altered { place: place.to_string() })
}

fn split(blob: &[u8]) -> Option<(KeyId, [u8; NONCE_LEN], &[u8])> {
    let (id, rest) = blob.split_first_chunk::<{ KeyId::LEN }>()?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
    (sealed.len() >= TAG_LEN).then_some((KeyId::from_bytes(*id), *nonce, sealed))
}

fn cipher(key: &SecretKey) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.expose().into())
}

impl Place<'_> {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(80);
        bytes.extend_from_slice(self.workspace.as_bytes());
        bytes.extend_from_slice(self.row.as_bytes());
        for name in [self.table, self.column] {
            let len = u32::try_from(name.len()).expect("names of tables and columns are short");
            bytes.extend_from_slice(&len.to_be_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use secrecy::ExposeSecret;
    use uuid::Uuid;

    use super::{Place, SealError, is_outdated, open, open_text, seal};
    use crate::key_ring::KeyRing;

    fn place() -> Place<'static> {
        Place {
            table: "senders",
            column: "password",
            workspace: Uuid::from_u128(1),
            row: Uuid::from_u128(2),
        }
    }

    #[test]
    fn a_rotated_ring_opens_old_values_and_seals_with_the_new_key() {
        let old = KeyRing::from_bytes(&[1; 32]).expect("one key");
        let mut keys = vec![1; 32];
        keys.extend([2; 32]);
        let new = KeyRing::from_bytes(&keys).expect("two keys");

        let blob = seal(&old, place(), b"s3cret");
        let text = open_text(&new, place(), &blob).expect("opens");
        assert_eq!(text.expose_secret(), "s3cret");
        assert!(is_outdated(&new, &blob) && !is_outdated(&old, &blob));
        assert!(!is_outdated(&new, &seal(&new, place(), b"s3cret")));
    }

    #[test]
    fn a_foreign_key_is_named_and_the_value_is_not() {
        let blob = seal(&KeyRing::from_bytes(&[1; 32]).expect("one key"), place(), b"s3cret");
        let error = open(&KeyRing::generate(), place(), &blob).expect_err("wrong key");
        assert!(matches!(error, SealError::UnknownKey { .. }));
        let shown = format!("{error} {error:?}");
        assert!(shown.contains("senders.password") && !shown.contains("s3cret"), "{shown}");
    }

    #[test]
    fn the_same_secret_never_looks_the_same() {
        let keys = KeyRing::generate();
        assert_ne!(seal(&keys, place(), b"x"), seal(&keys, place(), b"x"));
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_as_text() {
        let keys = KeyRing::generate();
        let blob = seal(&keys, place(), &[0xff, 0xfe]);
        assert!(matches!(open_text(&keys, place(), &blob), Err(SealError::NotText { .. })));
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens(plain in proptest::collection::vec(any::<u8>(), 0..200)) {
            let keys = KeyRing::generate();
            let blob = seal(&keys, place(), &plain);
            let opened = open(&keys, place(), &blob).expect("opens");
            prop_assert_eq!(opened.expose_secret(), plain.as_slice());
        }

        #[test]
        fn any_flipped_bit_and_any_cut_fail(
            plain in proptest::collection::vec(any::<u8>(), 0..60),
            at in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            let keys = KeyRing::generate();
            let blob = seal(&keys, place(), &plain);
            let mut flipped = blob.clone();
            flipped[at.index(blob.len())] ^= 1 << bit;
            prop_assert!(open(&keys, place(), &flipped).is_err());
            prop_assert!(open(&keys, place(), &blob[..at.index(blob.len())]).is_err());
        }

        #[test]
        fn a_swap_of_row_column_table_or_workspace_fails(
            row in any::<u128>(), workspace in any::<u128>(), column in "[a-z]{0,8}", table in "[a-z]{0,8}",
        ) {
            let keys = KeyRing::generate();
            let blob = seal(&keys, place(), b"s3cret");
            let other = Place {
                table: &table,
                column: &column,
                workspace: Uuid::from_u128(workspace),
                row: Uuid::from_u128(row),
            };
            for swapped in [
                other,
                Place { row: other.row, ..place() },
                Place { workspace: other.workspace, ..place() },
                Place { column: other.column, ..place() },
                Place { table: other.table, ..place() },
                // The names' border is part of what is bound.
                Place { table: "sender", column: "spassword", ..place() },
            ] {
                prop_assume!(swapped != place());
                let answer = open(&keys, swapped, &blob);
                let refused = matches!(answer, Err(SealError::Altered { .. }));
                prop_assert!(refused);
            }
        }

        #[test]
        fn opening_is_total(blob in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert!(open(&KeyRing::generate(), place(), &blob).is_err());
        }
    }
}
