//! How much a request allocates on its way, as a table.
//!
//! The counts are the same in every run, so the targets are checked too.

mod support;

use allocation_counter::AllocationInfo;
use http::Request;
use support::{
    gateway::{Frames, Gateway, PAYLOADS, ROUTES, Reading, Silent, requests},
    payloads::{Place, payload},
};

fn main() {
    let mut silent = Gateway::new(Silent);
    let mut reading = Gateway::new(Reading);
    println!(
        "| payload | model | way | allocations until the inner service is called | bytes | allocations until it has answered | bytes |"
    );
    println!("|---|---|---|---|---|---|---|");
    for name in PAYLOADS {
        for place in [Place::First, Place::Last] {
            let request = requests(&payload(name, place));
            for (route, route_name) in ROUTES.into_iter().enumerate() {
                let called = count(&request, |request| _ = silent.send(route, request));
                let answered = count(&request, |request| _ = reading.send(route, request));
                println!(
                    "| {name} | {place:?} | {route_name} | {} | {} | {} | {} |",
                    called.count_total,
                    called.bytes_total,
                    answered.count_total,
                    answered.bytes_total
                );
            }
        }
    }
}

/// What one request allocates, once everything is warm.
fn count(
    request: impl Fn(usize) -> Request<Frames>,
    mut send: impl FnMut(Request<Frames>),
) -> AllocationInfo {
    send(request(0));
    let request = request(0);
    allocation_counter::measure(|| send(request))
}
