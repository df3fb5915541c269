use super::{BLUE, write_picture};
use crate::error::Result;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

/// Height of the picture.
const HEIGHT: usize = 760;
/// More classes than these have no numbers in their cells.
const NUMBERED: usize = 40;
/// Most characters of a class name.
const NAME: usize = 14;

/// Draws how often the items of each class (rows) are taken for each class (columns). A cell is the
/// darker, the larger its share of the row. `matrix` has a row and a column per name.
///
/// # Errors
/// If the file cannot be written.
pub fn draw_confusion(path: &Path, names: &[String], matrix: &[Vec<usize>]) -> Result<()> {
    let classes = names.len().max(1) as i32;
    write_picture(path, [1, HEIGHT], |_, area, _| {
        let size = (420 / classes.max(14)) as u32;
        let text = ("sans-serif", size.max(6)).into_font();
        let anchored = |h, v| text.clone().into_text_style(area).pos(Pos::new(h, v));
        let (left, top, width, height) = (150, 60, 620, 560);
        let x = |column: i32| left + width * column / classes;
        let y = |row: i32| top + height * row / classes;
        let short = |name: &String| name.chars().take(NAME).collect::<String>();
        area.draw(&Text::new("Class (row) and decision (column)", (300, 14), ("sans-serif", 16)))?;
        for (row, (name, counts)) in (0..).zip(names.iter().zip(matrix)) {
            let all = counts.iter().sum::<usize>().max(1) as f64;
            let middle = (y(row) + y(row + 1)) / 2;
            let style = anchored(HPos::Right, VPos::Center);
            area.draw(&Text::new(short(name), (left - 6, middle), style))?;
            for (column, &count) in (0..).zip(counts) {
                let share = count as f64 / all;
                let corners = [(x(column), y(row)), (x(column + 1), y(row + 1))];
                area.draw(&Rectangle::new(corners, BLUE.mix(share).filled()))?;
                if count > 0 && names.len() <= NUMBERED {
                    let colour = if share > 0.6 { WHITE } else { BLACK };
                    let style = anchored(HPos::Center, VPos::Center).color(&colour);
                    let centre = ((x(column) + x(column + 1)) / 2, middle);
                    area.draw(&Text::new(count.to_string(), centre, style))?;
                }
            }
            let turned = text.clone().transform(FontTransform::Rotate90);
            let style = turned.into_text_style(area).pos(Pos::new(HPos::Left, VPos::Center));
            let centre = ((x(row) + x(row + 1)) / 2, top + height + 6);
            area.draw(&Text::new(short(name), centre, style))?;
        }
        let frame = [(left, top), (left + width, top + height)];
        area.draw(&Rectangle::new(frame, BLACK.stroke_width(1)))?;
        Ok(())
    })
}
