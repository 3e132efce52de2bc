//! Which keys the embedded S3 takes: objects are files, so a key that would be no file, or another bucket's, is refused before anything is
//! touched. AWS takes all of these.

use std::io;
use std::path::{Path, PathBuf};

use centinela_serve::{Calls, caller};
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::{
    CopyObjectInput, CopySource, DeleteBucketInput, DeleteObjectsInput, PostObjectInput, UploadPartCopyInput,
};
use s3s::{S3Error, S3ErrorCode, S3Request, S3Result};

/// The longest name of a file, in bytes: NAME_MAX on Linux and macOS.
const FILE_NAME_MAX: usize = 255;
/// What the name of the file with an object's attributes has besides the encoded bucket and key.
const BESIDE_KEY: usize = ".bucket-.object-.metadata.json".len();
/// The same while the object is uploaded in parts: an upload has a UUID.
const BESIDE_KEY_OF_UPLOAD: usize = BESIDE_KEY + ".upload-".len() + 36;
const UPLOAD: &str = "CreateMultipartUpload";

/// Looks at every signed request before it reaches the files.
pub(super) struct Keys {
    directory: PathBuf,
    calls: Calls,
}

impl Keys {
    pub(super) fn under(directory: &Path, calls: Calls) -> Self {
        Self { directory: directory.to_owned(), calls }
    }
}

#[async_trait::async_trait]
impl S3Access for Keys {
    async fn check(&self, request: &mut S3AccessContext<'_>) -> S3Result<()> {
        if request.credentials().is_none() {
            return Err(S3Error::with_message(S3ErrorCode::AccessDenied, "Signature is required"));
        }
        let beside = if request.s3_op().name() == UPLOAD { BESIDE_KEY_OF_UPLOAD } else { BESIDE_KEY };
        match request.s3_path().as_object() {
            Some((bucket, key)) => refuse(bucket, key, beside),
            None => Ok(()),
        }
    }

    async fn copy_object(&self, request: &mut S3Request<CopyObjectInput>) -> S3Result<()> {
        refuse_source(&request.input.copy_source)
    }

    async fn upload_part_copy(&self, request: &mut S3Request<UploadPartCopyInput>) -> S3Result<()> {
        refuse_source(&request.input.copy_source)
    }

    async fn post_object(&self, request: &mut S3Request<PostObjectInput>) -> S3Result<()> {
        refuse(&request.input.bucket, &request.input.key, BESIDE_KEY)
    }

    async fn delete_objects(&self, request: &mut S3Request<DeleteObjectsInput>) -> S3Result<()> {
        let DeleteObjectsInput { bucket, delete, .. } = &request.input;
        if let Some(caller) = caller(&request.headers).filter(|_| self.calls.is_on()) {
            for object in &delete.objects {
                let folder = object.key.split_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
                self.calls.note(caller, "s3:DeleteObject", &format!("bucket/{bucket}/{folder}*"));
            }
        }
        delete.objects.iter().try_for_each(|object| refuse(bucket, &object.key, BESIDE_KEY))
    }

    async fn delete_bucket(&self, request: &mut S3Request<DeleteBucketInput>) -> S3Result<()> {
        let bucket = &request.input.bucket;
        match holds_a_file(&self.directory.join(bucket)) {
            Ok(true) => {
                let says = format!("the bucket {bucket} has objects; delete them first");
                Err(S3Error::with_message(S3ErrorCode::BucketNotEmpty, says))
            }
            // One that is not there is named by the store.
            Ok(false) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(S3Error::internal_error(error)),
        }
    }
}

fn refuse_source(source: &CopySource) -> S3Result<()> {
    match source {
        CopySource::Bucket { bucket, key, .. } => refuse(bucket, key, BESIDE_KEY),
        // The store knows no others.
        _ => Ok(()),
    }
}

fn refuse(bucket: &str, key: &str, beside: usize) -> S3Result<()> {
    match problem(bucket, key, beside) {
        None => Ok(()),
        Some(problem) => {
            let says = format!(
                "the key {key:?} {problem}; this emulator keeps objects as files and takes no such keys, choose another"
            );
            Err(S3Error::with_message(S3ErrorCode::InvalidArgument, says))
        }
    }
}

/// Why a key cannot be a file; `beside` are the bytes that a file's name has besides the encoded bucket and key.
fn problem(bucket: &str, key: &str, beside: usize) -> Option<String> {
    // One that ends with a slash is a directory.
    let path = key.strip_suffix('/').unwrap_or(key);
    if key.starts_with('/') {
        return Some("begins with a slash".to_owned());
    }
    for segment in path.split('/') {
        match segment {
            "" => return Some("has an empty segment".to_owned()),
            "." | ".." => return Some(format!("has a segment {segment:?}")),
            _ if segment.len() > FILE_NAME_MAX => {
                return Some(format!("has a segment of {} bytes, more than {FILE_NAME_MAX}", segment.len()));
            }
            _ => {}
        }
    }
    if key.contains('\0') {
        return Some("has a zero byte".to_owned());
    }
    // Its attributes are in a file whose name is the bucket and the key in base64 without padding.
    let room = FILE_NAME_MAX.saturating_sub(beside + encoded(bucket.len())) * 3 / 4;
    (key.len() > room).then(|| format!("has {} bytes, more than {room} in this bucket", key.len()))
}

fn encoded(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// Whether there is a file anywhere below; directories are left behind by objects that were deleted.
fn holds_a_file(directory: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() || holds_a_file(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Method;

    use super::super::{S3, S3Config};
    use super::*;
    use crate::{AwsAccess, AwsClient};

    async fn lake() -> (S3, AwsClient) {
        let store = S3::start(S3Config { buckets: vec!["lake".to_owned()], ..S3Config::default() }).await.unwrap();
        let client = AwsClient::new("s3", &store.url(), &AwsAccess::default()).unwrap();
        (store, client)
    }

    async fn ask(client: &AwsClient, method: Method, path: &str) -> (u16, String) {
        let (status, body) = client.object_request(method, path, Bytes::new()).await.expect("an answer");
        (status.as_u16(), String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn a_key_that_would_be_no_file_of_its_bucket_is_refused_and_writes_nothing() {
        let (store, client) = lake().await;
        let long = "a".repeat(256);
        let deep = format!("{0}/{0}", "a".repeat(100));
        let keys = ["..", "../other/x", "a/../../b", "a/./b", "/lead", "a//b", "a%00b"];
        for key in keys.into_iter().chain([long.as_str(), deep.as_str()]) {
            for method in [Method::PUT, Method::GET, Method::DELETE] {
                let (status, body) = ask(&client, method, &format!("/lake/{key}")).await;
                assert_eq!(status, 400, "{key}: {body}");
                assert!(body.contains("keeps objects as files and takes no such keys"), "{key}: {body}");
            }
        }
        // The store signs what it has decoded, and this client what it sends.
        for key in ["%2e%2e/other/x", "a%2F..%2F..%2Fb"] {
            let (status, body) = ask(&client, Method::PUT, &format!("/lake/{key}")).await;
            assert!([400, 403].contains(&status), "{key}: {status} {body}");
        }
        let inside: Vec<_> =
            std::fs::read_dir(store.directory()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(inside, ["lake"]);
        assert!(!holds_a_file(store.directory()).unwrap());
        for key in ["k", "..k/k..", "year=2026/month=11/part-0.parquet", "a/"] {
            let (status, body) = ask(&client, Method::PUT, &format!("/lake/{key}")).await;
            assert_eq!(status, 200, "{key}: {body}");
        }
        store.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn the_longest_key_that_is_not_refused_is_kept() {
        let (store, client) = lake().await;
        let longest =
            (1..).map(|length| "k".repeat(length)).take_while(|key| problem("lake", key, BESIDE_KEY).is_none());
        let longest = longest.last().unwrap();
        assert_eq!(ask(&client, Method::PUT, &format!("/lake/{longest}")).await.0, 200);
        assert_eq!(ask(&client, Method::PUT, &format!("/lake/{longest}k")).await.0, 400);
        store.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn a_bucket_is_deleted_when_its_objects_are() {
        let (store, client) = lake().await;
        assert_eq!(ask(&client, Method::PUT, "/lake/a/b").await.0, 200);
        let (status, body) = ask(&client, Method::DELETE, "/lake").await;
        assert_eq!(status, 409, "{body}");
        assert!(body.contains("<Code>BucketNotEmpty</Code>"), "{body}");
        assert_eq!(ask(&client, Method::GET, "/lake/a/b").await.0, 200);
        assert_eq!(ask(&client, Method::DELETE, "/lake/a/b").await.0, 204);
        assert_eq!(ask(&client, Method::DELETE, "/lake").await.0, 204);
        assert_eq!(ask(&client, Method::DELETE, "/lake").await.0, 404);
        store.shutdown().await.unwrap();
    }
}
