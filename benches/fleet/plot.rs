//! The figure: what the origin gets, and how a new model spreads.

use std::{ops::Range, path::Path};

use plotters::prelude::*;

use crate::{
    chart::{Area, BLUE, GREEN, GREY, ORANGE, Result, VERMILION, legend, title, x_label, y_label},
    fleet::INSTANCES,
    report::CALM,
    story::{OUTAGE, Publication, Story},
};

const SIZE: (u32, u32) = (1000, 960);
const WITH: (&str, RGBColor) = ("with jitter", BLUE);
const WITHOUT: (&str, RGBColor) = ("without jitter", VERMILION);
const LIMIT: (&str, RGBColor) = ("5 times the mean of a steady day", GREEN);
/// So many seconds make one point: the busiest of them.
const BIN: usize = 10;
const MINUTES: usize = 60;
/// Stands for no request at all, on a logarithmic scale.
const NONE: f64 = 0.4;

/// Draws `examples/fleet/figure.svg`.
pub(crate) fn draw(story: &Story, in_step: &Story) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fleet/figure.svg");
    let image = SVGBackend::new(&path, SIZE).into_drawing_area();
    image.fill(&WHITE)?;
    let limit = CALM * story.steady.mean();
    let (deploy, rest) = image.split_vertically(330);
    let (outage, publication) = rest.split_vertically(330);
    load(
        &deploy,
        "Requests to the origin in the busiest of ten seconds, by minutes after a deploy",
        [story, in_step].map(|story| story.deploy.fetches.clone()),
        0.0..0.0,
        limit,
    )?;
    load(
        &outage,
        "The same, by minutes after an outage of ten minutes (grey) begins",
        [story, in_step].map(|story| [&*story.outage.fetches, &*story.healing.fetches].concat()),
        0.0..OUTAGE.as_secs_f64() / 60.0,
        limit,
    )?;
    spread(&publication, story)?;
    image.present()?;
    eprintln!("{}", path.display());
    Ok(())
}

/// Lines: requests per second by minutes.
fn load(
    area: &Area<'_>,
    name: &str,
    fetches: [Vec<u32>; 2],
    shaded: Range<f64>,
    limit: f64,
) -> Result<()> {
    const TOP: f64 = 1_500.0;
    title(area, name)?;
    legend(area, [WITH, WITHOUT, LIMIT])?;
    let mut chart = ChartBuilder::on(area)
        .margin_top(72)
        .margin_right(20)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..MINUTES as f64, (NONE..TOP).log_scale())?;
    chart
        .configure_mesh()
        .disable_mesh()
        .disable_axes()
        .draw()?;
    let plot = chart.plotting_area();
    let shade = [(shaded.start, NONE), (shaded.end, TOP)];
    plot.draw(&Rectangle::new(shade, GREY.mix(0.25).filled()))?;
    for tick in [1.0, 10.0, 100.0, 1_000.0] {
        let line = [(0.0, tick), (MINUTES as f64, tick)];
        plot.draw(&PathElement::new(line, BLACK.mix(0.15)))?;
        y_label(area, plot.map_coordinate(&(0.0, tick)), &tick.to_string())?;
    }
    y_label(area, plot.map_coordinate(&(0.0, NONE)), "0")?;
    let line = [(0.0, limit), (MINUTES as f64, limit)];
    plot.draw(&PathElement::new(line, LIMIT.1.stroke_width(1)))?;
    for minute in (0..=MINUTES).step_by(10) {
        let (x, y) = plot.map_coordinate(&(minute as f64, NONE));
        x_label(area, (x, y + 6), &format!("{minute} min"))?;
    }
    let [with, without] = fetches;
    for (fetches, (_, colour)) in [(without, WITHOUT), (with, WITH)] {
        let points = fetches.chunks(BIN).take(MINUTES * 60 / BIN).enumerate();
        let points = points.map(|(index, seconds)| {
            let busiest = seconds.iter().copied().max().unwrap_or(0);
            ((index * BIN) as f64 / 60.0, f64::from(busiest).max(NONE))
        });
        plot.draw(&PathElement::new(
            points.collect::<Vec<_>>(),
            colour.stroke_width(2),
        ))?;
    }
    Ok(())
}

/// Lines: the instances that have a new model by seconds after it is published.
fn spread(area: &Area<'_>, story: &Story) -> Result<()> {
    const SECONDS: Range<f64> = 0.1..300.0;
    title(
        area,
        "Instances that have a new model in their lists, by the time since it was published",
    )?;
    let ways: [(&str, RGBColor, &Publication); 3] = [
        ("asked for at once everywhere", BLUE, &story.asked_at_once),
        ("in a tenth of the requests", GREEN, &story.asked),
        ("not asked for", ORANGE, &story.unasked),
    ];
    legend(area, ways.map(|(name, colour, _)| (name, colour)))?;
    let mut chart = ChartBuilder::on(area)
        .margin_top(72)
        .margin_right(20)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(SECONDS.log_scale(), 0.0..INSTANCES as f64)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .disable_axes()
        .draw()?;
    let plot = chart.plotting_area();
    for tick in (0..=INSTANCES).step_by(250) {
        let line = [(SECONDS.start, tick as f64), (SECONDS.end, tick as f64)];
        plot.draw(&PathElement::new(line, BLACK.mix(0.15)))?;
        y_label(area, plot.map_coordinate(&line[0]), &tick.to_string())?;
    }
    for tick in [0.1, 1.0, 10.0, 100.0, 300.0] {
        let (x, y) = plot.map_coordinate(&(tick, 0.0));
        x_label(area, (x, y + 6), &format!("{tick} s"))?;
    }
    for (_, colour, publication) in ways {
        // A step up at each instance, and on to the right edge.
        let mut points = vec![(SECONDS.start, 0.0)];
        for (count, after) in publication.got_after.iter().enumerate() {
            let seconds = after.as_secs_f64().max(SECONDS.start);
            points.extend([(seconds, count as f64), (seconds, count as f64 + 1.0)]);
        }
        points.push((SECONDS.end, publication.got_after.len() as f64));
        plot.draw(&PathElement::new(points, colour.stroke_width(2)))?;
    }
    Ok(())
}
