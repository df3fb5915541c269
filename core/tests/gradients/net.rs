//! A network whose loss is a function of one vector, through the reference backend.

mod build;
mod layer;

pub(crate) use build::{Builder, Link};

use super::check::{Part, Value, digest, dot};
use super::draw::Draw;
use super::stages::highest_steps;
use layer::{HiddenLayer, Inputs, REFERENCE, Tape, add, zeros};
use polychron_core::backend::Backend;
use polychron_core::loss::Loss;
use polychron_core::neuron::Li;
use polychron_core::norm::ValidSteps;
use polychron_core::reference::Block;
use polychron_core::shape::Shape;
use std::ops::Range;

/// The loss of the spikes of the last hidden layer.
pub(crate) enum End {
    /// A weighted sum.
    Sum(Vec<f64>),
    Readout {
        inputs: Inputs,
        li: Li<f64>,
        loss: Loss,
        targets: Vec<f64>,
    },
}

/// A fault of the backward pass.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fault {
    None,
    /// The gradient of a source is that of the last reader to arrive, not the sum over readers.
    ReadersNotSummed,
    /// Only the first connection of a layer passes its gradient on.
    FirstConnection,
    /// The further connections of a layer have no gradient by their parameters.
    FurtherParameters,
}

/// A network whose loss is a function of one vector: the parameters layer by layer, then the input.
pub(crate) struct Net {
    hidden: Vec<HiddenLayer>,
    end: End,
    lengths: Option<Vec<usize>>,
    shape: Shape,
    input: Range<usize>,
    pub(crate) fault: Fault,
    pub(crate) parts: Vec<Part>,
    pub(crate) point: Vec<f64>,
}

impl Net {
    fn lengths(&self) -> Option<&[usize]> {
        self.lengths.as_deref()
    }

    fn input(&self, at: &[f64]) -> Block<f64> {
        Block { shape: self.shape, values: at[self.input.clone()].to_vec() }
    }

    /// Records spikes layer by layer, each from the output of the held layers before it.
    pub(crate) fn record(&mut self) {
        let mut blocks = vec![self.input(&self.point)];
        for l in 0..self.hidden.len() {
            let (tape, _) = self.hidden[l].forward(&self.point, self.lengths(), &blocks);
            self.hidden[l].recorded = Some(self.hidden[l].record(&self.point, &tape));
            blocks.push(self.hidden[l].forward(&self.point, self.lengths(), &blocks).1);
        }
    }

    /// Freezes every spike, and draws the weights of the membranes in the loss, at valid steps.
    pub(crate) fn freeze(&mut self, draw: &mut Draw) {
        let lengths = self.lengths.as_deref();
        for hidden in &mut self.hidden {
            let Inputs { shape, padding, .. } = hidden.inputs;
            let valid = ValidSteps { lengths, padding };
            let mut d = draw.block(shape.len(), -1.0, 1.0);
            for (n, d) in d.iter_mut().enumerate() {
                let (t, b) = (n / shape.width / shape.batch, n / shape.width % shape.batch);
                *d *= f64::from(t < valid.steps(b, shape.steps));
            }
            hidden.d_membrane = Some(d);
        }
        self.record();
    }

    fn readout(&self, at: &Vec<f64>, blocks: &[Block<f64>], d_y: Option<&mut Block<f64>>) -> Value {
        let End::Readout { inputs, li, loss, targets } = &self.end else { unreachable!() };
        let y = inputs.forward(at, blocks);
        let valid = ValidSteps { lengths: self.lengths(), padding: inputs.padding };
        let scores = &mut vec![0.0; targets.len()];
        let value = REFERENCE.readout(li, *loss, valid, &y, Some(targets), scores, d_y).unwrap();
        let max = *loss == Loss::Max;
        Value { value, piece: if max { highest_steps(li, valid, &y.values, y.shape) } else { 0 } }
    }

    /// Whether the membranes stay small. A hard reset with large smooth spikes may diverge.
    pub(crate) fn is_bounded(&self) -> bool {
        let blocks = self.forward().0;
        blocks[1..].iter().all(|block| block.values.iter().all(|value| value.abs() < 1e6))
    }

    pub(crate) fn loss(&self, at: &[f64]) -> Value {
        let at = &at.to_vec();
        let (mut blocks, mut piece, mut membranes) = (vec![self.input(at)], 0, 0.0);
        for hidden in &self.hidden {
            hidden.watched.take_sides();
            let (tape, spikes) = hidden.forward(at, self.lengths(), &blocks);
            membranes += hidden.membranes(at, &tape, None);
            blocks.push(spikes);
            piece = digest(piece, hidden.watched.take_sides());
        }
        let end = match &self.end {
            End::Sum(upstream) => dot(upstream, &blocks[blocks.len() - 1].values).into(),
            End::Readout { .. } => self.readout(at, &blocks, None),
        };
        Value { value: membranes + end.value, piece: digest(piece, end.piece) }
    }

    /// The input and the spikes of every layer at the point, with what the backward pass needs.
    fn forward(&self) -> (Vec<Block<f64>>, Vec<Tape>) {
        let (mut blocks, mut tapes) = (vec![self.input(&self.point)], Vec::new());
        for hidden in &self.hidden {
            let (tape, spikes) = hidden.forward(&self.point, self.lengths(), &blocks);
            tapes.push(tape);
            blocks.push(spikes);
        }
        (blocks, tapes)
    }

    pub(crate) fn gradient(&self) -> Vec<f64> {
        let at = &self.point;
        let mut gradient = vec![0.0; at.len()];
        let (blocks, tapes) = self.forward();
        let mut d: Vec<_> = blocks.iter().map(|block| zeros(block.shape)).collect();
        match &self.end {
            End::Sum(upstream) => add(&mut d[self.hidden.len()].values, upstream),
            End::Readout { inputs, .. } => {
                let mut d_y = zeros(inputs.shape);
                self.readout(at, &blocks, Some(&mut d_y));
                self.inputs_backward(inputs, &blocks, &d_y, &mut d, &mut gradient);
            }
        }
        for (l, (hidden, tape)) in self.hidden.iter().zip(&tapes).enumerate().rev() {
            let d_spikes = d.remove(l + 1);
            let d_y = hidden.backward(at, self.lengths(), tape, d_spikes, &mut gradient);
            self.inputs_backward(&hidden.inputs, &blocks, &d_y, &mut d, &mut gradient);
        }
        gradient[self.input.clone()].copy_from_slice(&d[0].values);
        gradient
    }

    /// Adds the gradients of connections to those of their sources, `d`, and of their parameters.
    fn inputs_backward(
        &self,
        inputs: &Inputs,
        blocks: &[Block<f64>],
        d_y: &Block<f64>,
        d: &mut [Block<f64>],
        gradient: &mut [f64],
    ) {
        for (c, p) in inputs.projections.iter().enumerate() {
            let (d_x, parameters) = p.backward(&self.point, &blocks[p.from], d_y);
            match self.fault {
                Fault::ReadersNotSummed => d[p.from] = d_x,
                Fault::FirstConnection if c > 0 => {}
                _ => add(&mut d[p.from].values, &d_x.values),
            }
            if self.fault == Fault::FurtherParameters && c > 0 {
                continue;
            }
            p.write(parameters, gradient);
        }
    }
}
