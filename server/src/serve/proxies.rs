//! For whom a request comes. Behind a proxy every connection is the proxy's, and the client's
//! address stands in a header that anyone may write: it is believed only as far as proxies that the
//! operator named have written it.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::extract::{ConnectInfo, Request};

/// Where each proxy adds whom it passes a request on for, the nearest last.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The proxies that are believed. None by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies(Vec<Network>);

/// A text that names no proxies.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither an address nor a network")]
pub struct InvalidProxies(String);

/// Addresses that begin alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    first: IpAddr,
    /// How many bits they share.
    bits: u32,
}

impl Proxies {
    /// Returns the address of the client: that of the connection, or, where a proxy of ours holds it,
    /// the nearest one before our own proxies.
    pub(super) fn client(&self, request: &Request) -> Option<IpAddr> {
        let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
        let mut client = peer.ip().to_canonical();
        let headers = request.headers().get_all(FORWARDED_FOR).iter().rev();
        let mut passed_on = headers
            .flat_map(|header| header.to_str().unwrap_or_default().split(',').rev().map(str::trim));
        while self.contain(client) {
            let Some(address) = passed_on.next().and_then(parse) else { break };
            client = address;
        }
        Some(client)
    }

    fn contain(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(address))
    }
}

/// Reads an entry; some proxies add the client's port.
fn parse(entry: &str) -> Option<IpAddr> {
    let address = entry.parse::<IpAddr>().ok();
    let address = address.or_else(|| Some(entry.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

impl Network {
    fn contains(self, address: IpAddr) -> bool {
        match (self.first, address) {
            (IpAddr::V4(first), IpAddr::V4(address)) => {
                let differs = first.to_bits() ^ address.to_bits();
                differs.leading_zeros() >= self.bits
            }
            (IpAddr::V6(first), IpAddr::V6(address)) => {
                let differs = first.to_bits() ^ address.to_bits();
                differs.leading_zeros() >= self.bits
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl FromStr for Proxies {
    type Err = InvalidProxies;

    fn from_str(text: &str) -> Result<Self, InvalidProxies> {
        let named = text.split(',').map(str::trim).filter(|name| !name.is_empty());
        named.map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

impl FromStr for Network {
    type Err = InvalidProxies;

    fn from_str(text: &str) -> Result<Self, InvalidProxies> {
        let invalid = || InvalidProxies(text.to_owned());
        let (first, bits) = text.split_once('/').unzip();
        let first: IpAddr = first.unwrap_or(text).parse().map_err(|_| invalid())?;
        let bits_max = if first.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(bits_max), str::parse).map_err(|_| invalid())?;
        if bits > bits_max {
            return Err(invalid());
        }
        Ok(Self { first, bits })
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn client(proxies: &str, peer: &str, forwarded: &[&str]) -> String {
        let mut request = Request::builder();
        for value in forwarded {
            request = request.header(FORWARDED_FOR, *value);
        }
        let mut request = request.body(Body::empty()).unwrap();
        let peer = SocketAddr::new(peer.parse().unwrap(), 1234);
        request.extensions_mut().insert(ConnectInfo(peer));
        let proxies: Proxies = proxies.parse().unwrap();
        proxies.client(&request).unwrap().to_string()
    }

    #[test]
    fn a_header_is_believed_as_far_as_our_own_proxies_have_written_it() {
        let ours = "10.0.0.0/8, ::1";
        for (proxies, peer, forwarded, expected) in [
            ("", "203.0.113.9", vec!["198.51.100.7"], "203.0.113.9"),
            (ours, "203.0.113.9", vec!["198.51.100.7"], "203.0.113.9"),
            (ours, "10.1.2.3", vec![], "10.1.2.3"),
            (ours, "10.1.2.3", vec!["198.51.100.7"], "198.51.100.7"),
            (ours, "10.1.2.3", vec!["192.0.2.1, 198.51.100.7"], "198.51.100.7"),
            (ours, "10.1.2.3", vec!["192.0.2.1", "198.51.100.7, 10.9.9.9"], "198.51.100.7"),
            (ours, "::1", vec!["198.51.100.7:4711"], "198.51.100.7"),
            (ours, "::ffff:10.1.2.3", vec!["198.51.100.7"], "198.51.100.7"),
            (ours, "10.1.2.3", vec!["nobody"], "10.1.2.3"),
        ] {
            assert_eq!(client(proxies, peer, &forwarded), expected, "{peer} {forwarded:?}");
        }
    }

    #[test]
    fn what_names_no_proxy_is_refused() {
        for text in ["10.0.0.0/33", "::1/129", "10.0.0", "10.0.0.0/x", "proxy.example.com"] {
            assert_eq!(text.parse::<Proxies>(), Err(InvalidProxies(text.to_owned())), "{text}");
        }
    }
}
