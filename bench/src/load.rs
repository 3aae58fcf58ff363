//! Visitors: many connections that ask for one tracking link, in a closed or an open loop.

use std::{sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    BenchError,
    calls::{Pace, histogram},
};

/// What is asked of whom.
#[derive(Clone)]
pub struct Load {
    /// Host and port.
    pub address: String,
    pub path: String,
    /// Each with one request in flight.
    pub connections: usize,
    pub duration: Duration,
    /// Requests a second of all connections together; none asks again as soon as it was answered.
    pub rate: Option<f64>,
    /// Each connection is one visitor, who brings back the cookie that he was given; else every request is somebody new's.
    pub returning: bool,
}

/// The end of a location: the click's id without its prefix.
pub type Click = [u8; 26];

/// A request that was answered by a redirect.
pub struct Answered {
    pub click: Click,
    pub at: Instant,
    /// From when it was due.
    pub micros: u32,
}

/// What became of the requests.
#[derive(Default)]
pub struct Seen {
    pub answered: Vec<Answered>,
    /// Answered otherwise: the first answers, and how many.
    pub refused: Vec<String>,
    pub refusals: usize,
    /// Whose connection broke, before or after the server read them.
    pub unanswered: usize,
}

impl Seen {
    fn refuse(&mut self, answer: String) {
        self.refusals += 1;
        if self.refused.len() < 5 {
            self.refused.push(answer);
        }
    }

    fn add(&mut self, other: Self) {
        self.answered.extend(other.answered);
        self.refusals += other.refusals;
        self.unanswered += other.unanswered;
        self.refused.extend(other.refused);
        self.refused.truncate(5);
    }

    /// Microseconds of those that were answered in a time.
    ///
    /// # Errors
    /// As [`histogram`].
    pub fn latency(&self, from: Instant, until: Instant) -> Result<Histogram<u64>, BenchError> {
        let during = self.answered.iter().filter(|answered| answered.at >= from && answered.at < until);
        histogram(during.map(|answered| answered.micros))
    }
}

impl Load {
    /// Asks.
    ///
    /// # Errors
    /// When a task panics.
    pub async fn drive(&self) -> Result<Seen, BenchError> {
        let head = format!(
            "GET {} HTTP/1.1\r\nhost: {}\r\nuser-agent: Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 \
             Firefox/143.0\r\n",
            self.path, self.address,
        );
        let head: Arc<str> = head.into();
        let began = Instant::now();
        let end = began + self.duration;
        let mut tasks = JoinSet::new();
        for number in 0..self.connections {
            let mut visitor = Visitor::new(Arc::clone(&head), self.returning);
            let address = self.address.clone();
            let pace = Pace::new(began, self.rate, number, self.connections);
            tasks.spawn(async move { visit(&address, &mut visitor, pace, end).await });
        }
        let mut seen = Seen::default();
        while let Some(own) = tasks.join_next().await {
            seen.add(own.map_err(|error| BenchError::Failed(error.to_string()))?);
        }
        Ok(seen)
    }
}

/// One connection's requests, over a new connection whenever one breaks.
async fn visit(address: &str, visitor: &mut Visitor, mut pace: Pace, end: Instant) -> Seen {
    let mut seen = Seen::default();
    while Instant::now() < end {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        // Without it the kernel would hold a small request back; who cannot have it is slower.
        let _ = stream.set_nodelay(true);
        loop {
            let Some(asked) = pace.ask(end).await else { return seen };
            match visitor.ask(&mut stream).await {
                Ok(Ok(click)) => {
                    let at = Instant::now();
                    let micros = u32::try_from((at - asked).as_micros()).unwrap_or(u32::MAX);
                    seen.answered.push(Answered { click, at, micros });
                }
                // Its body was not read.
                Ok(Err(answer)) => {
                    seen.refuse(answer);
                    break;
                }
                Err(_) => {
                    seen.unanswered += 1;
                    break;
                }
            }
            pace.answered();
        }
    }
    seen
}

/// Who asks over one connection.
struct Visitor {
    /// Of every request, without the line that ends it.
    head: Arc<str>,
    request: String,
    keeps_cookies: bool,
}

impl Visitor {
    fn new(head: Arc<str>, keeps_cookies: bool) -> Self {
        Self { request: format!("{head}\r\n"), head, keeps_cookies }
    }

    /// One request: where a 302 leads, or what else was answered.
    async fn ask(&mut self, stream: &mut TcpStream) -> std::io::Result<Result<Click, String>> {
        let mut buffer = [0; 2_048];
        stream.write_all(self.request.as_bytes()).await?;
        let mut filled = 0;
        while !buffer[..filled].ends_with(b"\r\n\r\n") {
            match stream.read(&mut buffer[filled..]).await? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                count => filled += count,
            }
            // What has a body is no redirect.
            if filled >= 12 && !buffer.starts_with(b"HTTP/1.1 302") {
                return Ok(Err(String::from_utf8_lossy(&buffer[..filled]).into_owned()));
            }
        }
        let head = std::str::from_utf8(&buffer[..filled]).unwrap_or_default();
        if self.keeps_cookies
            && let Some(cookie) = value(head, "set-cookie")
        {
            let pair = cookie.split(';').next().unwrap_or_default();
            self.request = format!("{}cookie: {pair}\r\n\r\n", self.head);
        }
        let click = value(head, "location").and_then(|location| location.as_bytes().last_chunk());
        Ok(click.copied().ok_or_else(|| head.to_owned()))
    }
}

/// What a head says under a name.
fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}
