//! Draws `layer/figure.svg` from what criterion has measured in the benchmarks `layer` and `scan`.

use std::{env, fs, path::Path};

use benches::{
    chart::{
        Area, Axis, BLUE, Bars, GREEN, GREY, ORANGE, Plot, RGBColor, Result, VERMILION, draw_bars,
        figure,
    },
    gateway::{ROUTES, payload_names},
    is_measuring, payloads,
};
use serde_json::Value;

/// Scanners by their names in the benchmark.
const SCANNERS: [(&str, &str, RGBColor); 5] = [
    ("scanner", "this crate", BLUE),
    ("sonic_rs-get", "sonic_rs::get (stops at the model)", ORANGE),
    (
        "serde_json-ignored",
        "serde_json, other fields ignored",
        GREEN,
    ),
    ("serde_json-value", "serde_json::Value and back", VERMILION),
    ("memchr2", "memchr2 (limit)", GREY),
];

/// [`ROUTES`] in the figure.
const MIDDLEWARE: [(&str, RGBColor); 3] = [
    ("inner service alone", GREY),
    ("behind this layer", BLUE),
    ("behind serde_json::Value", VERMILION),
];

fn main() -> Result<()> {
    if !is_measuring() {
        return Ok(());
    }
    let measured = measurements()?;
    figure("layer", (1000, 900), |image| {
        let (upper, lower) = image.split_vertically(480);
        draw_throughput(&upper, &measured)?;
        draw_latency(&lower, &measured)
    })
}

/// A benchmark's result.
struct Measurement {
    group: String,
    name: String,
    bytes: f64,
    seconds: f64,
}

/// Reads the results, `target/criterion/GROUP/NAME/new/*.json`.
fn measurements() -> Result<Vec<Measurement>> {
    // From target/PROFILE/deps/plot.
    let binary = env::current_exe()?;
    let target = binary.ancestors().nth(3).ok_or("no target directory")?;
    let mut found = Vec::new();
    let mut directories = vec![target.join("criterion")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.ends_with("new") {
                found.extend(measurement(&path)?);
            } else if path.is_dir() {
                directories.push(path);
            }
        }
    }
    Ok(found)
}

/// Returns the result in this directory, if it has a throughput.
fn measurement(directory: &Path) -> Result<Option<Measurement>> {
    let read =
        |name| -> Result<Value> { Ok(serde_json::from_slice(&fs::read(directory.join(name))?)?) };
    let (benchmark, estimates) = (read("benchmark.json")?, read("estimates.json")?);
    let text = |key: &str| benchmark[key].as_str().unwrap_or_default().to_owned();
    let median = estimates["median"]["point_estimate"].as_f64();
    let bytes = benchmark["throughput"]["Bytes"].as_f64();
    Ok(bytes.zip(median).map(|(bytes, nanos)| Measurement {
        group: text("group_id"),
        name: text("value_str"),
        bytes,
        seconds: nanos / 1e9,
    }))
}

fn find<'a>(measured: &'a [Measurement], group: &str, name: &str) -> Result<&'a Measurement> {
    let mut measured = measured.iter();
    let found = measured.find(|it| it.group == group && it.name == name);
    found.ok_or_else(|| format!("{group}/{name} has not been measured").into())
}

/// Draws bars: gigabytes per second by payload.
fn draw_throughput(area: &Area<'_>, measured: &[Measurement]) -> Result<()> {
    let group = |name: &str| {
        let value = |(scanner, ..): (&str, _, _)| {
            let it = find(measured, &format!("model-last/{name}"), scanner)?;
            Ok(Some([it.bytes / it.seconds / 1e9; 2]))
        };
        let values: Result<Vec<_>> = SCANNERS.into_iter().map(value).collect();
        Ok(Bars {
            label: name.replacen('-', "\n", 1),
            values: values?,
        })
    };
    draw_bars(
        area,
        "Scanning a request whose model comes last, GB/s (more is better)",
        &SCANNERS.map(|(_, name, color)| (name, color)),
        Axis::logarithmic(0.05..200.0).ticks(&[0.1, 1.0, 10.0, 100.0]),
        &payloads::names().map(group).collect::<Result<Vec<_>>>()?,
    )
}

/// Draws lines: microseconds by body size.
fn draw_latency(area: &Area<'_>, measured: &[Measurement]) -> Result<()> {
    let find = |payload: &str, route| find(measured, &format!("layer/{payload}"), route);
    let sizes: Result<Vec<_>> = payload_names()
        .map(|payload| {
            let (_, size) = payload.split_once('-').unwrap_or(("", payload));
            Ok((find(payload, ROUTES[0])?.bytes, size.to_owned()))
        })
        .collect();
    let plot = Plot::new(
        area,
        "A request's time to the inner service and back, µs by body size (less is better)",
        MIDDLEWARE,
        Axis::logarithmic(300.0..8e6).labels(sizes?),
        Axis::logarithmic(0.05..20_000.0).ticks(&[0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0]),
    )?;
    for (route, (_, color)) in ROUTES.into_iter().zip(MIDDLEWARE) {
        let points: Result<Vec<_>> = payload_names()
            .map(|payload| find(payload, route).map(|it| (it.bytes, it.seconds * 1e6)))
            .collect();
        let points = points?;
        plot.line(points.clone(), color)?;
        plot.points(points, color)?;
    }
    Ok(())
}
