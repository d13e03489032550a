//! Figures: lines and bars over linear and logarithmic axes.

use std::{error::Error, ops::Range, path::Path};

use plotters::{
    coord::{Shift, types::RangedCoordf64},
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

pub use plotters::style::{BLACK, RGBColor};

pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

// Okabe and Ito's colors, which people with color blindness can tell apart.
pub const BLUE: RGBColor = RGBColor(0, 114, 178);
pub const ORANGE: RGBColor = RGBColor(230, 159, 0);
pub const GREEN: RGBColor = RGBColor(0, 158, 115);
pub const VERMILION: RGBColor = RGBColor(213, 94, 0);
pub const PURPLE: RGBColor = RGBColor(204, 121, 167);
pub const SKY: RGBColor = RGBColor(86, 180, 233);
pub const YELLOW: RGBColor = RGBColor(240, 228, 66);
pub const GREY: RGBColor = RGBColor(170, 170, 170);

/// Draws `TOPIC/figure.svg`.
pub fn figure(
    topic: &str,
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<()>,
) -> Result<()> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(topic);
    let path = path.join("figure.svg");
    let image = SVGBackend::new(&path, size).into_drawing_area();
    image.fill(&WHITE)?;
    draw(&image)?;
    image.present()?;
    eprintln!("{}", path.display());
    Ok(())
}

/// An axis and its labels.
pub struct Axis {
    range: Range<f64>,
    is_logarithmic: bool,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    pub fn linear(range: Range<f64>) -> Self {
        Self {
            range,
            is_logarithmic: false,
            ticks: Vec::new(),
        }
    }

    pub fn logarithmic(range: Range<f64>) -> Self {
        Self {
            is_logarithmic: true,
            ..Self::linear(range)
        }
    }

    /// Labels these values with themselves.
    pub fn ticks(self, values: &[f64]) -> Self {
        self.labels(values.iter().map(|value| (*value, value.to_string())))
    }

    pub fn labels(mut self, labels: impl IntoIterator<Item = (f64, String)>) -> Self {
        self.ticks.extend(labels);
        self
    }

    fn position(&self, value: f64) -> f64 {
        let value = value.clamp(self.range.start, self.range.end);
        match self.is_logarithmic {
            true => value.log10(),
            false => value,
        }
    }

    fn positions(&self) -> Range<f64> {
        self.position(self.range.start)..self.position(self.range.end)
    }
}

/// A title, a legend and two axes, to draw on.
pub struct Plot<'a> {
    plot: DrawingArea<SVGBackend<'a>, Cartesian2d<RangedCoordf64, RangedCoordf64>>,
    x: Axis,
    y: Axis,
}

impl<'a> Plot<'a> {
    pub fn new<'n>(
        area: &Area<'a>,
        title: &str,
        legend: impl IntoIterator<Item = (&'n str, RGBColor)>,
        x: Axis,
        y: Axis,
    ) -> Result<Self> {
        area.draw(&Text::new(title, (20, 24), text(17, HPos::Left)))?;
        let mut left = 60;
        for (name, color) in legend {
            let square = [(left, 46), (left + 12, 58)];
            area.draw(&Rectangle::new(square, color.filled()))?;
            area.draw(&Text::new(name, (left + 17, 52), text(13, HPos::Left)))?;
            left += 17 + name.len() as i32 * 6 + 32;
        }
        let chart = ChartBuilder::on(area)
            .margin_top(72)
            .margin_right(20)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(x.positions(), y.positions())?;
        let plot = chart.plotting_area().clone();
        let (base_x, base_y) = area.get_base_pixel();
        let label = |at: (i32, i32), label: &str, anchor| {
            let at = (at.0 - base_x, at.1 - base_y);
            area.draw(&Text::new(label.to_owned(), at, text(13, anchor)))
        };
        let (
            Range {
                start: left,
                end: right,
            },
            bottom,
        ) = (x.positions(), y.positions().start);
        for (value, name) in &y.ticks {
            let line = [left, right].map(|x| (x, y.position(*value)));
            plot.draw(&PathElement::new(line, BLACK.mix(0.15)))?;
            let (x, y) = plot.map_coordinate(&line[0]);
            label((x - 8, y), name, HPos::Right)?;
        }
        for (value, name) in &x.ticks {
            let (x, y) = plot.map_coordinate(&(x.position(*value), bottom));
            for (index, line) in name.lines().enumerate() {
                label((x, y + 13 + 15 * index as i32), line, HPos::Center)?;
            }
        }
        Ok(Self { plot, x, y })
    }

    pub fn line(
        &self,
        points: impl IntoIterator<Item = (f64, f64)>,
        color: RGBColor,
    ) -> Result<()> {
        let points: Vec<_> = points.into_iter().map(|it| self.position(it)).collect();
        self.plot
            .draw(&PathElement::new(points, color.stroke_width(2)))?;
        Ok(())
    }

    pub fn points(
        &self,
        points: impl IntoIterator<Item = (f64, f64)>,
        color: RGBColor,
    ) -> Result<()> {
        for point in points {
            let circle = Circle::new(self.position(point), 5, color.filled());
            self.plot.draw(&circle)?;
        }
        Ok(())
    }

    /// Shades the whole height between two places of the horizontal axis.
    pub fn shade(&self, range: Range<f64>) -> Result<()> {
        let corners = [
            (range.start, self.y.range.start),
            (range.end, self.y.range.end),
        ];
        self.rectangle(corners, GREY.mix(0.3).filled())
    }

    fn rectangle(&self, corners: [(f64, f64); 2], style: ShapeStyle) -> Result<()> {
        let corners = corners.map(|corner| self.position(corner));
        self.plot.draw(&Rectangle::new(corners, style))?;
        Ok(())
    }

    fn position(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (self.x.position(x), self.y.position(y))
    }
}

/// A bar for each subject, up to the first value, and a line from there to the second.
pub struct Bars {
    pub label: String,
    pub values: Vec<Option<[f64; 2]>>,
}

/// Draws groups of bars.
pub fn draw_bars(
    area: &Area<'_>,
    title: &str,
    subjects: &[(&str, RGBColor)],
    y: Axis,
    groups: &[Bars],
) -> Result<()> {
    let labels = groups.iter().enumerate();
    let labels = labels.map(|(index, group)| (index as f64 + 0.5, group.label.clone()));
    let x = Axis::linear(0.0..groups.len() as f64).labels(labels);
    let bottom = y.range.start;
    let plot = Plot::new(area, title, subjects.iter().copied(), x, y)?;
    let width = 0.8 / subjects.len() as f64;
    for (index, group) in groups.iter().enumerate() {
        for (subject, (values, (_, color))) in group.values.iter().zip(subjects).enumerate() {
            let Some([bar, line]) = *values else { continue };
            let left = index as f64 + 0.1 + width * subject as f64;
            let corners = [(left, bottom), (left + width * 0.9, bar)];
            plot.rectangle(corners, color.filled())?;
            let middle = left + width * 0.45;
            plot.line([(middle, bar), (middle, line)], *color)?;
        }
    }
    Ok(())
}

fn text(size: i32, anchor: HPos) -> TextStyle<'static> {
    TextStyle::from(("sans-serif", size).into_font()).pos(Pos::new(anchor, VPos::Center))
}
