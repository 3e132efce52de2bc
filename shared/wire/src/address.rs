//! Where a service is.

use http::Uri;

/// An address that this client cannot use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{url}` is no address of a service: it must be http:// or https://, a host, and perhaps a port")]
pub struct AddressProblem {
    /// What was given.
    pub url: String,
}

/// A host with its port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) is_tls: bool,
    /// Without brackets, as names are resolved and certificates are checked.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As it stands in the header `host`.
    pub(crate) authority: String,
}

impl Address {
    pub(crate) fn parse(url: &str) -> Result<Self, AddressProblem> {
        let problem = || AddressProblem { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| problem())?;
        let is_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(problem()),
        };
        let authority = uri.authority().ok_or_else(problem)?;
        // A name before an @ would be sent in the clear and mean nothing.
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() || authority.as_str().contains('@') {
            return Err(problem());
        }
        let usual = if is_tls { 443 } else { 80 };
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() == authority.host() => usual,
            // What follows the host is no number of a port.
            None => return Err(problem()),
        };
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(problem());
        }
        let authority =
            if port == usual { authority.host().to_owned() } else { format!("{}:{port}", authority.host()) };
        Ok(Self { is_tls, host, port, authority })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Option<(bool, String, u16, String)> {
        let Address { is_tls, host, port, authority } = Address::parse(url).ok()?;
        Some((is_tls, host, port, authority))
    }

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        let of =
            |is_tls, host: &str, port, authority: &str| Some((is_tls, host.to_owned(), port, authority.to_owned()));
        let regional = "dynamodb.eu-west-1.amazonaws.com";
        assert_eq!(parsed(&format!("https://{regional}")), of(true, regional, 443, regional));
        assert_eq!(parsed("https://example.com:443/"), of(true, "example.com", 443, "example.com"));
        assert_eq!(parsed("http://127.0.0.1:4566"), of(false, "127.0.0.1", 4566, "127.0.0.1:4566"));
        assert_eq!(parsed("http://[::1]:8000/"), of(false, "::1", 8000, "[::1]:8000"));
        for wrong in
            ["", "localhost:8000", "ftp://a", "http://", "http://a/b", "http://a?b", "http://me:pw@a", "http://a:99999"]
        {
            assert_eq!(parsed(wrong), None, "{wrong}");
            assert!(Address::parse(wrong).unwrap_err().to_string().contains(&format!("`{wrong}`")));
        }
    }
}
