//! What the proxies that route do to bodies, as the upstream sees it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use http::Response;
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use serde_json::Value;
use tokio::time::timeout;
use tower_model_routing::BoxError;

use super::{
    client::exchange,
    contestants::Contestant,
    probe::{self, Probe},
    scenario::Play,
    sdk::sdk_request,
    upstream::Upstream,
};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn print(upstream: &Upstream, contestants: &[Contestant]) -> Result<(), BoxError> {
    upstream.set(Arc::new(Play::keeping()));
    let routing: Vec<&Contestant> = contestants.iter().filter(|it| it.kind.routes()).collect();
    let names: Vec<&str> = routing.iter().map(|it| it.kind.name()).collect();
    println!("What arrives at the upstream\n");
    println!("| sent | {} |", names.join(" | "));
    println!("|---|{}", "---|".repeat(names.len()));
    for probe in probe::all() {
        print!("| {} |", probe.what);
        for contestant in &routing {
            print!(" {} |", outcome(upstream, contestant, &probe).await?);
        }
        println!();
    }
    println!();
    Ok(())
}

async fn outcome(
    upstream: &Upstream,
    contestant: &Contestant,
    probe: &Probe,
) -> Result<String, BoxError> {
    let Some(address) = contestant.address else {
        return Ok("not installed".to_owned());
    };
    // What came before is not this one's.
    drop(upstream.take());
    let request = sdk_request(probe.body.clone())?;
    let answer = match probe.is_chunked {
        true => {
            // Its length cannot be known beforehand.
            let frames = |body: Full<Bytes>| body.into_data_stream().map(|it| it.map(Frame::data));
            let request = request.map(|body| StreamBody::new(frames(body)));
            timeout(PATIENCE, exchange(address, request)).await??
        }
        false => timeout(PATIENCE, exchange(address, request)).await??,
    };
    Ok(match upstream.take() {
        Some(received) => probe.look_at(&received),
        None => refusal(&answer),
    })
}

fn refusal(answer: &Response<Bytes>) -> String {
    let status = answer.status().as_u16();
    let body: Option<Value> = serde_json::from_slice(answer.body()).ok();
    let code = body.and_then(|it| Some(it["error"]["code"].as_str()?.to_owned()));
    match code {
        Some(code) if code != status.to_string() => format!("{status} `{code}`"),
        _ => status.to_string(),
    }
}
