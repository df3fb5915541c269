//! Parameters of neurons before training that are drawn from ranges.

use crate::backend::TrainingBackend;
use crate::config::{self, Config, Range, Scale, Setting, require};
use crate::error::{Result, fail};
use crate::models;
use polychron_core::neuron::ErasedNeuron;
use polychron_core::rng::Rng;

/// The generator's stream of parameters.
const STREAM: u64 = 0x6e65_7572_6f6e;

/// Draws the raw parameters `[P, width]` of the neurons of layer `l`; none if `own` has no ranges.
/// A draw depends on the seed, the layer, the parameter and the neuron only.
pub(crate) fn parameters<B: TrainingBackend>(
    config: &Config,
    own: &config::Neuron,
    [l, width]: [usize; 2],
    step_ms: f64,
    place: &dyn Fn(&str) -> String,
) -> Result<Vec<f32>> {
    let ranges: Vec<(&str, Range)> = own.ranges().collect();
    let raw = |shares: &[f64]| -> Result<Vec<f32>> {
        let mut neuron = own.clone();
        for ((name, range), &share) in ranges.iter().zip(shares) {
            neuron.parameters.insert((*name).into(), Setting::Number(range.at(share)));
        }
        let neuron = models::neuron::<B>(config.backend, &neuron, step_ms, place)?;
        let mut raw = vec![0.0; neuron.param_count()];
        neuron.write_params(&mut raw);
        Ok(raw)
    };
    let mut shares = vec![0.5; ranges.len()];
    let mut ends = Vec::new();
    for (r, (name, range)) in ranges.iter().enumerate() {
        check(range, &place(&format!("neuron.{name}")))?;
        let mut at = |share| {
            shares[r] = share;
            raw(&shares)
        };
        let [from, to]: [Vec<f32>; 2] = [at(0.0)?, at(1.0)?];
        shares[r] = 0.5;
        if from == to && range.from != range.to {
            let (field, kind) = (place(&format!("neuron.{name}")), &own.kind);
            fail!("{field} is a range, but {kind:?} does not learn it; give one number")
        }
        ends.push((from, to));
    }
    if let Some((name, _)) = ranges.first().filter(|_| !own.per_neuron) {
        let (field, table) = (place(&format!("neuron.{name}")), place("neuron"));
        fail!("{field} is a range, which needs {table}.per_neuron = true")
    }
    let rngs: Vec<_> = ranges.iter().map(|(name, _)| stream(config.seed, l, name)).collect();
    let mut each = Vec::new();
    for n in 0..if ranges.is_empty() { 0 } else { width as u64 } {
        let shares: Vec<_> = rngs.iter().map(|rng| rng.uniform_f64(n)).collect();
        let mut params = raw(&shares)?;
        for (((_, range), (from, to)), share) in ranges.iter().zip(&ends).zip(shares) {
            if range.uniform_in != Scale::Raw {
                continue;
            }
            for (param, (&from, &to)) in params.iter_mut().zip(from.iter().zip(to)) {
                if from != to {
                    let between = f64::from(from) + share * f64::from(to - from);
                    *param = (between as f32).clamp(from.min(to), from.max(to));
                }
            }
        }
        each.push(params);
    }
    let count = each.first().map_or(0, Vec::len);
    Ok((0..count).flat_map(|p| each.iter().map(move |raw| raw[p])).collect())
}

fn check(range: &Range, field: &str) -> Result<()> {
    let Range { from, to, uniform_in } = *range;
    for (end, value) in [("from", from), ("to", to)] {
        require(value.is_finite(), &format!("{field}.{end}"), value, "is not finite")?;
    }
    let problem = format!("is above {field}.to = {to:?}");
    require(from <= to, &format!("{field}.from"), from, &problem)?;
    let holds = from > 0.0 || uniform_in != Scale::Rate;
    let problem = "is not above 0, as uniform_in = \"rate\" needs";
    require(holds, &format!("{field}.from"), from, problem)
}

/// The draws of a parameter of a layer, whatever other parameters are drawn.
fn stream(seed: u64, layer: usize, name: &str) -> Rng {
    let rng = Rng::new(seed, STREAM).fork(layer as u64);
    name.bytes().fold(rng, |rng, byte| rng.fork(byte.into()))
}
