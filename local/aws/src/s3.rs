//! The embedded S3: objects are plain files under `directory/bucket/key`, and every request's SigV4 signature is checked.
//!
//! Path-style addressing only. It knows no life-cycle rules, versions, tags or notifications, and takes no key that is no file's
//! name (`keys.rs`).

mod asked;
mod keys;
mod locks;

use bytes::Bytes;
use futures::future::BoxFuture;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::{Service, service_fn};
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tempfile::TempDir;

use self::asked::{Asked, slow_down};
use self::keys::Keys;
use self::locks::Locks;
use crate::access::AwsAccess;
use crate::fault::{Fault, FaultSource, NoFaults, ReplyWithheld};
use centinela_serve::{BoxError, Calls, HttpServer, ServerError, warden};

pub use self::asked::ObjectStats;

const SERVICE: &str = "s3";

/// Why the object store cannot start, or did not end in order.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum S3Error {
    #[error(transparent)]
    Server(#[from] ServerError),
    #[error("bucket name {name:?} is not valid; use 3 to 63 lower-case letters, digits, dots and hyphens")]
    BucketName { name: String },
    #[error("s3 cannot use the directory {}", directory.display())]
    Directory {
        directory: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("s3 cannot keep objects in {}: {reason:?}", directory.display())]
    ObjectStore { directory: PathBuf, reason: s3s_fs::Error },
    #[error("object {key} cannot be read")]
    Object {
        key: String,
        #[source]
        source: io::Error,
    },
}

/// How to start the object store.
#[derive(Clone)]
pub struct S3Config {
    /// The port to listen on; `None` takes a free one.
    pub port: Option<u16>,
    /// Where the objects are kept; `None` takes a temporary directory that is removed at the end.
    pub directory: Option<PathBuf>,
    /// Buckets that must exist.
    pub buckets: Vec<String>,
    /// Whose signatures it accepts.
    pub access: AwsAccess,
    /// Decides which requests go wrong.
    pub faults: Arc<dyn FaultSource>,
    /// Notes whose objects are deleted together, which only the body of a request says.
    pub calls: Calls,
}

impl Default for S3Config {
    fn default() -> Self {
        let access = AwsAccess::default();
        let (faults, calls) = (Arc::new(NoFaults), Calls::default());
        Self { port: None, directory: None, buckets: Vec::new(), access, faults, calls }
    }
}

/// A running object store. Dropping it stops it without waiting.
pub struct S3 {
    asked: Arc<Asked>,
    server: HttpServer,
    directory: PathBuf,
    temporary: Option<TempDir>,
}

impl std::fmt::Debug for S3 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("S3").field("url", &self.url()).finish_non_exhaustive()
    }
}

impl S3 {
    /// Starts the object store with its buckets.
    ///
    /// # Errors
    /// When the port is taken, the directory cannot be used, or a bucket name is not valid.
    pub fn start(config: S3Config) -> BoxFuture<'static, Result<Self, S3Error>> {
        Box::pin(Self::begin(config))
    }

    async fn begin(config: S3Config) -> Result<Self, S3Error> {
        let (directory, temporary) = prepare_directory(config.directory)?;
        for bucket in &config.buckets {
            create_bucket(&directory, bucket)?;
        }
        let files = FileSystem::new(&directory)
            .map_err(|reason| S3Error::ObjectStore { directory: directory.clone(), reason })?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(config.access.access_key_id, config.access.secret_access_key));
        builder.set_access(Keys::under(&directory, config.calls));
        let (objects, locks) = (Arc::new(builder.build()), Arc::new(Locks::new()));
        let asked = Arc::new(Asked::new(config.faults));
        let asking = Arc::clone(&asked);
        let handler = service_fn(move |request: Request<Incoming>| {
            let (objects, locks, asked) = (Arc::clone(&objects), Arc::clone(&locks), Arc::clone(&asking));
            async move {
                let (head, body) = request.into_parts();
                let fault = asked.came(&head.method, &head);
                match fault {
                    Fault::Throttle => return Ok(slow_down()),
                    Fault::Delay(time) => tokio::time::sleep(time).await,
                    Fault::None | Fault::ReplyLost | Fault::Partial { .. } => {}
                }
                let (method, path) = (head.method.clone(), head.uri.path().to_owned());
                let _held = locks.hold(&method, &path).await;
                let answer = Service::call(&*objects, Request::from_parts(head, body)).await?;
                if fault == Fault::ReplyLost { Err(BoxError::from(ReplyWithheld)) } else { Ok(answer) }
            }
        });
        let server = HttpServer::start(SERVICE, config.port, handler).await?;
        Ok(Self { asked, server, directory, temporary })
    }

    /// What was asked so far.
    #[must_use]
    pub fn snapshot(&self) -> ObjectStats {
        self.asked.snapshot()
    }

    /// An object; none where there is none. It is not counted.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn object(&self, bucket: &str, key: &str) -> Result<Option<Bytes>, S3Error> {
        match tokio::fs::read(self.directory.join(bucket).join(key)).await {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(S3Error::Object { key: key.to_owned(), source }),
        }
    }

    /// The endpoint URL.
    #[must_use]
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The port that the store listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.server.port()
    }

    /// Where the objects are, as files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Finishes open requests, stops, and removes the directory if it was a temporary one.
    ///
    /// # Errors
    /// When a task of the store panicked, or the temporary directory cannot be removed.
    pub async fn shutdown(self) -> Result<(), S3Error> {
        let Self { server, directory, temporary, .. } = self;
        server.shutdown().await?;
        match temporary {
            Some(temporary) => temporary.close().map_err(|source| S3Error::Directory { directory, source }),
            None => Ok(()),
        }
    }
}

fn prepare_directory(wanted: Option<PathBuf>) -> Result<(PathBuf, Option<TempDir>), S3Error> {
    if let Some(directory) = wanted {
        std::fs::create_dir_all(&directory)
            .map_err(|source| S3Error::Directory { directory: directory.clone(), source })?;
        return Ok((directory, None));
    }
    let temporary = tempfile::Builder::new()
        .prefix("centinela-s3-")
        .tempdir()
        .map_err(|source| S3Error::Directory { directory: std::env::temp_dir(), source })?;
    warden::guard_directory(temporary.path());
    Ok((temporary.path().to_owned(), Some(temporary)))
}

fn create_bucket(directory: &Path, name: &str) -> Result<(), S3Error> {
    if !is_bucket_name(name) {
        return Err(S3Error::BucketName { name: name.to_owned() });
    }
    let bucket = directory.join(name);
    std::fs::create_dir_all(&bucket).map_err(|source| S3Error::Directory { directory: bucket, source })
}

/// The rules of <https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html> that keep a name a safe
/// directory name.
fn is_bucket_name(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (3..=63).contains(&name.len())
        && name.bytes().all(inner)
        && edge(name.as_bytes().first())
        && edge(name.as_bytes().last())
        && !name.contains("..")
}
