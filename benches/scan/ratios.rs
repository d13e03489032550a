//! The scanner's throughput, and the time of others as a multiple of its own, as a table. Arguments
//! select payloads by a part of their names, and `first` those whose model comes first.

use std::time::{Duration, Instant};

use benches::{
    filters, is_measuring, is_selected,
    payloads::{Payload, Place, names, payload},
    rounds::Rounds,
    scanners::{SUBJECTS, Subject},
};

/// How long a subject runs in a round, at least.
const MOMENT: Duration = Duration::from_millis(4);

fn main() {
    let mut filters = filters();
    let place = match filters.extract_if(.., |it| it == "first").next() {
        Some(_) => Place::First,
        None => Place::Last,
    };
    println!(
        "| model {place:?} | bytes | GB/s | in 16 KB frames | × Value | × IgnoredAny | × to_tape \
         | × LazyValue, UTF-8 | × sonic_rs::get | goal | × memchr2 | goal |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    for name in names() {
        if is_selected(name, &filters) {
            print_row(&payload(name, place));
        }
    }
}

fn print_row(payload: &Payload) {
    let rounds = if is_measuring() { 25 } else { 1 };
    let rounds = Rounds::<{ SUBJECTS.len() }>::measure(rounds, |subject| {
        seconds(payload, SUBJECTS[subject].1)
    });
    let total = payload.total_bytes() as f64;
    println!(
        "| {} | {} | {:.2} | {:.2} | {:.1} | {:.1} | {:.2} | {:.2} | {:.2} | {} | {:.2} | {} |",
        payload.name,
        payload.mean_bytes(),
        rounds.median(|[scanner, ..]| total / scanner / 1e9),
        rounds.median(|[_, frames, ..]| total / frames / 1e9),
        rounds.median(|[scanner, _, value, ..]| value / scanner),
        rounds.median(|[scanner, _, _, ignored, ..]| ignored / scanner),
        rounds.median(|[scanner, _, _, _, tape, ..]| tape / scanner),
        rounds.median(|[scanner, .., lazy, _, _]| lazy / scanner),
        rounds.median(|[scanner, .., sonic, _]| sonic / scanner),
        goal(&SONIC_GOALS, payload.name),
        rounds.median(|[scanner, .., limit]| limit / scanner),
        goal(&LIMIT_GOALS, payload.name),
    );
}

/// The least multiples of `sonic_rs::get` that are aimed at, with the model last.
const SONIC_GOALS: [(&str, &str); 9] = [
    ("chat-500B", "2.5"),
    ("chat-2KB", "3.5"),
    ("prose-200KB", "8"),
    ("cjk-200KB", "4"),
    ("integers-50k", "10"),
    ("nested-integers", "6"),
    ("tools-compact", "3.5"),
    ("tools-pretty", "5"),
    ("escapes-200KB", "20"),
];

/// The least shares of the speed of `memchr2`.
const LIMIT_GOALS: [(&str, &str); 2] = [("base64-5MB", "0.85"), ("base64-20MB", "0.85")];

fn goal(goals: &[(&str, &'static str)], name: &str) -> &'static str {
    goals
        .iter()
        .find(|goal| goal.0 == name)
        .map_or("", |goal| goal.1)
}

/// Returns the time for all bodies.
fn seconds(payload: &Payload, subject: Subject) -> f64 {
    let start = Instant::now();
    let mut repetitions = 0;
    loop {
        for body in &payload.bodies {
            subject(body);
        }
        repetitions += 1;
        let elapsed = start.elapsed();
        if elapsed > MOMENT || !is_measuring() {
            return elapsed.as_secs_f64() / f64::from(repetitions);
        }
    }
}
