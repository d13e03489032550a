//! The figures as a figure.

use std::path::Path;

use plotters::prelude::*;

use super::{
    bars::{Bars, Group},
    chart::{BLUE, GREEN, GREY, ORANGE, Result, VERMILION},
    contestants::Kind,
    measure::{Figures, Row},
};

// Okabe and Ito's, too.
const PURPLE: RGBColor = RGBColor(204, 121, 167);
const SKY: RGBColor = RGBColor(86, 180, 233);

const SIZE: (u32, u32) = (1100, 1200);

pub(crate) fn draw(rows: &[Row]) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/proxies/figure.svg");
    let image = SVGBackend::new(&path, SIZE).into_drawing_area();
    image.fill(&WHITE)?;
    let areas = image.split_evenly((3, 1));
    let contestants = Kind::ALL.map(|kind| (kind.name(), colour(kind)));
    let proxies = &contestants[..contestants.len() - 1];
    Bars {
        title: "CPU time of the proxy per request, µs (less is better)",
        lowest: 10.0,
        highest: 1e5,
        ticks: &[1e1, 1e2, 1e3, 1e4, 1e5],
        contestants: proxies,
    }
    .draw(&areas[0], &groups(rows, |it| [it.cpu; 2]))?;
    Bars {
        title: "Latency, µs: bars to the median, lines to the 99th percentile (less is better)",
        lowest: 10.0,
        highest: 1e6,
        ticks: &[1e1, 1e2, 1e3, 1e4, 1e5, 1e6],
        contestants: &contestants,
    }
    .draw(&areas[1], &groups(rows, |it| [it.median, it.p99]))?;
    Bars {
        title: "Peak memory of the proxy, MiB (less is better)",
        lowest: 1.0,
        highest: 1e3,
        ticks: &[1e0, 1e1, 1e2, 1e3],
        contestants: proxies,
    }
    .draw(&areas[2], &groups(rows, |it| [it.peak_mib; 2]))?;
    image.present()?;
    eprintln!("{}", path.display());
    Ok(())
}

fn colour(kind: Kind) -> RGBColor {
    match kind {
        Kind::This => BLUE,
        Kind::Plain => SKY,
        Kind::Naive => VERMILION,
        Kind::Nginx => GREEN,
        Kind::Lua => ORANGE,
        Kind::LiteLlm => PURPLE,
        Kind::Nothing => GREY,
    }
}

fn groups(rows: &[Row], heights: impl Fn(&Figures) -> [f64; 2]) -> Vec<Group> {
    let group = |row: &Row| {
        // Nothing is as good as zero here.
        let height = |kind| row.of(kind).map(&heights).filter(|it| it[0] > 0.0);
        Group {
            label: row.scenario.name.split(", ").map(str::to_owned).collect(),
            heights: Kind::ALL.into_iter().map(height).collect(),
        }
    };
    rows.iter().map(group).collect()
}
