//! Base 32 in lower case without padding (RFC 4648 alphabet), for secrets that must survive being
//! upper-cased on the way: the local part of a mail address, a path typed from paper. It knows
//! bytes and letters only.

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Writes `bytes` in ⌈8n/5⌉ letters.
pub(crate) fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(5) * 8);
    let mut held: u32 = 0;
    let mut held_bits = 0;
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        held_bits += 8;
        while held_bits >= 5 {
            held_bits -= 5;
            text.push(letter(held >> held_bits));
        }
        held &= (1 << held_bits) - 1;
    }
    if held_bits > 0 {
        text.push(letter(held << (5 - held_bits)));
    }
    text
}

/// Reads what [`encode`] wrote, in any case.
///
/// `None` for a foreign letter, an impossible length, or unused bits that are not zero: every byte
/// string has one spelling only, so a changed letter can never be read as the same bytes.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 5 / 8);
    let mut held: u32 = 0;
    let mut held_bits = 0;
    for sign in text.bytes() {
        let value = match sign.to_ascii_lowercase() {
            lower @ b'a'..=b'z' => lower - b'a',
            digit @ b'2'..=b'7' => digit - b'2' + 26,
            _ => return None,
        };
        held = (held << 5) | u32::from(value);
        held_bits += 5;
        if held_bits >= 8 {
            held_bits -= 8;
            bytes.push(u8::try_from((held >> held_bits) & 0xff).expect("masked to eight bits"));
            held &= (1 << held_bits) - 1;
        }
    }
    (held_bits < 5 && held == 0).then_some(bytes)
}

fn letter(value: u32) -> char {
    let index = usize::try_from(value & 31).expect("five bits fit");
    char::from(ALPHABET[index])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{decode, encode};

    #[test]
    fn the_vectors_of_rfc_4648_hold() {
        for (plain, coded) in
            [("", ""), ("f", "my"), ("fo", "mzxq"), ("foo", "mzxw6"), ("foobar", "mzxw6ytboi")]
        {
            assert_eq!(encode(plain.as_bytes()), coded);
            assert_eq!(decode(&coded.to_uppercase()).as_deref(), Some(plain.as_bytes()));
        }
    }

    #[test]
    fn a_second_spelling_of_the_same_bytes_is_refused() {
        assert_eq!(decode("mz"), None, "unused bits are set");
        assert_eq!(decode("m"), None, "five bits are no byte");
        assert_eq!(decode("m1"), None, "1 is not in the alphabet");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(decode(&encode(&bytes)), Some(bytes));
        }

        #[test]
        fn reading_is_total_and_canonical(text in ".{0,40}") {
            if let Some(bytes) = decode(&text) {
                prop_assert_eq!(encode(&bytes), text.to_ascii_lowercase());
            }
        }
    }
}
