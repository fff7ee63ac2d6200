//! The keyed hash under which a suppression is found. It outlives the address: after an erase only
//! the hash remains, and it still refuses the same address however it is spelt. The key derives from
//! the *oldest* key of the ring, because hashes of erased addresses cannot be made again: that key
//! stays in the ring for as long as there are suppressions.

use crate::key_ring::{KeyRing, SecretKey};

/// Hashes addresses and domains for the list of suppressions.
pub struct SuppressionKey(SecretKey);

/// The hash of one suppressed address or domain.
pub type SuppressionHash = [u8; 32];

impl SuppressionKey {
    /// Derives the key from the ring's oldest key.
    pub fn new(ring: &KeyRing) -> Self {
        Self(ring.derive_oldest("meridian suppression v1", b""))
    }

    /// Hashes an address. Never refuses: what is no address still has a hash.
    pub fn address(&self, address: &str) -> SuppressionHash {
        self.0.mac(&[b"address", plain_address(address).as_bytes()])
    }

    /// Hashes a domain, without `@`.
    pub fn domain(&self, domain: &str) -> SuppressionHash {
        self.0.mac(&[b"domain", plain_domain(domain).as_bytes()])
    }

    /// Hashes the domain of an address; `None` if it has none.
    pub fn domain_of(&self, address: &str) -> Option<SuppressionHash> {
        let (_, domain) = address.rsplit_once('@')?;
        Some(self.domain(domain))
    }
}

/// The one spelling by which an address is suppressed: lower case, without plus-tag, the domain in
/// ASCII; for Gmail without dots and under one name. It is coarser than the address we write to: two
/// spellings of one mailbox must never be two entries.
fn plain_address(address: &str) -> String {
    let address = address.trim().to_lowercase();
    let Some((local, domain)) = address.rsplit_once('@') else {
        return address;
    };
    let domain = match plain_domain(domain).as_str() {
        "googlemail.com" => "gmail.com".to_owned(),
        other => other.to_owned(),
    };
    let local = local.trim();
    // A quoted local part may hold a plus of its own; a leading plus is no tag.
    let untagged = match local.split_once('+') {
        Some((base, _)) if !base.is_empty() && !local.starts_with('"') => base,
        Some(_) | None => local,
    };
    let local = if domain == "gmail.com" { untagged.replace('.', "") } else { untagged.to_owned() };
    format!("{local}@{domain}")
}

fn plain_domain(domain: &str) -> String {
    let domain = domain.trim().trim_end_matches('.').to_lowercase();
    match url::Host::parse(&domain) {
        Ok(url::Host::Domain(ascii)) => ascii,
        // Address literals and what is no host at all are compared as they are.
        Ok(url::Host::Ipv4(_) | url::Host::Ipv6(_)) | Err(_) => domain,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::SuppressionKey;
    use crate::key_ring::KeyRing;

    fn key() -> SuppressionKey {
        SuppressionKey::new(&KeyRing::from_bytes(&[1; 32]).expect("one key"))
    }

    #[test]
    fn every_spelling_of_a_mailbox_has_one_hash() {
        for (one, other) in [
            ("ada@example.com", " Ada@EXAMPLE.com. "),
            ("ada@example.com", "ada+news@example.com"),
            ("ada@bücher.example", "ADA@xn--bcher-kva.example"),
            ("a.d.a+x@googlemail.com", "ada@gmail.com"),
        ] {
            assert_eq!(key().address(one), key().address(other), "{one} and {other}");
        }
    }

    #[test]
    fn different_mailboxes_have_different_hashes() {
        for (one, other) in [
            ("ada@example.com", "bob@example.com"),
            ("a.da@example.com", "ada@example.com"),
            ("ada@example.com", "ada@example.org"),
            ("+a@example.com", "+b@example.com"),
        ] {
            assert_ne!(key().address(one), key().address(other), "{one} and {other}");
        }
        assert_ne!(key().address("example.com"), key().domain("example.com"));
    }

    #[test]
    fn a_domain_is_found_from_an_address_in_it() {
        assert_eq!(key().domain_of("Ada@Example.com"), Some(key().domain("example.COM.")));
        assert_eq!(key().domain_of("ada"), None);
    }

    #[test]
    fn rotation_changes_no_hash_and_another_ring_changes_all() {
        let mut keys = vec![1; 32];
        keys.extend([2; 32]);
        let rotated = SuppressionKey::new(&KeyRing::from_bytes(&keys).expect("two keys"));
        assert_eq!(rotated.address("ada@example.com"), key().address("ada@example.com"));
        let foreign = SuppressionKey::new(&KeyRing::generate());
        assert_ne!(foreign.address("ada@example.com"), key().address("ada@example.com"));
    }

    proptest! {
        #[test]
        fn hashing_is_total_and_insensitive_to_case_and_tags(
            local in "[a-z][a-z0-9.]{0,12}", domain in "[a-z]{1,8}\\.[a-z]{2,4}", tag in "[a-z0-9]{0,6}", noise in ".{0,40}",
        ) {
            let plain = key().address(&format!("{local}@{domain}"));
            let spelt = format!("{}+{tag}@{}", local.to_uppercase(), domain.to_uppercase());
            prop_assert_eq!(plain, key().address(&spelt));
            key().address(&noise);
            key().domain(&noise);
            key().domain_of(&noise);
        }
    }
}
