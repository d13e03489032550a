//! The figure: the origin's load, and how a new model spreads.

use std::ops::Range;

use benches::chart::{Area, Axis, BLUE, GREEN, ORANGE, Plot, RGBColor, Result, VERMILION, figure};

use crate::{
    fleet::INSTANCES,
    report::CALM,
    scenario::{OUTAGE, Scenario},
};

const WITH: (&str, RGBColor) = ("with jitter", BLUE);
const WITHOUT: (&str, RGBColor) = ("without jitter", VERMILION);
const LIMIT: (&str, RGBColor) = ("5 times the mean of a steady day", GREEN);
/// The seconds of one point, which shows the busiest of them.
const BIN: usize = 10;
const MINUTES: usize = 60;
/// Stands for 0 on a logarithmic scale.
const NONE: f64 = 0.4;

pub(crate) fn draw(with: &Scenario, without: &Scenario) -> Result<()> {
    let limit = CALM * with.steady.mean();
    figure("fleet", (1000, 960), |image| {
        let (deploy, rest) = image.split_vertically(330);
        let (outage, publications) = rest.split_vertically(330);
        draw_load(
            &deploy,
            "Requests to the origin in the busiest of 10 seconds, by minutes after a deploy",
            [with, without].map(|it| it.deploy.fetches.clone()),
            0.0..0.0,
            limit,
        )?;
        draw_load(
            &outage,
            "The same, by minutes after an outage of 10 minutes (grey) begins",
            [with, without].map(|it| [&*it.outage.fetches, &*it.recovery.fetches].concat()),
            0.0..OUTAGE.as_secs_f64() / 60.0,
            limit,
        )?;
        draw_spread(&publications, with)
    })
}

/// Draws lines: requests per second by minutes.
fn draw_load(
    area: &Area<'_>,
    title: &str,
    [with, without]: [Vec<u32>; 2],
    shaded: Range<f64>,
    limit: f64,
) -> Result<()> {
    let minutes = (0..=MINUTES).step_by(10);
    let end = MINUTES as f64;
    let plot = Plot::new(
        area,
        title,
        [WITH, WITHOUT, LIMIT],
        Axis::linear(0.0..end).labels(minutes.map(|it| (it as f64, format!("{it} min")))),
        Axis::logarithmic(NONE..1_500.0)
            .labels([(NONE, "0".to_owned())])
            .ticks(&[1.0, 10.0, 100.0, 1_000.0]),
    )?;
    plot.shade(shaded)?;
    plot.line([(0.0, limit), (end, limit)], LIMIT.1)?;
    for (fetches, (_, color)) in [(without, WITHOUT), (with, WITH)] {
        let points = fetches.chunks(BIN).take(MINUTES * 60 / BIN).enumerate();
        let points = points.map(|(index, seconds)| {
            let busiest = seconds.iter().copied().max().unwrap_or(0);
            ((index * BIN) as f64 / 60.0, f64::from(busiest))
        });
        plot.line(points, color)?;
    }
    Ok(())
}

/// Draws lines: the instances that have a new model, by seconds.
fn draw_spread(area: &Area<'_>, scenario: &Scenario) -> Result<()> {
    const SECONDS: Range<f64> = 0.1..300.0;

    let publications = scenario.publications();
    let colors = [BLUE, GREEN, ORANGE];
    let seconds = [0.1, 1.0, 10.0, 100.0, 300.0];
    let plot = Plot::new(
        area,
        "Instances that have a new model, by the time since it was published",
        publications.iter().map(|(name, _)| *name).zip(colors),
        Axis::logarithmic(SECONDS).labels(seconds.map(|it| (it, format!("{it} s")))),
        Axis::linear(0.0..INSTANCES as f64).ticks(&[0.0, 250.0, 500.0, 750.0, 1_000.0]),
    )?;
    for ((_, publication), color) in publications.into_iter().zip(colors) {
        let mut points = vec![(SECONDS.start, 0.0)];
        for (count, after) in publication.found_after.iter().enumerate() {
            let seconds = after.as_secs_f64();
            points.extend([(seconds, count as f64), (seconds, count as f64 + 1.0)]);
        }
        points.push((SECONDS.end, publication.found_after.len() as f64));
        plot.line(points, color)?;
    }
    Ok(())
}
