//! Draws `benches/figure.svg` from what criterion has measured:
//!
//! ```sh
//! cargo bench --bench layer --bench scan && cargo bench --bench plot
//! ```

#[path = "support/bars.rs"]
mod bars;
#[path = "support/chart.rs"]
mod chart;
mod support;

use std::{
    fs,
    path::{Path, PathBuf},
};

use bars::{Bars, Group};
use chart::{
    Area, BLUE, GREEN, GREY, ORANGE, Result, VERMILION, offset, text, title, x_label, y_label,
};
use plotters::{
    prelude::*,
    style::text_anchor::{HPos, VPos},
};
use serde_json::Value;
use support::{
    gateway::{PAYLOADS, ROUTES},
    payloads,
};

const SIZE: (u32, u32) = (1000, 900);

/// The contestants by their names in the benchmark.
const CONTESTANTS: [(&str, &str, RGBColor); 5] = [
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

/// The ways by their places in [`ROUTES`].
const WAYS: [(&str, RGBColor); 3] = [
    ("inner service alone", GREY),
    ("behind this layer", BLUE),
    ("behind serde_json::Value", VERMILION),
];

fn main() -> Result<()> {
    if !support::is_measuring() {
        return Ok(());
    }
    let measured = measurements(&criterion_directory())?;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/figure.svg");
    let image = SVGBackend::new(&path, SIZE).into_drawing_area();
    image.fill(&WHITE)?;
    let (upper, lower) = image.split_vertically(480);
    throughput(&upper, &measured)?;
    latency(&lower, &measured)?;
    image.present()?;
    println!("{}", path.display());
    Ok(())
}

/// What criterion found out about one benchmark.
#[derive(Debug)]
struct Measurement {
    group: String,
    name: String,
    bytes: f64,
    seconds: f64,
}

fn criterion_directory() -> PathBuf {
    if let Some(directory) = std::env::var_os("CRITERION_HOME") {
        return directory.into();
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    Path::new(&target).join("criterion")
}

fn measurements(directory: &Path) -> Result<Vec<Measurement>> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
            }
        }
        if !directory.ends_with("new") {
            continue;
        }
        let read = |name| -> Result<Value> {
            Ok(serde_json::from_slice(&fs::read(directory.join(name))?)?)
        };
        let (about, estimates) = (read("benchmark.json")?, read("estimates.json")?);
        let text = |key: &str| about[key].as_str().unwrap_or_default().to_owned();
        if let Some(bytes) = about["throughput"]["Bytes"].as_f64() {
            found.push(Measurement {
                group: text("group_id"),
                name: text("value_str"),
                bytes,
                seconds: estimates["median"]["point_estimate"]
                    .as_f64()
                    .unwrap_or(f64::NAN)
                    / 1e9,
            });
        }
    }
    Ok(found)
}

fn find<'a>(measured: &'a [Measurement], group: &str, name: &str) -> Result<&'a Measurement> {
    measured
        .iter()
        .find(|it| it.group == group && it.name == name)
        .ok_or_else(|| {
            format!("{group}/{name} is missing: run `cargo bench --bench layer --bench scan` first")
                .into()
        })
}

/// Groups of bars: gigabytes per second by payload.
fn throughput(area: &Area<'_>, measured: &[Measurement]) -> Result<()> {
    let group = |name: &str| {
        let height = |(contestant, ..): (&str, _, _)| {
            let it = find(measured, &format!("model-last/{name}"), contestant)?;
            Ok(Some([it.bytes / it.seconds / 1e9; 2]))
        };
        let heights: Result<Vec<_>> = CONTESTANTS.into_iter().map(height).collect();
        let label = name.splitn(2, '-').map(str::to_owned).collect();
        Ok(Group {
            label,
            heights: heights?,
        })
    };
    let groups = payloads::names().map(group).collect::<Result<Vec<_>>>()?;
    let bars = Bars {
        title: "Scanning a request whose model comes last, GB/s (more is better)",
        lowest: 0.05,
        highest: 200.0,
        ticks: &[0.1, 1.0, 10.0, 100.0],
        contestants: &CONTESTANTS.map(|(_, title, colour)| (title, colour)),
    };
    bars.draw(area, &groups)
}

/// Lines: microseconds by body size.
fn latency(area: &Area<'_>, measured: &[Measurement]) -> Result<()> {
    title(
        area,
        "A request's way to the inner service and back, µs by body size (less is better)",
    )?;
    let mut chart = ChartBuilder::on(area)
        .margin_top(50)
        .margin_right(190)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d((300.0..8e6).log_scale(), (0.05..20_000.0).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_y_mesh()
        .disable_axes()
        .draw()?;
    let plot = chart.plotting_area();
    for tick in [0.1, 1.0, 10.0, 100.0, 1_000.0, 10_000.0] {
        plot.draw(&PathElement::new(
            [(300.0, tick), (8e6, tick)],
            BLACK.mix(0.15),
        ))?;
        y_label(area, plot.map_coordinate(&(300.0, tick)), &tick.to_string())?;
    }
    for payload in PAYLOADS {
        let bytes = find(measured, &format!("layer/{payload}"), ROUTES[0])?.bytes;
        let (x, y) = plot.map_coordinate(&(bytes, 0.05));
        plot.draw(&PathElement::new(
            [(bytes, 0.05), (bytes, 20_000.0)],
            BLACK.mix(0.15),
        ))?;
        let (_, size) = payload.split_once('-').unwrap_or(("", payload));
        x_label(area, (x, y + 6), size)?;
    }
    for (route, (title, colour)) in ROUTES.into_iter().zip(WAYS) {
        let points = PAYLOADS
            .iter()
            .map(|payload| {
                let it = find(measured, &format!("layer/{payload}"), route)?;
                Ok((it.bytes, it.seconds * 1e6))
            })
            .collect::<Result<Vec<_>>>()?;
        plot.draw(&PathElement::new(points.clone(), colour.stroke_width(3)))?;
        for &point in &points {
            plot.draw(&Circle::new(point, 5, colour.filled()))?;
        }
        let end = points[points.len() - 1];
        let (_, y) = plot.map_coordinate(&end);
        let (right, _) = plot.map_coordinate(&(8e6, end.1));
        let style = text(13, HPos::Left, VPos::Center);
        area.draw(&Text::new(title, offset(area, (right + 6, y)), style))?;
    }
    Ok(())
}
