//! Which mail servers may be spoken to. Whoever may set a sender up could otherwise have this machine
//! knock at every door of the network it stands in. Addresses are judged after the name was looked
//! up and right before they are connected to, so that a name cannot change its mind in between.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::account::SmtpAccount;

/// The ports on which mail is submitted, the unofficial ones of large providers included.
const MAIL_PORTS: [u16; 6] = [25, 465, 587, 2465, 2525, 2587];

/// What to do about a server that is out of reach.
pub const FIX: &str =
    "if that is your mail server, allow it with MERIDIAN_ALLOW_INTERNAL_HOSTS=yes";

/// Which mail servers may be spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// Public ones on the ports of mail, and this machine on any port.
    #[default]
    Public,
    /// All: the operator's mail server is inside the network, or on a port of its own.
    Anywhere,
}

/// Why a mail server may not be spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutOfReach {
    /// It is not on the public network.
    #[error("{0} is an address inside a network")]
    Internal(IpAddr),
    /// It listens where no mail server usually does.
    #[error("port {0} is no port of mail")]
    Port(u16),
}

impl Reach {
    /// Judges an account as far as it can be told without looking its host up.
    ///
    /// # Errors
    ///
    /// Why it may not be spoken to.
    pub fn admits_account(self, account: &SmtpAccount) -> Result<(), OutOfReach> {
        match account.host().parse() {
            Ok(address) => self.admits(SocketAddr::new(address, account.port())),
            Err(_) if account.host() == "localhost" => Ok(()),
            Err(_) => self.admits_port(account.port()),
        }
    }

    /// Judges an address that is about to be connected to.
    ///
    /// # Errors
    ///
    /// Why it may not be.
    pub fn admits(self, server: SocketAddr) -> Result<(), OutOfReach> {
        if self == Self::Anywhere || server.ip().to_canonical().is_loopback() {
            return Ok(());
        }
        let address = bare(server.ip());
        if !is_public(address) {
            return Err(OutOfReach::Internal(address));
        }
        self.admits_port(server.port())
    }

    fn admits_port(self, port: u16) -> Result<(), OutOfReach> {
        if self == Self::Anywhere || MAIL_PORTS.contains(&port) {
            return Ok(());
        }
        Err(OutOfReach::Port(port))
    }
}

/// Takes off what an address of version 4 may be wrapped in: mapped (RFC 4291, 2.5.5.2), 6to4
/// (RFC 3056) and NAT64 (RFC 6052).
fn bare(address: IpAddr) -> IpAddr {
    let IpAddr::V6(wrapped) = address else { return address };
    let inner = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(a, b, c, d))
    };
    match wrapped.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => inner(high, low),
        _ => address,
    }
}

/// Whether an address is one of the public network (RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let shared = a == 100 && (64..128).contains(&b);
    let protocols = (a, b, c) == (192, 0, 0);
    let benchmarks = a == 198 && (18..20).contains(&b);
    !(a == 0
        || a >= 224
        || shared
        || protocols
        || benchmarks
        || address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Everything that was ever given out to the world begins with 001.
    let [first, second, ..] = address.segments();
    let documentation = (first, second) == (0x2001, 0xdb8);
    first & 0xe000 == 0x2000 && !documentation
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(server: &str) -> Result<(), OutOfReach> {
        Reach::Public.admits(server.parse().unwrap())
    }

    #[test]
    fn servers_inside_a_network_are_out_of_reach_however_they_are_written() {
        for server in [
            "10.0.0.5:25",
            "172.16.3.4:587",
            "192.168.1.1:465",
            "169.254.169.254:25",
            "100.64.0.1:25",
            "0.0.0.0:25",
            "224.0.0.1:25",
            "255.255.255.255:25",
            "198.18.0.1:25",
            "[::]:25",
            "[fe80::1]:25",
            "[fd00::1]:25",
            "[::ffff:10.0.0.5]:25",
            "[64:ff9b::10.0.0.5]:25",
            "[2002:a00:5::1]:25",
            "[2001:db8::1]:25",
            "[64:ff9b::127.0.0.1]:25",
            "[2002:7f00:1::]:25",
        ] {
            assert!(matches!(judged(server), Err(OutOfReach::Internal(_))), "{server}");
            assert_eq!(Reach::Anywhere.admits(server.parse().unwrap()), Ok(()), "{server}");
        }
    }

    #[test]
    fn public_servers_are_reached_on_the_ports_of_mail_and_this_machine_on_any() {
        for server in ["8.8.8.8:587", "[2606:4700::1111]:465", "127.0.0.1:1025", "[::1]:54321"] {
            assert_eq!(judged(server), Ok(()), "{server}");
        }
        assert_eq!(judged("8.8.8.8:5432"), Err(OutOfReach::Port(5432)));
        assert_eq!(judged("[::ffff:127.0.0.1]:1025"), Ok(()));
    }

    #[test]
    fn an_account_is_judged_before_its_host_is_looked_up() {
        let judged =
            |account: &str| Reach::Public.admits_account(&account.parse().expect("an account"));
        assert_eq!(judged("smtp://ada@mail.example.com"), Ok(()));
        assert_eq!(judged("smtp+plain://localhost:1025"), Ok(()));
        assert_eq!(judged("smtp://mail.example.com:5432"), Err(OutOfReach::Port(5432)));
        let inside = OutOfReach::Internal("10.0.0.5".parse().unwrap());
        assert_eq!(judged("smtp://10.0.0.5"), Err(inside));
    }
}
