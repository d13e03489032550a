//! How many times faster the scanner is than others, as a table.
//!
//! Machines change their clock while a benchmark runs. So the contestants take
//! turns here, each for a moment, and what counts is the median of the ratios
//! of one turn. An argument selects payloads whose names contain it, and
//! `first` those with the model in front.

mod support;

use std::time::{Duration, Instant};

use support::{
    contestants::{ALL, Contestant},
    is_measuring,
    payloads::{Payload, Place, names, payload},
};

const TURNS: usize = 25;

/// How long a contestant's turn is at least.
const TURN: Duration = Duration::from_millis(4);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let place = match arguments.iter().any(|argument| argument == "first") {
        true => Place::First,
        false => Place::Last,
    };
    let filters: Vec<&String> = arguments
        .iter()
        .filter(|argument| *argument != "first" && !argument.starts_with('-'))
        .collect();
    println!("model {place:?}; x: times as fast as");
    println!(
        "| payload | bytes | GB/s | in 16 KB frames | x Value | x IgnoredAny | x sonic_rs::get | of memchr2 |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    for name in names() {
        if filters.is_empty() || filters.iter().any(|filter| name.contains(*filter)) {
            row(&payload(name, place));
        }
    }
}

fn row(payload: &Payload) {
    let total: usize = payload.bodies.iter().map(Vec::len).sum();
    let turns: Vec<Vec<f64>> = (0..if is_measuring() { TURNS } else { 1 })
        .map(|turn| {
            let mut times = vec![0.0; ALL.len()];
            for index in 0..ALL.len() {
                // Nobody always comes after the same one.
                let index = (index + turn) % ALL.len();
                times[index] = seconds(payload, ALL[index].1);
            }
            times
        })
        .collect();
    let ratio = |of: usize, to: usize| median(turns.iter().map(|times| times[of] / times[to]));
    println!(
        "| {} | {} | {:.2} | {:.2} | {:.1} | {:.1} | {:.2} | {:.2} |",
        payload.name,
        total / payload.bodies.len(),
        total as f64 / median(turns.iter().map(|times| times[0])) / 1e9,
        total as f64 / median(turns.iter().map(|times| times[1])) / 1e9,
        ratio(2, 0),
        ratio(3, 0),
        ratio(4, 0),
        ratio(5, 0),
    );
}

/// How long the contestant takes for all bodies.
fn seconds(payload: &Payload, contestant: Contestant) -> f64 {
    let start = Instant::now();
    let mut rounds = 0;
    loop {
        for body in &payload.bodies {
            contestant(body);
        }
        rounds += 1;
        let elapsed = start.elapsed();
        if elapsed > TURN || !is_measuring() {
            return elapsed.as_secs_f64() / f64::from(rounds);
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
