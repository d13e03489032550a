//! Many concurrent event streams: CPU time and added latency per event, and memory per stream.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use benches::{
    is_measuring,
    process::{Process, status},
    rounds::quantile,
};
use futures_util::future::try_join_all;
use http_body_util::BodyExt;
use memchr::memmem;
use tokio::time::sleep;
use tower_model_routing::BoxError;

use crate::{
    measure::{Client, cpu_time, micros, peak_memory, turns, within},
    subjects::{Kind, Subject},
    upstream::Upstream,
    workload::Workload,
};

pub(crate) const NAME: &str = "200 streams of 100 events, 20 ms apart";
const STREAMS: usize = 200;
const EVENTS: usize = 100;
const PAUSE: Duration = Duration::from_millis(20);

const ROUNDS: usize = 3;
/// The limit of a subject's time. A slow one takes part in fewer rounds.
const MAX_SPENT: Duration = Duration::from_secs(10);
/// How long a round may take, before a subject is left out.
const ROUND_TIMEOUT: Duration = Duration::from_secs(300);

/// The figures of one subject.
pub(crate) struct Figures {
    /// CPU time per event in µs, of the round that took the least.
    pub(crate) cpu: f64,
    /// The time from the upstream to the client without that of no proxy, in µs: the differences of
    /// medians and of 99th percentiles.
    pub(crate) added_median: f64,
    pub(crate) added_p99: f64,
    /// The peak of the process's memory over that at rest, by stream.
    pub(crate) kib_per_stream: f64,
}

/// The figures of all subjects.
pub(crate) struct Streams {
    /// Without a proxy: the times from the upstream to the client in µs.
    pub(crate) direct_median: f64,
    pub(crate) direct_p99: f64,
    figures: Vec<(Kind, Figures)>,
}

impl Streams {
    pub(crate) fn of(&self, kind: Kind) -> Option<&Figures> {
        let mut figures = self.figures.iter();
        figures.find(|it| it.0 == kind).map(|it| &it.1)
    }
}

/// Measures all subjects, which must be as they were started: memory that they have used before
/// would not count.
pub(crate) async fn measure(
    upstream: &Upstream,
    subjects: &[Subject],
) -> Result<Streams, BoxError> {
    let (streams, events, rounds) = match is_measuring() {
        true => (STREAMS, EVENTS, ROUNDS),
        false => (5, 5, 1),
    };
    let workload = Arc::new(Workload::paced(events, PAUSE));
    upstream.set(Arc::clone(&workload), false);
    let mut running = Vec::new();
    for subject in subjects {
        let started = RunningSubject::start(subject, upstream, &workload);
        match within(ROUND_TIMEOUT, started).await {
            Ok(started) => running.extend(started),
            Err(error) => eprintln!("{NAME} / {}: {error}", subject.kind.name()),
        }
    }
    for index in turns(rounds, running.len()) {
        let subject = &mut running[index];
        let ran = subject.run(upstream, &workload, streams);
        if let Err(error) = within(ROUND_TIMEOUT, ran).await {
            eprintln!("{NAME} / {}: {error}", subject.kind.name());
            subject.has_failed = true;
            // Ends the streams that have not.
            upstream.set(Arc::clone(&workload), false);
        }
    }
    running.retain(|it| !it.has_failed);
    let direct = running.iter().find(|it| it.kind == Kind::Direct);
    let direct = direct.ok_or("no figures without a proxy")?;
    let (direct_median, direct_p99) = (direct.time(0.5), direct.time(0.99));
    let figures = running.iter().map(|it| {
        let used = peak_memory(it.process)?.saturating_sub(it.at_rest) as f64;
        let figures = Figures {
            cpu: quantile(it.cpu.iter().copied(), 0.0),
            added_median: it.time(0.5) - direct_median,
            added_p99: it.time(0.99) - direct_p99,
            kib_per_stream: used / 1024.0 / streams as f64,
        };
        Ok((it.kind, figures))
    });
    Ok(Streams {
        direct_median,
        direct_p99,
        figures: figures.collect::<Result<_, BoxError>>()?,
    })
}

struct RunningSubject<'a> {
    kind: Kind,
    address: SocketAddr,
    process: Option<&'a Process>,
    /// The process's memory before the first round.
    at_rest: u64,
    has_failed: bool,
    spent: Duration,
    /// µs per event, by round.
    cpu: Vec<f64>,
    /// µs, by event.
    times: Vec<f64>,
}

impl<'a> RunningSubject<'a> {
    /// Runs one stream, before memory is measured. Returns `None` if the subject is not installed.
    async fn start(
        subject: &'a Subject,
        upstream: &Upstream,
        workload: &Workload,
    ) -> Result<Option<Self>, BoxError> {
        let Some(address) = subject.address else {
            return Ok(None);
        };
        stream(address, upstream, workload).await?;
        let process = subject.process.as_ref();
        process.inspect(|process| process.reset_peak());
        let at_rest = process.map(|process| status(process.id(), "VmRSS"));
        Ok(Some(Self {
            kind: subject.kind,
            address,
            process,
            at_rest: at_rest.transpose()?.unwrap_or_default(),
            has_failed: false,
            spent: Duration::ZERO,
            cpu: Vec::new(),
            times: Vec::new(),
        }))
    }

    /// Runs concurrent streams, which begin within the pause between two events.
    async fn run(
        &mut self,
        upstream: &Upstream,
        workload: &Workload,
        streams: usize,
    ) -> Result<(), BoxError> {
        if self.has_failed || self.spent > MAX_SPENT {
            return Ok(());
        }
        let (before, start) = (cpu_time(self.process)?, Instant::now());
        let address = self.address;
        let times = try_join_all((0..streams).map(|index| async move {
            sleep(PAUSE * index as u32 / streams as u32).await;
            stream(address, upstream, workload).await
        }));
        let times = times.await?.concat();
        let cpu = cpu_time(self.process)? - before;
        self.spent += start.elapsed();
        self.cpu.push(micros(cpu) / times.len() as f64);
        self.times.extend(times);
        Ok(())
    }

    fn time(&self, share: f64) -> f64 {
        quantile(self.times.iter().copied(), share)
    }
}

/// Reads one stream on a connection of its own. Returns the time of each event from the upstream to
/// the client, in µs.
async fn stream(
    address: SocketAddr,
    upstream: &Upstream,
    workload: &Workload,
) -> Result<Vec<f64>, BoxError> {
    let mut client = Client::connect(address).await?;
    let mut body = client.request(workload).await?.into_body();
    let mut times = Vec::new();
    let mut unread = Vec::new();
    while let Some(frame) = body.frame().await {
        let received = upstream.clock();
        unread.extend_from_slice(frame?.data_ref().map_or(&[][..], |data| data));
        while let Some(end) = memmem::find(&unread, b"\n\n") {
            let written = written_at(&unread[..end]);
            times.extend(written.map(|written| micros(received.saturating_sub(written))));
            unread.drain(..end + 2);
        }
    }
    match times.len() == workload.frames.len() {
        true => Ok(times),
        false => Err(format!("{} of {} events", times.len(), workload.frames.len()).into()),
    }
}

/// The content of an event that the upstream has not written yet.
pub(crate) const UNWRITTEN: &str = "@time@";

/// Returns an event as the upstream writes it at this time.
pub(crate) fn write_at(event: &[u8], time: Duration) -> Vec<u8> {
    let written = format!("@{}@", time.as_nanos());
    let event = String::from_utf8_lossy(event);
    event.replace(UNWRITTEN, &written).into_bytes()
}

/// Returns when an event was written. `None` if it does not say so.
fn written_at(event: &[u8]) -> Option<Duration> {
    let nanos = event.split(|byte| *byte == b'@').nth(1)?;
    let nanos = std::str::from_utf8(nanos).ok()?.parse().ok()?;
    Some(Duration::from_nanos(nanos))
}
