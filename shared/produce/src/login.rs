//! Who we are to a broker: SCRAM (RFC 5802, RFC 7677), or a token of MSK's IAM authentication as a bearer token (RFC 7628).

use std::num::NonZeroU32;
use std::time::Duration;

use aws_lc_rs::{digest, hmac, pbkdf2, rand};
use base64_simd::STANDARD;
use centinela_kafka_access::{KafkaLogin, Scram};

use crate::connection::{Connection, Opening};
use crate::failure::Problem;
use crate::protocol::{SASL_AUTHENTICATE, SASL_HANDSHAKE};

const BEARER: &str = "OAUTHBEARER";
/// Brokers have 4,096; one that wants a million would keep a start waiting for a second.
const ITERATIONS: std::ops::RangeInclusive<u32> = 4_096..=1_000_000;
const NONCE_BYTES: usize = 24;
/// The header of RFC 5801 for a client that binds no channel, and the same in base64.
const HEADER: &str = "n,,";
const HEADER_BASE64: &str = "biws";

/// How a connection proves who we are.
pub(crate) type Login = KafkaLogin;

/// Proves who we are, if the broker wants to know.
pub(crate) async fn log_in(connection: &mut Connection, opening: &Opening) -> Result<(), Problem> {
    let lifetime_ms = match &opening.login {
        KafkaLogin::Anonymous => return Ok(()),
        KafkaLogin::Scram { user, password, mechanism } => {
            let mut nonce = [0; NONCE_BYTES];
            rand::fill(&mut nonce).map_err(|_| Problem::Login("there are no random numbers".to_owned()))?;
            let first = ClientFirst::new(*mechanism, user, &STANDARD.encode_to_string(nonce));
            handshake(connection, opening, mechanism.name()).await?;
            let (challenge, _) = authenticate(connection, opening, first.message().as_bytes()).await?;
            let last = first.answer(&password.0, &challenge).map_err(said)?;
            let (verdict, lifetime_ms) = authenticate(connection, opening, last.message.as_bytes()).await?;
            last.verify(&verdict).map_err(said)?;
            lifetime_ms
        }
        KafkaLogin::Iam { region } => {
            let token =
                centinela_kafka_access::token(region).await.map_err(|error| Problem::Login(error.to_string()))?;
            bear(connection, opening, &token.token).await?
        }
    };
    if let Some(lifetime_ms) = u64::try_from(lifetime_ms).ok().filter(|lifetime_ms| *lifetime_ms > 0) {
        connection.ends_after(Duration::from_millis(lifetime_ms));
    }
    Ok(())
}

/// Shows a token; returns for how long it lets in, in milliseconds.
async fn bear(connection: &mut Connection, opening: &Opening, token: &str) -> Result<i64, Problem> {
    handshake(connection, opening, BEARER).await?;
    let message = format!("{HEADER}\u{1}auth=Bearer {token}\u{1}\u{1}");
    let (verdict, lifetime_ms) = authenticate(connection, opening, message.as_bytes()).await?;
    if verdict.is_empty() { Ok(lifetime_ms) } else { Err(said("the token is not taken")) }
}

fn said(problem: &'static str) -> Problem {
    Problem::Login(problem.to_owned())
}

async fn handshake(connection: &mut Connection, opening: &Opening, mechanism: &str) -> Result<(), Problem> {
    let asked = connection.ask(SASL_HANDSHAKE, &opening.client_id, |request| request.sasl_handshake(mechanism));
    asked.await?.handshaken()
}

async fn authenticate(connection: &mut Connection, opening: &Opening, token: &[u8]) -> Result<(Vec<u8>, i64), Problem> {
    let asked = connection.ask(SASL_AUTHENTICATE, &opening.client_id, |request| request.sasl_authenticate(token));
    asked.await?.authenticated().map(|(token, lifetime_ms)| (token.to_vec(), lifetime_ms))
}

/// The hash of a mechanism.
#[derive(Clone, Copy)]
struct Hash {
    digest: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
    pbkdf2: pbkdf2::Algorithm,
}

impl Hash {
    fn of(mechanism: Scram) -> Self {
        match mechanism {
            Scram::Sha256 => {
                Self { digest: &digest::SHA256, hmac: hmac::HMAC_SHA256, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA256 }
            }
            Scram::Sha512 => {
                Self { digest: &digest::SHA512, hmac: hmac::HMAC_SHA512, pbkdf2: pbkdf2::PBKDF2_HMAC_SHA512 }
            }
        }
    }

    fn sign(self, key: &[u8], text: &[u8]) -> Vec<u8> {
        hmac::sign(&hmac::Key::new(self.hmac, key), text).as_ref().to_vec()
    }
}

/// What a client says first.
struct ClientFirst {
    hash: Hash,
    nonce: String,
    bare: String,
}

/// What a client says last, and what proves the server.
struct ClientLast {
    message: String,
    signature: Vec<u8>,
}

impl ClientFirst {
    fn new(mechanism: Scram, user: &str, nonce: &str) -> Self {
        let user = user.replace('=', "=3D").replace(',', "=2C");
        Self { hash: Hash::of(mechanism), nonce: nonce.to_owned(), bare: format!("n={user},r={nonce}") }
    }

    fn message(&self) -> String {
        format!("{HEADER}{}", self.bare)
    }

    fn answer(&self, password: &str, challenge: &[u8]) -> Result<ClientLast, &'static str> {
        const MALFORMED: &str = "the broker's challenge is not of its form";
        let challenge = std::str::from_utf8(challenge).map_err(|_| MALFORMED)?;
        let part = |name: &str| challenge.split(',').find_map(|part| part.strip_prefix(name)).ok_or(MALFORMED);
        let (nonce, salt, iterations) = (part("r=")?, part("s=")?, part("i=")?);
        if nonce.len() <= self.nonce.len() || !nonce.starts_with(&self.nonce) {
            return Err("the broker answers somebody else's login");
        }
        let salt = STANDARD.decode_to_vec(salt).map_err(|_| MALFORMED)?;
        let iterations: u32 = iterations.parse().map_err(|_| MALFORMED)?;
        let rounds = NonZeroU32::new(iterations).filter(|_| ITERATIONS.contains(&iterations));
        let rounds =
            rounds.ok_or("the broker wants fewer than 4,096 rounds of the password, or more than a million")?;
        let Hash { digest, pbkdf2, .. } = self.hash;
        let mut salted = vec![0; digest.output_len()];
        pbkdf2::derive(pbkdf2, rounds, &salt, password.as_bytes(), &mut salted);
        let client_key = self.hash.sign(&salted, b"Client Key");
        let stored_key = digest::digest(digest, &client_key);
        let unproved = format!("c={HEADER_BASE64},r={nonce}");
        let all = format!("{},{challenge},{unproved}", self.bare);
        let signature = self.hash.sign(stored_key.as_ref(), all.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(key, signature)| key ^ signature).collect();
        let server_key = self.hash.sign(&salted, b"Server Key");
        Ok(ClientLast {
            message: format!("{unproved},p={}", STANDARD.encode_to_string(proof)),
            signature: self.hash.sign(&server_key, all.as_bytes()),
        })
    }
}

impl ClientLast {
    /// Whether the server knows the password too.
    fn verify(&self, verdict: &[u8]) -> Result<(), &'static str> {
        let signature = verdict.strip_prefix(b"v=").map(|rest| rest.split(|&byte| byte == b',').next().unwrap_or(rest));
        let signature = signature.and_then(|text| STANDARD.decode_to_vec(text).ok());
        match signature {
            Some(signature) if signature == self.signature => Ok(()),
            _ => Err("the broker does not know the password"),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;
    use crate::connection::Address;

    /// The example of RFC 7677, section 3.
    #[test]
    fn a_login_is_that_of_the_standard() {
        let first = ClientFirst::new(Scram::Sha256, "user", "rOprNGfwEbeRWgbNEkqO");
        assert_eq!(first.message(), "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let last = first.answer("pencil", challenge).unwrap();
        let said = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        assert_eq!(last.message, said);
        last.verify(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
        for forged in [&b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5="[..], b"v=", b"e=invalid-proof", b""] {
            assert!(last.verify(forged).is_err());
        }
    }

    #[test]
    fn a_challenge_that_is_not_ours_or_no_challenge_is_refused() {
        let first = ClientFirst::new(Scram::Sha512, "a=b,c", "nonce");
        assert_eq!(first.message(), "n,,n=a=3Db=2Cc,r=nonce");
        assert!(first.answer("secret", b"r=nonce-and-more,s=c2FsdA==,i=4096").is_ok());
        for wrong in [
            &b"r=nonce,s=c2FsdA==,i=4096"[..],
            b"r=another-nonce,s=c2FsdA==,i=4096",
            b"r=nonce-and-more,s=c2FsdA==,i=4095",
            b"r=nonce-and-more,s=c2FsdA==,i=4000000000",
            b"r=nonce-and-more,s=c2FsdA==,i=many",
            b"r=nonce-and-more,s=salt!,i=4096",
            b"r=nonce-and-more,i=4096",
            b"\xff",
        ] {
            assert!(first.answer("secret", wrong).is_err(), "{}", String::from_utf8_lossy(wrong));
        }
    }

    /// What a broker says to a handshake and to a token, and what the client made of it.
    async fn token_before(verdict: &'static [u8], lifetime_ms: i64) -> (Result<i64, Problem>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::parse(&listener.local_addr().unwrap().to_string()).unwrap();
        let broker = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut heard = Vec::new();
            let token_answer = [&[0, 0, 255, 255], &(verdict.len() as i32).to_be_bytes()[..], verdict].concat();
            let token_answer = [token_answer, lifetime_ms.to_be_bytes().to_vec()].concat();
            for body in [vec![0; 6], token_answer] {
                let mut request = vec![0; socket.read_i32().await.unwrap() as usize];
                socket.read_exact(&mut request).await.unwrap();
                let answer = [&(4 + body.len() as i32).to_be_bytes()[..], &request[4..8], &body].concat();
                socket.write_all(&answer).await.unwrap();
                heard = request;
            }
            heard
        };
        let client = async {
            let opening = Opening { client_id: "c".to_owned(), tls: None, login: Login::Anonymous };
            let mut connection = Connection::open(&address, &opening).await.unwrap();
            bear(&mut connection, &opening, "secret").await
        };
        futures::future::join(client, broker).await
    }

    #[tokio::test]
    async fn a_token_is_shown_as_the_standard_says_and_a_broker_may_not_take_it() {
        let (taken, heard) = token_before(b"", 900_000).await;
        assert_eq!(taken.unwrap(), 900_000);
        assert!(heard.ends_with(b"n,,\x01auth=Bearer secret\x01\x01"), "{heard:?}");
        let (refused, _) = token_before(br#"{"status":"invalid_token"}"#, 0).await;
        assert!(matches!(refused, Err(Problem::Login(_))), "{refused:?}");
    }
}
