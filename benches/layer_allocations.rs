//! How much a request allocates on its way, as a table.
//!
//! The counts are the same in every run, so the targets are checked too.

mod support;

use allocation_counter::AllocationInfo;
use bytes::Bytes;
use http::Request;
use support::{
    gateway::{FRAME_LEN, Frames, Gateway, PAYLOADS, ROUTES, Reading, Silent, requests},
    payloads::{Place, payload},
};

fn main() {
    let mut silent = Gateway::new(Silent);
    let mut reading = Gateway::new(Reading);
    println!("Targets for the layer: at most 6 allocations at 2 KB, and no copy of a body.\n");
    println!(
        "| payload | model | way | allocations until the inner service is called | bytes | allocations until it has answered | bytes |"
    );
    println!("|---|---|---|---|---|---|---|");
    for name in PAYLOADS {
        for place in [Place::First, Place::Last] {
            let payload = payload(name, place);
            let frames = payload.bodies[0].len().div_ceil(FRAME_LEN);
            let request = requests(&payload);
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
                if route_name == "layer" {
                    check(&called, frames, place);
                }
            }
        }
    }
}

/// A few allocations, and at most handles of the frames that are held: a model
/// in front needs none of them, and nothing needs a copy of the body.
fn check(called: &AllocationInfo, frames: usize, place: Place) {
    match (frames, place) {
        (1, _) => assert!(called.count_total <= 6, "{called:?}"),
        (_, Place::First) => assert!(called.bytes_total < 2_000, "{called:?}"),
        (_, Place::Last) => {
            let handles = (frames * 4 * size_of::<Bytes>()) as u64;
            assert!(called.bytes_total < 2_000 + handles, "{called:?}");
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
