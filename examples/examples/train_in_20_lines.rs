//! Trains and tests a small network on the order task, in which classes differ only in the order of
//! eight spikes.
//!
//! `cargo run --release -p polychron --example train_in_20_lines`

use polychron::{Config, EpochEnd, Flow, Model, Part, Run, Task};

fn main() -> Result<(), polychron::Error> {
    let mut config = Config::preset("order")?;
    config.network.hidden = vec![64];
    config.train.epochs = 12;
    let task = Task::load(&config, None)?;
    let folder = std::env::temp_dir().join(format!("order-{}", std::process::id()));
    Run::create(&config, task, &folder)?.train(&mut |end: &EpochEnd<'_>| {
        let (epoch, loss) = (end.epoch.epoch, end.epoch.loss);
        println!("epoch {epoch}: loss {loss:.3}");
        Flow::Continue
    })?;
    let model = Model::load(&folder)?;
    let evaluation = model.evaluate(&model.task(None)?, Part::Test)?;
    let accuracy = 100.0 * evaluation.accuracy.unwrap_or(0.0);
    println!("{accuracy:.1} % of {} test items", evaluation.items);
    Ok(std::fs::remove_dir_all(folder)?)
}
