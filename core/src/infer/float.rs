use super::history::TickRecord;
use super::{Arithmetic, Due, StateBuffers, part};
use crate::format::{Decision, GROUP, Layer, WORD, Weight};
use crate::num::Real;

impl Arithmetic for f32 {
    type Number = f32;
    type Cell = i32;
    const LOWEST: i32 = f32::NEG_INFINITY.to_bits().cast_signed();

    fn number(word: i32) -> f32 {
        f32::from_bits(word.cast_unsigned())
    }

    fn cells<'a>(
        memory: &'a mut StateBuffers<'_>,
        layer: &Layer<'_>,
    ) -> (&'a mut [i32], &'a mut [i32]) {
        let len = layer.outputs.wrapping_mul(layer.taps);
        let Some((before, after)) = memory.words.split_at_mut_checked(layer.cells) else {
            return Default::default();
        };
        (
            part(before, layer.membranes, layer.outputs).unwrap_or(&mut []),
            after.get_mut(..len).unwrap_or(&mut []),
        )
    }

    fn deliver_spikes(v: &mut [i32; GROUP], pre: &[u8], due: &Due<'_>) {
        for &i in pre {
            for &[target, a, b, c, d] in group(i, due) {
                add(v.get_mut(usize::from(target)), f32::from_le_bytes([a, b, c, d]));
            }
        }
    }

    fn deliver_values(v: &mut [i32; GROUP], pre: &[u8], values: &[u8], due: &Due<'_>) {
        for &i in pre {
            let value = values.get(usize::from(i)).map_or(0, |x| x.cast_signed());
            for &[target, a, b, c, d] in group(i, due) {
                let weight = f32::from_le_bytes([a, b, c, d]);
                add(v.get_mut(usize::from(target)), weight * f32::from(value));
            }
        }
    }

    fn deliver_ahead(cells: &mut [i32], taps: usize, now: usize, row: &[u8], value: i8) {
        let synapses = row.as_chunks::<{ f32::SYNAPSE }>().0;
        let columns = cells.chunks_exact_mut(taps.max(1));
        for (&[delay, a, b, c, d], cells) in synapses.iter().zip(columns) {
            let at = now.wrapping_add(delay.into());
            let at = if at >= taps { at.wrapping_sub(taps) } else { at };
            let weight = f32::from_le_bytes([a, b, c, d]);
            add(cells.get_mut(at), weight * f32::from(value));
        }
    }

    fn arrive(v: &mut [i32], cells: &mut [i32], taps: usize, now: usize) {
        for (v, cells) in v.iter_mut().zip(cells.chunks_exact_mut(taps.max(1))) {
            if let Some(cell) = cells.get_mut(now) {
                add(Some(v), f32::number(*cell));
                *cell = 0;
            }
        }
    }

    fn advance(layer: &Layer<'_>, v: &mut [i32], mut record: Option<&mut TickRecord<'_>>) {
        let neurons = layer.neurons.as_chunks::<{ f32::NEURON }>().0;
        for (n, (v, neurons)) in v.chunks_mut(WORD).zip(neurons.chunks(WORD)).enumerate() {
            let (mut word, mut unused) = (0u32, 32u32);
            for (v, &[a, b, c, d, e, f, g, h]) in v.iter_mut().zip(neurons) {
                let threshold = f32::from_le_bytes([a, b, c, d]);
                let bias = f32::from_le_bytes([e, f, g, h]);
                let charged = Self::number(*v);
                let fires = charged >= threshold;
                word = (word >> 1) | u32::from(fires).wrapping_shl(31);
                unused = unused.wrapping_sub(1);
                let left = match (fires, layer.soft) {
                    (false, _) => charged,
                    (true, true) => charged - threshold,
                    (true, false) => 0.0,
                };
                *v = word_of(left * layer.decay_f32 + bias);
            }
            if let Some(record) = &mut record {
                record.set_word(n, word.wrapping_shr(unused));
            }
        }
    }

    fn read_out(layer: &Layer<'_>, decision: Decision, v: &mut [i32], scores: &mut [i32]) {
        let membranes = || v.iter().map(|&v| Self::number(v));
        let softmax = decision == Decision::SoftmaxSum;
        let top = membranes().fold(f32::NEG_INFINITY, f32::max);
        let power = |v: f32| if softmax { Real::exp(v - top) } else { 0.0 };
        let sum = membranes().fold(0.0, |sum, v| sum + power(v));
        for (word, v) in scores.iter_mut().zip(membranes()) {
            let score = Self::number(*word);
            *word = word_of(match decision {
                Decision::SoftmaxSum => score + power(v) / sum,
                Decision::MembraneSum => score + v,
                Decision::Max => f32::max(score, v),
            });
        }
        for v in v {
            *v = word_of(Self::number(*v) * layer.decay_f32);
        }
    }
}

/// The group of a source that is due.
fn group<'a>(i: u8, due: &Due<'a>) -> &'a [[u8; f32::SYNAPSE]] {
    let i = usize::from(i);
    let end = due.table.get(i.wrapping_add(due.last_source.into()).wrapping_add(1));
    let (Some(&start), Some(end)) = (due.table.get(i), end) else { return &[] };
    let (len, start) = (usize::from(end.wrapping_sub(start)), usize::from(start));
    let row = due.rows.get(i.wrapping_mul(due.row)..).unwrap_or(&[]);
    row.as_chunks().0.get(start..).and_then(|row| row.get(..len)).unwrap_or(&[])
}

fn add(to: Option<&mut i32>, x: f32) {
    if let Some(to) = to {
        *to = word_of(f32::number(*to) + x);
    }
}

fn word_of(x: f32) -> i32 {
    x.to_bits().cast_signed()
}
