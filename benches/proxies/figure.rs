//! Draws the figures of all scenarios.

use benches::chart::{
    Axis, BLUE, Bars, GREEN, GREY, ORANGE, PURPLE, RGBColor, Result, SKY, VERMILION, draw_bars,
    figure,
};

use crate::{
    measure::{Figures, Row},
    subjects::Kind,
};

pub(crate) fn draw(rows: &[Row]) -> Result<()> {
    let subjects = Kind::ALL.map(|kind| (kind.name(), color(kind)));
    let proxies = &subjects[..subjects.len() - 1];
    figure("proxies", (1100, 1200), |image| {
        let areas = image.split_evenly((3, 1));
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
        )
    })
}

fn color(kind: Kind) -> RGBColor {
    match kind {
        Kind::This => BLUE,
        Kind::Plain => SKY,
        Kind::Naive => VERMILION,
        Kind::Nginx => GREEN,
        Kind::Lua => ORANGE,
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
