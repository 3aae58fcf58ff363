//! Who is at the other end: the peer of the connection, or whom a trusted proxy speaks for.
//!
//! # Decisions
//! - `Forwarded` (RFC 7239) is not read: a proxy that writes the one header hands on the other as its client sent it, and
//!   whoever believes both believes the client. Proxies write `X-Forwarded-For`, or can be told to.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use ipnet::IpNet;

/// The client's address. A trusted peer's `X-Forwarded-For` is read from the right, past the proxies that are trusted,
/// too: what stands further left was written by who knows whom.
pub(super) fn address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let mut hops = lines.flat_map(|line| line.to_str().unwrap_or_default().rsplit(',')).map(|hop| parse(hop.trim()));
    while is_trusted(&client) {
        match hops.next() {
            Some(Some(hop)) => client = hop,
            // The end, or a hop that cannot be read: the last that is known.
            _ => break,
        }
    }
    client
}

/// Whether a trusted peer says that the client spoke https to it.
pub(super) fn came_by_https(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> bool {
    let peer = peer.to_canonical();
    // The last is the peer's own word.
    let told = headers.get_all("x-forwarded-proto").iter().next_back();
    let told = told.and_then(|line| line.to_str().ok()?.rsplit(',').next());
    told.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"))
        && trusted.iter().any(|network| network.contains(&peer))
}

/// Some proxies write the port, too.
fn parse(hop: &str) -> Option<IpAddr> {
    let address = hop.parse::<IpAddr>().or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()));
    address.ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_is_believed_of_trusted_peers() {
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().expect("a network")];
        for (peer, told, expected) in [
            ("10.0.0.1", Some("https"), true),
            ("::ffff:10.0.0.1", Some("http, HTTPS"), true),
            ("10.0.0.1", Some("https, http"), false),
            ("10.0.0.1", None, false),
            ("192.0.2.1", Some("https"), false),
        ] {
            let headers = told
                .iter()
                .map(|line| ("x-forwarded-proto".parse().expect("a name"), line.parse().expect("a value")))
                .collect();
            let secure = came_by_https(peer.parse().expect("an address"), &headers, &trusted);
            assert_eq!(secure, expected, "{peer} {told:?}");
        }
    }

    #[test]
    fn client_is_the_rightmost_hop_that_is_not_trusted() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().expect("a network")).into();
        for (peer, forwarded, expected) in [
            ("192.0.2.1", &["203.0.113.9"][..], "192.0.2.1"),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["1.2.3.4, 203.0.113.9, 10.2.3.4"], "203.0.113.9"),
            ("10.0.0.1", &["1.2.3.4", "203.0.113.9,10.2.3.4"], "203.0.113.9"),
            ("10.0.0.1", &["10.9.9.9"], "10.9.9.9"),
            ("10.0.0.1", &["203.0.113.9, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9:4711"], "203.0.113.9"),
            ("::ffff:10.0.0.1", &["2001:db8::1"], "2001:db8::1"),
            ("fd00::1", &["[2001:db8::1]:80"], "2001:db8::1"),
            ("fd00::1", &["2001:db8::bad, 2001:db8::1, fd00::2, ::ffff:10.0.0.3"], "2001:db8::1"),
            ("2001:db8::7", &["2001:db8::1"], "2001:db8::7"),
            ("fd00::1", &["::ffff:203.0.113.9"], "203.0.113.9"),
            ("10.0.0.1", &["203.0.113.9, "], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9\t,\t10.0.0.2"], "203.0.113.9"),
            ("10.0.0.1", &["for=203.0.113.9"], "10.0.0.1"),
        ] {
            let headers = forwarded
                .iter()
                .map(|line| ("x-forwarded-for".parse().expect("a name"), line.parse().expect("a value")))
                .collect();
            let client = address(peer.parse().expect("an address"), &headers, &trusted);
            assert_eq!(client.to_string(), expected, "{peer} {forwarded:?}");
        }
    }
}
