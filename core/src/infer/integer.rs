use super::history::TickRecord;
use super::{Arithmetic, Due, StateBuffers, part};
use crate::format::{AHEAD, Decision, GROUP, Layer, WORD};

/// `2^(15 - n / 32)`, rounded.
const OCTAVE: [u16; 32] = [
    32768, 32066, 31379, 30706, 30048, 29405, 28774, 28158, 27554, 26964, 26386, 25821, 25268,
    24726, 24196, 23678, 23170, 22674, 22188, 21713, 21247, 20792, 20347, 19911, 19484, 19066,
    18658, 18258, 17867, 17484, 17109, 16743,
];

impl Arithmetic for i8 {
    type Number = i32;
    type Cell = i16;
    const LOWEST: i32 = i32::MIN;

    fn number(word: i32) -> i32 {
        word
    }

    fn cells<'a>(
        memory: &'a mut StateBuffers<'_>,
        layer: &Layer<'_>,
    ) -> (&'a mut [i32], &'a mut [i16]) {
        let cells = layer.outputs.wrapping_mul(layer.taps);
        (
            part(memory.words, layer.membranes, layer.outputs).unwrap_or(&mut []),
            part(memory.halves, layer.cells, cells).unwrap_or(&mut []),
        )
    }

    #[inline(never)]
    fn deliver_spikes(v: &mut [i32; GROUP], pre: &[u8], due: &Due<'_>) {
        let Due { table, last_source, rows, row } = *due;
        let Some(last) = rows.len().checked_sub(AHEAD) else { return };
        for &i in pre {
            let i = usize::from(i);
            let at = i.wrapping_mul(row);
            if at > last {
                break;
            }
            let Some(row) = rows.get(at..).and_then(|row| row.first_chunk::<AHEAD>()) else {
                break;
            };
            let Some((pairs, odd)) = group(i, table, last_source, row) else { break };
            for [t, w, u, x] in pairs {
                add(v, *t, *w);
                add(v, *u, *x);
            }
            if let [t, w, ..] = odd {
                add(v, *t, *w);
            }
        }
    }

    #[inline(never)]
    fn deliver_values(v: &mut [i32; GROUP], pre: &[u8], values: &[u8], due: &Due<'_>) {
        for &i in pre {
            let place = usize::from(i).wrapping_mul(due.row);
            let row = due.rows.get(place..).and_then(|row| row.first_chunk::<AHEAD>());
            let Some(row) = row else { continue };
            let Some((pairs, odd)) = group(i.into(), due.table, due.last_source, row) else {
                continue;
            };
            let value = i32::from(values.get(usize::from(i)).map_or(0, |x| x.cast_signed()));
            let odd = odd.first_chunk::<2>();
            for &[t, w] in pairs.as_flattened().as_chunks().0.iter().chain(odd) {
                if let Some(v) = v.get_mut(usize::from(t)) {
                    *v = v.wrapping_add(i32::from(w.cast_signed()).wrapping_mul(value));
                }
            }
        }
    }

    #[inline(never)]
    fn deliver_ahead(cells: &mut [i16], taps: usize, now: usize, row: &[u8], value: i8) {
        let future = taps.wrapping_sub(now);
        for (&[delay, weight], cells) in
            row.as_chunks::<2>().0.iter().zip(cells.chunks_exact_mut(taps.max(1)))
        {
            let delay = usize::from(delay);
            let at = if delay < future { now } else { future.wrapping_neg() }.wrapping_add(delay);
            if let Some(cell) = cells.get_mut(at) {
                let weight = i16::from(weight.cast_signed());
                *cell = cell.wrapping_add(weight.wrapping_mul(value.into()));
            }
        }
    }

    fn arrive(v: &mut [i32], cells: &mut [i16], taps: usize, now: usize) {
        for (v, cells) in v.iter_mut().zip(cells.chunks_exact_mut(taps.max(1))) {
            if let Some(cell) = cells.get_mut(now) {
                *v = v.wrapping_add((*cell).into());
                *cell = 0;
            }
        }
    }

    fn advance(layer: &Layer<'_>, v: &mut [i32], record: Option<&mut TickRecord<'_>>) {
        if layer.soft {
            advance::<true>(layer, v, record);
        } else {
            advance::<false>(layer, v, record);
        }
    }

    #[inline(never)]
    fn read_out(layer: &Layer<'_>, decision: Decision, v: &mut [i32], scores: &mut [i32]) {
        match decision {
            Decision::SoftmaxSum => softmax(layer, v, scores),
            Decision::MembraneSum => {
                scores.iter_mut().zip(&*v).for_each(|(sum, &v)| *sum = sum.saturating_add(v));
            }
            Decision::Max => {
                scores.iter_mut().zip(&*v).for_each(|(most, &v)| *most = v.max(*most));
            }
        }
        let half = 1i32.wrapping_shl(layer.shift) >> 1;
        for v in v {
            *v = v.wrapping_mul(layer.decay).wrapping_add(half).wrapping_shr(layer.shift);
        }
    }
}

/// The group of a source that is due: its synapses in pairs and, if their number is odd, the bytes
/// from the last one on.
#[inline(always)]
fn group<'a>(
    i: usize,
    table: &[u8; 2 * GROUP],
    last_source: u8,
    row: &'a [u8; AHEAD],
) -> Option<(&'a [[u8; 4]], &'a [u8])> {
    let start = *table.get(i)?;
    let end = table.get(i.wrapping_add(last_source.into()).wrapping_add(1))?;
    let len = end.wrapping_sub(start);
    let row = row.get(usize::from(start).wrapping_mul(2)..)?;
    let (pairs, odd) = row.split_at_checked(usize::from(len >> 1).wrapping_mul(4))?;
    Some((pairs.as_chunks().0, if len & 1 == 1 { odd } else { &[] }))
}

#[inline(always)]
fn add(v: &mut [i32; GROUP], target: u8, weight: u8) {
    if let Some(v) = v.get_mut(usize::from(target)) {
        *v = v.wrapping_add(i32::from(weight.cast_signed()));
    }
}

#[inline(never)]
fn advance<const SOFT: bool>(
    layer: &Layer<'_>,
    v: &mut [i32],
    mut record: Option<&mut TickRecord<'_>>,
) {
    let Layer { decay, shift, bias_shift, .. } = *layer;
    let neurons = layer.neurons.as_chunks::<4>().0;
    for (n, (v, neurons)) in v.chunks_mut(WORD).zip(neurons.chunks(WORD)).enumerate() {
        let (mut word, mut unused) = (0u32, 32u32);
        for (v, &[a, b, c, d]) in v.iter_mut().zip(neurons) {
            let below = i32::from(u16::from_le_bytes([a, b]));
            let bias = i32::from(i16::from_le_bytes([c, d]));
            let short = below.wrapping_sub(*v);
            word = (word >> 1) | (short.cast_unsigned() & 0x8000_0000);
            unused = unused.wrapping_sub(1);
            let left = match (short < 0, SOFT) {
                (false, _) => *v,
                (true, true) => !short,
                (true, false) => 0,
            };
            let next = left.wrapping_mul(decay).wrapping_add(bias.wrapping_shl(bias_shift));
            *v = next.wrapping_shr(shift);
        }
        if let Some(record) = &mut record {
            record.set_word(n, word.wrapping_shr(unused));
        }
    }
}

/// Adds the softmax to the scores, in units of 1 / 32768.
fn softmax(layer: &Layer<'_>, v: &[i32], scores: &mut [i32]) {
    let top = v.iter().copied().max().unwrap_or(0);
    let power = |v: i32| {
        let octaves = top.wrapping_sub(v).cast_unsigned().wrapping_mul(layer.gain);
        let octaves = octaves.wrapping_shr(layer.gain_shift);
        let place = usize::try_from(octaves & 31).unwrap_or(0);
        let power = OCTAVE.get(place).map_or(0, |&x| u32::from(x));
        power.checked_shr(octaves >> 5).unwrap_or(0)
    };
    let sum = v.iter().fold(0u32, |sum, &v| sum.wrapping_add(power(v)));
    let inverse = (1u32 << 31).checked_div(sum).unwrap_or(0);
    for (score, &v) in scores.iter_mut().zip(v) {
        let share = power(v).wrapping_mul(inverse) >> 16;
        *score = score.saturating_add(share.cast_signed());
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn octave_is_a_power_of_two() {
        for (n, &x) in (0u16..).zip(&super::OCTAVE) {
            let exact = libm::exp2(15.0 - f64::from(n) / 32.0);
            assert_eq!(f64::from(x), libm::round(exact));
        }
    }
}
