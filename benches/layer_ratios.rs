//! What the layer costs, and how many times faster than a naive middleware it
//! is, as a table, beside what is aimed at and what no layer can beat.
//!
//! Machines change their clock while a benchmark runs. So all ways take turns
//! here, each for a moment, and what counts is the median of the ratios of one
//! turn. An argument selects payloads whose names contain it.

mod support;

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use http::Request;
use support::{
    gateway::{Frames, Gateway, LIMITS, PAYLOADS, ROUTES, Reading, requests},
    payloads::{Payload, Place, payload},
};

/// How many requests are prepared at once.
const BATCH: usize = 8;

const WAYS: usize = ROUTES.len() + LIMITS.len();

/// What is aimed at: payload, most microseconds over the bare service, least
/// multiple that the naive middleware takes.
const TARGETS: [(&str, Option<f64>, f64); 2] =
    [("chat-2KB", Some(1.5), 8.0), ("base64-5MB", None, 40.0)];

fn main() {
    let turns = match support::is_measuring() {
        true => 51,
        false => 1,
    };
    let mut gateway = Gateway::new(Reading);
    println!(
        "| payload | model | bare, µs | layer, µs | naive, µs | layer over bare, µs | target | naive / layer | target | naive / least | naive / memchr2 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let filters: Vec<String> = std::env::args().skip(1).collect();
    let is_wanted = |name: &str| {
        let mut filters = filters.iter().filter(|filter| !filter.starts_with('-'));
        filters.clone().next().is_none() || filters.any(|filter| name.contains(filter))
    };
    for name in PAYLOADS.into_iter().filter(|name| is_wanted(name)) {
        for place in [Place::First, Place::Last] {
            row(&mut gateway, &payload(name, place), place, turns);
        }
    }
}

fn row(gateway: &mut Gateway<Reading>, payload: &Payload, place: Place, turns: usize) {
    let request = requests(payload);
    let turns: Vec<_> = (0..turns)
        .map(|turn| {
            let mut times = [0.0; WAYS];
            for index in 0..WAYS {
                // Nobody always comes after the same one: as there are five, all
                // have their turn whatever the step.
                let step = 1 + turn % (WAYS - 1);
                let route = (index * step + turn) % WAYS;
                times[route] = seconds(gateway, route, &request);
            }
            times
        })
        .collect();
    let median = |of: &dyn Fn(&[f64; WAYS]) -> f64| {
        let mut values: Vec<f64> = turns.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    let target = TARGETS.iter().find(|target| target.0 == payload.name);
    let over = target.and_then(|target| target.1);
    println!(
        "| {} | {place:?} | {:.3} | {:.3} | {:.3} | {:.3} | {} | {:.1} | {} | {:.1} | {:.1} |",
        payload.name,
        median(&|[bare, ..]| bare * 1e6),
        median(&|[_, layer, ..]| layer * 1e6),
        median(&|[_, _, naive, ..]| naive * 1e6),
        median(&|[bare, layer, ..]| (layer - bare) * 1e6),
        over.map_or(String::new(), |most| format!("≤ {most}")),
        median(&|[_, layer, naive, ..]| naive / layer),
        target.map_or(String::new(), |(.., least)| format!("≥ {least}")),
        median(&|[_, _, naive, least, _]| naive / least),
        median(&|[_, _, naive, _, memchr]| naive / memchr),
    );
}

/// How long a request takes this way.
fn seconds(
    gateway: &mut Gateway<Reading>,
    route: usize,
    request: impl Fn(usize) -> Request<Frames>,
) -> f64 {
    let mut sent = 0;
    let mut elapsed = Duration::ZERO;
    while elapsed < Duration::from_millis(3) {
        // Few, because a request that has just been received is in the cache.
        let requests: [_; BATCH] = std::array::from_fn(|index| request(sent + index));
        let start = Instant::now();
        for request in requests {
            assert!(black_box(gateway.send(route, request)));
        }
        elapsed += start.elapsed();
        sent += BATCH;
    }
    elapsed.as_secs_f64() / sent as f64
}
