//! Calls of one service.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;

use crate::address::Address;
use crate::clock::Moment;
use crate::connection::{Connection, Received, Route, Tls};
use crate::failure::{CallError, ConnectError, Malformed, ServiceError};
use crate::identity::{Access, Identity};
use crate::request::Asker;
use crate::settings::user_agent;
use crate::signature::Signed;

/// Connections that are kept while nothing is asked.
const IDLE_CONNECTIONS_MAX: usize = 8;

/// A signature was refused for its time, or because nothing better was said of it.
/// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html>
const CLOCK_CODES: [&str; 5] = [
    "InvalidSignatureException",
    "RequestExpired",
    "RequestInTheFuture",
    "RequestTimeTooSkewed",
    "SignatureDoesNotMatch",
];
/// Credentials were refused.
const CREDENTIALS_CODES: [&str; 4] =
    ["ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "UnrecognizedClientException"];

/// How a service is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name in signatures.
    pub name: &'static str,
    /// What a body is.
    pub content_type: &'static str,
    /// The largest answer that is read, in bytes.
    pub answer_bytes_max: usize,
}

/// A client of one service; clones share its connections.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    access: Access,
    service: Service,
    address: Address,
    route: Route,
    user_agent: String,
    /// The one used last is taken first, so that the others may grow old.
    ///
    /// One that breaks takes none of the others with it. They end elsewhere in the service, and one that ended with it has said so before it is
    /// taken ([`Connection::is_usable`]); throwing away those that live would make every call of a batch connect anew, with a handshake of
    /// TLS, just when the service is unwell. One that died without a word costs an attempt, and is gone after it.
    idle: Mutex<Vec<Connection>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("service", &self.0.service.name)
            .field("address", &self.0.address)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client of a service at an address, such as `https://dynamodb.eu-west-1.amazonaws.com`. It connects with the first call.
    ///
    /// # Errors
    /// When the address or what is said about it cannot be used.
    pub fn new(access: Access, service: Service, url: &str) -> Result<Self, ConnectError> {
        let address = Address::parse(url)?;
        let route = if address.is_tls {
            let name = ServerName::try_from(address.host.clone());
            let name = name.map_err(|_| ConnectError::Name { host: address.host.clone() })?;
            Route::Tls(Tls { connector: TlsConnector::from(access.tls().config()?), name })
        } else {
            Route::Plain
        };
        Self::by(route, access, service, address)
    }

    /// A client that reaches nobody: every call has the same answer, the bytes of a whole one of HTTP/1.1. For measuring what a call costs its
    /// caller apart from the network.
    ///
    /// # Errors
    /// When the application's name cannot stand in a header.
    pub fn canned(access: Access, service: Service, answer: &[u8]) -> Result<Self, ConnectError> {
        Self::by(Route::Canned(answer.into()), access, service, Address::parse("http://canned")?)
    }

    fn by(route: Route, access: Access, service: Service, address: Address) -> Result<Self, ConnectError> {
        let user_agent = user_agent()?;
        Ok(Self(Arc::new(Inner { access, service, address, route, user_agent, idle: Mutex::default() })))
    }

    /// Makes one call. `target` names the operation, `write` appends the body to a buffer, and `read` makes something of the answer's.
    ///
    /// It is not tried again, and has no time limit but that of connecting: whoever drops it closes its connection.
    ///
    /// # Errors
    /// When there is no answer, when it is an error, or when it is not what `read` expects.
    pub async fn call<T>(
        &self,
        target: &'static str,
        write: impl FnOnce(&mut Vec<u8>),
        read: impl FnOnce(&[u8]) -> Result<T, Malformed>,
    ) -> Result<T, CallError> {
        let Inner { access, service, address, route, .. } = &*self.0;
        let identity = access.identity().await?;
        let mut connection = match self.take_idle() {
            Some(connection) => connection,
            None => Connection::open(address, route).await?,
        };
        write(connection.request.new_body());
        let signed_s = access.clock().now_s();
        self.sign(&mut connection, target, &identity, signed_s);
        let Received { head, body } = connection.exchange(service.answer_bytes_max, &mut |_, _| {}).await?;
        let body = connection.body(body);
        let outcome = if head.status == 200 {
            read(body).map_err(CallError::Malformed)
        } else {
            let error = ServiceError::read(head.status, head.error_type.as_deref(), body);
            Err(self.refused(error, head.date.as_deref(), &identity, signed_s))
        };
        if head.is_kept {
            connection.give_back();
            self.keep(connection);
        }
        outcome
    }

    fn sign(&self, connection: &mut Connection, target: &str, identity: &Identity, at_s: i64) {
        let Inner { access, service, address, user_agent, .. } = &*self.0;
        let moment = Moment::of(at_s);
        let key = identity.signing_key(&moment, access.region(), service.name);
        let signed = Signed {
            authority: &address.authority,
            content_type: service.content_type,
            target,
            session_token: identity.session_token(),
            moment: &moment,
            region: access.region(),
            service: service.name,
        };
        connection.request.finish(&key, &signed, Asker { access_key_id: identity.access_key_id(), user_agent });
    }

    /// What an error means for the next call.
    fn refused(&self, error: ServiceError, date: Option<&str>, identity: &Arc<Identity>, signed_s: i64) -> CallError {
        let (access, error) = (&self.0.access, Box::new(error));
        let code = error.code.as_str();
        let is_known_better = if CLOCK_CODES.contains(&code) {
            date.is_some_and(|date| access.clock().correct(date, signed_s))
        } else {
            CREDENTIALS_CODES.contains(&code) && access.refused(identity)
        };
        if is_known_better { CallError::SignatureOutdated(error) } else { CallError::Service(error) }
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(connection) = idle.pop() {
            if connection.is_usable() {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, connection: Connection) {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // They stand in the order of their last use.
        while idle.first().is_some_and(Connection::is_old) {
            idle.remove(0);
        }
        if idle.len() < IDLE_CONNECTIONS_MAX {
            idle.push(connection);
        }
    }
}
