//! Checks signatures of version 4, as IAM does. <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use http::request::Parts;
use sha2::{Digest, Sha256};

use crate::path::decoded;
use crate::spec::Credentials;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "execute-api";
/// How far a caller's clock may be off.
const CLOCK_SECONDS: i64 = 300;

/// What a request says about its signature.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    scope: &'a str,
    signed_headers: Vec<&'a str>,
    signature: Vec<u8>,
    date: &'a str,
}

/// Whether a request is signed at all.
pub(crate) fn is_signed(headers: &HeaderMap) -> bool {
    authorization(headers).is_some_and(|text| text.starts_with(ALGORITHM))
}

fn authorization(headers: &HeaderMap) -> Option<&str> {
    headers.get("authorization")?.to_str().ok()
}

impl<'a> Claim<'a> {
    /// Reads it, and looks at what needs no body: the key, the scope and the time. None when it cannot be good.
    pub(crate) fn read(headers: &'a HeaderMap, credentials: &Credentials, now_s: i64) -> Option<Self> {
        let (mut scope, mut signed, mut signature) = (None, None, None);
        for part in authorization(headers)?.strip_prefix(ALGORITHM)?.split(',') {
            match part.trim().split_once('=')? {
                ("Credential", value) => scope = Some(value),
                ("SignedHeaders", value) => signed = Some(value),
                ("Signature", value) => signature = from_hex(value),
                _ => return None,
            }
        }
        let (key, scope) = scope?.split_once('/')?;
        let date = headers.get("x-amz-date")?.to_str().ok()?;
        let day = date.get(..8)?;
        let signed_headers: Vec<&str> = signed?.split(';').collect();
        let wanted = format!("{day}/{}/{SERVICE}/aws4_request", credentials.region);
        let covers = |name: &str| signed_headers.contains(&name);
        let is_ours = key == credentials.access_key_id && scope == wanted;
        let in_time = (seconds_of(date)? - now_s).abs() <= CLOCK_SECONDS;
        (is_ours && in_time && covers("host") && covers("x-amz-date")).then_some(Self {
            scope,
            signed_headers,
            signature: signature?,
            date,
        })
    }

    /// Whether the signature is that of this request.
    pub(crate) fn holds(&self, parts: &Parts, body: &[u8], credentials: &Credentials) -> bool {
        let path = parts.uri.path();
        // The path is encoded once more than it was sent; curl before 8.16 sends it as it is.
        [again_encoded(path), path.to_owned()].iter().any(|path| {
            let Some(canonical) = self.canonical(parts, path, body) else { return false };
            let hashed = hex(&Sha256::digest(canonical));
            let text = format!("{ALGORITHM}\n{}\n{}\n{hashed}", self.date, self.scope);
            let key = self
                .scope
                .split('/')
                .try_fold(format!("AWS4{}", credentials.secret_access_key).into_bytes(), |key, part| {
                    Some(keyed(&key)?.chain_update(part).finalize().into_bytes().to_vec())
                });
            let mac = key.and_then(|key| keyed(&key)).map(|mac| mac.chain_update(text));
            mac.is_some_and(|mac| mac.verify_slice(&self.signature).is_ok())
        })
    }

    fn canonical(&self, parts: &Parts, path: &str, body: &[u8]) -> Option<String> {
        let mut text =
            format!("{}\n{path}\n{}\n", parts.method, canonical_query(parts.uri.query().unwrap_or_default())?);
        for name in &self.signed_headers {
            let values: Vec<_> =
                parts.headers.get_all(*name).iter().map(|value| value.to_str()).collect::<Result<_, _>>().ok()?;
            if values.is_empty() {
                return None;
            }
            let value = values.join(",").split_whitespace().collect::<Vec<_>>().join(" ");
            text.push_str(&format!("{name}:{value}\n"));
        }
        text.push_str(&format!("\n{}\n{}", self.signed_headers.join(";"), hex(&Sha256::digest(body))));
        Some(text)
    }
}

fn keyed(key: &[u8]) -> Option<Hmac<Sha256>> {
    Hmac::new_from_slice(key).ok()
}

fn canonical_query(query: &str) -> Option<String> {
    let mut pairs = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        pairs.push((encoded(&decoded(name)?, false), encoded(&decoded(value)?, false)));
    }
    pairs.sort();
    Some(pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&"))
}

fn again_encoded(path: &str) -> String {
    encoded(path, true)
}

fn encoded(text: &str, is_path: bool) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (is_path && byte == b'/');
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    let pairs = digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    (digits.len() == 64 && digits.iter().all(u8::is_ascii_hexdigit)).then(|| pairs.collect())?
}

/// `20261128T221448Z` in seconds since 1970.
fn seconds_of(date: &str) -> Option<i64> {
    let bytes = date.as_bytes();
    if bytes.len() != 16 || bytes[8] != b'T' || bytes[15] != b'Z' {
        return None;
    }
    let number = |from: usize, to: usize| {
        let digits = bytes.get(from..to)?;
        digits.iter().try_fold(0i64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + i64::from(digit - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    Some(days_since_1970(year, month, day)? * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Of the Gregorian calendar, by eras of 400 years that begin in March.
fn days_since_1970(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(centinela_calendar::days(year, month, day))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
    use aws_sigv4::sign::v4;
    use std::time::{Duration, UNIX_EPOCH};

    const NOW: i64 = 1_795_904_088;

    fn credentials() -> Credentials {
        let text = str::to_owned;
        Credentials {
            account: text("000000000000"),
            region: text("us-east-1"),
            access_key_id: text("local"),
            secret_access_key: text("secret"),
        }
    }

    /// A request as the SDK's signer leaves it.
    fn signed(method: &str, path: &str, body: &[u8], at: i64) -> Parts {
        let keys = aws_credential_types::Credentials::new("local", "secret", None, None, "test").into();
        let parameters = v4::SigningParams::builder()
            .identity(&keys)
            .region("us-east-1")
            .name(SERVICE)
            .time(UNIX_EPOCH + Duration::from_secs(at as u64))
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let url = format!("http://127.0.0.1:1{path}");
        let headers = [("host", "127.0.0.1:1"), ("content-type", "application/json")];
        let signable = SignableRequest::new(method, &url, headers.into_iter(), SignableBody::Bytes(body)).unwrap();
        let (instructions, _) = sign(signable, &parameters).unwrap().into_parts();
        let mut request = http::Request::builder().method(method).uri(&url).body(()).unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        instructions.apply_to_request_http1x(&mut request);
        request.into_parts().0
    }

    fn holds(parts: &Parts, body: &[u8]) -> bool {
        let credentials = credentials();
        Claim::read(&parts.headers, &credentials, NOW).is_some_and(|claim| claim.holds(parts, body, &credentials))
    }

    #[test]
    fn what_the_sdk_signs_holds_and_nothing_that_was_changed_since() {
        for path in ["/v1/decisions", "/v1/decisions/a%20b%2Fc?user_id=x%2By&b=2&a=1", "/v1/metrics?from=1&to=2"] {
            let parts = signed("POST", path, b"{}", NOW);
            assert!(is_signed(&parts.headers) && holds(&parts, b"{}"), "{path}");
            assert!(!holds(&parts, b"{ }"), "{path}");
            let mut other = signed("POST", path, b"{}", NOW);
            other.method = http::Method::GET;
            assert!(!holds(&other, b"{}"));
        }
        let mut other = signed("POST", "/v1/decisions", b"", NOW);
        other.uri = "http://127.0.0.1:1/v1/labels".parse().unwrap();
        assert!(!holds(&other, b""));
    }

    #[test]
    fn an_old_signature_and_another_key_are_refused() {
        assert!(!holds(&signed("GET", "/", b"", NOW - 301), b""));
        assert!(holds(&signed("GET", "/", b"", NOW - 299), b""));
        let parts = signed("GET", "/", b"", NOW);
        let mut other = credentials();
        other.secret_access_key = "another".to_owned();
        let claim = Claim::read(&parts.headers, &other, NOW).unwrap();
        assert!(!claim.holds(&parts, b"", &other));
        other.access_key_id = "another".to_owned();
        assert!(Claim::read(&parts.headers, &other, NOW).is_none());
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(seconds_of("20261128T221448Z"), Some(1_795_904_088));
        assert_eq!(seconds_of("20000229T000000Z"), Some(951_782_400));
        for wrong in ["", "20261328T221448Z", "2026112xT221448Z", "20261128 221448Z"] {
            assert_eq!(seconds_of(wrong), None, "{wrong}");
        }
    }
}
