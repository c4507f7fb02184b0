//! The browser client's files: a folder that is read into memory at the start, and served by file name.
//!
//! A request's path is only looked up among the existing names. `NAME.br` and `NAME.gz` are compressed forms of
//! `NAME`, for clients that accept them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::accounts::hex;
use crate::http::refusal::refuse;

/// Maximum number of files in the folder, including compressed ones and folders.
pub const MAX_WEB_FILES: usize = 200;

/// Maximum size of the folder, bytes: the files stay in memory.
pub const MAX_WEB_BYTES: u64 = 64 << 20;

/// Suffixes of compressed files and their encoding's name in a header; the best one first.
const ENCODINGS: [(&str, &str); 2] = [(".br", "br"), (".gz", "gzip")];

/// Why the folder cannot be served.
#[derive(Debug, Error)]
pub enum WebError {
    /// A file or folder cannot be read.
    #[error("cannot read {path} of the web client ({source}): build it, and name its folder with --web-dir")]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        source: std::io::Error,
    },
    /// There is no start page.
    #[error("there is no index.html in {0}: name the folder of the built web client with --web-dir")]
    NoIndex(PathBuf),
    /// It is too large for a web client.
    #[error(
        "{0} holds more than {MAX_WEB_FILES} files or {mib} MiB, which is not a web client: name its folder with --web-dir",
        mib = MAX_WEB_BYTES >> 20
    )]
    TooMuch(PathBuf),
    /// A name would need escaping in a URL.
    #[error("the web client's file {0:?} has a name with characters other than a-z A-Z 0-9 . _ -: rename it")]
    BadName(PathBuf),
}

/// The files, by request path.
#[derive(Debug, Default)]
pub struct WebFiles {
    files: BTreeMap<String, WebFile>,
}

#[derive(Debug)]
struct WebFile {
    content_type: HeaderValue,
    plain: Variant,
    /// By the encoding's name; the best one first.
    compressed: Vec<(&'static str, Variant)>,
}

#[derive(Debug)]
struct Variant {
    bytes: Bytes,
    etag: HeaderValue,
}

impl Variant {
    fn new(bytes: Vec<u8>) -> Self {
        let hash = hex::encode(&Sha256::digest(&bytes)[..16]);
        let etag = HeaderValue::try_from(format!("\"{hash}\"")).expect("digits in quotes");
        Self { bytes: bytes.into(), etag }
    }
}

impl WebFiles {
    /// Reads a folder. Names that start with a dot are skipped.
    ///
    /// # Errors
    /// [`WebError`].
    pub fn load(folder: &Path) -> Result<Self, WebError> {
        let mut read = BTreeMap::new();
        let (mut entries, mut bytes) = (0, 0);
        let mut folders = vec![(folder.to_owned(), String::from("/"))];
        while let Some((path, prefix)) = folders.pop() {
            let unreadable = |source| WebError::Unreadable { path: path.clone(), source };
            for entry in std::fs::read_dir(&path).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let path = entry.path();
                let unreadable = |source| WebError::Unreadable { path: path.clone(), source };
                let name = entry.file_name().into_string().map_err(|_| WebError::BadName(path.clone()))?;
                if name.starts_with('.') {
                    continue;
                }
                if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) {
                    return Err(WebError::BadName(path));
                }
                let metadata = std::fs::metadata(&path).map_err(unreadable)?;
                entries += 1;
                bytes += if metadata.is_file() { metadata.len() } else { 0 };
                if entries > MAX_WEB_FILES || bytes > MAX_WEB_BYTES {
                    return Err(WebError::TooMuch(folder.to_owned()));
                }
                if metadata.is_dir() {
                    folders.push((path, format!("{prefix}{name}/")));
                } else {
                    read.insert(format!("{prefix}{name}"), std::fs::read(&path).map_err(unreadable)?);
                }
            }
        }
        if !read.contains_key("/index.html") {
            return Err(WebError::NoIndex(folder.to_owned()));
        }
        Ok(Self::of(read))
    }

    fn of(mut read: BTreeMap<String, Vec<u8>>) -> Self {
        let is_compressed = |name: &&String| {
            ENCODINGS.iter().any(|(end, _)| name.strip_suffix(end).is_some_and(|plain| read.contains_key(plain)))
        };
        let compressed: Vec<String> = read.keys().filter(is_compressed).cloned().collect();
        let mut variants: BTreeMap<String, Variant> = compressed
            .into_iter()
            .filter_map(|name| read.remove_entry(&name))
            .map(|(n, b)| (n, Variant::new(b)))
            .collect();
        let mut files: BTreeMap<String, WebFile> = read
            .into_iter()
            .map(|(name, bytes)| {
                let found = ENCODINGS.iter().filter_map(|(end, encoding)| {
                    let variant = variants.remove(&format!("{name}{end}"))?;
                    Some((*encoding, variant))
                });
                let compressed = found.collect();
                let file = WebFile { content_type: content_type(&name), plain: Variant::new(bytes), compressed };
                (name, file)
            })
            .collect();
        if let Some(index) = files.remove("/index.html") {
            files.insert("/".to_owned(), index);
        }
        Self { files }
    }

    /// Answers a request for one of the files; otherwise `None`.
    pub(super) fn answer(&self, method: &Method, path: &str, headers: &HeaderMap) -> Option<Response> {
        let file = self.files.get(if path == "/index.html" { "/" } else { path })?;
        if method != Method::GET && method != Method::HEAD {
            let refusal = refuse(StatusCode::METHOD_NOT_ALLOWED, "this is a file: GET or HEAD it");
            return Some(([(header::ALLOW, "GET, HEAD")], refusal).into_response());
        }
        let accepted = file.compressed.iter().find(|(encoding, _)| accepts(headers, encoding));
        let (encoding, variant) = match accepted {
            Some((encoding, variant)) => (Some(*encoding), variant),
            None => (None, &file.plain),
        };
        let is_known = knows(headers, &variant.etag);
        let body = if is_known || method == Method::HEAD { Body::empty() } else { variant.bytes.clone().into() };
        let mut response = Response::new(body);
        let answer = response.headers_mut();
        answer.insert(header::ETAG, variant.etag.clone());
        answer.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if !file.compressed.is_empty() {
            answer.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
        }
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Some(response);
        }
        answer.insert(header::CONTENT_TYPE, file.content_type.clone());
        answer.insert(header::CONTENT_LENGTH, variant.bytes.len().into());
        if let Some(encoding) = encoding {
            answer.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        Some(response)
    }
}

fn content_type(name: &str) -> HeaderValue {
    HeaderValue::from_static(match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "json" => "application/json",
        "txt" => "text/plain; charset=utf-8",
        "webmanifest" => "application/manifest+json",
        _ => "application/octet-stream",
    })
}

/// The comma-separated values in all headers of that name.
fn listed(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Whether `Accept-Encoding` contains an encoding with a weight other than 0.
fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    listed(headers, header::ACCEPT_ENCODING).any(|item| {
        let (name, weight) = item.split_once(';').unwrap_or((item, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        name.trim().eq_ignore_ascii_case(encoding) && weight.is_ok_and(|weight| weight > 0.0)
    })
}

/// Whether the client has that version already, by `If-None-Match`.
fn knows(headers: &HeaderMap, etag: &HeaderValue) -> bool {
    listed(headers, header::IF_NONE_MATCH)
        .any(|item| item == "*" || item.strip_prefix("W/").unwrap_or(item).as_bytes() == etag.as_bytes())
}
