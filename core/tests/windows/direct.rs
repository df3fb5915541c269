//! Truncated backpropagation through time, one window after the other over whole sequences.

use super::{Net, REFERENCE, TARGETS};
use polychron_core::backend::{
    Backend, Firing, NeuronStage, RecurrentGradients, RecurrentStage, SynapseGradients,
    SynapseParams, View, ViewMut,
};
use polychron_core::loss::cross_entropy;
use polychron_core::neuron::Neuron;
use polychron_core::norm::ValidSteps;
use polychron_core::reference::{Block, Reference};
use polychron_core::shape::Shape;
use polychron_core::train::{Connection, Recurrence, Tensor};
use std::ops::Range;

/// The gradients of a network without norms whose layers have no learned neuron parameters, window
/// by window over whole sequences: in each window, gradients before its first step are dropped.
pub(super) struct Direct {
    pub(super) net: Net,
    pub(super) tensors: Vec<Tensor<f64>>,
    pub(super) x: Block<f64>,
    pub(super) lengths: [usize; 3],
}

impl Direct {
    fn values(&self, name: &str) -> &Vec<f64> {
        &self.tensors.iter().find(|t| t.name == name).unwrap().values
    }

    fn names(&self, l: usize, c: usize) -> [String; 3] {
        let layer = if l == 2 { "output".into() } else { format!("hidden.{l}") };
        let name = if c == 0 { layer } else { format!("{layer}.inputs.{c}") };
        TENSORS.map(|tensor| format!("{name}.{tensor}"))
    }

    fn stage<'a>(&'a self, l: usize, none: &'a Vec<f64>) -> NeuronStage<'a, Reference<f64>> {
        let padding = self.net.graph().unwrap().nodes[l].padding;
        NeuronStage {
            neuron: &self.net.hidden[l].neuron,
            params: View::new(none, 0..0),
            surrogate: &self.net.hidden[l].surrogate,
            firing: Firing::Step,
            mask: None,
            valid: ValidSteps { lengths: Some(&self.lengths), padding },
            start: None,
        }
    }

    /// The synapses among the neurons of a layer.
    fn recurrence<'a>(
        &'a self,
        l: usize,
        before: Option<&'a Block<f64>>,
    ) -> Option<RecurrentStage<'a, Reference<f64>>> {
        let Recurrence { connection, .. } = self.net.hidden[l].recurrence.as_ref()?;
        let Connection { synapses, place, kernel, .. } = connection;
        let [w, d, s] = TENSORS.map(|name| self.values(&format!("hidden.{l}.recurrent.{name}")));
        let (place, params, spread, mask) = (*place, parameters(w, d, s), None, None);
        Some(RecurrentStage { synapses, place, kernel, params, spread, mask, before })
    }

    /// The gradients by the recurrent synapses of a layer in a window, which starts with the spikes
    /// and the states of the whole sequence. The gradient `d` by the spikes becomes that by the
    /// input.
    fn recurrent_backward(
        &self,
        l: usize,
        (y, [input, fired]): (&Block<f64>, &[Block<f64>; 2]),
        inside: &Range<usize>,
        d: &mut Block<f64>,
    ) -> [Vec<f64>; 3] {
        let (none, whole, row) = (Vec::new(), y.shape, y.shape.batch * y.shape.width);
        let [start, end] = [inside.start, inside.end].map(|t| t.min(whole.steps));
        let part = |block: &Block<f64>, from: usize, to: usize| Block {
            shape: Shape { steps: to - from, ..whole },
            values: block.values[from * row..to * row].to_vec(),
        };
        let mut states = vec![0.0; row];
        let nothing = &mut Vec::new();
        let ignored = &mut [(); 3].map(|()| part(y, 0, start));
        let Some(recurrent) = self.recurrence(l, None) else { unreachable!() };
        let stage = self.stage(l, &none);
        let first = (part(y, 0, start), ignored.each_mut(), Some(&mut states));
        REFERENCE.recurrent_forward(&recurrent, &stage, &first.0, first.1, first.2).unwrap();
        let taps = recurrent.synapses.taps;
        let mut before = vec![0.0; taps * row];
        before.extend(&fired.values[..start * row]);
        let before = before.split_off(start * row);
        let before = Block { shape: Shape { steps: taps, ..whole }, values: before };
        let Some(recurrent) = self.recurrence(l, Some(&before)) else { unreachable!() };
        let steps = |length: &usize| (length + stage.valid.padding).saturating_sub(start);
        let lengths: Vec<_> = self.lengths.iter().map(steps).collect();
        let valid = ValidSteps { lengths: Some(&lengths), padding: 0 };
        let stage = NeuronStage { valid, start: Some(&states), ..stage };
        let params = &recurrent.params;
        let [mut w, mut dl, mut s] =
            [&params.weights, &params.delays, &params.sigma].map(|v| vec![0.0; v.range.len()]);
        let synapses =
            SynapseGradients { weights: all(&mut w), delays: all(&mut dl), sigma: all(&mut s) };
        let into = RecurrentGradients { synapses, neuron: ViewMut::new(nothing, 0..0) };
        let mut here = part(d, start, end);
        let saved = [&part(input, start, end), &part(fired, start, end)];
        REFERENCE.recurrent_backward(&recurrent, &stage, saved, &mut here, into).unwrap();
        d.values.fill(0.0);
        d.values[start * row..end * row].copy_from_slice(&here.values);
        [w, dl, s]
    }

    /// Gradients by name, for windows of `window` steps.
    pub(super) fn gradients(&self, window: usize) -> Vec<(String, Vec<f64>)> {
        let (graph, none) = (self.net.graph().unwrap(), Vec::new());
        let inputs: Vec<_> = self.net.inputs().collect();
        let mut outputs = vec![self.x.clone()];
        let (mut sums, mut saved) = (Vec::new(), Vec::new());
        for (l, node) in graph.nodes.iter().enumerate() {
            let mut y = REFERENCE.sequence(graph.output(l, self.x.shape)).unwrap();
            for (c, edge) in node.edges.iter().enumerate() {
                let mut part = REFERENCE.sequence(y.shape).unwrap();
                let names = self.names(l, c);
                let [w, d, s] = [0, 1, 2].map(|n| self.values(&names[n]));
                let params = parameters(w, d, s);
                let x = &outputs[edge.from.map_or(0, |from| from + 1)];
                let kernel = &inputs[l][c].kernel;
                REFERENCE.project(&edge.synapses, kernel, params, x, &mut part).unwrap();
                REFERENCE.add(&part, &mut y).unwrap();
            }
            if l < 2 {
                let [mut input, mut fired, mut spikes] =
                    [(); 3].map(|()| REFERENCE.sequence(y.shape).unwrap());
                let stage = self.stage(l, &none);
                if let Some(recurrent) = self.recurrence(l, None) {
                    let to = [&mut input, &mut fired, &mut spikes];
                    REFERENCE.recurrent_forward(&recurrent, &stage, &y, to, None).unwrap();
                } else {
                    REFERENCE.neuron_forward(&stage, &y, &mut spikes, None).unwrap();
                }
                outputs.push(spikes);
                saved.push([input, fired]);
            }
            sums.push(y);
        }
        let padding = graph.nodes[2].padding;
        let steps = self.lengths.iter().max().unwrap() + padding;
        let count = steps.div_ceil(window);
        let window = steps.div_ceil(count);
        let mut total: Vec<(String, Vec<f64>)> = Vec::new();
        for start in (0..count).map(|k| k * window) {
            let inside = start..start + window;
            let mut d = vec![self.readout_gradient(&sums[2], &inside)];
            for l in [1, 0] {
                d.insert(0, REFERENCE.sequence(sums[l].shape).unwrap());
            }
            for l in [2, 1, 0] {
                let mut d_y = d[l].clone();
                if l < 2 && self.net.hidden[l].recurrence.is_some() {
                    let values =
                        self.recurrent_backward(l, (&sums[l], &saved[l]), &inside, &mut d_y);
                    let names = TENSORS.map(|name| format!("hidden.{l}.recurrent.{name}"));
                    add_named(&mut total, names, values);
                } else if l < 2 {
                    let into = &mut Vec::new();
                    let (stage, into) = (self.stage(l, &none), ViewMut::new(into, 0..0));
                    REFERENCE.neuron_backward(&stage, &sums[l], &d[l], &mut d_y, into).unwrap();
                    keep(&mut d_y, &inside);
                }
                for (c, edge) in graph.nodes[l].edges.iter().enumerate() {
                    let names = self.names(l, c);
                    let [w, dl, s] = [0, 1, 2].map(|n| self.values(&names[n]));
                    let mut into = [w.clone(), dl.clone(), s.clone()];
                    let [d_w, d_d, d_s] = into.each_mut();
                    let gradients =
                        SynapseGradients { weights: all(d_w), delays: all(d_d), sigma: all(d_s) };
                    let x = &outputs[edge.from.map_or(0, |from| from + 1)];
                    let mut d_x = REFERENCE.sequence(x.shape).unwrap();
                    let (kernel, params) = (&inputs[l][c].kernel, parameters(w, dl, s));
                    let to = Some(&mut d_x);
                    let synapses = &edge.synapses;
                    REFERENCE
                        .project_backward(synapses, kernel, params, x, &d_y, gradients, to)
                        .unwrap();
                    keep(&mut d_x, &inside);
                    if let Some(from) = edge.from {
                        REFERENCE.add(&d_x, &mut d[from]).unwrap();
                    }
                    add_named(&mut total, names, into);
                }
            }
        }
        total
    }

    /// The gradient by the input of the readout within a window, for the loss of the mean membrane.
    fn readout_gradient(&self, y: &Block<f64>, inside: &Range<usize>) -> Block<f64> {
        let li = &self.net.output.integrator;
        let padding = self.net.graph().unwrap().nodes[2].padding;
        let mut d_y = REFERENCE.sequence(y.shape).unwrap();
        for b in 0..y.shape.batch {
            let steps = self.lengths[b] + padding;
            let mut score = [0.0; 2];
            for (c, score) in score.iter_mut().enumerate() {
                let mut v = li.rest();
                for t in 0..steps {
                    v = li.charge(v, y.values[y.shape.at(t, b, c)]);
                    *score += v[0] / steps as f64;
                }
            }
            let mut d_score = [0.0; 2];
            cross_entropy(&score, &TARGETS[2 * b..2 * b + 2], &mut d_score);
            for (c, d_score) in d_score.into_iter().enumerate() {
                let mut d_v = 0.0;
                for t in (inside.start..inside.end.min(steps)).rev() {
                    d_v += d_score / (3 * steps) as f64;
                    let charge = li.charge_adjoint(li.rest(), 0.0, [d_v]);
                    d_y.values[y.shape.at(t, b, c)] = charge.input;
                    d_v = charge.state[0];
                }
            }
        }
        d_y
    }
}

const TENSORS: [&str; 3] = ["weight", "delay", "sigma"];

/// Adds values to those of the same name.
fn add_named(total: &mut Vec<(String, Vec<f64>)>, names: [String; 3], values: [Vec<f64>; 3]) {
    for (name, values) in names.into_iter().zip(values) {
        match total.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sum)) => sum.iter_mut().zip(values).for_each(|(s, v)| *s += v),
            None => total.push((name, values)),
        }
    }
}

fn all(values: &mut Vec<f64>) -> ViewMut<'_, Vec<f64>> {
    let len = values.len();
    ViewMut::new(values, 0..len)
}

pub(super) fn parameters<'a>(
    weights: &'a Vec<f64>,
    delays: &'a Vec<f64>,
    sigma: &'a Vec<f64>,
) -> SynapseParams<'a, Vec<f64>> {
    let [weights, delays, sigma] = [weights, delays, sigma].map(|v| View::new(v, 0..v.len()));
    SynapseParams { weights, delays, sigma, rounding: None }
}

/// Sets the values outside a window to 0.
fn keep(block: &mut Block<f64>, inside: &Range<usize>) {
    let row = block.shape.batch * block.shape.width;
    for (t, row) in block.values.chunks_exact_mut(row).enumerate() {
        if !inside.contains(&t) {
            row.fill(0.0);
        }
    }
}
