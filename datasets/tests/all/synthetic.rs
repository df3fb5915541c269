//! Generated tasks.

use std::collections::HashSet;

use polychron_datasets::{Dataset, SpikeTrain, synthetic};

fn counts(sample: &SpikeTrain, channels: usize) -> Vec<usize> {
    let mut counts = vec![0; channels];
    sample.entries.iter().for_each(|e| counts[usize::from(e.channel)] += 1);
    counts
}

fn order(sample: &SpikeTrain) -> Vec<u16> {
    sample.entries.iter().map(|e| e.channel).collect()
}

fn balanced(data: &Dataset) {
    data.validate().unwrap();
    let mut classes = vec![0; data.classes];
    data.samples.iter().for_each(|s| classes[usize::from(s.label)] += 1);
    assert!(classes.iter().max().unwrap() - classes.iter().min().unwrap() <= 1);
}

#[test]
fn bursts_are_counted_alike_in_every_class() {
    let data = synthetic::burst_order(200, 0.0, 1);
    balanced(&data);
    assert!(data.samples.iter().all(|s| counts(s, 8) == [1; 8]));
}

#[test]
fn a_class_is_one_order_and_no_other_class_has_it() {
    let data = synthetic::burst_order(200, 0.0, 1);
    let orders: HashSet<_> = data.samples.iter().map(|s| (s.label, order(s))).collect();
    assert_eq!(orders.len(), 10);
    assert_eq!(orders.iter().map(|(_, order)| order).collect::<HashSet<_>>().len(), 10);
    let others = synthetic::burst_order(200, 0.0, 2);
    assert!(others.samples.iter().all(|s| orders.contains(&(s.label, order(s)))));
}

#[test]
fn bursts_never_nearly_coincide() {
    for sample in synthetic::burst_order(1000, 0.0, 1).samples {
        for pair in sample.entries.windows(2) {
            let gap = pair[1].step - pair[0].step;
            assert!((4..=8).contains(&gap), "{gap}");
        }
    }
}

/// Each class has 100 samples of 480 cells: 480 noise spikes, with a standard deviation of 22.
#[test]
fn noise_is_of_its_rate_in_every_class() {
    let data = synthetic::burst_order(1000, 0.01, 1);
    balanced(&data);
    let mut spikes = [0usize; 10];
    data.samples.iter().for_each(|s| spikes[usize::from(s.label)] += s.entries.len());
    for spikes in spikes {
        assert!((800 + 360..800 + 600).contains(&spikes), "{spikes}");
    }
}

#[test]
fn noise_moves_no_burst() {
    let clean = synthetic::burst_order(50, 0.0, 1);
    let noisy = synthetic::burst_order(50, 0.01, 1);
    for (clean, noisy) in clean.samples.iter().zip(&noisy.samples) {
        assert!(clean.entries.iter().all(|e| noisy.entries.contains(e)));
    }
}

#[test]
fn the_same_seed_makes_the_same_samples() {
    assert_eq!(synthetic::burst_order(50, 0.01, 1), synthetic::burst_order(50, 0.01, 1));
    assert_ne!(synthetic::burst_order(50, 0.01, 1), synthetic::burst_order(50, 0.01, 2));
    assert_eq!(synthetic::lagged_pairs(50, 1), synthetic::lagged_pairs(50, 1));
    assert_ne!(synthetic::lagged_pairs(50, 1), synthetic::lagged_pairs(50, 2));
}

#[test]
fn a_longer_draw_begins_with_the_shorter() {
    let (short, long) = (synthetic::burst_order(20, 0.01, 1), synthetic::burst_order(40, 0.01, 1));
    assert_eq!(short.samples, long.samples[..20]);
}

#[test]
fn the_coupled_pair_alone_is_lagged() {
    let data = synthetic::lagged_pairs(60, 1);
    balanced(&data);
    for sample in &data.samples {
        assert_eq!(counts(sample, 4), [6; 4]);
        let (coupled, lag) = (sample.label % 2, [4, 9, 15][usize::from(sample.label / 2)]);
        let steps = |channel: u16, lag: u32| -> HashSet<u32> {
            let of = sample.entries.iter().filter(|e| e.channel == channel);
            of.map(|e| (e.step + lag) % 60).collect()
        };
        for pair in 0..2 {
            let repeats = steps(2 * pair, lag) == steps(2 * pair + 1, 0);
            assert_eq!(repeats, pair == coupled);
        }
    }
}
