//! One file over HTTP, in as many pieces as it takes.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use ureq::http::{HeaderMap, Response, header};
use ureq::{Agent, Body};

use super::sums::{BLOCK, Sum};
use super::{Archive, Patience, Reporter, Stage, failed, lock};
use crate::Error;

/// Tries that bring the file so many bytes further are no failures, however they end.
const PROGRESS: u64 = 1 << 20;
/// Fewer bytes than this in [`Patience::stall`] are a stall.
const TRICKLE: u64 = 1 << 10;
const MAX_PAUSE: Duration = Duration::from_secs(30);

/// What came of a file, locked against other processes.
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) file: File,
    len: u64,
    sum: Sum,
    /// Answers, and files left by earlier calls, that the bytes are from.
    pieces: u32,
}

/// Why a try did not bring the rest.
enum Trouble {
    /// Another try may.
    Passing(String),
    Final(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// Makes the file at `path` the whole archive, from what it holds.
pub(super) fn download(
    archive: &Archive,
    path: &Path,
    patience: &Patience,
    report: &mut Reporter<'_>,
) -> Result<Part, Error> {
    let mut part = Part::open(path, report)?;
    let mut again = false;
    while part.sum.hex() != archive.md5 {
        if let Err(error) = complete(&mut part, archive, patience, report) {
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
                let problem = format!("is not {}, the published one", archive.md5);
                return Err(Error::value(&archive.url, "MD5", found, problem));
            }
            again = true;
        }
    }
    part.file.sync_all().map_err(failed(path))?;
    Ok(part)
}

/// Tries until all bytes are there.
fn complete(
    part: &mut Part,
    archive: &Archive,
    patience: &Patience,
    report: &mut Reporter<'_>,
) -> Result<(), Error> {
    let agent = agent(patience);
    let (mut reached, mut failures, mut cleared) = (part.len, 0, false);
    loop {
        let problem = match attempt(&agent, part, archive, patience, report) {
            Ok(()) => return Ok(()),
            Err(Trouble::Final(error)) => return Err(error),
            Err(Trouble::Passing(problem)) => problem,
        };
        if part.len < reached && !cleared {
            // Once: a server that sends all of it anew every time gets nowhere.
            (reached, cleared) = (part.len, true);
        } else if part.len >= reached + PROGRESS {
            (reached, failures) = (part.len, 0);
        }
        failures += 1;
        if failures >= patience.tries {
            let mut end = format!("gave up after {failures} tries");
            if part.len > 0 {
                end += &format!(", {} bytes are kept to go on from", part.len);
            }
            return Err(no(archive, format!("{problem}; {end}")));
        }
        report.begin(Stage::Wait, part.len, None);
        let pause = patience.pause.saturating_mul(1 << (failures - 1).min(16));
        thread::sleep(pause.min(MAX_PAUSE));
    }
}

fn agent(patience: &Patience) -> Agent {
    let stall = Some(patience.stall);
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_resolve(stall)
        .timeout_connect(stall)
        .timeout_send_request(stall)
        .timeout_recv_response(stall)
        .timeout_per_read(stall);
    config.build().into()
}

/// Asks for the bytes that are missing and takes what comes.
fn attempt(
    agent: &Agent,
    part: &mut Part,
    archive: &Archive,
    patience: &Patience,
    report: &mut Reporter<'_>,
) -> Result<(), Trouble> {
    let mut request = agent.get(&archive.url).header(header::ACCEPT_ENCODING, "identity");
    if part.len > 0 {
        request = request.header(header::RANGE, format!("bytes={}-", part.len));
    }
    let mut response = request.call().map_err(|e| refused(e, archive, patience))?;
    let total = part.begin(&response, archive)?;
    if total.is_some_and(|total| total > archive.max_bytes) {
        return Err(archive.too_large().into());
    }
    report.begin(Stage::Download, part.len, total);
    let of = total.map_or(String::new(), |total| format!(" of {total}"));
    let mut body = response.body_mut().as_reader();
    let mut block = vec![0; BLOCK];
    let (mut since, mut before) = (Instant::now(), part.len);
    loop {
        let n = match body.read(&mut block) {
            Ok(0) => break,
            Ok(n) => n,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => match ureq::Error::from(e) {
                ureq::Error::Timeout(_) => return Err(stalled(part, patience)),
                e => return Err(broken(part, &of, &format!(": {e}"))),
            },
        };
        if part.len + n as u64 > archive.max_bytes {
            part.clear()?;
            return Err(archive.too_large().into());
        }
        part.push(&block[..n])?;
        report.advance(n);
        if since.elapsed() >= patience.stall {
            if part.len - before < TRICKLE {
                return Err(stalled(part, patience));
            }
            (since, before) = (Instant::now(), part.len);
        }
    }
    match total {
        Some(total) if part.len < total => Err(broken(part, &of, "")),
        _ => Ok(()),
    }
}

fn broken(part: &Part, of: &str, why: &str) -> Trouble {
    Trouble::Passing(format!("broke off after {}{of} bytes{why}", part.len))
}

fn stalled(part: &Part, patience: &Patience) -> Trouble {
    Trouble::Passing(format!("nothing came for {:?} after {} bytes", patience.stall, part.len))
}

fn refused(error: ureq::Error, archive: &Archive, patience: &Patience) -> Trouble {
    use ureq::Error as E;
    match error {
        E::Timeout(_) => Trouble::Passing(format!("no answer in {:?}", patience.stall)),
        E::Io(_) | E::HostNotFound | E::ConnectionFailed | E::Protocol(_) | E::BodyStalled => {
            Trouble::Passing(error.to_string())
        }
        _ => Trouble::Final(no(archive, error.to_string())),
    }
}

fn no(archive: &Archive, problem: String) -> Error {
    Error::Download { url: archive.url.clone(), problem }
}

/// Start and, if it is known, size of the whole, of `Content-Range: bytes START-END/SIZE`.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let value = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, size) = value.strip_prefix("bytes ")?.split_once('/')?;
    let start = range.split_once('-')?.0.parse().ok()?;
    Some((start, size.parse().ok()))
}

impl Part {
    fn open(path: &Path, report: &mut Reporter<'_>) -> Result<Self, Error> {
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = file.map_err(failed(path))?;
        lock(&file, path)?;
        report.begin(Stage::Check, 0, file.metadata().ok().map(|m| m.len()));
        let mut sum = Sum::default();
        let len = sum.read(&file, report).map_err(failed(path))?;
        Ok(Self { path: path.into(), file, len, sum, pieces: u32::from(len > 0) })
    }

    /// Makes ready for the body of an answer, and says how many bytes the whole file has.
    fn begin(
        &mut self,
        answer: &Response<Body>,
        archive: &Archive,
    ) -> Result<Option<u64>, Trouble> {
        let total = match (answer.status().as_u16(), content_range(answer.headers())) {
            (206, Some((start, total))) if start == self.len => total,
            (206 | 416, _) => {
                self.clear()?;
                return Err(Trouble::Passing("has not the range of bytes asked for".into()));
            }
            (200, _) => {
                self.clear()?;
                answer.body().content_length()
            }
            (408 | 429 | 500.., _) => return Err(Trouble::Passing(answer.status().to_string())),
            _ => return Err(no(archive, answer.status().to_string()).into()),
        };
        self.pieces += 1;
        Ok(total)
    }

    fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).map_err(failed(&self.path))?;
        self.sum.update(bytes);
        self.len += bytes.len() as u64;
        Ok(())
    }

    fn clear(&mut self) -> Result<(), Error> {
        self.file.set_len(0).map_err(failed(&self.path))?;
        (self.len, self.sum, self.pieces) = (0, Sum::default(), 0);
        Ok(())
    }

    pub(super) fn rename(self, to: &Path) -> Result<(), Error> {
        fs::rename(&self.path, to).map_err(failed(to))
    }

    pub(super) fn remove(self) -> Result<(), Error> {
        fs::remove_file(&self.path).map_err(failed(&self.path))
    }
}
