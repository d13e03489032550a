//! What the proxies that route do to bodies, as the upstream receives them.

use std::{sync::Arc, time::Duration};

use benches::{http::exchange, openai::sdk_request};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::Response;
use http_body::Frame;
use http_body_util::{Either, Full, StreamBody};
use serde_json::Value;
use tokio::time::timeout;
use tower_model_routing::BoxError;

use crate::{
    probe::{self, Probe},
    subjects::Subject,
    upstream::Upstream,
    workload::Workload,
};

const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) async fn print(upstream: &Upstream, subjects: &[Subject]) -> Result<(), BoxError> {
    upstream.set(Arc::new(Workload::short()), true);
    let routing: Vec<_> = subjects.iter().filter(|it| it.kind.routes()).collect();
    let names: Vec<_> = routing.iter().map(|it| it.kind.name()).collect();
    println!("### What the upstream receives\n");
    println!("| sent | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
    for probe in probe::all() {
        print!("| {} |", probe.name);
        for subject in &routing {
            print!(" {} |", outcome(upstream, subject, &probe).await?);
        }
        println!();
    }
    println!();
    Ok(())
}

async fn outcome(
    upstream: &Upstream,
    subject: &Subject,
    probe: &Probe,
) -> Result<String, BoxError> {
    let Some(address) = subject.address else {
        return Ok("not installed".to_owned());
    };
    // One for another subject, or before a retry.
    drop(upstream.take());
    let body = Bytes::from(probe.body.clone());
    let request = sdk_request(match probe.is_chunked {
        true => {
            let frames = stream::iter([body]).map(|data| Ok::<_, BoxError>(Frame::data(data)));
            Either::Left(StreamBody::new(frames))
        }
        false => Either::Right(Full::new(body)),
    });
    let response = timeout(RESPONSE_TIMEOUT, exchange(address, request)).await??;
    Ok(match upstream.take() {
        Some(received) => probe.compare(&received),
        None => rejection(&response),
    })
}

fn rejection(response: &Response<Bytes>) -> String {
    let status = response.status().as_u16();
    let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
    match body["error"]["code"].as_str() {
        Some(code) if code != status.to_string() => format!("{status} `{code}`"),
        _ => status.to_string(),
    }
}
