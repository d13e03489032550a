//! Measures the subjects in a scenario, round by round.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use benches::{
    http::connect,
    is_measuring,
    openai::sdk_request,
    process::{Process, status},
    rounds::quantile,
};
use bytes::Bytes;
use futures_util::future::try_join_all;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn::http1::SendRequest};
use tokio::time::timeout;
use tower_model_routing::BoxError;

use crate::{
    subjects::{Kind, Subject},
    upstream::Upstream,
    workload::{Pace, Scenario, Workload},
};

/// How long a subject runs in a round, at least. It begins with caches full of the others' code and
/// data, which must not count for much.
const MOMENT: Duration = Duration::from_millis(100);
const ROUNDS: usize = 21;
/// The limit of a subject's time. A slow one takes part in fewer rounds.
const MAX_SPENT: Duration = Duration::from_secs(4);
/// How long the first requests, or a round, may take before a subject is left out.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The figures of one subject in a scenario.
pub(crate) struct Figures {
    /// CPU time per request in µs: the tenth percentile of the rounds.
    pub(crate) cpu: f64,
    /// The time from a request to the end of its response, in µs.
    pub(crate) median: f64,
    pub(crate) p99: f64,
    /// The peak of the process's memory meanwhile.
    pub(crate) peak_mib: f64,
}

/// The figures of all subjects in a scenario.
pub(crate) struct Row {
    pub(crate) scenario: &'static Scenario,
    figures: Vec<(Kind, Figures)>,
}

impl Row {
    pub(crate) fn of(&self, kind: Kind) -> Option<&Figures> {
        let mut figures = self.figures.iter();
        figures.find(|it| it.0 == kind).map(|it| &it.1)
    }
}

pub(crate) async fn measure(
    upstream: &Upstream,
    subjects: &[Subject],
    scenario: &'static Scenario,
) -> Result<Row, BoxError> {
    let workload = Arc::new(scenario.workload());
    let (rounds, moment, clients) = match is_measuring() {
        true => (ROUNDS, MOMENT, scenario.clients),
        false => (1, Duration::ZERO, scenario.clients.min(2)),
    };
    let mut running = Vec::new();
    for subject in subjects {
        // One that still waits for events must not get those of another.
        upstream.set(Arc::clone(&workload), false);
        let started = RunningSubject::start(subject, upstream, &workload, clients);
        match within(TIMEOUT, started).await {
            Ok(started) => running.extend(started),
            Err(error) => eprintln!("{} / {}: {error}", scenario.name, subject.kind.name()),
        }
    }
    upstream.set(Arc::clone(&workload), false);
    for index in turns(rounds, running.len()) {
        let subject = &mut running[index];
        let ran = subject.run(upstream, &workload, moment);
        if let Err(error) = within(TIMEOUT, ran).await {
            eprintln!("{} / {}: {error}", scenario.name, subject.kind.name());
            subject.has_failed = true;
            upstream.set(Arc::clone(&workload), false);
        }
    }
    running.retain(|it| !it.has_failed);
    let figures = running.into_iter().map(RunningSubject::figures);
    Ok(Row {
        scenario,
        figures: figures.collect::<Result<_, _>>()?,
    })
}

/// Returns whose turn it is: each of `count` subjects has one in each round, and none always follows
/// the same one.
pub(crate) fn turns(rounds: usize, count: usize) -> impl Iterator<Item = usize> {
    (0..rounds).flat_map(move |round| (0..count).map(move |index| (index + round) % count))
}

/// Returns the result, or an error if it takes longer than `limit`.
pub(crate) async fn within<T>(
    limit: Duration,
    result: impl Future<Output = Result<T, BoxError>>,
) -> Result<T, BoxError> {
    let result = timeout(limit, result).await;
    result.unwrap_or_else(|_| Err("it does not end".into()))
}

/// A subject with open connections.
struct RunningSubject<'a> {
    kind: Kind,
    process: Option<&'a Process>,
    clients: Vec<Client>,
    has_failed: bool,
    spent: Duration,
    /// µs per request, by round.
    cpu: Vec<f64>,
    /// µs, by request.
    times: Vec<f64>,
}

impl<'a> RunningSubject<'a> {
    /// Sends a first request on each connection. Returns `None` if the subject is not installed.
    async fn start(
        subject: &'a Subject,
        upstream: &Upstream,
        workload: &Workload,
        clients: usize,
    ) -> Result<Option<Self>, BoxError> {
        let Some(address) = subject.address else {
            return Ok(None);
        };
        let process = subject.process.as_ref();
        process.inspect(|process| process.reset_peak());
        let connect = async || {
            let mut client = Client::connect(address).await?;
            client.send(upstream, workload).await?;
            Ok::<_, BoxError>(client)
        };
        Ok(Some(Self {
            kind: subject.kind,
            process,
            clients: try_join_all((0..clients).map(|_| connect())).await?,
            has_failed: false,
            spent: Duration::ZERO,
            cpu: Vec::new(),
            times: Vec::new(),
        }))
    }

    /// Sends requests for this time, at least.
    async fn run(
        &mut self,
        upstream: &Upstream,
        workload: &Workload,
        moment: Duration,
    ) -> Result<(), BoxError> {
        if self.has_failed || self.spent > MAX_SPENT {
            return Ok(());
        }
        let (before, start) = (cpu_time(self.process)?, Instant::now());
        let send = async |client: &mut Client| {
            let mut times = Vec::new();
            loop {
                let sent = Instant::now();
                client.send(upstream, workload).await?;
                times.push(micros(sent.elapsed()));
                if start.elapsed() >= moment {
                    return Ok::<_, BoxError>(times);
                }
            }
        };
        let times = try_join_all(self.clients.iter_mut().map(send)).await?;
        let times = times.concat();
        let cpu = cpu_time(self.process)? - before;
        self.spent += start.elapsed();
        self.cpu.push(micros(cpu) / times.len() as f64);
        self.times.extend(times);
        Ok(())
    }

    fn figures(self) -> Result<(Kind, Figures), BoxError> {
        let figures = Figures {
            cpu: quantile(self.cpu, 0.1),
            median: quantile(self.times.iter().copied(), 0.5),
            p99: quantile(self.times, 0.99),
            peak_mib: peak_memory(self.process)? as f64 / (1024.0 * 1024.0),
        };
        Ok((self.kind, figures))
    }
}

/// Returns the CPU time of a process so far.
pub(crate) fn cpu_time(process: Option<&Process>) -> Result<Duration, BoxError> {
    let time = process.map(Process::cpu_time).transpose()?;
    Ok(time.unwrap_or_default())
}

/// Returns the peak of a process's memory in bytes.
pub(crate) fn peak_memory(process: Option<&Process>) -> Result<u64, BoxError> {
    let peak = process.map(|process| status(process.id(), "VmHWM"));
    Ok(peak.transpose()?.unwrap_or_default())
}

pub(crate) fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// A client with one connection.
pub(crate) struct Client(SendRequest<Full<Bytes>>);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, BoxError> {
        connect(address).await.map(Self)
    }

    /// Sends a request, and returns the response, which must be a success.
    pub(crate) async fn request(
        &mut self,
        workload: &Workload,
    ) -> Result<Response<Incoming>, BoxError> {
        self.0.ready().await?;
        let request = sdk_request(Full::new(workload.request.clone()));
        let response = self.0.send_request(request).await?;
        match response.status().is_success() {
            true => Ok(response),
            false => Err(format!("{response:?}").into()),
        }
    }

    /// Sends a request, reads the response to its end, and returns its headers.
    pub(crate) async fn send(
        &mut self,
        upstream: &Upstream,
        workload: &Workload,
    ) -> Result<HeaderMap, BoxError> {
        let (head, mut body) = self.request(workload).await?.into_parts();
        let mut length = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame?;
            let data = frame.data_ref().map_or(&[][..], |data| data);
            length += data.len();
            if workload.pace == Pace::OneByOne {
                upstream.received(data);
            }
        }
        match length {
            0 => Err("an empty response".into()),
            _ => Ok(head.headers),
        }
    }
}
