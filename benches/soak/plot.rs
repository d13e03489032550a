//! The figure: what the proxy does and takes while its registry flaps.

use std::path::Path;

use plotters::prelude::*;

use crate::{
    chart::{Area, BLUE, GREEN, GREY, ORANGE, Result, VERMILION, legend, title, x_label, y_label},
    report::Report,
    watch::Sample,
};

const WIDTH: u32 = 1000;
const PANEL: u32 = 230;
/// So many seconds make one point: their mean.
const BIN: usize = 5;

/// A line of a panel. Each value is that of two samples that follow each other.
type Line = (&'static str, RGBColor, fn(&Sample, &Sample) -> f64);

struct Panel {
    title: &'static str,
    lines: &'static [Line],
    /// From the lowest to the highest, which is exceeded where a value is higher.
    ticks: &'static [f64],
    is_logarithmic: bool,
}

const PANELS: [Panel; 4] = [
    Panel {
        title: "Requests answered per second, while the registry fails now and then (grey)",
        lines: &[("all sorts", BLUE, |before, it| {
            (it.ended - before.ended) as f64 / (it.at - before.at).as_secs_f64()
        })],
        ticks: &[0.0, 100.0, 200.0, 300.0, 400.0],
        is_logarithmic: false,
    },
    Panel {
        title: "What plain requests took from end to end, in ms",
        lines: &[
            ("half of them", BLUE, |_, it| it.median * 1e3),
            ("99 %", ORANGE, |_, it| it.p99 * 1e3),
        ],
        ticks: &[0.1, 1.0, 10.0, 100.0, 1_000.0],
        is_logarithmic: true,
    },
    Panel {
        title: "Memory of the proxy, in MiB",
        lines: &[("resident", VERMILION, |_, it| {
            it.memory as f64 / 1024.0 / 1024.0
        })],
        ticks: &[0.0, 10.0, 20.0, 30.0, 40.0, 50.0],
        is_logarithmic: false,
    },
    Panel {
        title: "What the proxy has open, by minutes",
        lines: &[
            ("files", GREEN, |_, it| it.files as f64),
            ("tasks", BLUE, |_, it| it.tasks as f64),
        ],
        ticks: &[0.0, 50.0, 100.0, 150.0],
        is_logarithmic: false,
    },
];

/// Draws `benches/soak/figure.svg`.
pub(crate) fn draw(report: &Report) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/soak/figure.svg");
    let size = (WIDTH, PANEL * PANELS.len() as u32);
    let image = SVGBackend::new(&path, size).into_drawing_area();
    image.fill(&WHITE)?;
    for (area, panel) in image.split_evenly((PANELS.len(), 1)).iter().zip(&PANELS) {
        panel.draw(area, report)?;
    }
    image.present()?;
    eprintln!("{}", path.display());
    Ok(())
}

impl Panel {
    fn draw(&self, area: &Area<'_>, report: &Report) -> Result<()> {
        title(area, self.title)?;
        let legends = self.lines.iter().map(|(name, colour, _)| (*name, *colour));
        legend(area, legends)?;
        let minutes = |at: std::time::Instant| {
            let since = at.saturating_duration_since(report.started);
            since.as_secs_f64() / 60.0
        };
        let lines: Vec<Vec<_>> = self
            .lines
            .iter()
            .map(|(_, _, of)| {
                let pairs: Vec<_> = report.samples.windows(2).collect();
                let bins = pairs.chunks_exact(BIN);
                bins.map(|bin| {
                    let sum: f64 = bin.iter().map(|pair| of(&pair[0], &pair[1])).sum();
                    (minutes(bin[0][1].at), self.height(sum / bin.len() as f64))
                })
                .collect()
            })
            .collect();
        let heights = lines.iter().flatten().map(|(_, height)| *height);
        let heights = heights.chain(self.ticks.iter().map(|tick| self.height(*tick)));
        let (bottom, top) = heights.fold((f64::MAX, f64::MIN), |(bottom, top), height| {
            (bottom.min(height), top.max(height))
        });
        let end = minutes(report.ended);
        let mut chart = ChartBuilder::on(area)
            .margin_top(72)
            .margin_right(20)
            .x_label_area_size(30)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..end, bottom..top)?;
        chart
            .configure_mesh()
            .disable_mesh()
            .disable_axes()
            .draw()?;
        let plot = chart.plotting_area();
        let states = report.history.states();
        for (index, state) in states.iter().enumerate() {
            let until = states.get(index + 1).map_or(report.ended, |it| it.since);
            if state.list.is_none() && until > report.started {
                let shade = [
                    (minutes(state.since), bottom),
                    (minutes(until).min(end), top),
                ];
                plot.draw(&Rectangle::new(shade, GREY.mix(0.3).filled()))?;
            }
        }
        for tick in self.ticks {
            let height = self.height(*tick);
            let line = [(0.0, height), (end, height)];
            plot.draw(&PathElement::new(line, BLACK.mix(0.15)))?;
            let at = plot.map_coordinate(&(0.0, height));
            y_label(area, at, &tick.to_string())?;
        }
        for minute in 0..=end as u32 {
            let (x, y) = plot.map_coordinate(&(f64::from(minute), bottom));
            x_label(area, (x, y + 6), &minute.to_string())?;
        }
        for (points, (_, colour, _)) in lines.into_iter().zip(self.lines) {
            plot.draw(&PathElement::new(points, colour.stroke_width(2)))?;
        }
        Ok(())
    }

    /// Where a value is on the scale.
    fn height(&self, value: f64) -> f64 {
        match self.is_logarithmic {
            true => value.max(self.ticks[0]).log10(),
            false => value,
        }
    }
}
