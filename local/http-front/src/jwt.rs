//! Tokens with RS256, the only kind that HTTP APIs take (RFC 7519, RFC 7515).
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-jwt-authorizer.html>

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, UnparsedPublicKey};
use base64_simd::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

/// The name of the one key.
const KEY_ID: &str = "local";

/// A key that signs tokens and checks them.
pub(crate) struct TokenKey(KeyPair);

/// A token that this issuer gave and that holds now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    /// What it says.
    pub claims: Map<String, Value>,
}

impl TokenKey {
    /// A new one; none when the library cannot make it.
    pub(crate) fn generate() -> Option<Self> {
        KeyPair::generate(KeySize::Rsa2048).ok().map(Self)
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> Option<String> {
        let header = json!({ "alg": "RS256", "typ": "JWT", "kid": KEY_ID }).to_string();
        let text = format!("{}.{}", encoded(header.as_bytes()), encoded(claims.to_string().as_bytes()));
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).ok()?;
        Some(format!("{text}.{}", encoded(&signature)))
    }

    /// What a token says; none when it is not ours, for somebody else, or not valid at this time.
    pub(crate) fn check(&self, token: &str, issuer: &str, audience: &[String], now_s: i64) -> Option<Token> {
        let (text, signature) = token.rsplit_once('.')?;
        let (header, claims) = text.split_once('.')?;
        let header: Value = serde_json::from_slice(&decoded(header)?).ok()?;
        if header["alg"] != "RS256" || header["kid"] != KEY_ID {
            return None;
        }
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, self.0.public_key().as_ref());
        key.verify(text.as_bytes(), &decoded(signature)?).ok()?;
        let claims: Map<String, Value> = serde_json::from_slice(&decoded(claims)?).ok()?;
        let time = |name: &str| claims.get(name).and_then(Value::as_i64);
        let is_meant = |value: &Value| value.as_str().is_some_and(|text| audience.iter().any(|one| one == text));
        let for_us = match claims.get("aud") {
            Some(Value::Array(all)) => all.iter().any(is_meant),
            Some(one) => is_meant(one),
            None => claims.get("client_id").is_some_and(is_meant),
        };
        let holds = claims.get("iss").is_some_and(|found| found == issuer)
            && for_us
            && time("exp").is_some_and(|end| now_s < end)
            && time("nbf").is_none_or(|begin| begin <= now_s)
            && time("iat").is_none_or(|given| given <= now_s);
        holds.then_some(Token { claims })
    }

    /// The public key, as clients find it (RFC 7517).
    pub(crate) fn key_set(&self) -> Option<Value> {
        let (modulus, exponent) = components(self.0.public_key().as_ref())?;
        let key = json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID, "n": encoded(modulus), "e": encoded(exponent),
        });
        Some(json!({ "keys": [key] }))
    }
}

impl Token {
    /// The scopes of `scope` or `scp`, as API Gateway reads them.
    pub(crate) fn scopes(&self) -> Vec<&str> {
        let claim = self.claims.get("scope").or_else(|| self.claims.get("scp"));
        match claim {
            Some(Value::String(words)) => words.split(' ').filter(|word| !word.is_empty()).collect(),
            Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }

    /// Every claim as a text, as events have them.
    pub(crate) fn texts(&self) -> Map<String, Value> {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Array(items) => {
                let items = items.iter().map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned));
                format!("[{}]", items.collect::<Vec<_>>().join(" "))
            }
            other => other.to_string(),
        };
        self.claims.iter().map(|(name, value)| (name.clone(), Value::String(text(value)))).collect()
    }
}

/// Modulus and exponent of an `RSAPublicKey` (RFC 8017, appendix A.1.1): a sequence of two integers.
fn components(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, _) = element(der, 0x30)?;
    let (modulus, rest) = element(sequence, 0x02)?;
    let (exponent, _) = element(rest, 0x02)?;
    Some((without_sign(modulus), without_sign(exponent)))
}

fn without_sign(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}

fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, length, rest @ ..] = der else { return None };
    if *found != tag {
        return None;
    }
    let (length, rest) = match *length {
        short @ ..0x80 => (usize::from(short), rest),
        long => {
            let (digits, rest) = rest.split_at_checked(usize::from(long & 0x7f))?;
            (digits.iter().try_fold(0usize, |sum, digit| sum.checked_mul(256)?.checked_add(usize::from(*digit)))?, rest)
        }
    };
    rest.split_at_checked(length)
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode_to_string(bytes)
}

fn decoded(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode_to_vec(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_904_088;

    fn claims() -> Value {
        json!({ "iss": "i", "aud": "centinela", "exp": NOW + 10, "iat": NOW, "scope": "read label" })
    }

    #[test]
    fn a_token_holds_for_whom_and_when_it_was_given() {
        let key = TokenKey::generate().unwrap();
        let audience = ["centinela".to_owned()];
        let check = |claims: &Value, issuer: &str| key.check(&key.sign(claims).unwrap(), issuer, &audience, NOW);
        assert_eq!(check(&claims(), "i").unwrap().scopes(), ["read", "label"]);
        assert_eq!(check(&claims(), "j"), None);
        for (name, value) in
            [("aud", json!("other")), ("exp", json!(NOW)), ("nbf", json!(NOW + 1)), ("iat", json!(NOW + 1))]
        {
            let mut changed = claims();
            changed[name] = value;
            assert_eq!(check(&changed, "i"), None, "{name}");
        }
        let mut listed = claims();
        listed["aud"] = json!(["other", "centinela"]);
        let found = check(&listed, "i").unwrap();
        assert_eq!(found.texts()["aud"], "[other centinela]");
        assert_eq!(found.texts()["exp"], (NOW + 10).to_string());
    }

    #[test]
    fn a_forged_token_is_none() {
        let (key, other) = (TokenKey::generate().unwrap(), TokenKey::generate().unwrap());
        let audience = ["centinela".to_owned()];
        let token = key.sign(&claims()).unwrap();
        assert_eq!(other.check(&token, "i", &audience, NOW), None);
        let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
        parts[1] = encoded(json!({ "iss": "i", "aud": "centinela", "exp": NOW + 99 }).to_string().as_bytes());
        let unsigned = encoded(br#"{"alg":"none","kid":"local"}"#);
        for forged in
            [parts.join("."), format!("{unsigned}.{}.", parts[1]), String::new(), "a.b.c".to_owned(), "..".to_owned()]
        {
            assert_eq!(key.check(&forged, "i", &audience, NOW), None, "{forged}");
        }
    }

    #[test]
    fn the_key_set_has_the_key() {
        let set = TokenKey::generate().unwrap().key_set().unwrap();
        assert_eq!(decoded(set["keys"][0]["n"].as_str().unwrap()).unwrap().len(), 256);
        assert_eq!(set["keys"][0]["e"], "AQAB");
    }
}
