//! Augmentation.

use std::collections::BTreeSet;

use polychron_datasets::{About, Augment, Dataset, Entry, MixedLabel, Pool, SpikeTrain, digits};

type Changed = Vec<(SpikeTrain, Option<MixedLabel>)>;

fn everything() -> Augment {
    Augment {
        shift_channels: 3,
        block: 24,
        shift_steps: 5,
        warp: 0.2,
        drop: 0.1,
        noise: 0.02,
        time_masks: 2,
        time_mask: 6,
        channel_masks: 2,
        channel_mask: 4,
        blend: 0.5,
        cutmix: 0.5,
    }
}

/// Every augmentation on its own.
fn each() -> Vec<Augment> {
    let all = everything();
    let none = Augment::default();
    vec![
        Augment { shift_channels: all.shift_channels, ..none },
        Augment { shift_steps: all.shift_steps, ..none },
        Augment { warp: all.warp, ..none },
        Augment { drop: all.drop, ..none },
        Augment { noise: all.noise, ..none },
        Augment { time_masks: all.time_masks, time_mask: all.time_mask, ..none },
        Augment { channel_masks: all.channel_masks, channel_mask: all.channel_mask, ..none },
        Augment { blend: all.blend, ..none },
        Augment { cutmix: all.cutmix, ..none },
    ]
}

fn pool(data: &Dataset) -> Pool {
    Pool::new(data, &(0..data.samples.len()).collect::<Vec<_>>())
}

fn samples(augment: &Augment, data: &Dataset, indices: &[usize], seed: u64, epoch: u64) -> Changed {
    augment.samples(data, &pool(data), indices, seed, epoch)
}

/// Three samples of two classes, with 4 channels and three spikes per entry.
fn small(steps: [usize; 3]) -> Dataset {
    let item = |(n, steps): (usize, usize)| SpikeTrain {
        steps,
        entries: (0..steps as u32 * 4)
            .filter(|k| !(*k as usize + n).is_multiple_of(3))
            .map(|k| Entry { step: k / 4, channel: (k % 4) as u16, count: 3 })
            .collect(),
        label: u16::from(n == 2),
        speaker: n as u16,
        dense: None,
    };
    Dataset {
        name: "small".into(),
        channels: 4,
        classes: 2,
        class_names: vec!["a".into(), "b".into()],
        samples: steps.into_iter().enumerate().map(item).collect(),
        dt_ms: 10,
        about: About::default(),
    }
}

fn spikes(sample: &SpikeTrain) -> f32 {
    sample.entries.iter().map(|e| f32::from(e.count)).sum()
}

#[test]
fn zero_strength_changes_no_bit() {
    let data = digits::embedded();
    let all: Vec<usize> = (0..data.samples.len()).rev().collect();
    let changed = samples(&Augment::default(), &data, &all, 1, 2);
    assert_eq!(changed.len(), all.len());
    assert!(
        changed.iter().zip(all).all(|((s, mixed), i)| *s == data.samples[i] && mixed.is_none())
    );
}

#[test]
fn every_augmentation_changes_something_and_depends_on_seed_and_epoch() {
    let data = digits::embedded();
    let indices: Vec<usize> = (0..50).collect();
    for augment in each() {
        let one = samples(&augment, &data, &indices, 1, 2);
        assert!(one.iter().zip(&data.samples).any(|((s, _), own)| s != own), "{augment:?}");
        assert!(one != samples(&augment, &data, &indices, 2, 2), "{augment:?}");
        assert!(one != samples(&augment, &data, &indices, 1, 3), "{augment:?}");
    }
}

#[test]
fn the_order_of_the_work_and_the_number_of_threads_do_not_matter() {
    let data = digits::embedded();
    let indices: Vec<usize> = (0..120).map(|n| n * 7).collect();
    let expected = samples(&everything(), &data, &indices, 3, 1);
    let mut backwards = indices.clone();
    backwards.reverse();
    let mut changed = samples(&everything(), &data, &backwards, 3, 1);
    changed.reverse();
    assert!(changed == expected);
    let mut shuffled: Vec<usize> = (0..data.samples.len()).rev().collect();
    shuffled.swap(0, 100);
    assert_eq!(Pool::new(&data, &shuffled), pool(&data));
    for threads in [2, 3, 8] {
        let pool = &pool(&data);
        let parts: Vec<Changed> = std::thread::scope(|scope| {
            let parts = indices.chunks(indices.len().div_ceil(threads));
            let work = |part| everything().samples(&data, pool, part, 3, 1);
            let handles: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
            handles.into_iter().map(|handle| handle.join().unwrap()).collect()
        });
        assert!(parts.concat() == expected, "{threads} threads");
    }
}

#[test]
fn every_entry_is_valid() {
    for data in [digits::embedded(), small([9, 4, 1])] {
        let some: Vec<usize> = (0..data.samples.len().min(300)).collect();
        let strong = Augment {
            shift_channels: 3,
            block: 0,
            shift_steps: 3,
            noise: 0.3,
            warp: 0.9,
            ..everything()
        };
        let whole = Augment { block: data.channels, ..everything() };
        for augment in each().into_iter().chain([whole, strong]) {
            augment.check(&data).unwrap();
            let changed = samples(&augment, &data, &some, 4, 0);
            for ((s, _), own) in changed.iter().zip(&data.samples) {
                assert!(s.steps > 0 && s.label == own.label && s.speaker == own.speaker);
                for e in &s.entries {
                    assert!((e.step as usize) < s.steps && usize::from(e.channel) < data.channels);
                    assert!(e.count > 0, "{e:?}");
                }
                let places = s.entries.iter().map(|e| (e.step, e.channel));
                assert!(places.is_sorted_by(|a, b| a < b), "{augment:?}");
            }
        }
    }
}

#[test]
fn a_shift_along_channels_stays_within_its_block() {
    let mut data = small([1; 3]);
    data.channels = 48;
    let entry = |channel| Entry { step: 0, channel, count: 1 };
    data.samples[0].entries = vec![entry(0), entry(23), entry(24)];
    let shift = Augment { shift_channels: 1, block: 24, ..Default::default() };
    let moved = |seed| samples(&shift, &data, &[0], seed, 0).remove(0).0;
    let channels = |s: SpikeTrain| s.entries.iter().map(|e| e.channel).collect::<Vec<_>>();
    let seen: BTreeSet<_> = (0..64).map(|seed| channels(moved(seed))).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [vec![0, 23, 24], vec![1, 25], vec![22]]);
}

#[test]
fn a_shift_in_time_moves_all_spikes_as_one_and_drops_what_leaves() {
    let data = small([9; 3]);
    let own = &data.samples[0];
    let shift = Augment { shift_steps: 2, ..Default::default() };
    let mut seen = BTreeSet::new();
    for seed in 0..64 {
        let (moved, _) = samples(&shift, &data, &[0], seed, 0).remove(0);
        let by = (-2..=2).find(|by| {
            let inside = |e: &Entry| (0..9).contains(&(e.step as i32 + by));
            let at = |e: &Entry| Entry { step: (e.step as i32 + by) as u32, ..*e };
            moved.steps == 9
                && own.entries.iter().filter(|e| inside(e)).map(at).eq(moved.entries.clone())
        });
        seen.insert(by.expect("a shift within the strength"));
    }
    assert_eq!(seen.len(), 5);
}

#[test]
fn masks_silence_blocks_and_nothing_else() {
    let data = small([30; 3]);
    let own = &data.samples[1];
    let (time, channel) = (
        Augment { time_masks: 1, time_mask: 7, ..Default::default() },
        Augment { channel_masks: 1, channel_mask: 2, ..Default::default() },
    );
    let mut longest = [0, 0];
    for seed in 0..200 {
        for (n, augment) in [time, channel].iter().enumerate() {
            let (masked, _) = samples(augment, &data, &[1], seed, 0).remove(0);
            let key = |e: &Entry| if n == 0 { e.step } else { e.channel.into() };
            let lost: Vec<&Entry> =
                own.entries.iter().filter(|e| !masked.entries.contains(e)).collect();
            assert_eq!(lost.len() + masked.entries.len(), own.entries.len());
            let Some(first) = lost.iter().map(|e| key(e)).min() else { continue };
            let last = lost.iter().map(|e| key(e)).max().unwrap();
            assert!(masked.entries.iter().all(|e| !(first..=last).contains(&key(e))));
            longest[n] = longest[n].max(last - first + 1);
        }
    }
    assert_eq!(longest, [7, 2]);
}

#[test]
fn a_warp_multiplies_every_step_by_one_factor_within_its_strength() {
    const STEPS: u32 = 300;
    const STRENGTH: f64 = 0.2;
    let mut data = small([STEPS as usize; 3]);
    data.channels = STEPS as usize;
    // One spike per channel, so that each can be identified.
    let entry = |step| Entry { step, channel: step as u16, count: 2 };
    data.samples[0].entries = (0..STEPS).map(entry).collect();
    let warp = Augment { warp: STRENGTH, ..Default::default() };
    let mut factors = Vec::new();
    for seed in 0..400 {
        let (warped, _) = samples(&warp, &data, &[0], seed, 0).remove(0);
        assert_eq!(warped.entries.len(), STEPS as usize);
        // floor(step * factor) = warped, so the factor is in [warped, warped + 1) / step.
        let (mut low, mut high) = (1.0 - STRENGTH, 1.0 + STRENGTH);
        for e in &warped.entries[1..] {
            let own = f64::from(e.channel);
            low = f64::max(low, f64::from(e.step) / own);
            high = f64::min(high, f64::from(e.step + 1) / own);
            assert_eq!(e.count, 2);
        }
        assert!(low <= high, "no factor for seed {seed}: {low}, {high}");
        let factor = (low + high) / 2.0;
        assert!((f64::from(STEPS) * factor - warped.steps as f64).abs() < 2.0, "{}", warped.steps);
        factors.push(factor);
    }
    let mean = factors.iter().sum::<f64>() / factors.len() as f64;
    let deviation = STRENGTH / (3.0 * factors.len() as f64).sqrt();
    assert!((mean - 1.0).abs() < 4.0 * deviation, "{mean} +- {deviation}");
    let extremes = (1.0 - 0.95 * STRENGTH, 1.0 + 0.95 * STRENGTH);
    assert!(factors.iter().any(|f| *f < extremes.0) && factors.iter().any(|f| *f > extremes.1));
}

#[test]
fn thinning_keeps_every_spike_with_one_probability() {
    const KEPT: f64 = 0.7;
    let data = small([300, 200, 250]);
    let drop = Augment { drop: 1.0 - KEPT, ..Default::default() };
    let mut of_three = [0.0; 4];
    for epoch in 0..5 {
        for ((thinned, _), own) in
            samples(&drop, &data, &[0, 1, 2], 0, epoch).iter().zip(&data.samples)
        {
            assert_eq!(thinned.steps, own.steps);
            let mut left = thinned.entries.iter().peekable();
            for e in &own.entries {
                let same = left.next_if(|f| (f.step, f.channel) == (e.step, e.channel));
                of_three[same.map_or(0, |f| f.count.into())] += 1.0;
            }
            assert!(left.next().is_none());
        }
    }
    let entries: f64 = of_three.iter().sum();
    for (kept, count) in of_three.iter().enumerate() {
        let ways = [1.0, 3.0, 3.0, 1.0][kept];
        let share = ways * KEPT.powi(kept as i32) * (1.0 - KEPT).powi(3 - kept as i32);
        let deviation = (share * (1.0 - share) / entries).sqrt();
        let found = count / entries;
        assert!(
            (found - share).abs() < 4.0 * deviation,
            "{kept} of 3: {found}, {share} +- {deviation}"
        );
    }
    let spikes = 3.0 * entries;
    let found = (1..4).map(|kept| kept as f64 * of_three[kept]).sum::<f64>() / spikes;
    let deviation = (KEPT * (1.0 - KEPT) / spikes).sqrt();
    assert!((found - KEPT).abs() < 4.0 * deviation, "{found}, {KEPT} +- {deviation}");
}

#[test]
fn noise_has_its_rate_and_removes_nothing() {
    let data = digits::embedded();
    let noise = Augment { noise: 0.05, ..Default::default() };
    let indices: Vec<usize> = (0..400).collect();
    let (mut more, mut places) = (0.0, 0);
    for ((noisy, _), own) in samples(&noise, &data, &indices, 0, 0).iter().zip(&data.samples) {
        let kept = |e: &Entry| {
            noisy
                .entries
                .iter()
                .any(|f| (f.step, f.channel) == (e.step, e.channel) && f.count >= e.count)
        };
        assert!(own.entries.iter().all(kept));
        more += spikes(noisy) - spikes(own);
        places += own.steps * data.channels;
    }
    let (rate, deviation) = (f64::from(more) / places as f64, (0.05 * 0.95 / places as f64).sqrt());
    assert!((rate - 0.05).abs() < 4.0 * deviation, "{rate} +- {deviation}");
}

#[test]
fn a_blend_keeps_half_of_two_items_of_one_class() {
    let data = small([300, 200, 250]);
    let blend = Augment { blend: 1.0, ..Default::default() };
    let expected = 0.5 * (spikes(&data.samples[0]) + spikes(&data.samples[1]));
    let count = |s: &SpikeTrain, at: &Entry| {
        s.entries
            .iter()
            .find(|e| (e.step, e.channel) == (at.step, at.channel))
            .map_or(0, |e| e.count)
    };
    for (own, steps) in [(0, 300), (1, 300)] {
        let (blended, mixed) = samples(&blend, &data, &[own], 5, 0).remove(0);
        assert_eq!((blended.steps, blended.label, mixed), (steps, 0, None));
        // About four standard deviations of 2,000 spikes, each kept with probability 1/2.
        assert!((spikes(&blended) - expected).abs() < 4.0 * (expected / 2.0).sqrt());
        for e in &blended.entries {
            assert!(e.count <= count(&data.samples[0], e) + count(&data.samples[1], e));
        }
    }
    let alone = samples(&blend, &data, &[2], 5, 0).remove(0).0;
    assert_eq!(alone, data.samples[2], "there is no other item of its class");
}

#[test]
fn a_stretch_of_another_item_takes_its_share() {
    let mut data = small([40, 40, 25]);
    for (n, sample) in data.samples.iter_mut().enumerate() {
        let entry = |step| Entry { step, channel: n as u16, count: 1 };
        sample.entries = (0..sample.steps as u32).map(entry).collect();
    }
    let cutmix = Augment { cutmix: 1.0, ..Default::default() };
    let mut from = BTreeSet::new();
    for seed in 0..100 {
        let (cut, mixed) = samples(&cutmix, &data, &[0], seed, 0).remove(0);
        let MixedLabel { label, share } = mixed.unwrap();
        let foreign: Vec<&Entry> = cut.entries.iter().filter(|e| e.channel != 0).collect();
        let other = usize::from(foreign[0].channel);
        from.insert(other);
        assert_eq!(label, data.samples[other].label);
        assert_eq!(share, foreign.len() as f32 / 40.0);
        assert!(foreign.windows(2).all(|two| two[1].step == two[0].step + 1));
        assert_eq!((cut.entries.len(), cut.steps, cut.label), (40, 40, 0));
    }
    assert_eq!(from.into_iter().collect::<Vec<_>>(), [1, 2]);
    let half = Augment { cutmix: 0.5, ..Default::default() };
    let cut = (0..1000).filter(|&seed| samples(&half, &data, &[1], seed, 0)[0].1.is_some()).count();
    assert!((430..570).contains(&cut), "{cut} of 1000");
}

#[test]
fn others_come_from_the_pool_alone() {
    let data = digits::embedded();
    let few: Vec<usize> = (0..data.samples.len()).filter(|i| data.samples[*i].label < 2).collect();
    let pool = Pool::new(&data, &few);
    let augment = Augment { cutmix: 1.0, blend: 1.0, ..Default::default() };
    let indices: Vec<usize> = (0..200).collect();
    for (sample, mixed) in augment.samples(&data, &pool, &indices, 0, 0) {
        assert!(mixed.unwrap().label < 2 && sample.steps > 0);
    }
    let none = augment.samples(&data, &Pool::default(), &[5], 0, 0);
    assert!(none == [(data.samples[5].clone(), None)]);
}

#[test]
fn strengths_out_of_range_are_named() {
    let data = digits::embedded();
    let none = Augment::default();
    let refused = |augment: Augment| augment.check(&data).unwrap_err().to_string();
    for (augment, named) in [
        (Augment { block: 7, ..none }, "block = 7 does not divide the 48 channels"),
        (Augment { warp: 1.0, ..none }, "warp = 1 is not in [0, 1)"),
        (Augment { drop: -0.1, ..none }, "drop = -0.1 is not in [0, 1)"),
        (Augment { noise: f64::NAN, ..none }, "noise = NaN is not in [0, 1)"),
        (Augment { blend: 1.5, ..none }, "blend = 1.5 is not in [0, 1]"),
        (Augment { cutmix: f64::INFINITY, ..none }, "cutmix = inf is not in [0, 1]"),
        (
            Augment { shift_channels: 48, ..none },
            "shift_channels = 48 is not below the 48 channels",
        ),
        (
            Augment { shift_steps: u32::MAX, ..none },
            "shift_steps = 4294967295 is not below the 64 steps",
        ),
        (Augment { time_masks: 1, time_mask: 65, ..none }, "time_mask = 65 is above the 64 steps"),
        (Augment { channel_masks: 49, channel_mask: 1, ..none }, "channel_masks = 49 is above"),
        (Augment { time_masks: 1, ..none }, "time_masks = 1 has no effect while time_mask = 0"),
        (
            Augment { channel_mask: 3, ..none },
            "channel_mask = 3 has no effect while channel_masks = 0",
        ),
    ] {
        let message = refused(augment);
        assert!(message.starts_with("augment: ") && message.contains(named), "{message}");
    }
    each()
        .into_iter()
        .chain([everything(), none])
        .for_each(|augment| augment.check(&data).unwrap());
}
