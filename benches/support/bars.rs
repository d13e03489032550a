//! Bars in groups, for the figures that have some.

use plotters::prelude::*;

use super::chart::{Area, Result, legend, title, x_label, y_label};

/// Groups of bars on a logarithmic scale.
pub(crate) struct Bars<'a> {
    pub(crate) title: &'a str,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    pub(crate) ticks: &'a [f64],
    pub(crate) contestants: &'a [(&'a str, RGBColor)],
}

/// A group's label, line by line, and for each contestant how high its bar is,
/// and the line above it; the same if there is none.
pub(crate) struct Group {
    pub(crate) label: Vec<String>,
    pub(crate) heights: Vec<Option<[f64; 2]>>,
}

impl Bars<'_> {
    pub(crate) fn draw(&self, area: &Area<'_>, groups: &[Group]) -> Result<()> {
        title(area, self.title)?;
        let right = groups.len() as f64;
        let mut chart = ChartBuilder::on(area)
            .margin_top(72)
            .margin_right(20)
            .x_label_area_size(40)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..right, (self.lowest..self.highest).log_scale())?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .disable_y_mesh()
            .disable_axes()
            .draw()?;
        let plot = chart.plotting_area();
        for &tick in self.ticks {
            plot.draw(&PathElement::new(
                [(0.0, tick), (right, tick)],
                BLACK.mix(0.15),
            ))?;
            y_label(area, plot.map_coordinate(&(0.0, tick)), &tick.to_string())?;
        }
        let width = 0.8 / self.contestants.len() as f64;
        for (index, group) in groups.iter().enumerate() {
            let left = index as f64 + 0.1;
            for (place, height) in group.heights.iter().enumerate() {
                let Some([bar, line]) = *height else { continue };
                let (_, colour) = self.contestants[place];
                let from = left + width * place as f64;
                let corners = [(from, self.lowest), (from + width * 0.9, bar)];
                plot.draw(&Rectangle::new(corners, colour.filled()))?;
                let middle = from + width * 0.45;
                let ends = [(middle, bar), (middle, line)];
                plot.draw(&PathElement::new(ends, colour.stroke_width(2)))?;
            }
            // Below each other, so that neighbours don't overlap.
            let (x, y) = plot.map_coordinate(&(left + 0.4, self.lowest));
            for (line, label) in group.label.iter().enumerate() {
                x_label(area, (x, y + 6 + 15 * line as i32), label)?;
            }
        }
        legend(area, self.contestants.iter().copied())
    }
}
