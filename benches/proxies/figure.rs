//! Draws the figures of all scenarios.

use benches::chart::{
    Axis, BLACK, BLUE, Bars, GREEN, GREY, ORANGE, PURPLE, RGBColor, Result, SKY, VERMILION, YELLOW,
    draw_bars, figure,
};

use crate::{
    measure::{Figures, Row},
    streams::{self, Streams},
    subjects::Kind,
};

pub(crate) fn draw(rows: &[Row], streams: &Streams) -> Result<()> {
    let subjects = Kind::ALL.map(|kind| (kind.name(), color(kind)));
    let proxies = &subjects[..subjects.len() - 1];
    figure("proxies", (1200, 1600), |image| {
        let areas = image.split_evenly((4, 1));
        draw_bars(
            &areas[0],
            "CPU time of the proxy per request, µs (less is better)",
            proxies,
            Axis::logarithmic(10.0..1e5).ticks(&[1e1, 1e2, 1e3, 1e4, 1e5]),
            &groups(rows, |it| [it.cpu; 2]),
        )?;
        draw_bars(
            &areas[1],
            "Latency, µs: bars to the median, lines to the 99th percentile (less is better)",
            &subjects,
            Axis::logarithmic(10.0..1e6).ticks(&[1e1, 1e2, 1e3, 1e4, 1e5, 1e6]),
            &groups(rows, |it| [it.median, it.p99]),
        )?;
        draw_bars(
            &areas[2],
            "Peak memory of the proxy, MiB (less is better)",
            proxies,
            Axis::logarithmic(1.0..1e3).ticks(&[1e0, 1e1, 1e2, 1e3]),
            &groups(rows, |it| [it.peak_mib; 2]),
        )?;
        draw_bars(
            &areas[3],
            &format!("{} (less is better)", streams::NAME),
            proxies,
            Axis::logarithmic(1.0..1e7).ticks(&[1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7]),
            &stream_groups(streams),
        )
    })
}

fn color(kind: Kind) -> RGBColor {
    match kind {
        Kind::This => BLUE,
        Kind::Plain => SKY,
        Kind::Naive => VERMILION,
        Kind::Nginx => GREEN,
        Kind::NginxLua => ORANGE,
        Kind::HaproxyLua => YELLOW,
        Kind::EnvoyLua => BLACK,
        Kind::LiteLlm => PURPLE,
        Kind::Direct => GREY,
    }
}

fn groups(rows: &[Row], values: impl Fn(&Figures) -> [f64; 2]) -> Vec<Bars> {
    let group = |row: &Row| Bars {
        label: row.scenario.name.replace(", ", "\n"),
        values: Kind::ALL.map(|kind| row.of(kind).map(&values)).to_vec(),
    };
    rows.iter().map(group).collect()
}

fn stream_groups(streams: &Streams) -> Vec<Bars> {
    let group = |label: &str, values: fn(&streams::Figures) -> [f64; 2]| Bars {
        label: label.to_owned(),
        values: Kind::ALL.map(|kind| streams.of(kind).map(values)).to_vec(),
    };
    vec![
        group("CPU time per event, µs", |it| [it.cpu; 2]),
        group(
            "added latency per event, µs:\nmedian and 99th percentile",
            |it| [it.added_median, it.added_p99],
        ),
        group("memory per stream, KiB", |it| [it.kib_per_stream; 2]),
    ]
}
