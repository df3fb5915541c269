//! A local HTTP server that answers correctly or fails in a chosen way.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Response to a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Answer {
    /// The requested range.
    Right,
    /// The whole file, whatever the requested range.
    Whole,
    /// Like `Right`, but the connection is closed after this many bytes.
    Cut(usize),
    /// Like `Whole`, but the connection is closed after this many bytes.
    WholeCut(usize),
    /// A complete response of only this many bytes of the requested range.
    Piece(usize),
    /// Like `Right`, but nothing is sent after this many bytes.
    Stall(usize),
    /// Like `Right`, one byte every 20 ms.
    Trickle,
    /// No response, while the connection stays open.
    Silence,
    /// The right number of wrong bytes.
    Wrong,
    /// A range that starts one byte late.
    Late,
    /// The whole file without a length, with a header that declares it compressed.
    Unsized,
    /// An error status.
    Status(u16),
    /// A redirect to another path on this server.
    Elsewhere,
}

/// Ends with its value.
pub(crate) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Option<u64>>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// Serves `file` under every name: the first request as the first answer says, and so on; the
    /// last answer goes for all further requests.
    pub(crate) fn new(file: &[u8], answers: &[Answer]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let server = Self { address, asked: asked.clone(), stop: stop.clone() };
        let (file, answers) = (file.to_vec(), answers.to_vec());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                // A client that hangs up is no failure of a server.
                let _ = serve(stream, &file, &answers, &asked, &stop);
            }
        });
        server
    }

    pub(crate) fn url(&self, name: &str) -> String {
        format!("http://{}/{name}", self.address)
    }

    /// Where the range of every request so far starts; `None` for requests without one.
    pub(crate) fn asked(&self) -> Vec<Option<u64>> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(
    stream: TcpStream,
    file: &[u8],
    answers: &[Answer],
    asked: &Mutex<Vec<Option<u64>>>,
    stop: &AtomicBool,
) -> Result<()> {
    let (mut out, mut range) = (&stream, None);
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?.to_ascii_lowercase();
        if let Some(from) = line.strip_prefix("range: bytes=") {
            range = from.strip_suffix('-').and_then(|from| from.parse().ok());
        }
        if line.is_empty() {
            break;
        }
    }
    let answer = {
        let mut asked = asked.lock().unwrap();
        asked.push(range);
        answers[(asked.len() - 1).min(answers.len() - 1)]
    };
    let wait = || {
        while !stop.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(5));
            // Over when the client hangs up.
            if hung_up(&stream) {
                break;
            }
        }
    };
    match answer {
        Answer::Silence => wait(),
        Answer::Status(status) => head(out, &format!("{status} No"), "Content-Length: 0")?,
        Answer::Elsewhere => {
            head(out, "302 Found", "Location: /elsewhere/file\r\nContent-Length: 0")?
        }
        Answer::Unsized => {
            head(out, "200 OK", "Content-Encoding: gzip")?;
            out.write_all(file)?;
        }
        Answer::Whole | Answer::WholeCut(_) => {
            head(out, "200 OK", &format!("Content-Length: {}", file.len()))?;
            let cut = if let Answer::WholeCut(cut) = answer { cut } else { file.len() };
            out.write_all(&file[..cut])?;
        }
        _ => {
            let from = usize::try_from(range.unwrap_or(0)).unwrap();
            let from = from + usize::from(answer == Answer::Late);
            if from >= file.len() {
                return head(out, "416 Range Not Satisfiable", "Content-Length: 0");
            }
            let end = if let Answer::Piece(len) = answer { from + len } else { file.len() };
            let end = end.min(file.len());
            let body = &file[from..end];
            let mut fields = format!("Content-Length: {}", body.len());
            let mut status = "200 OK";
            if range.is_some() {
                status = "206 Partial Content";
                let range = format!("bytes {from}-{}/{}", end - 1, file.len());
                fields += &format!("\r\nContent-Range: {range}");
            }
            head(out, status, &fields)?;
            match answer {
                Answer::Cut(cut) => out.write_all(&body[..cut.min(body.len())])?,
                Answer::Wrong => out.write_all(&vec![b'?'; body.len()])?,
                Answer::Stall(after) => {
                    out.write_all(&body[..after.min(body.len())])?;
                    wait();
                }
                Answer::Trickle => {
                    for byte in body {
                        out.write_all(&[*byte])?;
                        std::thread::sleep(Duration::from_millis(20));
                    }
                }
                _ => out.write_all(body)?,
            }
        }
    }
    Ok(())
}

fn head(mut stream: &TcpStream, status: &str, fields: &str) -> Result<()> {
    stream
        .write_all(format!("HTTP/1.1 {status}\r\nConnection: close\r\n{fields}\r\n\r\n").as_bytes())
}

fn hung_up(mut stream: &TcpStream) -> bool {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(5)));
    match stream.read(&mut [0; 64]) {
        Ok(n) => n == 0,
        Err(e) => !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
    }
}
