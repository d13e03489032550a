//! The layer's cost, beside that of a naive middleware and of the least that a layer must do, as a
//! table. Arguments select payloads by a part of their names.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use benches::{
    filters,
    gateway::{Frames, Gateway, LIMITS, ROUTES, Reading, passing_request, payload_names, requests},
    is_measuring, is_selected,
    payloads::{Payload, Place, payload},
    rounds::Rounds,
};
use http::Request;

/// How many requests are prepared at once.
const BATCH: usize = 8;

const SUBJECTS: usize = ROUTES.len() + LIMITS.len();

/// A payload, the most microseconds over the bare service, and the least multiple of the layer's
/// time that the naive middleware takes.
const TARGETS: [(&str, Option<f64>, f64); 2] =
    [("chat-2KB", Some(1.5), 8.0), ("base64-5MB", None, 40.0)];

/// The name of a request that the layer passes, and the most microseconds over the bare service.
const PASSING: &str = "passing GET";
const MOST_OVER_PASSING: f64 = 0.3;

fn main() {
    let mut gateway = Gateway::new(Reading);
    println!(
        "| payload | model | bare, µs | layer, µs | naive, µs | layer - bare, µs | target \
         | naive / layer | target | naive / least | naive / memchr2 |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|");
    let filters = filters();
    for name in payload_names() {
        if is_selected(name, &filters) {
            for place in [Place::First, Place::Last] {
                print_row(&mut gateway, &payload(name, place), place);
            }
        }
    }
    if is_selected(PASSING, &filters) {
        print_passing_row(&mut gateway);
    }
}

/// Prints the row of a request whose body is not read, so that only the first two columns have a
/// figure.
fn print_passing_row(gateway: &mut Gateway<Reading>) {
    let rounds = Rounds::<2>::measure(rounds(), |route| {
        seconds(gateway, route, |_| passing_request())
    });
    println!(
        "| {PASSING} | | {:.3} | {:.3} | | {:.3} | ≤ {MOST_OVER_PASSING} | | | | |",
        rounds.median(|[bare, _]| bare * 1e6),
        rounds.median(|[_, layer]| layer * 1e6),
        rounds.median(|[bare, layer]| (layer - bare) * 1e6),
    );
}

fn rounds() -> usize {
    if is_measuring() { 51 } else { 1 }
}

fn print_row(gateway: &mut Gateway<Reading>, payload: &Payload, place: Place) {
    let request = requests(payload);
    let rounds = Rounds::<SUBJECTS>::measure(rounds(), |route| seconds(gateway, route, &request));
    let target = TARGETS.iter().find(|target| target.0 == payload.name);
    let over = target.and_then(|target| target.1);
    println!(
        "| {} | {place:?} | {:.3} | {:.3} | {:.3} | {:.3} | {} | {:.1} | {} | {:.1} | {:.1} |",
        payload.name,
        rounds.median(|[bare, ..]| bare * 1e6),
        rounds.median(|[_, layer, ..]| layer * 1e6),
        rounds.median(|[_, _, naive, ..]| naive * 1e6),
        rounds.median(|[bare, layer, ..]| (layer - bare) * 1e6),
        over.map_or(String::new(), |most| format!("≤ {most}")),
        rounds.median(|[_, layer, naive, ..]| naive / layer),
        target.map_or(String::new(), |(.., least)| format!("≥ {least}")),
        rounds.median(|[_, _, naive, least, _]| naive / least),
        rounds.median(|[_, _, naive, _, memchr]| naive / memchr),
    );
}

/// Returns the time of a request.
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
