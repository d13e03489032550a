//! The figure: load, latency and resources of the proxy while its registry fails now and then.

use benches::chart::{Area, Axis, BLUE, GREEN, ORANGE, Plot, RGBColor, Result, VERMILION, figure};

use crate::{report::Report, watch::Sample};

/// The seconds of one point, which shows their mean.
const BIN: usize = 5;

/// A line of a panel. Each value is that of two consecutive samples.
type Line = (&'static str, RGBColor, fn(&Sample, &Sample) -> f64);

struct Panel {
    title: &'static str,
    lines: &'static [Line],
    /// From the lowest to the highest, beyond which the axis extends where a value is higher.
    ticks: &'static [f64],
    is_logarithmic: bool,
}

const PANELS: [Panel; 4] = [
    Panel {
        title: "Responses per second, while the registry fails now and then (grey)",
        lines: &[("all categories", BLUE, |before, it| {
            (it.ended - before.ended) as f64 / (it.at - before.at).as_secs_f64()
        })],
        ticks: &[0.0, 100.0, 200.0, 300.0, 400.0],
        is_logarithmic: false,
    },
    Panel {
        title: "Latency of plain requests, ms",
        lines: &[
            ("median", BLUE, |_, it| it.median * 1e3),
            ("99th percentile", ORANGE, |_, it| it.p99 * 1e3),
        ],
        ticks: &[0.1, 1.0, 10.0, 100.0, 1_000.0],
        is_logarithmic: true,
    },
    Panel {
        title: "Memory of the proxy, MiB",
        lines: &[("resident", VERMILION, |_, it| {
            it.memory as f64 / 1024.0 / 1024.0
        })],
        ticks: &[0.0, 10.0, 20.0, 30.0, 40.0, 50.0],
        is_logarithmic: false,
    },
    Panel {
        title: "Open files and tasks of the proxy, by minutes",
        lines: &[
            ("files", GREEN, |_, it| it.files as f64),
            ("tasks", BLUE, |_, it| it.tasks as f64),
        ],
        ticks: &[0.0, 50.0, 100.0, 150.0],
        is_logarithmic: false,
    },
];

pub(crate) fn draw(report: &Report) -> Result<()> {
    figure("soak", (1000, 230 * PANELS.len() as u32), |image| {
        for (area, panel) in image.split_evenly((PANELS.len(), 1)).iter().zip(&PANELS) {
            panel.draw(area, report)?;
        }
        Ok(())
    })
}

impl Panel {
    fn draw(&self, area: &Area<'_>, report: &Report) -> Result<()> {
        let minutes = |at: std::time::Instant| {
            at.saturating_duration_since(report.started).as_secs_f64() / 60.0
        };
        let end = minutes(report.ended);
        let pairs: Vec<_> = report.samples.windows(2).collect();
        let lines = self.lines.iter().map(|(_, color, of)| {
            let point = |bin: &[&[Sample]]| {
                let sum: f64 = bin.iter().map(|pair| of(&pair[0], &pair[1])).sum();
                (minutes(bin[0][1].at), sum / bin.len() as f64)
            };
            (
                pairs.chunks_exact(BIN).map(point).collect::<Vec<_>>(),
                *color,
            )
        });
        let lines: Vec<_> = lines.collect();
        let values = lines
            .iter()
            .flat_map(|(points, _)| points)
            .map(|point| point.1);
        let highest = values.chain(self.ticks.iter().copied()).fold(0.0, f64::max);
        let range = self.ticks[0]..highest;
        let vertical = match self.is_logarithmic {
            true => Axis::logarithmic(range),
            false => Axis::linear(range),
        };
        let plot = Plot::new(
            area,
            self.title,
            self.lines.iter().map(|(name, color, _)| (*name, *color)),
            Axis::linear(0.0..end)
                .labels((0..=end as u32).map(|minute| (minute.into(), minute.to_string()))),
            vertical.ticks(self.ticks),
        )?;
        let states = report.history.states();
        for (index, state) in states.iter().enumerate() {
            let until = states.get(index + 1).map_or(report.ended, |it| it.since);
            if state.catalog.is_none() && until > report.started {
                plot.shade(minutes(state.since)..minutes(until))?;
            }
        }
        for (points, color) in lines {
            plot.line(points, color)?;
        }
        Ok(())
    }
}
