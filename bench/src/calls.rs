//! Callers of the API: many connections, each with one request in flight, in a closed loop.

use std::{sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::Instant,
};

use crate::BenchError;

/// What the body of a call is, by its number: no two calls have the same one.
pub type Body = Arc<dyn Fn(usize) -> String + Send + Sync>;

/// What is asked of whom.
#[derive(Clone)]
pub struct Calls {
    /// Host and port.
    pub address: String,
    pub token: String,
    pub connections: usize,
    pub duration: Duration,
    /// The number of the first call.
    pub from: usize,
    pub body: Body,
    /// What every answer holds: one without it is a refusal, and ends the measurement.
    pub holds: &'static str,
}

/// What became of the calls.
pub struct Seen {
    pub calls: usize,
    pub per_second: f64,
    /// Microseconds from sending to having read the answer.
    pub latency: Histogram<u64>,
    /// No call had this number or one above it.
    pub until: usize,
}

impl Seen {
    /// Milliseconds.
    pub fn at(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

impl Calls {
    /// Asks for as long as it was told to.
    ///
    /// # Errors
    /// When a connection breaks, or an answer is a refusal.
    pub async fn drive(&self) -> Result<Seen, BenchError> {
        let began = Instant::now();
        let end = began + self.duration;
        let mut tasks = JoinSet::new();
        for number in 0..self.connections {
            let calls = self.clone();
            tasks.spawn(async move { calls.connection(number, end).await });
        }
        let mut all = Vec::new();
        let mut until = self.from;
        while let Some(own) = tasks.join_next().await {
            let own = own.map_err(|error| BenchError::Failed(error.to_string()))??;
            until = until.max(self.from + self.connections * own.len());
            all.extend(own);
        }
        let elapsed = began.elapsed().as_secs_f64();
        Ok(Seen {
            calls: all.len(),
            per_second: all.len() as f64 / elapsed,
            latency: histogram(all.iter().copied())?,
            until,
        })
    }

    /// One connection's calls: each took so many microseconds.
    async fn connection(&self, number: usize, end: Instant) -> Result<Vec<u32>, BenchError> {
        let mut stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let mut took = Vec::new();
        let mut buffer = Vec::with_capacity(64 * 1024);
        while Instant::now() < end {
            let body = (self.body)(self.from + number + took.len() * self.connections);
            let request = format!(
                "POST /graphql HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n\r\n{body}",
                self.address,
                self.token,
                body.len()
            );
            let asked = Instant::now();
            stream.write_all(request.as_bytes()).await?;
            let answer = answer(&mut stream, &mut buffer).await?;
            took.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
            if !answer.contains(self.holds) {
                return Err(BenchError::Failed(format!("refused: {}", answer.chars().take(600).collect::<String>())));
            }
        }
        Ok(took)
    }
}

/// Reads one answer whole; its body.
async fn answer<'a>(stream: &mut TcpStream, buffer: &'a mut Vec<u8>) -> Result<&'a str, BenchError> {
    buffer.clear();
    let mut whole = None;
    let mut start = 0;
    while whole.is_none_or(|whole| buffer.len() < whole) {
        if stream.read_buf(buffer).await? == 0 {
            return Err(BenchError::Failed("the connection ended inside an answer".to_owned()));
        }
        if whole.is_none()
            && let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n")
        {
            start = end + 4;
            let head = std::str::from_utf8(&buffer[..end]).unwrap_or_default();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let length = length.ok_or_else(|| BenchError::Failed(format!("an answer without its length: {head}")))?;
            whole = Some(start + length);
        }
    }
    Ok(std::str::from_utf8(&buffer[start..]).unwrap_or_default())
}

/// How microseconds are distributed.
///
/// # Errors
/// None that is known: the histogram's bounds are right.
pub fn histogram(micros: impl Iterator<Item = u32>) -> Result<Histogram<u64>, BenchError> {
    // Wide enough for every value: one past the bounds would be recorded as something else.
    let latency = Histogram::new_with_bounds(1, u64::from(u32::MAX), 3);
    let mut latency = latency.map_err(|error| BenchError::Failed(error.to_string()))?;
    micros.for_each(|micros| latency.saturating_record(u64::from(micros)));
    Ok(latency)
}
