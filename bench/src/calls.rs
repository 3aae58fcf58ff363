//! Callers of the API: many connections, each with one request in flight, in a closed or an open loop.

use std::{sync::Arc, time::Duration};

use hdrhistogram::Histogram;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep_until},
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
    /// Calls a second of all connections together; none asks again as soon as it was answered.
    pub rate: Option<f64>,
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
    /// Microseconds from when a call was due to having read the answer.
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
            let pace = Pace::new(began, self.rate, number, self.connections);
            tasks.spawn(async move { calls.connection(number, pace, end).await });
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
    async fn connection(&self, number: usize, mut pace: Pace, end: Instant) -> Result<Vec<u32>, BenchError> {
        let mut stream = TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let mut took = Vec::new();
        let mut buffer = Vec::with_capacity(64 * 1024);
        while let Some(asked) = pace.ask(end).await {
            let body = (self.body)(self.from + number + took.len() * self.connections);
            let request = format!(
                "POST /graphql HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\n\
                 content-length: {}\r\n\r\n{body}",
                self.address,
                self.token,
                body.len()
            );
            stream.write_all(request.as_bytes()).await?;
            let answer = answer(&mut stream, &mut buffer).await?;
            pace.answered();
            took.push(u32::try_from(asked.elapsed().as_micros()).unwrap_or(u32::MAX));
            if !answer.contains(self.holds) {
                return Err(BenchError::Failed(format!("refused: {}", answer.chars().take(600).collect::<String>())));
            }
        }
        Ok(took)
    }
}

/// When the requests of one connection are due: as soon as the one before is answered, or by the clock. A server that
/// stalls cannot hide it from those that were due meanwhile.
pub struct Pace {
    due: Instant,
    every: Option<Duration>,
}

impl Pace {
    /// Of one of several connections that ask so often a second, together; their first requests are spread over the
    /// interval.
    pub fn new(began: Instant, rate: Option<f64>, number: usize, connections: usize) -> Self {
        let every = rate.map(|rate| Duration::from_secs_f64(connections as f64 / rate));
        let part = number as f64 / connections as f64;
        Self { due: began + every.unwrap_or_default().mul_f64(part), every }
    }

    /// Waits until the next request is due; from when its latency counts. None when that is not before the end.
    pub async fn ask(&self, end: Instant) -> Option<Instant> {
        let asked = match self.every {
            None => Instant::now(),
            // The timer of this client is a millisecond coarse: a request that was not held up by the one before
            // is due when it is sent.
            Some(_) if self.due > Instant::now() => {
                sleep_until(self.due.min(end)).await;
                Instant::now()
            }
            Some(_) => self.due,
        };
        (asked < end).then_some(asked)
    }

    /// The request was answered.
    pub fn answered(&mut self) {
        if let Some(every) = self.every {
            self.due += every;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn paced_requests_are_due_by_the_clock_however_late() {
        let began = Instant::now();
        let end = began + Duration::from_millis(200);
        // 400 a second of four connections: one of each every 10 ms, the second one's first after 2.5 ms.
        let mut pace = Pace::new(began, Some(400.0), 1, 4);
        let first = pace.ask(end).await.expect("before the end");
        assert!(first >= began + Duration::from_micros(2_500));
        // It stalls past the next two.
        sleep_until(began + Duration::from_millis(25)).await;
        pace.answered();
        assert_eq!(pace.ask(end).await, Some(began + Duration::from_micros(12_500)));
        pace.answered();
        assert_eq!(pace.ask(end).await, Some(began + Duration::from_micros(22_500)));
        while pace.due < end {
            pace.answered();
        }
        assert_eq!(pace.ask(end).await, None);
    }

    #[test]
    fn histogram_keeps_quantiles_and_what_is_out_of_bounds() {
        let histogram = histogram((1..=1_000).chain([u32::MAX])).expect("a histogram");
        assert_eq!(histogram.len(), 1_001);
        assert!((499..=502).contains(&histogram.value_at_quantile(0.5)));
        assert!(histogram.value_at_quantile(1.0) >= u64::from(u32::MAX));
    }
}
