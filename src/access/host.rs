//! By which name somebody came. Pure.
//!
//! A page from the web can have its own name lead to the address of this server, and then its reader's browser takes both for one place
//! and lets the page read answers. The browser still sends the page's name in `Host`. That name is one of the public names, which have a
//! dot; so addresses and names without a dot cannot be it.

use core::net::Ipv4Addr;

/// Whether the value of a header `Host` cannot be the name of somebody else's page.
pub fn is_fine(host: &[u8], allowed: &[String]) -> bool {
    // In brackets there is an IPv6 address (RFC 3986, section 3.2.2).
    if host.first() == Some(&b'[') {
        return true;
    }
    let name = host.split(|byte| *byte == b':').next().unwrap_or_default();
    // The dot at its end says that a name is whole, and is no part of it.
    let name = name.strip_suffix(b".").unwrap_or(name);
    !name.contains(&b'.')
        || is_address(name)
        || is_below_localhost(name)
        || allowed.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(name))
}

fn is_address(name: &[u8]) -> bool {
    std::str::from_utf8(name).is_ok_and(|name| name.parse::<Ipv4Addr>().is_ok())
}

/// These lead to this machine and nowhere else (RFC 6761, section 6.3).
fn is_below_localhost(name: &[u8]) -> bool {
    let end = b".localhost";
    name.len() > end.len() && name[name.len() - end.len()..].eq_ignore_ascii_case(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_names_without_a_dot_and_those_that_are_listed_are_fine() {
        let allowed = ["mq.example.org".to_owned()];
        for (host, expected) in [
            ("127.0.0.1:8200", true),
            ("10.1.2.3", true),
            ("[::1]:8200", true),
            ("[fe80::1%25eth0]", true),
            ("localhost:8200", true),
            ("LocalHost.", true),
            ("a.localhost", true),
            ("queue", true),
            ("", true),
            (":8200", true),
            ("mq.example.org", true),
            ("MQ.Example.org.:8200", true),
            ("evil.example", false),
            ("evil.example.:80", false),
            ("mq.example.org.evil.net", false),
            ("xmq.example.org", false),
            ("127.0.0.1.evil.net", false),
            ("127.0.0.1.nip.io:8200", false),
            ("127.1", false),
            (".localhost", false),
            ("alocalhost.evil", false),
            ("localhost.evil", false),
            ("1.2.3.4.5", false),
            ("evil.example:80:[::1]", false),
            ("é.ü", false),
        ] {
            assert_eq!(is_fine(host.as_bytes(), &allowed), expected, "{host}");
        }
        assert!(!is_fine(b"\xff.\xfe", &allowed));
    }
}
