//! Download of one file over HTTP, resumed after interruptions.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Response, header};
use ureq::{Agent, Body};

use super::sums::{BLOCK, Sum};
use super::{Archive, Reporter, RetryPolicy, Stage, io_error, lock};
use crate::Error;

/// An attempt that receives this many bytes does not count as failed, however it ends.
const PROGRESS: u64 = 1 << 20;
/// Fewer bytes than this within [`RetryPolicy::timeout`] count as a timeout.
const TRICKLE: u64 = 1 << 10;
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// The bytes received so far, in a file that is locked against other processes.
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) file: File,
    len: u64,
    sum: Sum,
    /// Number of responses that the bytes come from; a file of an earlier call counts as one.
    pieces: u32,
}

/// Why an attempt failed.
enum Failure {
    /// Another attempt may succeed.
    Transient(String),
    Permanent(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Permanent(error)
    }
}

/// Completes the file at `path`.
pub(super) fn download(
    archive: &Archive,
    path: &Path,
    policy: &RetryPolicy,
    report: &mut Reporter<'_>,
) -> Result<Part, Error> {
    let mut part = Part::open(path, report)?;
    let mut again = false;
    while part.sum.hex() != archive.md5 {
        if let Err(error) = complete(&mut part, archive, policy, report) {
            if part.len == 0 {
                part.remove()?;
            }
            return Err(error);
        }
        let (found, mixed) = (part.sum.hex(), part.pieces > 1);
        if found != archive.md5 {
            part.clear()?;
            if again || !mixed {
                part.remove()?;
                let problem = format!("is not {}, the published sum", archive.md5);
                return Err(Error::value(&archive.url, "MD5", found, problem));
            }
            again = true;
        }
    }
    part.file.sync_all().map_err(io_error(path))?;
    Ok(part)
}

/// Retries until the file is complete.
fn complete(
    part: &mut Part,
    archive: &Archive,
    policy: &RetryPolicy,
    report: &mut Reporter<'_>,
) -> Result<(), Error> {
    let agent = agent(policy);
    let (mut reached, mut failures, mut cleared) = (part.len, 0, false);
    loop {
        let problem = match attempt(&agent, part, archive, policy, report) {
            Ok(()) => return Ok(()),
            Err(Failure::Permanent(error)) => return Err(error),
            Err(Failure::Transient(problem)) => problem,
        };
        if part.len < reached && !cleared {
            // Only once, or a server that always starts from the beginning would be asked forever.
            (reached, cleared) = (part.len, true);
        } else if part.len >= reached + PROGRESS {
            (reached, failures) = (part.len, 0);
        }
        failures += 1;
        if failures >= policy.attempts {
            let mut end = format!("gave up after {failures} attempts");
            if part.len > 0 {
                end += &format!(", {} bytes are kept for the next call", part.len);
            }
            return Err(download_error(archive, format!("{problem}; {end}")));
        }
        report.begin(Stage::Wait, part.len, None);
        let pause = policy.pause.saturating_mul(1 << (failures - 1).min(16));
        thread::sleep(pause.min(MAX_PAUSE));
    }
}

fn agent(policy: &RetryPolicy) -> Agent {
    let stall = Some(policy.timeout);
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_resolve(stall)
        .timeout_connect(stall)
        .timeout_send_request(stall)
        .timeout_recv_response(stall)
        .timeout_per_read(stall);
    config.build().into()
}

/// Requests the missing bytes and appends what arrives.
fn attempt(
    agent: &Agent,
    part: &mut Part,
    archive: &Archive,
    policy: &RetryPolicy,
    report: &mut Reporter<'_>,
) -> Result<(), Failure> {
    let mut request = agent.get(&archive.url).header(header::ACCEPT_ENCODING, "identity");
    if part.len > 0 {
        request = request.header(header::RANGE, format!("bytes={}-", part.len));
    }
    let mut response = request.call().map_err(|e| request_failure(e, archive, policy))?;
    let total = part.begin(&response, archive)?;
    if total.is_some_and(|total| total > archive.max_bytes) {
        return Err(archive.too_large().into());
    }
    report.begin(Stage::Download, part.len, total);
    let of = total.map_or(String::new(), |total| format!(" of {total}"));
    let mut body = response.body_mut().as_reader();
    let mut block = vec![0; BLOCK];
    let (mut start, mut received) = (Instant::now(), part.len);
    loop {
        let n = match body.read(&mut block) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => match ureq::Error::from(e) {
                ureq::Error::Timeout(_) => return Err(timed_out(part, policy)),
                e => return Err(interrupted(part, &of, &format!(": {e}"))),
            },
        };
        if part.len + n as u64 > archive.max_bytes {
            part.clear()?;
            return Err(archive.too_large().into());
        }
        part.push(&block[..n])?;
        report.advance(n);
        if start.elapsed() >= policy.timeout {
            if part.len - received < TRICKLE {
                return Err(timed_out(part, policy));
            }
            (start, received) = (Instant::now(), part.len);
        }
    }
    match total {
        Some(total) if part.len < total => Err(interrupted(part, &of, "")),
        _ => Ok(()),
    }
}

fn interrupted(part: &Part, of: &str, why: &str) -> Failure {
    Failure::Transient(format!("connection closed after {}{of} bytes{why}", part.len))
}

fn timed_out(part: &Part, policy: &RetryPolicy) -> Failure {
    Failure::Transient(format!("no data for {:?} after {} bytes", policy.timeout, part.len))
}

fn request_failure(error: ureq::Error, archive: &Archive, policy: &RetryPolicy) -> Failure {
    use ureq::Error as E;
    match error {
        E::Timeout(_) => Failure::Transient(format!("no response within {:?}", policy.timeout)),
        E::Io(_) | E::HostNotFound | E::ConnectionFailed | E::Protocol(_) | E::BodyStalled => {
            Failure::Transient(error.to_string())
        }
        _ => Failure::Permanent(download_error(archive, error.to_string())),
    }
}

fn download_error(archive: &Archive, problem: String) -> Error {
    Error::Download { url: archive.url.clone(), problem }
}

/// The start of the range and, if known, the size of the file, from
/// `Content-Range: bytes START-END/SIZE`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let value = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = value.strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.parse().ok()?;
    Some((start, size.parse().ok()))
}

impl Part {
    fn open(path: &Path, report: &mut Reporter<'_>) -> Result<Self, Error> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = file.map_err(io_error(path))?;
        lock(&file, path)?;
        report.begin(Stage::Check, 0, file.metadata().ok().map(|m| m.len()));
        let mut sum = Sum::default();
        let len = sum.read(&file, report).map_err(io_error(path))?;
        Ok(Self { path: path.into(), file, len, sum, pieces: u32::from(len > 0) })
    }

    /// Prepares for the body of a response and returns the size of the complete file, if known.
    fn begin(
        &mut self,
        response: &Response<Body>,
        archive: &Archive,
    ) -> Result<Option<u64>, Failure> {
        let total = match (response.status().as_u16(), content_range(response.headers())) {
            (206, Some((start, total))) if start == self.len => total,
            (206 | 416, _) => {
                self.clear()?;
                return Err(Failure::Transient(
                    "does not have the requested range of bytes".into(),
                ));
            }
            (200, _) => {
                self.clear()?;
                response.body().content_length()
            }
            (408 | 429 | 500.., _) => {
                return Err(Failure::Transient(response.status().to_string()));
            }
            _ => return Err(download_error(archive, response.status().to_string()).into()),
        };
        self.pieces += 1;
        Ok(total)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(io_error(&self.path))?;
        self.sum.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> Result<(), Error> {
        self.file.set_len(0).map_err(io_error(&self.path))?;
        (self.len, self.sum, self.pieces) = (0, Sum::default(), 0);
        Ok(())
    }

    pub(super) fn rename(self, to: &Path) -> Result<(), Error> {
        fs::rename(&self.path, to).map_err(io_error(to))
    }

    pub(super) fn remove(self) -> Result<(), Error> {
        fs::remove_file(&self.path).map_err(io_error(&self.path))
    }
}
