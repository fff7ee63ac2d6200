//! The signature of a post: HMAC-SHA1 under the account's auth token over the public address, as we
//! configured it, and every field of the form. A body that is no form is covered by its hash, which
//! stands in the address.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use url::Url;

/// The header it comes in.
pub const HEADER: &str = "x-twilio-signature";

/// What was posted, as far as a signature covers it.
#[derive(Debug, Clone, Copy)]
pub enum Signed<'a> {
    /// A form, split into names and values.
    Form(&'a [(String, String)]),
    /// Anything else, whole.
    Bytes(&'a [u8]),
}

/// Returns whether Twilio, knowing one of `tokens`, signed this post to the public address `url`.
///
/// Twilio is not of one mind about a port in the address, so both ways are tried. Every comparison
/// takes the same time.
pub fn verify(tokens: &[&[u8]], url: &Url, signed: Signed<'_>, signature: &str) -> bool {
    let Ok(signature) = STANDARD.decode(signature) else { return false };
    let fields = match signed {
        Signed::Form(fields) => {
            let mut fields: Vec<&(String, String)> = fields.iter().collect();
            fields.sort();
            fields.dedup();
            fields
        }
        Signed::Bytes(bytes) if is_hashed(url, bytes) => Vec::new(),
        // Without the hash the signature would cover the address alone.
        Signed::Bytes(_) => return false,
    };
    let urls = spellings(url);
    tokens.iter().fold(false, |found, token| {
        urls.iter().fold(found, |found, url| found | is_of(token, url, &fields, &signature))
    })
}

fn is_of(token: &[u8], url: &str, fields: &[&(String, String)], signature: &[u8]) -> bool {
    let mut mac =
        <Hmac<Sha1> as KeyInit>::new_from_slice(token).expect("HMAC takes keys of any length");
    mac.update(url.as_bytes());
    for (name, value) in fields {
        mac.update(name.as_bytes());
        mac.update(value.as_bytes());
    }
    mac.verify_slice(signature).is_ok()
}

/// Whether the address carries the hash of `bytes`.
fn is_hashed(url: &Url, bytes: &[u8]) -> bool {
    let hash = hex::encode(Sha256::digest(bytes));
    let mut claimed = url.query_pairs().filter(|(name, _)| name == "bodySHA256");
    match (claimed.next(), claimed.next()) {
        (Some((_, claimed)), None) => {
            bool::from(claimed.to_ascii_lowercase().as_bytes().ct_eq(hash.as_bytes()))
        }
        _ => false,
    }
}

/// The address with and without its port, and without the fragment, which never travels.
fn spellings(url: &Url) -> [String; 2] {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default();
    let port = port.map_or_else(String::new, |port| format!(":{port}"));
    let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
    let rest = format!("{}{query}", url.path());
    let scheme = url.scheme();
    [format!("{scheme}://{host}{rest}"), format!("{scheme}://{host}{port}{rest}")]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &[u8] = b"12345";

    /// Twilio's own example.
    const URL: &str = "https://mycompany.com/myapp.php?foo=1&bar=2";
    const SIGNATURE: &str = "RSOYDt4T1cUTdK1PDd93/VVr8B8=";

    fn fields() -> Vec<(String, String)> {
        [
            ("CallSid", "CA1234567890ABCDE"),
            ("Caller", "+14158675309"),
            ("Digits", "1234"),
            ("From", "+14158675309"),
            ("To", "+18005551212"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    fn sign(token: &[u8], signed: &str) -> String {
        let mut mac = <Hmac<Sha1> as KeyInit>::new_from_slice(token).unwrap();
        mac.update(signed.as_bytes());
        STANDARD.encode(mac.finalize().into_bytes())
    }

    #[test]
    fn the_published_example_verifies_and_nothing_else_does() {
        let fields = fields();
        let ok = |token: &[u8], at: &str, fields: &[(String, String)], signature: &str| {
            verify(&[token], &url(at), Signed::Form(fields), signature)
        };
        assert!(ok(TOKEN, URL, &fields, SIGNATURE));
        assert!(ok(TOKEN, "https://mycompany.com:443/myapp.php?foo=1&bar=2", &fields, SIGNATURE));
        assert!(verify(&[b"old", TOKEN], &url(URL), Signed::Form(&fields), SIGNATURE));
        let mut repeated = fields.clone();
        repeated.push(fields[2].clone());
        repeated.reverse();
        assert!(ok(TOKEN, URL, &repeated, SIGNATURE), "any order, repeats once");

        assert!(!ok(b"54321", URL, &fields, SIGNATURE));
        assert!(!ok(TOKEN, "https://evil.example/myapp.php?foo=1&bar=2", &fields, SIGNATURE));
        assert!(!ok(TOKEN, "http://mycompany.com/myapp.php?foo=1&bar=2", &fields, SIGNATURE));
        assert!(!ok(TOKEN, URL, &fields[1..], SIGNATURE));
        for signature in ["", "RSOYDt4T1cUTdK1PDd93/VVr8B", "AAAA", "!"] {
            assert!(!ok(TOKEN, URL, &fields, signature), "{signature}");
        }
        assert!(!verify(&[], &url(URL), Signed::Form(&fields), SIGNATURE));
    }

    #[test]
    fn a_port_may_be_signed_or_not() {
        let own = "https://example.com:8443/x";
        for signed in ["https://example.com:8443/x", "https://example.com/x"] {
            let signature = sign(TOKEN, signed);
            assert!(verify(&[TOKEN], &url(own), Signed::Form(&[]), &signature), "{signed}");
        }
        let signature = sign(TOKEN, "https://example.com:443/x");
        assert!(verify(
            &[TOKEN],
            &url("https://example.com/x#rc=3"),
            Signed::Form(&[]),
            &signature
        ));
    }

    #[test]
    fn a_body_that_is_no_form_is_covered_by_its_hash() {
        let body = b"{\"a\":1}".as_slice();
        let hash = hex::encode(Sha256::digest(body));
        let at = format!("https://example.com/x?bodySHA256={hash}");
        let signature = sign(TOKEN, &at);
        let ok = |at: &str, body| verify(&[TOKEN], &url(at), Signed::Bytes(body), &sign(TOKEN, at));
        assert!(verify(&[TOKEN], &url(&at), Signed::Bytes(body), &signature));
        assert!(!verify(&[TOKEN], &url(&at), Signed::Bytes(b"{\"a\":2}"), &signature));
        assert!(!ok("https://example.com/x", body), "no hash");
        assert!(!ok("https://example.com/x?bodySHA256=00", body), "another hash");
        assert!(!ok(&format!("{at}&bodySHA256={hash}"), body), "two of them");
    }

    proptest! {
        #[test]
        fn verifying_is_total(name in ".{0,10}", value in ".{0,20}", signature in ".{0,40}", query in "[a-z=&%0-9]{0,20}") {
            let fields = vec![(name, value)];
            let at = url(&format!("https://example.com/x?{query}"));
            prop_assert!(!verify(&[TOKEN], &at, Signed::Form(&fields), &signature));
            prop_assert!(!verify(&[TOKEN], &at, Signed::Bytes(signature.as_bytes()), &signature));
        }
    }
}
