#![allow(missing_docs)]
mod support;
use std::time::Instant;
use support::{gateway::*, payloads::*};
fn main() {
    let quick = std::env::var_os("P").is_some();
    let args: Vec<String> = std::env::args().collect();
    let n: usize = args.get(1).and_then(|s| s.parse().ok()).unwrap_or(20000);
    let routes: Vec<usize> = args
        .get(2)
        .map_or(vec![0, 1, 2], |r| vec![r.parse().unwrap()]);
    for name in std::env::var("P").map_or(vec!["chat-500B", "chat-2KB", "prose-200KB"], |_| {
        vec!["chat-500B"]
    }) {
        let mut g = Gateway::new(Reading);
        let mut s = Gateway::new(Silent);
        let p = payload(name, Place::Last);
        let request = requests(&p);
        for &route in &routes {
            let mut best = f64::MAX;
            let mut bests = f64::MAX;
            let n = if name == "prose-200KB" { n / 50 } else { n };
            let mut all = vec![];
            for round in 0..n {
                let r: [_; 8] = std::array::from_fn(|i| request(round * 8 + i));
                let t = Instant::now();
                for r in r {
                    g.send(route, r);
                }
                let e = t.elapsed().as_secs_f64() / 8.0;
                all.push(e);
                best = best.min(e);
                if quick {
                    continue;
                }
                let r: [_; 8] = std::array::from_fn(|i| request(round * 8 + i));
                let t = Instant::now();
                for r in r {
                    s.send(route, r);
                }
                bests = bests.min(t.elapsed().as_secs_f64() / 8.0);
            }
            all.sort_by(f64::total_cmp);
            println!(
                "{name} {route} min {:.3} p10 {:.3} p50 {:.3} called min {:.3}",
                best * 1e6,
                all[n / 10] * 1e6,
                all[n / 2] * 1e6,
                bests * 1e6
            );
        }
    }
}
