//! What the contestants take for a scenario, in turns.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use tokio::time::timeout;
use tower_model_routing::BoxError;

use super::{
    client::Client,
    contestants::{Contestant, Kind},
    scenario::{Play, Scenario},
    upstream::Upstream,
};

/// How long a contestant's turn is at least. It begins with caches that are full of
/// the others' code and data, which must not count for much.
const TURN: Duration = Duration::from_millis(100);
const TURNS: usize = 21;
/// How long all of a contestant's turns may take; a slow one has fewer.
const MOST: Duration = Duration::from_secs(4);
/// How long the first request may take, before a contestant is left out.
const FIRST: Duration = Duration::from_secs(20);

/// What one contestant takes for one scenario.
pub(crate) struct Figures {
    /// CPU time per request, in µs: the tenth percentile of the turns.
    pub(crate) cpu: f64,
    /// Time from a request to its answer's end, in µs.
    pub(crate) median: f64,
    pub(crate) p99: f64,
    /// The most memory that the process had meanwhile.
    pub(crate) peak_mib: f64,
}

/// What all contestants take for one scenario.
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
    contestants: &[Contestant],
    scenario: &'static Scenario,
    is_measuring: bool,
) -> Result<Row, BoxError> {
    let play = Arc::new(scenario.play());
    let (turns, turn, clients) = match is_measuring {
        true => (TURNS, TURN, scenario.clients),
        false => (1, Duration::ZERO, scenario.clients.min(2)),
    };
    let mut entrants = Vec::new();
    for contestant in contestants {
        // One that is still at it must not have the others' events.
        upstream.set(Arc::clone(&play));
        let entrant = Entrant::new(contestant, upstream, &play, clients);
        match timeout(FIRST, entrant).await {
            Ok(Ok(Some(entrant))) => entrants.push(entrant),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => {
                eprintln!("{} / {}: {error}", scenario.name, contestant.kind.name());
            }
            Err(_) => eprintln!("{} / {}: no answer", scenario.name, contestant.kind.name()),
        }
    }
    upstream.set(Arc::clone(&play));
    let count = entrants.len();
    for round in 0..turns {
        // Nobody always comes after the same one.
        for index in (0..count).map(|index| (index + round) % count) {
            entrants[index].take_turn(upstream, &play, turn).await?;
        }
    }
    let figures = entrants.into_iter().map(Entrant::finish);
    Ok(Row {
        scenario,
        figures: figures.collect::<Result<_, _>>()?,
    })
}

/// A contestant that takes part.
struct Entrant<'a> {
    contestant: &'a Contestant,
    clients: Vec<Client>,
    spent: Duration,
    /// µs per request, by turn.
    cpu: Vec<f64>,
    /// µs, by request.
    times: Vec<f64>,
}

impl<'a> Entrant<'a> {
    /// After a first request on each connection; nothing if the contestant is
    /// not installed.
    async fn new(
        contestant: &'a Contestant,
        upstream: &Upstream,
        play: &Play,
        clients: usize,
    ) -> Result<Option<Self>, BoxError> {
        let Some(address) = contestant.address else {
            return Ok(None);
        };
        if let Some(process) = contestant.process() {
            process.forget_peak();
        }
        let connect = async || {
            let mut client = Client::connect(address).await?;
            client.ask(upstream, play).await?;
            Ok::<_, BoxError>(client)
        };
        Ok(Some(Self {
            contestant,
            clients: try_join_all((0..clients).map(|_| connect())).await?,
            spent: Duration::ZERO,
            cpu: Vec::new(),
            times: Vec::new(),
        }))
    }

    async fn take_turn(
        &mut self,
        upstream: &Upstream,
        play: &Play,
        turn: Duration,
    ) -> Result<(), BoxError> {
        if self.spent > MOST {
            return Ok(());
        }
        let (before, start) = (self.cpu_time()?, Instant::now());
        let ask = async |client: &mut Client| {
            let mut times = Vec::new();
            loop {
                let sent = Instant::now();
                client.ask(upstream, play).await?;
                times.push(micros(sent.elapsed()));
                if start.elapsed() >= turn {
                    return Ok::<_, BoxError>(times);
                }
            }
        };
        let times = try_join_all(self.clients.iter_mut().map(ask))
            .await?
            .concat();
        let cpu = self.cpu_time()? - before;
        self.spent += start.elapsed();
        self.cpu.push(micros(cpu) / times.len() as f64);
        self.times.extend(times);
        Ok(())
    }

    fn cpu_time(&self) -> Result<Duration, BoxError> {
        match self.contestant.process() {
            Some(process) => Ok(process.cpu_time()?),
            None => Ok(Duration::ZERO),
        }
    }

    fn finish(self) -> Result<(Kind, Figures), BoxError> {
        let peak_bytes = match self.contestant.process() {
            Some(process) => process.peak_bytes()?,
            None => 0,
        };
        let figures = Figures {
            cpu: quantile(self.cpu, 0.1),
            median: quantile(self.times.clone(), 0.5),
            p99: quantile(self.times, 0.99),
            peak_mib: peak_bytes as f64 / (1024.0 * 1024.0),
        };
        Ok((self.contestant.kind, figures))
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() as f64 * share) as usize]
}
