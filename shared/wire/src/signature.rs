//! Signature Version 4 of the one kind of request that is made here: a POST of JSON to `/`.
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/create-signed-request.html>

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::clock::Moment;

/// A signing key, ready to sign.
#[derive(Clone)]
pub(crate) struct SigningKey(Hmac<Sha256>);

/// What is signed beside the body. It shows itself nowhere: the token is a secret.
#[derive(Clone, Copy)]
pub(crate) struct Signed<'a> {
    pub(crate) authority: &'a str,
    pub(crate) content_type: &'a str,
    pub(crate) target: &'a str,
    pub(crate) session_token: Option<&'a str>,
    pub(crate) moment: &'a Moment,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
}

impl SigningKey {
    /// Of a day, a region and a service.
    pub(crate) fn derive(secret: &str, date: [u8; 8], region: &str, service: &str) -> Self {
        let first = keyed(&[b"AWS4", secret.as_bytes()].concat());
        let of_day = tag(first, &[&date]);
        let of_region = tag(keyed(&of_day), &[region.as_bytes()]);
        let of_service = tag(keyed(&of_region), &[service.as_bytes()]);
        Self(keyed(&tag(keyed(&of_service), &[b"aws4_request"])))
    }

    /// The signature of a request with this body, in hexadecimal digits.
    pub(crate) fn sign(&self, signed: &Signed<'_>, body: &[u8]) -> [u8; 64] {
        let request = signed.canonical(&hex(&Sha256::digest(body).into()));
        let date = signed.moment.date();
        hex(&tag(
            self.0.clone(),
            &[
                b"AWS4-HMAC-SHA256\n",
                signed.moment.text(),
                b"\n",
                &date,
                b"/",
                signed.region.as_bytes(),
                b"/",
                signed.service.as_bytes(),
                b"/aws4_request\n",
                &hex(&request),
            ],
        ))
    }
}

impl Signed<'_> {
    /// The names of what is signed, in their order.
    pub(crate) fn names(&self) -> &'static str {
        if self.session_token.is_some() {
            "content-type;host;x-amz-date;x-amz-security-token;x-amz-target"
        } else {
            "content-type;host;x-amz-date;x-amz-target"
        }
    }

    /// The digest of the canonical request. Header values of ours have no white space to be folded.
    fn canonical(&self, body: &[u8; 64]) -> [u8; 32] {
        let mut digest = Sha256::new();
        let mut header = |name: &str, value: &[u8]| {
            digest.update(name);
            digest.update(b":");
            digest.update(value);
            digest.update(b"\n");
        };
        header("POST\n/\n\ncontent-type", self.content_type.as_bytes());
        header("host", self.authority.as_bytes());
        header("x-amz-date", self.moment.text());
        if let Some(token) = self.session_token {
            header("x-amz-security-token", token.as_bytes());
        }
        header("x-amz-target", self.target.as_bytes());
        let rest: [&[u8]; 4] = [b"\n", self.names().as_bytes(), b"\n", body];
        rest.iter().for_each(|part| digest.update(part));
        digest.finalize().into()
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    // HMAC takes a key of any length: a longer one is hashed first. The error type is there for other MACs.
    Hmac::new_from_slice(key).unwrap_or_else(|_| Hmac::new(&Default::default()))
}

fn tag(mut mac: Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

fn hex(bytes: &[u8; 32]) -> [u8; 64] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    text
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use aws_credential_types::Credentials;
    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
    use aws_sigv4::sign::v4;
    use proptest::prelude::*;

    use super::*;

    /// What the SDK's own signer makes of the same request.
    fn theirs(signed: &Signed<'_>, secret: &str, seconds: u64, body: &[u8]) -> (String, Vec<(String, String)>) {
        let token = signed.session_token.map(str::to_owned);
        let identity = Credentials::new("AKIDEXAMPLE", secret, token, None, "test").into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(signed.region)
            .name(signed.service)
            .time(UNIX_EPOCH + Duration::from_secs(seconds))
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let headers =
            [("host", signed.authority), ("content-type", signed.content_type), ("x-amz-target", signed.target)];
        let uri = format!("https://{}/", signed.authority);
        let request = SignableRequest::new("POST", uri, headers.into_iter(), SignableBody::Bytes(body)).unwrap();
        let output = sign(request, &parameters).unwrap();
        let signature = output.signature().to_owned();
        let (headers, _) = output.into_parts().0.into_parts();
        let headers = headers.into_iter().map(|header| (header.name().to_owned(), header.value().to_owned()));
        (signature, headers.collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn a_request_has_the_signature_that_the_sdks_signer_gives_it(
            secret in "[ -~]{0,90}",
            token in prop::option::of("[!-~]{1,600}"),
            region in "[a-z]{2}-[a-z]{4,9}-[1-9]",
            service in prop::sample::select(vec!["dynamodb", "kinesis"]),
            authority in "[a-z]{1,20}(\\.[a-z]{1,9}){0,3}(:[1-9][0-9]{2,3})?",
            target in "[A-Za-z]{1,20}_[0-9]{8}\\.[A-Za-z]{1,30}",
            seconds in 0..4_102_444_800_u64,
            body in prop::collection::vec(any::<u8>(), 0..2_000),
        ) {
            let moment = Moment::of(seconds as i64);
            let (content_type, session_token) = ("application/x-amz-json-1.0", token.as_deref());
            let signed = Signed {
                authority: &authority, content_type, target: &target, session_token, moment: &moment, region: &region, service,
            };
            let key = SigningKey::derive(&secret, moment.date(), &region, service);
            let ours = String::from_utf8(key.sign(&signed, &body).to_vec()).unwrap();
            let (signature, headers) = theirs(&signed, &secret, seconds, &body);
            prop_assert_eq!(&ours, &signature);
            let header = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
            prop_assert_eq!(header("x-amz-date").unwrap().into_bytes(), moment.text());
            prop_assert_eq!(header("x-amz-security-token"), token.clone());
            let authorization = header("authorization").unwrap();
            let names = format!("SignedHeaders={},", signed.names());
            prop_assert!(authorization.contains(&names), "{}", authorization);
        }
    }
}
