//! The master keys, which live outside the database: in a file of the data directory or in
//! `MERIDIAN_KEY`. The ring holds one or more keys of 32 bytes, oldest first; the newest seals and
//! signs, every one opens and verifies. Rotating is appending a key. This module loads keys and
//! derives others from them; what is done with those it does not know.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretBox};
use sha2::{Digest, Sha256};

/// Length of a master key and of every derived key, in bytes.
pub const KEY_LEN: usize = 32;

/// More keys than any rotation needs; a larger file is not a key file.
const KEYS_MAX: usize = 32;

/// Names a master key without revealing it: the head of its hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; KeyId::LEN]);

impl KeyId {
    /// Length in bytes.
    pub const LEN: usize = 4;

    pub(crate) fn from_bytes(bytes: [u8; Self::LEN]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// Why there is no key ring. Each names the place and, where there is one, the fix.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text of `MERIDIAN_KEY` is not keys in hexadecimal.
    #[error("key {position} of MERIDIAN_KEY is not 64 hexadecimal digits")]
    NotHex {
        /// Counted from one.
        position: usize,
    },
    /// The bytes are no whole number of keys.
    #[error(
        "a key ring holds 1 to 32 keys of 32 bytes, this one has {len} bytes; \
         restore the key file from its backup"
    )]
    Length {
        /// Bytes found.
        len: usize,
    },
    /// The same key twice: whoever appended it has not rotated.
    #[error("key {id} is in the ring twice")]
    Repeated {
        /// The key's name.
        id: KeyId,
    },
    /// Everyone on this machine may read the file.
    #[error("key file {path} may be read by everyone (mode {mode:03o}); run chmod 600 on it")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file cannot be read or made.
    #[error("cannot use key file {path}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// The master keys, oldest first, never empty.
pub struct KeyRing {
    keys: Vec<MasterKey>,
}

struct MasterKey {
    id: KeyId,
    secret: SecretKey,
}

/// A key for one purpose. It never shows in `Debug` output and is wiped when dropped.
pub(crate) struct SecretKey(SecretBox<[u8; KEY_LEN]>);

impl KeyRing {
    /// Makes a ring of one random key, for tests and for a demonstration that keeps nothing.
    pub fn generate() -> Self {
        let mut bytes = [0; KEY_LEN];
        rand::fill(&mut bytes);
        Self { keys: vec![MasterKey::new(bytes)] }
    }

    /// Reads `MERIDIAN_KEY`: keys of 64 hexadecimal digits, comma-separated, oldest first.
    ///
    /// # Errors
    ///
    /// [`KeyError::NotHex`], [`KeyError::Length`], [`KeyError::Repeated`].
    pub fn from_hex(text: &str) -> Result<Self, KeyError> {
        let mut bytes = Vec::with_capacity(KEY_LEN);
        for (index, key) in text.split(',').enumerate() {
            let key = hex::decode(key.trim())
                .ok()
                .filter(|key| key.len() == KEY_LEN)
                .ok_or(KeyError::NotHex { position: index + 1 })?;
            bytes.extend(key);
        }
        Self::from_bytes(&bytes)
    }

    /// Reads keys written one after the other, oldest first.
    ///
    /// # Errors
    ///
    /// [`KeyError::Length`], [`KeyError::Repeated`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, KeyError> {
        let (keys, rest) = bytes.as_chunks::<KEY_LEN>();
        if keys.is_empty() || keys.len() > KEYS_MAX || !rest.is_empty() {
            return Err(KeyError::Length { len: bytes.len() });
        }
        let mut ring = Self { keys: Vec::with_capacity(keys.len()) };
        for key in keys {
            let key = MasterKey::new(*key);
            if ring.find(key.id).is_some() {
                return Err(KeyError::Repeated { id: key.id });
            }
            ring.keys.push(key);
        }
        Ok(ring)
    }

    /// Reads a key file.
    ///
    /// # Errors
    ///
    /// [`KeyError`]: a file that is absent, unreadable, readable by everyone, or not keys.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io { path: path.to_owned(), source };
        let mode = fs::metadata(path).map_err(io)?.permissions().mode() & 0o777;
        if mode & 0o007 != 0 {
            return Err(KeyError::Exposed { path: path.to_owned(), mode });
        }
        Self::from_bytes(&fs::read(path).map_err(io)?)
    }

    /// Reads a key file, making one with a single random key (mode 0600) where there is none.
    ///
    /// The file appears whole or not at all, and of two processes that start together both end up
    /// with the same key: a key that is lost or replaced makes everything sealed with it
    /// unreadable.
    ///
    /// # Errors
    ///
    /// As [`KeyRing::load`].
    pub fn load_or_create(path: &Path) -> Result<Self, KeyError> {
        match Self::load(path) {
            Err(KeyError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                create(path).map_err(|source| KeyError::Io { path: path.to_owned(), source })?;
                Self::load(path)
            }
            answer => answer,
        }
    }

    /// The key that seals and signs.
    pub fn newest(&self) -> KeyId {
        self.keys.last().expect("a ring is never empty").id
    }

    /// The key whose children outlive every rotation: the hashes of those who opted out.
    pub fn oldest(&self) -> KeyId {
        self.keys.first().expect("a ring is never empty").id
    }

    /// Derives the newest key's child for `purpose` and `context`.
    pub(crate) fn derive_newest(&self, purpose: &str, context: &[u8]) -> SecretKey {
        self.keys.last().expect("a ring is never empty").secret.derive(purpose, context)
    }

    /// Derives the oldest key's child. It stays the same through every rotation.
    pub(crate) fn derive_oldest(&self, purpose: &str, context: &[u8]) -> SecretKey {
        self.keys.first().expect("a ring is never empty").secret.derive(purpose, context)
    }

    /// Derives the child of the key named `id`, if the ring holds it.
    pub(crate) fn derive(&self, id: KeyId, purpose: &str, context: &[u8]) -> Option<SecretKey> {
        self.find(id).map(|key| key.secret.derive(purpose, context))
    }

    /// Derives every key's child, newest first.
    pub(crate) fn derive_all(&self, purpose: &str) -> Vec<SecretKey> {
        self.keys.iter().rev().map(|key| key.secret.derive(purpose, b"")).collect()
    }

    fn find(&self, id: KeyId) -> Option<&MasterKey> {
        self.keys.iter().find(|key| key.id == id)
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|key| key.id)).finish()
    }
}

impl MasterKey {
    fn new(bytes: [u8; KEY_LEN]) -> Self {
        let mut hash = Sha256::new();
        hash.update(b"meridian key id v1");
        hash.update(bytes);
        let digest = hash.finalize();
        let mut id = [0; KeyId::LEN];
        id.copy_from_slice(&digest[..KeyId::LEN]);
        Self { id: KeyId(id), secret: SecretKey(SecretBox::new(Box::new(bytes))) }
    }
}

impl SecretKey {
    pub(crate) fn expose(&self) -> &[u8; KEY_LEN] {
        self.0.expose_secret()
    }

    /// HMAC-SHA256 over `parts`, each preceded by its length, so that no two lists of parts run
    /// together into the same message.
    pub(crate) fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(self.expose())
            .expect("HMAC takes keys of any length");
        for part in parts {
            mac.update(&u64::try_from(part.len()).expect("a length fits 64 bits").to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    fn derive(&self, purpose: &str, context: &[u8]) -> Self {
        Self(SecretBox::new(Box::new(self.mac(&[purpose.as_bytes(), context]))))
    }
}

/// Writes a new key beside `path` and links it there unless another process was faster.
fn create(path: &Path) -> io::Result<()> {
    let mut key = [0; KEY_LEN];
    let mut suffix = [0; 8];
    rand::fill(&mut key);
    rand::fill(&mut suffix);

    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}", hex::encode(suffix)));
    let draft = PathBuf::from(name);

    let made = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&draft)
        .and_then(|mut file| file.write_all(&key).and_then(|()| file.sync_all()))
        .and_then(|()| match fs::hard_link(&draft, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            answer => answer,
        });
    // A draft that was never made needs no removal, and one left behind is harmless.
    let removed = fs::remove_file(&draft);
    made.and(removed)?;
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::{KEY_LEN, KeyError, KeyRing};

    /// A folder of its own for one test, removed at the end.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new() -> Self {
            let path = std::env::temp_dir().join(format!("keys-{:032x}", rand::random::<u128>()));
            std::fs::create_dir(&path).expect("a fresh folder");
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).expect("our own folder");
        }
    }

    #[test]
    fn a_missing_key_file_is_made_once_and_only_for_its_owner() {
        let folder = Folder::new();
        let path = folder.0.join("key");
        let first = KeyRing::load_or_create(&path).expect("made");
        let again = KeyRing::load_or_create(&path).expect("read");
        assert_eq!(first.newest(), again.newest());

        let mode = std::fs::metadata(&path).expect("it exists").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read(&path).expect("readable").len(), KEY_LEN);
        assert_eq!(std::fs::read_dir(&folder.0).expect("listable").count(), 1, "no draft is left");
    }

    #[test]
    fn processes_that_start_together_share_one_key() {
        let folder = Folder::new();
        let path = folder.0.join("key");
        let ids = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| KeyRing::load_or_create(&path).expect("a key").newest()))
                .collect();
            starts.into_iter().map(|start| start.join().expect("no panic")).collect::<Vec<_>>()
        });
        assert!(ids.iter().all(|id| *id == ids[0]));
    }

    #[test]
    fn a_key_file_everyone_may_read_is_refused_with_the_fix() {
        let folder = Folder::new();
        let path = folder.0.join("key");
        KeyRing::load_or_create(&path).expect("made");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).expect("ours");
        let error = KeyRing::load(&path).expect_err("refused");
        assert!(error.to_string().contains("chmod 600"), "{error}");
    }

    #[test]
    fn a_damaged_key_file_is_never_replaced() {
        let folder = Folder::new();
        let path = folder.0.join("key");
        KeyRing::load_or_create(&path).expect("made");
        std::fs::write(&path, [7; 31]).expect("ours");
        assert!(matches!(KeyRing::load_or_create(&path), Err(KeyError::Length { len: 31 })));
        assert_eq!(std::fs::read(&path).expect("readable").len(), 31);
    }

    #[test]
    fn a_key_appended_becomes_the_newest() {
        let one = KeyRing::from_bytes(&[1; KEY_LEN]).expect("one key");
        let two = KeyRing::from_hex(&format!(" {},{} ", "01".repeat(32), "02".repeat(32)));
        let two = two.expect("two keys");
        assert_ne!(one.newest(), two.newest());
        assert_eq!(
            one.derive_oldest("purpose", b"").expose(),
            two.derive_oldest("purpose", b"").expose()
        );
    }

    #[test]
    fn faults_name_their_place() {
        let bad = format!("{},xyz", "01".repeat(32));
        assert!(matches!(KeyRing::from_hex(&bad), Err(KeyError::NotHex { position: 2 })));
        assert!(matches!(KeyRing::from_bytes(&[]), Err(KeyError::Length { len: 0 })));
        assert!(matches!(KeyRing::from_bytes(&[3; 64]), Err(KeyError::Repeated { .. })));
    }

    #[test]
    fn debug_output_names_keys_and_shows_none() {
        let ring = KeyRing::from_bytes(&[0xab; KEY_LEN]).expect("one key");
        let shown = format!("{ring:?}");
        assert!(shown.contains(&ring.newest().to_string()));
        assert!(!shown.contains("abab") && !shown.contains("171"));
    }
}
