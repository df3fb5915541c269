//! The builder of a network.

use super::layer::{HiddenLayer, Inputs, Projection, Recurrence, sharing};
use super::{End, Fault, Net, Part};
use crate::gradients::check::Watched;
use crate::gradients::draw::Draw;
use polychron_core::connectivity::Connectivity;
use polychron_core::delay::{AnyKernel, Place, Rounding};
use polychron_core::neuron::{AnyNeuron, ErasedNeuron};
use polychron_core::norm::BatchNorm;
use polychron_core::shape::{Shape, Synapses};
use polychron_core::surrogate::{AnySurrogate, Scaled};
use std::ops::Range;
use std::rc::Rc;

pub(crate) struct Builder {
    parts: Vec<Part>,
    point: Vec<f64>,
    input: Shape,
    hidden: Vec<HiddenLayer>,
}

/// A connection without its parameters.
pub(crate) struct Link {
    /// 0 is the input of the network, `l + 1` is hidden layer l.
    pub(crate) from: usize,
    /// The padding is the least one: the connections of a layer end together.
    pub(crate) synapses: Synapses,
    pub(crate) kernel: AnyKernel,
    pub(crate) place: Place,
    pub(crate) connectivity: Option<Rc<Connectivity>>,
}

impl Builder {
    pub(crate) fn new(input: Shape) -> Self {
        Self { parts: Vec::new(), point: Vec::new(), input, hidden: Vec::new() }
    }

    /// The shape of the output of a source of a [`Link`], and its padding.
    pub(crate) fn source(&self, from: usize) -> (Shape, usize) {
        let Some(l) = from.checked_sub(1) else { return (self.input, 0) };
        (self.hidden[l].inputs.shape, self.hidden[l].inputs.padding)
    }

    fn push(&mut self, name: &'static str, block: Vec<f64>) -> Range<usize> {
        let range = self.point.len()..self.point.len() + block.len();
        self.point.extend(block);
        self.parts.push((name, range.clone()));
        range
    }

    pub(crate) fn inputs(&mut self, draw: &mut Draw, links: &[Link]) -> Inputs {
        let ends = links.iter().map(|link| self.source(link.from).1 + link.synapses.padding);
        let padding = ends.max().unwrap();
        let mut shape = self.input;
        let mut projections = Vec::new();
        for link in links {
            let &Link { from, synapses, .. } = link;
            let (source, before) = self.source(from);
            let synapses = Synapses { padding: padding - before, ..synapses };
            shape = synapses.output(source);
            let bound = 3.0 / ((synapses.inputs * links.len()) as f64).sqrt();
            projections.push(self.projection(draw, link, synapses, None, bound));
        }
        Inputs { projections, shape, padding }
    }

    /// A connection with random parameters, whose weights are at most `bound`.
    fn projection(
        &mut self,
        draw: &mut Draw,
        link: &Link,
        synapses: Synapses,
        rounding: Option<Rounding>,
        bound: f64,
    ) -> Projection {
        let &Link { from, kernel, place, ref connectivity, .. } = link;
        let [by_weights, by_delays] = sharing(connectivity.as_deref(), place);
        // Delays that synapses share have the sigma of all, so that all avoid the same kinks.
        let shared = draw.coin() || place != Place::Synaptic || connectivity.is_some();
        let (taps, delays) = (synapses.taps, by_delays.len(&synapses));
        let smooth = rounding.map_or(kernel, Rounding::kernel);
        let (delays, sigma) = draw.delays_and_sigma(smooth, taps, delays, shared);
        let weights = draw.block(by_weights.len(&synapses), -bound, bound);
        Projection {
            from,
            synapses,
            kernel,
            rounding,
            place,
            connectivity: connectivity.clone(),
            weights: self.push("weights", weights),
            delays: self.push("delays", delays),
            sigma: self.push("sigma", sigma),
        }
    }

    /// Connects the neurons of the last hidden layer with each other.
    pub(crate) fn recurrence(
        &mut self,
        draw: &mut Draw,
        (kernel, rounding): (AnyKernel, Option<Rounding>),
        place: Place,
    ) {
        let from = self.hidden.len();
        let (shape, _) = self.source(from);
        let synapses = Synapses { padding: 0, ..draw.synapses(shape.width, shape.width) };
        let bound = 1.5 / ((shape.width * synapses.kernel_count) as f64).sqrt();
        let link = Link { from, synapses, kernel, place, connectivity: None };
        let synapses = self.projection(draw, &link, synapses, rounding, bound);
        let mask = draw.mask(shape);
        if let Some(hidden) = self.hidden.last_mut() {
            hidden.recurrence = Some(Recurrence { synapses, mask });
        }
    }

    pub(crate) fn hidden(
        &mut self,
        draw: &mut Draw,
        links: &[Link],
        neuron: AnyNeuron<f64>,
        surrogate: Scaled<f64, AnySurrogate<f64>>,
        per_neuron: bool,
    ) {
        let inputs = self.inputs(draw, links);
        let width = inputs.shape.width;
        let norm = (draw.below(4) > 0).then(|| {
            let mut params = draw.block(width, 0.7, 1.3);
            params.extend(draw.block(width, -0.2, 1.0));
            (BatchNorm::default(), self.push("gamma, beta", params))
        });
        let mut params = vec![0.0; neuron.param_count()];
        neuron.write_params(&mut params);
        if per_neuron {
            let spread = draw.block(params.len() * width, -0.3, 0.3);
            let near = |(n, d)| params[n / width] + d;
            params = spread.into_iter().enumerate().map(near).collect();
        }
        let params = self.push("neuron", params);
        let watched = Rc::new(Watched::new(surrogate));
        let mask = draw.mask(inputs.shape);
        self.hidden.push(HiddenLayer::new(inputs, norm, (neuron, params), watched, mask));
    }

    pub(crate) fn finish(mut self, draw: &mut Draw, end: End) -> Net {
        let x = draw.block(self.input.len(), -1.0, 1.5);
        let input = self.push("input", x);
        Net {
            hidden: self.hidden,
            end,
            lengths: draw.lengths(self.input),
            shape: self.input,
            input,
            fault: Fault::None,
            parts: self.parts,
            point: self.point,
        }
    }
}
