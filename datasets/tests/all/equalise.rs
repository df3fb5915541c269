//! Spikes as many in every recording.

use polychron_datasets::{About, Part, Recording, Recordings, TimeFormat};

const CHANNELS: usize = 6;
const CLASSES: u16 = 4;

/// Recordings whose classes differ in the number of spikes of their channels. Channel 5 has none.
fn by_rate(items: u16) -> Recordings {
    let item = |n: u16| {
        let mut spikes = Vec::new();
        for channel in 0..CHANNELS as u16 - 1 {
            let count = 2 + n % 3 + 3 * u16::from(channel == n % CLASSES);
            for k in 0..count {
                let time = f32::from((7 * n + 5 * channel + 11 * k) % 64) / 64.0;
                spikes.push((time, channel));
            }
        }
        spikes.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (times, units) = spikes.into_iter().unzip();
        Recording { times, units, label: n % CLASSES, speaker: n % 2 }
    };
    Recordings {
        source: "made".into(),
        channels: CHANNELS,
        keys: (0..CLASSES).map(|class| class.to_string()).collect(),
        time_format: TimeFormat::F32,
        items: (0..items).map(item).collect(),
        about: About {
            names: (0..items).map(|n| format!("item {n}")).collect(),
            speakers: vec!["ann".into(), "bob".into()],
            parts: (0..items).map(|n| if n < 8 { Part::Test } else { Part::Train }).collect(),
            encoder: "some".into(),
            ..About::default()
        },
    }
}

fn counts(item: &Recording) -> Vec<f64> {
    let mut counts = vec![0.0; CHANNELS];
    item.units.iter().for_each(|&unit| counts[usize::from(unit)] += 1.0);
    counts
}

/// The share of test items whose counts are nearest to the mean counts of their class.
fn accuracy_of_counts(of: &Recordings) -> f64 {
    let mut means = vec![vec![0.0; CHANNELS]; CLASSES.into()];
    let (test, train) = of.items.split_at(8);
    for item in train {
        let mean = &mut means[usize::from(item.label)];
        let share = f64::from(CLASSES) / train.len() as f64;
        mean.iter_mut().zip(counts(item)).for_each(|(mean, count)| *mean += share * count);
    }
    let hit = |item: &&Recording| {
        let own = counts(item);
        let distance =
            |mean: &Vec<f64>| mean.iter().zip(&own).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        let nearest =
            (0..means.len()).min_by(|&a, &b| distance(&means[a]).total_cmp(&distance(&means[b])));
        nearest == Some(item.label.into())
    };
    test.iter().filter(hit).count() as f64 / test.len() as f64
}

#[test]
fn counts_say_nothing_after_they_are_equal() {
    let before = by_rate(40);
    assert_eq!(accuracy_of_counts(&before), 1.0);
    for (spikes, expected) in [(None, vec![2, 2, 2, 2, 2, 0]), (Some(4), vec![4, 4, 4, 4, 4, 0])] {
        let mut after = before.clone();
        let report = after.equalise(spikes, 3).unwrap();
        assert_eq!(report.counts, expected);
        let expected: Vec<_> = expected.into_iter().map(|count| count as f64).collect();
        assert!(after.items.iter().all(|item| counts(item) == expected));
        assert_eq!(accuracy_of_counts(&after), 1.0 / f64::from(CLASSES), "{spikes:?}");
        let spikes = |of: &Recordings| of.items.iter().map(|item| item.times.len()).sum::<usize>();
        assert_eq!(spikes(&before) + report.added - report.removed, spikes(&after));
        assert_eq!(report.added > 0, expected[0] > 2.0);
        after.validate().unwrap();
    }
}

#[test]
fn spikes_stay_in_place_and_added_ones_are_at_times_of_the_recording() {
    let before = by_rate(24);
    for spikes in [None, Some(4)] {
        let mut after = before.clone();
        after.equalise(spikes, 3).unwrap();
        for (old, new) in before.items.iter().zip(&after.items) {
            let pairs = |item: &Recording| -> Vec<_> {
                item.times.iter().map(|t| t.to_bits()).zip(item.units.clone()).collect()
            };
            let known = pairs(old);
            assert!(new.times.iter().all(|time| old.times.contains(time)));
            let own = |item: &Recording| counts(item)[0] as usize;
            let kept = pairs(new).iter().filter(|pair| pair.1 == 0 && known.contains(pair)).count();
            assert!(kept >= own(old).min(own(new)), "{spikes:?}");
            assert!(spikes.is_some() || pairs(new).iter().all(|pair| known.contains(pair)));
            assert_eq!((new.label, new.speaker), (old.label, old.speaker));
        }
        let about = About { encoder: String::new(), ..before.about.clone() };
        assert_eq!(after.about, about);
        let [mut same, mut other] = [before.clone(), before.clone()];
        same.equalise(spikes, 3).unwrap();
        other.equalise(spikes, 4).unwrap();
        assert!(same == after && other.items != after.items, "the seed decides");
    }
}

#[test]
fn what_cannot_be_equal_is_refused_and_unchanged() {
    let mut silent = by_rate(12);
    silent.items[7] = Recording { times: vec![], units: vec![], ..silent.items[7].clone() };
    let before = silent.clone();
    for (spikes, message) in [
        (None, "made: no channel has a spike in every recording; give a number"),
        (Some(3), "made: recording 7 has no spikes and cannot be filled up"),
        (Some(0), "made: spikes = 0 is not at least 1"),
    ] {
        assert_eq!(silent.equalise(spikes, 0).unwrap_err().to_string(), message);
        assert_eq!(silent, before);
    }
}
