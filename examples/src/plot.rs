//! Pictures of a run in SVG.

mod confusion;

pub use confusion::draw_confusion;

use crate::backend::Classifier;
use crate::error::{Error, Result};
use crate::files;
use crate::report::Epoch;
use crate::task::Task;
use SeriesLabelPosition::{LowerRight, UpperRight};
use plotters::coord::Shift;
use plotters::prelude::*;
use polychron_core::loss::softmax;
use polychron_core::train::{Delays, Spikes, Tensor};
use polychron_datasets::{Dataset, SpikeTrain};
use std::path::Path;

const BLUE: RGBColor = RGBColor(31, 119, 180);
const ORANGE: RGBColor = RGBColor(255, 127, 14);
const GREY: RGBColor = RGBColor(190, 190, 190);
const WIDTH: u32 = 800;
const PANEL: usize = 260;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Writes a picture of `panels` panels of this height, one below the other. `draw` draws a panel
/// and appends SVG elements that lie on top of it.
fn write_picture(
    path: &Path,
    [panels, height]: [usize; 2],
    draw: impl Fn(usize, &Area<'_>, &mut String) -> Result<()>,
) -> Result<()> {
    let (mut text, mut on_top) = (String::new(), String::new());
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, (height * panels) as u32))
            .into_drawing_area();
        root.fill(&WHITE)?;
        for (n, area) in root.split_evenly((panels, 1)).iter().enumerate() {
            draw(n, area, &mut on_top)?;
        }
        root.present()?;
    }
    text.insert_str(text.rfind("</svg>").unwrap_or(text.len()), &on_top);
    files::replace(path, text.as_bytes())
}

/// A line of a chart: name, colour, points.
type Line<'a> = (&'a str, RGBColor, Vec<(f64, f64)>);

fn draw_lines(
    area: &Area<'_>,
    title: &str,
    [x, y]: [&str; 2],
    top: f64,
    all: &[Line<'_>],
    legend: SeriesLabelPosition,
) -> Result<()> {
    let ends = all.iter().flat_map(|(_, _, points)| points.iter().map(|p| p.0));
    let (first, last) = ends.fold((f64::MAX, f64::MIN), |(a, b), x| (a.min(x), b.max(x)));
    let last = if last > first { last } else { first + 1.0 };
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .margin_right(24)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(first..last, 0.0..top.clamp(1e-9, 1e12))?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_label_formatter(&axis_label)
        .y_label_formatter(&axis_label)
        .x_desc(x)
        .y_desc(y)
        .draw()?;
    for (name, colour, points) in all.iter().filter(|(_, _, points)| !points.is_empty()) {
        let colour = *colour;
        let series = LineSeries::new(points.iter().copied(), colour.stroke_width(2));
        let drawn = chart.draw_series(series)?;
        if !name.is_empty() {
            let mark =
                move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2));
            drawn.label(*name).legend(mark);
        }
    }
    chart.configure_series_labels().position(legend).background_style(WHITE.mix(0.8)).draw()?;
    Ok(())
}

/// A number of an axis, rounded to two decimals.
fn axis_label(x: &f64) -> String {
    format!("{}", (100.0 * x).round() / 100.0)
}

/// Draws loss and accuracy over the epochs.
///
/// # Errors
/// If the file cannot be written.
pub fn draw_curves(path: &Path, curves: &[Epoch]) -> Result<()> {
    let line = |name, colour, value: &dyn Fn(&Epoch) -> Option<f64>| -> Line {
        let point = |e: &Epoch| value(e).map(|y| (e.epoch as f64, y));
        (name, colour, curves.iter().filter_map(point).collect())
    };
    let percent = |share: Option<f64>| share.map(|share| 100.0 * share);
    write_picture(path, [2, PANEL], |panel, area, _| {
        if panel == 0 {
            let losses = curves.iter().flat_map(|e| [Some(e.loss), e.valid_loss]).flatten();
            let top = losses.fold(0.0, f64::max);
            let loss = line("training", BLUE, &|e| Some(e.loss));
            let valid = line("validation", ORANGE, &|e| e.valid_loss);
            return draw_lines(
                area,
                "Loss",
                ["epoch", "cross entropy, nats"],
                1.05 * top,
                &[loss, valid],
                UpperRight,
            );
        }
        let all = [
            line("training, running", BLUE, &|e| percent(Some(e.train_accuracy))),
            line("validation, as trained", GREY, &|e| percent(e.valid_as_trained)),
            line("validation, delays rounded", ORANGE, &|e| percent(e.valid_accuracy)),
            line("test", BLACK, &|e| percent(e.test_accuracy)),
        ];
        draw_lines(area, "Accuracy", ["epoch", "accuracy, %"], 100.0, &all, UpperRight)
    })
}

/// Draws the validation accuracy of several runs over the epochs, or the training accuracy of runs
/// without validation items. A run is its name and its curves.
///
/// # Errors
/// If no run has a finished epoch or the file cannot be written.
pub fn draw_runs(path: &Path, runs: &[(String, &[Epoch])]) -> Result<()> {
    if runs.iter().all(|(_, curves)| curves.is_empty()) {
        return Err(Error::new("no run has a finished epoch to draw"));
    }
    let validates = |curves: &[Epoch]| curves.iter().any(|epoch| epoch.valid_accuracy.is_some());
    let name = |(name, curves): &(String, &[Epoch])| {
        if validates(curves) { name.clone() } else { format!("{name} (training)") }
    };
    let names: Vec<_> = runs.iter().map(name).collect();
    let line = |(n, (_, curves)): (usize, &(String, &[Epoch]))| -> Line<'_> {
        let training = !validates(curves);
        let value = |e: &Epoch| training.then_some(e.train_accuracy).or(e.valid_accuracy);
        let point = |e: &Epoch| value(e).map(|y| (e.epoch as f64, 100.0 * y));
        let (r, g, b) = Palette99::pick(n).to_backend_color().rgb;
        (&names[n], RGBColor(r, g, b), curves.iter().filter_map(point).collect())
    };
    let all: Vec<_> = runs.iter().enumerate().map(line).collect();
    let height = PANEL + 18 * runs.len();
    write_picture(path, [1, height], |_, area, _| {
        draw_lines(area, "Validation", ["epoch", "accuracy, %"], 100.0, &all, LowerRight)
    })
}

/// Draws histograms of the delays of every layer, before and after training.
///
/// # Errors
/// If `before` and `after` have different layers or the file cannot be written.
pub fn draw_delays(
    path: &Path,
    before: &[Tensor<f32>],
    after: &[Tensor<f32>],
    dt_ms: f64,
) -> Result<()> {
    let delays = |tensors: &[Tensor<f32>]| -> Vec<Tensor<f32>> {
        tensors.iter().filter(|t| t.name.ends_with(".delay")).cloned().collect()
    };
    let (before, after) = (delays(before), delays(after));
    if !before.iter().map(|t| &t.name).eq(after.iter().map(|t| &t.name)) {
        return Err(Error::new("the delays before and after training belong to different layers"));
    }
    let longest =
        before.iter().chain(&after).flat_map(|t| &t.values).fold(0.0f32, |a, &b| a.max(b));
    let bins = longest.round() as usize + 1;
    write_picture(path, [after.len(), PANEL], |n, area, _| {
        let shares = [&before[n], &after[n]].map(|tensor| {
            let mut shares = vec![0.0; bins];
            for d in &tensor.values {
                shares[(d.round().max(0.0) as usize).min(bins - 1)] +=
                    100.0 / tensor.values.len() as f64;
            }
            shares
        });
        let top = shares.iter().flatten().fold(0.0, |top: f64, &s| top.max(s));
        let stairs = |shares: &[f64]| -> Vec<(f64, f64)> {
            let stair = |(bin, &share): (usize, &f64)| {
                [((bin as f64 - 0.5) * dt_ms, share), ((bin as f64 + 0.5) * dt_ms, share)]
            };
            shares.iter().enumerate().flat_map(stair).collect()
        };
        let all = [("before", ORANGE, stairs(&shares[0])), ("after", BLUE, stairs(&shares[1]))];
        let title = format!("Delays of {}", after[n].name.trim_end_matches(".delay"));
        draw_lines(area, &title, ["delay, ms", "synapses, %"], 1.1 * top, &all, UpperRight)
    })
}

/// Draws the spikes of one item in the input and every hidden layer, and the softmax of the readout
/// over time, for at most 4096 steps.
///
/// # Errors
/// If the model does not fit the data or the file cannot be written.
pub fn draw_raster(path: &Path, task: &Task, model: &dyn Classifier) -> Result<()> {
    let split = &task.split;
    let Some(&item) = split.test.iter().chain(&split.valid).chain(&split.train).next() else {
        return Ok(());
    };
    let batch = task.excerpt(item, 4096)?;
    let view = batch.view();
    let mut layers = model.trace(&view, Delays::Rounded)?.layers;
    let real = task.data.samples[item].dense.is_some();
    let (input, values) = if real {
        ("Input above its mean", above_mean(&batch.batch.dense()))
    } else {
        ("Input", batch.batch.dense().into_owned())
    };
    layers.insert(0, Spikes { shape: view.shape, values });
    let Some(readout) = layers.pop() else { return Ok(()) };
    let steps = readout.shape.steps;
    let dt_ms = f64::from(task.data.dt_ms);
    let label = usize::from(task.data.samples[item].label);
    write_picture(path, [layers.len() + 1, PANEL], |n, area, on_top| {
        let Some(layer) = layers.get(n) else {
            return draw_softmax(area, task, model, &readout, label);
        };
        let word = &task.data.class_names[label];
        let (title, y) = match n {
            0 => (format!("{input}, item {item}: {word}"), "channel"),
            n => (format!("Hidden layer {n}"), "neuron"),
        };
        draw_spikes(
            area,
            &title,
            y,
            [steps, layer.shape.width],
            dt_ms,
            &dashes(places(layer)),
            on_top,
        )
    })
}

/// Draws the spikes of one sparse sample.
///
/// # Errors
/// If the file cannot be written.
pub fn draw_sample(path: &Path, data: &Dataset, title: &str, sample: &SpikeTrain) -> Result<()> {
    let mut places: Vec<_> =
        sample.entries.iter().map(|e| (usize::from(e.channel), e.step as usize)).collect();
    places.sort_unstable();
    let (size, dt_ms) = ([sample.steps, data.channels], f64::from(data.dt_ms));
    let dashes = dashes(places.into_iter());
    write_picture(path, [1, PANEL], |_, area, on_top| {
        draw_spikes(area, title, "channel", size, dt_ms, &dashes, on_top)
    })
}

/// 1 where a value is above the mean of all values, else 0.
fn above_mean(values: &[f32]) -> Vec<f32> {
    let mean = values.iter().sum::<f32>() / values.len() as f32;
    values.iter().map(|&value| if value > mean { 1.0 } else { 0.0 }).collect()
}

fn draw_spikes(
    area: &Area<'_>,
    title: &str,
    y: &str,
    [steps, width]: [usize; 2],
    dt_ms: f64,
    dashes: &str,
    on_top: &mut String,
) -> Result<()> {
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 16))
        .margin(10)
        .margin_right(24)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..steps as f64 * dt_ms, 0.0..width as f64)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_label_formatter(&axis_label)
        .y_label_formatter(&axis_label)
        .x_desc("time, ms")
        .y_desc(y)
        .draw()?;
    let (left, bottom) = chart.backend_coord(&(0.0, 0.0));
    let (right, top) = chart.backend_coord(&(steps as f64 * dt_ms, width as f64));
    let step = f64::from(right - left) / steps as f64;
    let row = f64::from(bottom - top) / width as f64;
    let (middle, RGBColor(r, g, b)) = (f64::from(bottom) - 0.5 * row, BLUE);
    let place = format!("{step:.4} 0 0 -{row:.4} {left} {middle:.4}");
    *on_top += &format!(
        "<path transform=\"matrix({place})\" stroke=\"rgb({r},{g},{b})\" d=\"{dashes}\"/>\n"
    );
    Ok(())
}

/// Neuron and step of every spike of a layer, sorted, for a batch of one sample.
fn places(layer: &Spikes<f32>) -> impl Iterator<Item = (usize, usize)> {
    let width = layer.shape.width;
    (0..width).flat_map(move |n| {
        let row = layer.values.iter().skip(n).step_by(width).enumerate();
        row.filter(|(_, spike)| **spike != 0.0).map(move |(t, _)| (n, t))
    })
}

/// SVG path data, in steps and neurons, with one dash per run of consecutive spikes. `places` holds
/// neuron and step of every spike, sorted.
fn dashes(places: impl Iterator<Item = (usize, usize)>) -> String {
    let mut path = String::new();
    let mut places = places.peekable();
    while let Some((n, first)) = places.next() {
        let mut end = first + 1;
        while places.next_if_eq(&(n, end)).is_some() {
            end += 1;
        }
        path += &format!("M{first} {n}h{}", end - first);
    }
    path
}

/// Draws the softmax of the readout's membrane, which the loss sums over time.
fn draw_softmax(
    area: &Area<'_>,
    task: &Task,
    model: &dyn Classifier,
    readout: &Spikes<f32>,
    label: usize,
) -> Result<()> {
    let classes = readout.shape.width;
    let dt_ms = f64::from(task.data.dt_ms);
    let rate = model.integrator().rate;
    let mut membrane = vec![0.0; classes];
    let mut points = vec![Vec::new(); classes];
    for (t, x) in readout.values.chunks_exact(classes).enumerate() {
        membrane.iter_mut().zip(x).for_each(|(v, &x)| *v += x - *v * rate);
        let mut shares = membrane.clone();
        softmax(&mut shares);
        for (points, &share) in points.iter_mut().zip(&shares) {
            points.push(((t as f64 + 0.5) * dt_ms, f64::from(share)));
        }
    }
    let own = points.swap_remove(label);
    let mut all: Vec<Line> = points.into_iter().map(|points| ("", GREY, points)).collect();
    all.push(("the item's class", BLUE, own));
    draw_lines(area, "Readout", ["time, ms", "share of the softmax"], 1.0, &all, UpperRight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use polychron_core::shape::Shape;

    #[test]
    fn a_loss_of_any_size_is_drawn() {
        let mut text = String::new();
        let root = SVGBackend::with_string(&mut text, (200, 200)).into_drawing_area();
        let loss: Line = ("training", BLUE, vec![(1.0, f64::MAX), (2.0, 1.0)]);
        draw_lines(&root, "Loss", ["epoch", "nats"], 1.05 * f64::MAX, &[loss], UpperRight).unwrap();
        drop(root);
        assert!(text.contains("polyline"));
    }

    #[test]
    fn every_spike_is_in_one_dash() {
        let values = [1.0, 0.0, 1.0, 0.0, 0.0, 2.0, 1.0, 0.0];
        let layer = Spikes { shape: Shape::new(4, 1, 2), values: values.to_vec() };
        assert_eq!(dashes(places(&layer)), "M0 0h2M3 0h1M2 1h1");
    }

    #[test]
    fn the_picture_in_readme_is_small() {
        assert!(include_bytes!("../pictures/raster.svg").len() < 100_000);
    }
}
