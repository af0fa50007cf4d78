//! Hosts and ports as `Host`, `Origin` and the settings spell them.

use std::net::{IpAddr, Ipv6Addr};

/// A setting that names no host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a host: {0:?}; write a name or an address as it stands in a browser's address bar, without scheme and path, \
     like `live.example.org`, `live.example.org:8443` or `[2001:db8::1]`"
)]
pub struct InvalidHost(String);

/// A host, and a port where one is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    host: Host,
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Host {
    Ip(IpAddr),
    /// In lower case.
    Name(String),
}

impl Address {
    /// `host` or `host:port`; an IPv6 address in brackets.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                (Host::Ip(address.parse::<Ipv6Addr>().ok()?.into()), port)
            }
            None => {
                let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
                (Host::parse(host)?, port)
            }
        };
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => Some(digits.parse().ok()?),
            None if port.is_empty() => None,
            _ => return None,
        };
        Some(Self { host, port })
    }

    /// The same, and an IPv6 address without brackets.
    pub(super) fn from_setting(text: &str) -> Result<Self, InvalidHost> {
        let address = text.parse::<IpAddr>().ok().map(|ip| Self { host: Host::Ip(ip), port: None });
        address.or_else(|| Self::parse(text)).ok_or_else(|| InvalidHost(text.to_owned()))
    }

    /// Whether it is one of the names that every machine has for itself.
    pub(super) fn is_loopback(&self) -> bool {
        match &self.host {
            Host::Ip(ip) => ip.is_loopback(),
            Host::Name(name) => name == "localhost",
        }
    }

    /// Whether the hosts are the same, whatever the ports: a tunnel or a proxy may listen on any.
    pub(super) fn same_host(&self, other: &Self) -> bool {
        self.host == other.host
    }
}

impl Host {
    fn parse(text: &str) -> Option<Self> {
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Some(Self::Ip(ip));
        }
        let sound = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        (!text.is_empty() && text.len() <= 253 && text.chars().all(sound))
            .then(|| Self::Name(text.to_ascii_lowercase()))
    }
}

/// Where the page that sent a request came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    host: Host,
    port: u16,
    default_port: u16,
}

impl Origin {
    /// `http://host:port` or `https://host:port`; everything else, `null` too, is nobody's page.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, address) = text.split_once("://")?;
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        let Address { host, port } = Address::parse(address)?;
        Some(Self { host, port: port.unwrap_or(default_port), default_port })
    }

    /// Whether this is a page of that host and port; a port that is not written is the one of the origin's scheme.
    pub(super) fn is(&self, address: &Address) -> bool {
        self.host == address.host && self.port == address.port.unwrap_or(self.default_port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_with_and_without_port() {
        let parse = |text: &str| Address::parse(text).unwrap_or_else(|| panic!("{text} is a host"));
        assert_eq!(parse("LocalHost:5000"), parse("localhost:5000"));
        assert!(parse("localhost").same_host(&parse("LOCALHOST:1")));
        assert!(parse("[::1]:5000").is_loopback() && parse("127.0.0.1").is_loopback());
        assert_eq!(parse("[0:0:0:0:0:0:0:1]:80"), parse("[::1]:80"));
        assert!(!parse("127.0.0.1.example.org").is_loopback());
        assert!(!parse("localhost.example.org:5000").is_loopback());
        for text in [
            "",
            ":",
            ":5000",
            "a b",
            "a/b",
            "u@localhost",
            "localhost:",
            "localhost:x",
            "localhost:+80",
            "localhost:65536",
        ] {
            assert_eq!(Address::parse(text), None, "{text:?}");
        }
        for text in ["::1", "[::1", "[::1]x", "[localhost]", "[]", "a:1:2", "ünï", "localhost,evil"] {
            assert_eq!(Address::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_setting_may_leave_the_brackets_out() {
        assert_eq!(Address::from_setting("2001:db8::1"), Address::from_setting("[2001:DB8::1]"));
        let error = Address::from_setting("https://live.example.org/").expect_err("no host");
        assert!(error.to_string().starts_with("not a host: \"https://live.example.org/\""), "{error}");
    }

    #[test]
    fn an_origin_has_the_port_of_its_scheme() {
        let is = |origin: &str, address: &str| {
            Origin::parse(origin).expect("an origin").is(&Address::parse(address).expect("an address"))
        };
        assert!(is("http://localhost:5000", "localhost:5000"));
        assert!(is("https://Live.example.org", "live.example.org"));
        assert!(is("https://live.example.org", "live.example.org:443"));
        assert!(is("http://[::1]:5000", "[::1]:5000"));
        assert!(!is("http://localhost:3000", "localhost:5000"));
        assert!(!is("http://live.example.org", "live.example.org:443"));
        assert!(!is("http://localhost", "localhost:5000"));
        for text in [
            "null",
            "",
            "localhost:5000",
            "file://",
            "ftp://localhost",
            "http://localhost/",
            "http://",
            "chrome-extension://abc",
        ] {
            assert_eq!(Origin::parse(text), None, "{text:?}");
        }
    }
}
