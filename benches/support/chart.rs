//! What the figures share: fonts, colours and labels.

use std::error::Error;

use plotters::{
    coord::Shift,
    prelude::*,
    style::text_anchor::{HPos, Pos, VPos},
};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
pub(crate) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

const FONT: &str = "sans-serif";

// Okabe and Ito's colours, which the colour-blind can tell apart.
pub(crate) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(crate) const ORANGE: RGBColor = RGBColor(230, 159, 0);
pub(crate) const GREEN: RGBColor = RGBColor(0, 158, 115);
pub(crate) const VERMILION: RGBColor = RGBColor(213, 94, 0);
pub(crate) const GREY: RGBColor = RGBColor(170, 170, 170);

pub(crate) fn title(area: &Area<'_>, title: &str) -> Result<()> {
    let style = text(17, HPos::Left, VPos::Center);
    area.draw(&Text::new(title, (20, 24), style))?;
    Ok(())
}

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

/// Coloured squares and what they stand for, in one row below the title.
pub(crate) fn legend<'a>(
    area: &Area<'_>,
    items: impl IntoIterator<Item = (&'a str, RGBColor)>,
) -> Result<()> {
    let mut x = 60;
    for (title, colour) in items {
        area.draw(&Rectangle::new([(x, 46), (x + 12, 58)], colour.filled()))?;
        let style = text(13, HPos::Left, VPos::Center);
        area.draw(&Text::new(title, (x + 17, 52), style))?;
        x += 17 + title.len() as i32 * 6 + 32;
    }
    Ok(())
}

pub(crate) fn y_label(area: &Area<'_>, at: (i32, i32), label: &str) -> Result<()> {
    let (x, y) = offset(area, at);
    let style = text(13, HPos::Right, VPos::Center);
    area.draw(&Text::new(label.to_owned(), (x - 8, y), style))?;
    Ok(())
}

pub(crate) fn x_label(area: &Area<'_>, at: (i32, i32), label: &str) -> Result<()> {
    let style = text(13, HPos::Center, VPos::Top);
    area.draw(&Text::new(label.to_owned(), offset(area, at), style))?;
    Ok(())
}

/// From the image's coordinates to the area's.
pub(crate) fn offset(area: &Area<'_>, (x, y): (i32, i32)) -> (i32, i32) {
    let (left, top) = area.get_base_pixel();
    (x - left, y - top)
}

pub(crate) fn text(size: i32, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    TextStyle::from((FONT, size).into_font()).pos(Pos::new(horizontal, vertical))
}
