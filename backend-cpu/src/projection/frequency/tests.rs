use super::super::dense;
use super::*;
use polychron_core::delay::Gauss;
use polychron_core::rng::Rng;

fn numbers(stream: u64, len: usize) -> Vec<f64> {
    let rng = Rng::new(7, stream);
    (0..len as u64).map(|n| 2.0 * rng.uniform::<f64>(n) - 1.0).collect()
}

fn sequence(shape: Shape, values: &[f64], scratch: &Scratch<f64>) -> Sequence<f64> {
    let mut sequence = Sequence::new(shape, scratch);
    sequence.write(values).unwrap();
    sequence
}

fn close(found: &[f64], expected: &[f64]) {
    for (a, b) in found.iter().zip(expected) {
        assert!((a - b).abs() < 1e-12, "{a} {b}");
    }
}

#[test]
fn every_block_plan_gives_the_same_projection() {
    let scratch = Scratch::default();
    for (steps, taps, tail, batch) in
        [(40, 7, 6, 3), (23, 25, 12, 17), (9, 1, 0, 1), (31, 4, 9, 33)]
    {
        let synapses = Synapses { padding: tail, ..Synapses::new(3, 5, taps) };
        let (input, n) = (Shape::new(steps, batch, 3), synapses.weights());
        let delays: Vec<f64> =
            numbers(1, n).iter().map(|x| (x + 1.0) * 0.5 * (taps - 1) as f64).collect();
        let (weights, sigma) = (numbers(2, n), [1.3]);
        let params = Parameters { weights: &weights, delays: &delays, sigma: &sigma };
        let output = synapses.output(input);
        let (x, d_y) = (numbers(3, input.len()), numbers(4, output.len()));

        let (x, d_y) = (sequence(input, &x, &scratch), sequence(output, &d_y, &scratch));
        let dense = params.dense_taps(&scratch, &synapses, &Gauss).unwrap();
        let (mut y, mut d_x) = (Sequence::new(output, &scratch), Sequence::new(input, &scratch));
        dense::forward(&synapses, &dense, &x, &mut y);
        dense::by_input(&synapses, &dense, &d_y, &mut d_x);
        let mut d_dense = scratch.block((5, 3, taps));
        dense::by_taps(&x, &d_y, &mut d_dense);
        let mut expected = [vec![0.0; n], vec![0.0; n], vec![0.0]];
        let blocks = expected.each_mut().map(Vec::as_mut_slice);
        params.backward(&synapses, &Gauss, d_dense.values(), blocks);
        for blocks in [1, 2, 3, 5, 9] {
            let plan = BlockPlan::with_blocks(blocks, taps, steps);
            let frequency = Frequency::new(&synapses, &Gauss, &params, &scratch, plan);
            let (mut found, mut by_input) =
                (Sequence::new(output, &scratch), Sequence::new(input, &scratch));
            let mut gradients = [vec![0.0; n], vec![0.0; n], vec![0.0]];
            frequency.forward(&x, true, &mut found);
            let views = gradients.each_mut().map(Vec::as_mut_slice);
            frequency.backward(&x, &d_y, Some(views), Some(&mut by_input));
            close(found.view().as_slice().unwrap(), y.view().as_slice().unwrap());
            close(by_input.view().as_slice().unwrap(), d_x.view().as_slice().unwrap());
            for (found, expected) in gradients.iter().zip(&expected) {
                close(found, expected);
            }
        }
    }
}

#[test]
fn a_kept_spectrum_is_used_only_for_the_same_values_and_the_same_plan() {
    let scratch = Scratch::default();
    let (synapses, input) =
        (Synapses { padding: 2, ..Synapses::new(2, 2, 4) }, Shape::new(20, 3, 2));
    let (weights, delays) = (numbers(1, 4), vec![1.5; 4]);
    let params = Parameters { weights: &weights, delays: &delays, sigma: &[0.7] };
    let of = |blocks| {
        let plan = BlockPlan::with_blocks(blocks, synapses.taps, input.steps);
        Frequency::new(&synapses, &Gauss, &params, &scratch, plan)
    };
    let output = synapses.output(input);
    let d_y = sequence(output, &numbers(2, output.len()), &scratch);
    let gradients = |x: &Sequence<f64>, blocks| {
        let mut gradients = [vec![0.0; 4], vec![0.0; 4], vec![0.0]];
        of(blocks).backward(x, &d_y, Some(gradients.each_mut().map(Vec::as_mut_slice)), None);
        gradients.concat()
    };
    let other = numbers(4, input.len());
    let mut x = sequence(input, &numbers(3, input.len()), &scratch);
    let mut y = Sequence::new(output, &scratch);
    of(1).forward(&x, true, &mut y);
    x.write(&other).unwrap();
    let expected = gradients(&sequence(input, &other, &scratch), 1);
    close(&gradients(&x, 1), &expected);
    of(1).forward(&x, true, &mut y);
    close(&gradients(&x, 3), &expected);
}
