//! The allocations of a request, as a table. They are the same in every run, so the
//! targets are checked too.

use allocation_counter::AllocationInfo;
use benches::{
    gateway::{FRAME_LEN, Frames, Gateway, ROUTES, Reading, Silent, payload_names, requests},
    payloads::{Place, payload},
};
use bytes::Bytes;
use http::Request;

fn main() {
    let mut silent = Gateway::new(Silent);
    let mut reading = Gateway::new(Reading);
    println!(
        "| payload | model | middleware | allocations before the inner service is called | bytes \
         | allocations before the response | bytes |"
    );
    println!("|---|---|---|---|---|---|---|");
    for name in payload_names() {
        for place in [Place::First, Place::Last] {
            let payload = payload(name, place);
            let frames = payload.bodies[0].len().div_ceil(FRAME_LEN);
            let request = requests(&payload);
            for (route, route_name) in ROUTES.into_iter().enumerate() {
                let called = count(&request, |request| _ = silent.send(route, request));
                let responded = count(&request, |request| _ = reading.send(route, request));
                println!(
                    "| {name} | {place:?} | {route_name} | {} | {} | {} | {} |",
                    called.count_total,
                    called.bytes_total,
                    responded.count_total,
                    responded.bytes_total
                );
                if route_name == "layer" {
                    check(&called, frames, place);
                }
            }
        }
    }
}

/// At most 6 allocations for a body of one frame. A longer body whose model comes last needs
/// handles of the frames that are held; none is copied.
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

/// Returns the allocations of a request after a first one.
fn count(
    request: impl Fn(usize) -> Request<Frames>,
    mut send: impl FnMut(Request<Frames>),
) -> AllocationInfo {
    send(request(0));
    let request = request(0);
    allocation_counter::measure(|| send(request))
}
