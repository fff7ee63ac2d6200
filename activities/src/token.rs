//! Signed tokens: the handles that leave the machine inside links and reply addresses. Each carries
//! the workspace in front, so that every look-up it leads to runs inside the wall, and a MAC under a
//! key of its kind alone. They have no expiry here: an opt-out works for any link ever mailed, and
//! whoever wants a deadline keeps it beside the row the token names.
//!
//! A link token is base64url of `workspace (16) | kind (1) | id (16) | mac (16)`: 66 characters.
//! A send token, which is part of the address where a provider reports about one ask of a send, has the
//! number of the ask (4) behind the id: 71 characters.
//!
//! A reply token is base 32 of `workspace (16) | send (16) | mac (4)`: 58 characters in either case,
//! so that `reply-TOKEN` is exactly the 64 that the local part of an address may have. Its short
//! MAC guards against mistyped and guessed addresses; what makes it hard to forge is the send's own
//! id, and who knows that can also quote our `Message-ID`, which threads without any MAC.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::base32;
use crate::key_ring::{KeyRing, SecretKey};

const MAC_LEN: usize = 16;
const LINK_LEN: usize = 16 + 1 + 16 + MAC_LEN;
const SEND_LEN: usize = 16 + 1 + 16 + 4 + MAC_LEN;
/// The kind byte of send tokens.
const SEND_KIND: u8 = 5;
const REPLY_MAC_LEN: usize = 4;
const REPLY_LEN: usize = 16 + 16 + REPLY_MAC_LEN;
const REPLY_PREFIX: &str = "reply-";

/// What a link token lets its bearer do. The byte is part of the token: values are never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum TokenKind {
    /// Opt the address of a send out; the id is the send's.
    OptOut = 1,
    /// Accept an offered handover; the id is the handover's.
    AcceptHandover = 2,
    /// Show that a mail was opened; the id is the send's. It never changes a lead's course.
    Open = 3,
    /// Follow a stored link; the id is the link's.
    Click = 4,
}

/// What a genuine send token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SendClaim {
    /// The workspace inside whose wall to look.
    pub workspace: Uuid,
    /// The send.
    pub send: Uuid,
    /// Which ask of it.
    pub attempt: i32,
}

/// What a genuine token says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The workspace inside whose wall to look.
    pub workspace: Uuid,
    /// The row the token names; which kind of row, the token's kind says.
    pub id: Uuid,
}

/// Signs and verifies tokens: the newest key signs, every key of the ring verifies.
pub struct Tokens {
    opt_out: Vec<SecretKey>,
    accept_handover: Vec<SecretKey>,
    open: Vec<SecretKey>,
    click: Vec<SecretKey>,
    send: Vec<SecretKey>,
    reply: Vec<SecretKey>,
}

impl Tokens {
    /// Derives a key per kind from the ring.
    pub fn new(ring: &KeyRing) -> Self {
        Self {
            opt_out: ring.derive_all("meridian token opt-out v1"),
            accept_handover: ring.derive_all("meridian token accept-handover v1"),
            open: ring.derive_all("meridian token open v1"),
            click: ring.derive_all("meridian token click v1"),
            send: ring.derive_all("meridian token send v1"),
            reply: ring.derive_all("meridian token reply v1"),
        }
    }

    /// Makes a link token.
    pub fn sign(&self, kind: TokenKind, claim: Claim) -> String {
        let mut bytes = Vec::with_capacity(LINK_LEN);
        bytes.extend_from_slice(claim.workspace.as_bytes());
        bytes.push(kind as u8);
        bytes.extend_from_slice(claim.id.as_bytes());
        let mac = newest(self.keys(kind)).mac(&[&bytes]);
        bytes.extend_from_slice(&mac[..MAC_LEN]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a link token of this kind; `None` for anything we did not sign.
    ///
    /// The MAC is compared in constant time.
    pub fn verify(&self, kind: TokenKind, token: &str) -> Option<Claim> {
        // Checked before decoding, so that a path of a megabyte costs nothing.
        if token.len() != LINK_LEN.div_ceil(3) * 4 - 2 {
            return None;
        }
        let bytes: [u8; LINK_LEN] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        let (said, mac) = bytes.split_at(LINK_LEN - MAC_LEN);
        let (workspace, said_kind, id) = (&said[..16], said[16], &said[17..]);
        (signed(self.keys(kind), said, mac) && said_kind == kind as u8)
            .then_some(Claim { workspace: uuid(workspace)?, id: uuid(id)? })
    }

    /// Makes a send token.
    pub fn sign_send(&self, claim: SendClaim) -> String {
        let mut bytes = Vec::with_capacity(SEND_LEN);
        bytes.extend_from_slice(claim.workspace.as_bytes());
        bytes.push(SEND_KIND);
        bytes.extend_from_slice(claim.send.as_bytes());
        bytes.extend_from_slice(&claim.attempt.to_be_bytes());
        let mac = newest(&self.send).mac(&[&bytes]);
        bytes.extend_from_slice(&mac[..MAC_LEN]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a send token; `None` for anything we did not sign.
    pub fn verify_send(&self, token: &str) -> Option<SendClaim> {
        if token.len() != (SEND_LEN * 4).div_ceil(3) {
            return None;
        }
        let bytes: [u8; SEND_LEN] = URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()?;
        let (said, mac) = bytes.split_at(SEND_LEN - MAC_LEN);
        let attempt = i32::from_be_bytes(said[33..37].try_into().ok()?);
        (signed(&self.send, said, mac) && said[16] == SEND_KIND).then_some(SendClaim {
            workspace: uuid(&said[..16])?,
            send: uuid(&said[17..33])?,
            attempt,
        })
    }

    /// Makes the local part of the address that replies to a send come back to: `reply-TOKEN`.
    pub fn reply_local_part(&self, claim: Claim) -> String {
        let mut bytes = Vec::with_capacity(REPLY_LEN);
        bytes.extend_from_slice(claim.workspace.as_bytes());
        bytes.extend_from_slice(claim.id.as_bytes());
        let mac = newest(&self.reply).mac(&[&bytes]);
        bytes.extend_from_slice(&mac[..REPLY_MAC_LEN]);
        format!("{REPLY_PREFIX}{}", base32::encode(&bytes))
    }

    /// Reads the token of a reply address, in either case; the id is the send's.
    pub fn verify_reply(&self, token: &str) -> Option<Claim> {
        if token.len() != (REPLY_LEN * 8).div_ceil(5) {
            return None;
        }
        let bytes = base32::decode(token)?;
        let (said, mac) = bytes.split_at_checked(REPLY_LEN - REPLY_MAC_LEN)?;
        let (workspace, id) = said.split_at_checked(16)?;
        signed(&self.reply, said, mac)
            .then_some(Claim { workspace: uuid(workspace)?, id: uuid(id)? })
    }

    fn keys(&self, kind: TokenKind) -> &[SecretKey] {
        match kind {
            TokenKind::OptOut => &self.opt_out,
            TokenKind::AcceptHandover => &self.accept_handover,
            TokenKind::Open => &self.open,
            TokenKind::Click => &self.click,
        }
    }
}

/// Returns the token of a reply address, unverified: `TOKEN` of `reply-TOKEN@anywhere`.
pub fn in_reply_address(address: &str) -> Option<&str> {
    let (local, _) = address.trim().rsplit_once('@')?;
    let (prefix, token) = local.split_at_checked(REPLY_PREFIX.len())?;
    (prefix.eq_ignore_ascii_case(REPLY_PREFIX) && !token.is_empty()).then_some(token)
}

fn newest(keys: &[SecretKey]) -> &SecretKey {
    keys.first().expect("a ring is never empty")
}

fn signed(keys: &[SecretKey], said: &[u8], mac: &[u8]) -> bool {
    // Every key is tried, so that the time tells nothing about which one fitted.
    keys.iter().fold(false, |found, key| {
        let expected = key.mac(&[said]);
        found | bool::from(expected[..mac.len()].ct_eq(mac))
    })
}

fn uuid(bytes: &[u8]) -> Option<Uuid> {
    Uuid::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::{Claim, SendClaim, TokenKind, Tokens, in_reply_address};
    use crate::key_ring::KeyRing;

    const KINDS: [TokenKind; 4] =
        [TokenKind::OptOut, TokenKind::AcceptHandover, TokenKind::Open, TokenKind::Click];

    fn tokens() -> Tokens {
        Tokens::new(&KeyRing::from_bytes(&[7; 32]).expect("one key"))
    }

    prop_compose! {
        fn claims()(workspace in any::<u128>(), id in any::<u128>()) -> Claim {
            Claim { workspace: Uuid::from_u128(workspace), id: Uuid::from_u128(id) }
        }
    }

    #[test]
    fn a_token_outlives_the_rotation_of_its_key() {
        let claim = Claim { workspace: Uuid::from_u128(1), id: Uuid::from_u128(2) };
        let mut keys = vec![7; 32];
        keys.extend([8; 32]);
        let rotated = Tokens::new(&KeyRing::from_bytes(&keys).expect("two keys"));
        let token = tokens().sign(TokenKind::OptOut, claim);
        assert_eq!(rotated.verify(TokenKind::OptOut, &token), Some(claim));
        assert_ne!(rotated.sign(TokenKind::OptOut, claim), token);
    }

    #[test]
    fn a_reply_address_fits_the_local_part_and_any_case() {
        let claim = Claim { workspace: Uuid::from_u128(u128::MAX), id: Uuid::from_u128(3) };
        let local = tokens().reply_local_part(claim);
        assert_eq!(local.len(), 64);
        let address = format!(" {}@IN.example.com", local.to_uppercase());
        let token = in_reply_address(&address).expect("a reply address");
        assert_eq!(tokens().verify_reply(token), Some(claim));
    }

    #[test]
    fn other_addresses_hold_no_token() {
        for address in
            ["ada@example.com", "reply-@example.com", "reply-x", "répl-x@example.com", ""]
        {
            assert_eq!(in_reply_address(address), None, "{address}");
        }
    }

    proptest! {
        #[test]
        fn a_send_token_names_its_ask_and_any_change_fails(
            claim in claims(), attempt in any::<i32>(), at in 0..71usize, to in "[A-Za-z0-9_-]",
        ) {
            let (workspace, send) = (claim.workspace, claim.id);
            let claim = SendClaim { workspace, send, attempt };
            let token = tokens().sign_send(claim);
            prop_assert_eq!(token.len(), 71);
            prop_assert_eq!(tokens().verify_send(&token), Some(claim));
            prop_assert_eq!(tokens().verify(TokenKind::OptOut, &token), None);
            let mut forged = token.clone();
            forged.replace_range(at..=at, &to);
            prop_assert_eq!(tokens().verify_send(&forged).is_some(), forged == token);
        }

        #[test]
        fn what_is_signed_verifies_for_its_kind_alone(claim in claims()) {
            for kind in KINDS {
                let token = tokens().sign(kind, claim);
                prop_assert_eq!(token.len(), 66);
                for other in KINDS {
                    let answer = tokens().verify(other, &token);
                    prop_assert_eq!(answer, (other == kind).then_some(claim));
                }
            }
        }

        #[test]
        fn any_changed_character_fails(
            claim in claims(), at in 0..66usize, to in "[A-Za-z0-9_-]", at_reply in 0..58usize, to_reply in "[a-z2-7]",
        ) {
            let token = tokens().sign(TokenKind::OptOut, claim);
            let mut forged = token.clone();
            forged.replace_range(at..=at, &to);
            prop_assert_eq!(tokens().verify(TokenKind::OptOut, &forged).is_some(), forged == token);

            let local = tokens().reply_local_part(claim);
            let token = local.strip_prefix("reply-").expect("the prefix");
            let mut forged = token.to_owned();
            forged.replace_range(at_reply..=at_reply, &to_reply);
            prop_assert_eq!(tokens().verify_reply(&forged).is_some(), forged == token);
        }

        #[test]
        fn any_flipped_bit_fails(claim in claims(), at in 0..49usize, bit in 0..8u8) {
            use base64::Engine;
            use base64::engine::general_purpose::URL_SAFE_NO_PAD;
            let token = tokens().sign(TokenKind::Click, claim);
            let mut bytes = URL_SAFE_NO_PAD.decode(token).expect("our own");
            bytes[at] ^= 1 << bit;
            let forged = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(tokens().verify(TokenKind::Click, &forged), None);
        }

        #[test]
        fn another_ring_accepts_nothing(claim in claims()) {
            let foreign = Tokens::new(&KeyRing::generate());
            prop_assert_eq!(foreign.verify(TokenKind::OptOut, &tokens().sign(TokenKind::OptOut, claim)), None);
        }

        #[test]
        fn verifying_is_total(text in ".{0,80}", token in "[A-Za-z0-9_-]{66}", reply in "[a-z2-7]{58}") {
            for text in [text, token] {
                prop_assert_eq!(tokens().verify(TokenKind::OptOut, &text), None);
                prop_assert_eq!(tokens().verify_reply(&text), None);
                let _ = in_reply_address(&text);
            }
            prop_assert_eq!(tokens().verify_reply(&reply), None);
        }
    }
}
