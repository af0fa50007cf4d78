//! Which addresses the server may listen on.

use std::net::IpAddr;

/// An address that other machines reach.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "will not listen on {0}: whoever reaches it could read the visitors' pictures on the way and use the cluster, and \
     browsers open the camera only for https pages and for localhost; listen on 127.0.0.1 (the default) and either \
     tunnel to it from the visitors' machine with `ssh -L 5000:localhost:5000 THIS-HOST`, or run a reverse proxy with \
     TLS on this host and put its name into `server.allowed_hosts`; `--insecure` listens all the same, with the operator's \
     pages and the cancelling of jobs switched off"
)]
pub struct ExposedAddress(IpAddr);

/// Whether the server may listen on this address: on loopback always, elsewhere where the operator insists.
///
/// # Errors
/// Any other address without `insecure`; the message says what to do instead.
pub fn check_bind(address: IpAddr, insecure: bool) -> Result<(), ExposedAddress> {
    if insecure || address.to_canonical().is_loopback() { Ok(()) } else { Err(ExposedAddress(address)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_safe_by_itself() {
        let check = |address: &str, insecure| check_bind(address.parse().expect("an address"), insecure);
        for address in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(check(address, false), Ok(()));
        }
        for address in ["0.0.0.0", "::", "10.0.0.7", "192.168.1.2", "2001:db8::1", "::ffff:10.0.0.7"] {
            let error = check(address, false).expect_err(address).to_string();
            assert!(error.contains("ssh -L") && error.contains("TLS") && error.contains("--insecure"), "{error}");
            assert_eq!(check(address, true), Ok(()));
        }
    }
}
