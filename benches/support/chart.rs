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
