//! Splits, batches and data sets.

use std::path::Path;

use polychron_datasets::{
    Dataset, Entry, Error, SampleBatch, SpikeTrain, Split, batches, synthetic,
};

fn text<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

fn covers(split: &Split, items: usize) {
    split.validate("x", items).unwrap();
    assert_eq!(split.train.len() + split.valid.len() + split.test.len(), items);
}

fn data(speakers: &[u16]) -> Dataset {
    let mut data = synthetic::lagged_pairs(speakers.len(), 0);
    data.samples.iter_mut().zip(speakers).for_each(|(s, &speaker)| s.speaker = speaker);
    data
}

#[test]
fn fractions_cover_and_follow_the_seed() {
    let split = Split::fractions(105, 0.1, 0.2, 3).unwrap();
    covers(&split, 105);
    assert_eq!((split.valid.len(), split.test.len()), (11, 21));
    assert_eq!(split, Split::fractions(105, 0.1, 0.2, 3).unwrap());
    assert_ne!(split, Split::fractions(105, 0.1, 0.2, 4).unwrap());
    assert!(!split.test.is_sorted());
}

#[test]
fn the_test_part_does_not_depend_on_the_valid_part() {
    let some = Split::fractions(50, 0.3, 0.2, 3).unwrap();
    assert_eq!(some.test, Split::fractions(50, 0.0, 0.2, 3).unwrap().test);
}

#[test]
fn a_fraction_out_of_range_is_named() {
    assert_eq!(
        text(Split::fractions(10, -0.1, 0.2, 0)),
        "split: valid = -0.1 is not a fraction in [0, 1)"
    );
    assert_eq!(
        text(Split::fractions(10, 0.0, f64::NAN, 0)),
        "split: test = NaN is not a fraction in [0, 1)"
    );
    let none = "split: valid + test = 10 of 10 samples leaves none to train on";
    assert_eq!(text(Split::fractions(10, 0.5, 0.5, 0)), none);
    assert!(Split::fractions(0, 0.0, 0.0, 0).is_err());
}

#[test]
fn the_test_samples_are_those_of_the_speaker_left_out() {
    let data = data(&[4, 1, 4, 2, 1, 2, 2, 1]);
    assert_eq!(data.speakers(), [1, 2, 4]);
    let split = Split::leave_speaker_out(&data, 4, 0.5, 0).unwrap();
    covers(&split, 8);
    assert_eq!((split.test, split.valid.len()), (vec![0, 2], 3));
    assert_eq!(
        text(Split::leave_speaker_out(&data, 3, 0.0, 0)),
        "lagged pairs: speaker = 3 has no sample"
    );
    let alone = self::data(&[1, 1]);
    assert_eq!(
        text(Split::leave_speaker_out(&alone, 1, 0.0, 0)),
        "lagged pairs: speaker = 1 has every sample, which leaves none to train on"
    );
}

#[test]
fn a_given_split_leaves_the_rest_to_train() {
    let json = br#"{"val": [3, 0], "test": [4]}"#;
    let split = Split::from_json(json, "x", 6, 6).unwrap();
    assert_eq!(split, Split { train: vec![1, 2, 5], valid: vec![3, 0], test: vec![4] });
    let split = Split::from_json(br#"{"val": [3, 0]}"#, "x", 4, 6).unwrap();
    assert_eq!(split, Split { train: vec![1, 2], valid: vec![3, 0], test: vec![4, 5] });
}

#[test]
fn a_bad_given_split_is_named() {
    for (json, message) in [
        (r#"{"val": [3, 9], "test": []}"#, "x: val[1] = 9 is not below 6 samples"),
        (r#"{"val": [3], "test": [6]}"#, "x: test[0] = 6 is not below 6 samples"),
        (r#"{"val": [3, 3], "test": []}"#, "x: val[1] = 3 is listed twice"),
        (r#"{"val": [3], "test": [1, 3]}"#, "x: test[1] = 3 is listed twice"),
        (r#"{"val": [5]}"#, "x: val[0] = 5 is not below 4 samples"),
        (r#"{"val": [-1]}"#, "x: val[0] = -1 is not an index"),
        (r#"{"val": [1.5]}"#, "x: val[0] = 1.5 is not an index"),
        (r#"{"val": 3}"#, "x: val is not a list"),
        (r#"{"test": [3]}"#, "x: val is missing; it lists the samples to validate on"),
        (r#"{"val": [0, 1, 2, 3]}"#, "x: train = [] is empty; a split needs a sample to train on"),
        ("[]", "x: val is missing; it lists the samples to validate on"),
    ] {
        assert_eq!(text(Split::from_json(json.as_bytes(), "x", 4, 6)), message);
    }
    assert!(text(Split::from_json(b"{", "x", 4, 6)).starts_with("x: EOF"));
    assert!(text(Split::read("no/such.json", 4, 6)).starts_with("no/such.json: "));
}

#[test]
fn given_splits_of_the_reference_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/items");
    for (name, train_items, items, sizes) in [
        ("digits", 3000, 3000, (2160, 240, 600)),
        ("fsdd", 1800, 2500, (1620, 180, 700)),
        ("tts", 2000, 2500, (1800, 200, 500)),
        ("order", 1500, 2000, (1350, 150, 500)),
    ] {
        for seed in 0..5 {
            let path = folder.join(format!("{name}_split_{seed}.json"));
            if !path.exists() {
                println!("skipped: no {}", path.display());
                continue;
            }
            let split = Split::read(path, train_items, items).unwrap();
            covers(&split, items);
            assert_eq!((split.train.len(), split.valid.len(), split.test.len()), sizes, "{name}");
        }
    }
}

#[test]
fn batches_cover_and_follow_seed_and_epoch() {
    let indices: Vec<usize> = (5..28).collect();
    let draw = |seed, epoch| batches(&indices, 4, seed, epoch, true, false).unwrap();
    let mut all = draw(1, 2).concat();
    assert_ne!(all, indices);
    all.sort_unstable();
    assert_eq!(all, indices);
    assert_eq!(draw(1, 2), draw(1, 2));
    assert_ne!(draw(1, 2), draw(1, 3));
    assert_ne!(draw(1, 2), draw(2, 2));
    assert_eq!(draw(1, 2).iter().map(Vec::len).collect::<Vec<_>>(), [4, 4, 4, 4, 4, 3]);
    assert_eq!(batches(&indices, 4, 1, 2, true, true).unwrap(), draw(1, 2)[..5]);
    assert_eq!(batches(&indices, 4, 1, 2, false, false).unwrap().concat(), indices);
    assert_eq!(
        text(batches(&indices, 0, 1, 2, true, true)),
        "batches: batch_size = 0 is not a size; use at least 1"
    );
}

#[test]
fn a_batch_is_time_major_and_zero_past_the_end() {
    let data = synthetic::burst_order(7, 0.01, 3);
    let indices = [6, 0, 3];
    for steps in [None, Some(80), Some(20)] {
        let batch = SampleBatch::assemble(&data, &indices, steps).unwrap();
        let t_len = steps.unwrap_or(60);
        assert_eq!((batch.steps, batch.batch, batch.channels), (t_len, 3, 8));
        assert_eq!(
            (batch.labels.clone(), batch.lengths.clone()),
            (vec![6, 0, 3], vec![t_len.min(60); 3])
        );
        for t in 0..t_len {
            for (b, &i) in indices.iter().enumerate() {
                for n in 0..8 {
                    let of = |e: &&Entry| e.step as usize == t && usize::from(e.channel) == n;
                    let count = data.samples[i].entries.iter().find(of).map_or(0, |e| e.count);
                    assert_eq!(batch.dense()[(t * 3 + b) * 8 + n], f32::from(count));
                }
            }
        }
    }
}

#[test]
fn an_impossible_batch_is_named() {
    let data = synthetic::burst_order(7, 0.01, 3);
    let name = "burst order: ";
    for (indices, steps, message) in [
        (&[0, 7][..], None, "indices[1] = 7 is not below 7 samples"),
        (&[], None, "indices = [] is empty; a batch needs at least one sample"),
        (&[0], Some(0), "steps = 0 is not a length; a batch needs at least one step"),
        (
            &[0],
            Some(1 << 61),
            "steps = 2305843009213693952 of 1 samples of 8 channels do not fit into memory",
        ),
    ] {
        assert_eq!(text(SampleBatch::assemble(&data, indices, steps)), format!("{name}{message}"));
    }
}

#[test]
fn a_data_set_that_cannot_train_is_named() {
    let entry = |step, channel, count| Entry { step, channel, count };
    let with = |change: &dyn Fn(&mut SpikeTrain)| {
        let mut data = synthetic::burst_order(10, 0.0, 0);
        change(&mut data.samples[4]);
        text(data.validate()).replace("burst order: ", "")
    };
    assert_eq!(with(&|s| s.label = 10), "samples[4].label = 10 is not below 10 classes");
    assert_eq!(
        with(&|s| s.steps = 0),
        "samples[4].steps = 0 is not a length; a sample needs at least one step"
    );
    assert_eq!(
        with(&|s| s.entries[0] = entry(60, 0, 1)),
        "samples[4].entries[0].step = 60 is not below 60 steps"
    );
    assert_eq!(
        with(&|s| s.entries[0].channel = 8),
        "samples[4].entries[0].channel = 8 is not below 8 channels"
    );
    assert_eq!(
        with(&|s| s.entries[1].count = 0),
        "samples[4].entries[1].count = 0 is not a number of spikes"
    );
    assert!(with(&|s| s.entries.reverse()).ends_with("is out of order"));
    assert!(with(&|s| s.entries[1] = s.entries[0]).ends_with("is out of order"));

    let mut data = synthetic::burst_order(10, 0.0, 0);
    data.samples[4].entries.clear();
    data.validate().unwrap();
    data.samples.truncate(1);
    assert_eq!(text(data.validate()), "burst order: label = 0 is the only class in the data");
    data.samples.clear();
    assert_eq!(
        text(data.validate()),
        "burst order: samples = [] is empty; a data set needs samples"
    );
    data.class_names.pop();
    assert_eq!(text(data.validate()), "burst order: class_names = 9 names do not match 10 classes");
}

#[test]
fn only_data_of_one_task_is_appended() {
    let mut data = synthetic::burst_order(10, 0.0, 0);
    data.append(synthetic::burst_order(5, 0.0, 1)).unwrap();
    assert_eq!(data.samples.len(), 15);
    let message = "lagged pairs: channels = 4 is not 8, as in burst order";
    assert_eq!(text(data.append(synthetic::lagged_pairs(5, 0))), message);
    let mut slow = synthetic::burst_order(5, 0.0, 1);
    slow.dt_ms = 5;
    assert_eq!(text(data.append(slow)), "burst order: dt_ms = 5 is not 10, as in burst order");
}

/// Samples of these classes and speakers, each with spikes of its own.
fn samples(of: &[(u16, u16)]) -> Dataset {
    let mut data = data(&vec![0; of.len()]);
    data.classes = of.iter().map(|(label, _)| usize::from(*label) + 1).max().unwrap();
    data.class_names = (0..data.classes).map(|class| format!("c{class}")).collect();
    for (n, (sample, &(label, speaker))) in data.samples.iter_mut().zip(of).enumerate() {
        (sample.label, sample.speaker) = (label, speaker);
        sample.entries = (0..sample.steps as u32)
            .map(|step| Entry { step, channel: 0, count: n as u16 + 1 })
            .collect();
    }
    data
}

fn count(data: &Dataset, items: &[usize], of: impl Fn(&SpikeTrain) -> bool) -> usize {
    items.iter().filter(|&&i| of(&data.samples[i])).count()
}

#[test]
fn every_class_and_speaker_has_its_share_of_a_stratified_part() {
    // Class 0 has 60 samples of 6 speakers, class 1 has 20 of 4, class 2 has 4 and class 3 has 1.
    let all = |label, n: u16, speakers: u16| (0..n).map(move |i| (label, i % speakers));
    let of: Vec<_> =
        all(0, 60, 6).chain(all(1, 20, 4)).chain(all(2, 4, 2)).chain(all(3, 1, 1)).collect();
    let data = samples(&of);
    let items: Vec<usize> = (0..of.len()).collect();
    let mut seen = Vec::new();
    for seed in 0..20 {
        let split = Split::stratified(&data, &items, 0.1, 0.2, seed).unwrap();
        covers(&split, 85);
        assert_eq!((split.valid.len(), split.test.len()), (9, 17));
        for (part, share) in [(&split.test, 0.2), (&split.valid, 0.1)] {
            for label in 0..4 {
                let all = count(&data, &items, |s| s.label == label) as f64;
                let own = count(&data, part, |s| s.label == label) as f64;
                assert!((own - share * all).abs() <= 1.0, "class {label}: {own} of {all}");
                assert!(count(&data, &split.train, |s| s.label == label) > 0);
            }
        }
        for speaker in 0..6 {
            let own = count(&data, &split.test, |s| (s.label, s.speaker) == (0, speaker));
            assert_eq!(own, 2);
        }
        assert_eq!(split, Split::stratified(&data, &items, 0.1, 0.2, seed).unwrap());
        seen.push(split);
    }
    let differs = |(n, split): (usize, &Split)| !seen[..n].contains(split);
    assert!(seen.iter().enumerate().all(differs));
    // Only the samples that are given are drawn from.
    let some = Split::stratified(&data, &items[10..50], 0.1, 0.25, 0).unwrap();
    assert_eq!((some.train.len(), some.valid.len(), some.test.len()), (26, 4, 10));
    assert!([some.train, some.valid, some.test].iter().flatten().all(|i| (10..50).contains(i)));
}

#[test]
fn a_class_of_one_sample_keeps_it_to_train_on() {
    let data = samples(&[(0, 0), (1, 0), (2, 0), (3, 0), (4, 0), (4, 0)]);
    for seed in 0..20 {
        let split = Split::stratified(&data, &[0, 1, 2, 3, 4, 5], 0.3, 0.3, seed).unwrap();
        assert_eq!((split.train.len(), split.valid.len(), split.test.len()), (5, 0, 1));
        assert_eq!(data.samples[split.test[0]].label, 4);
        assert_eq!(split.notes(&data), [""; 0]);
    }
}

#[test]
fn whole_speakers_are_drawn_and_every_class_stays_in_training() {
    let of: Vec<_> = (0..120u16).map(|n| (n % 4, n % 12)).chain([(4, 5), (4, 5)]).collect();
    let data = samples(&of);
    let items: Vec<usize> = (0..of.len()).collect();
    for seed in 0..20 {
        let split = Split::speakers(&data, &items, 0.1, 0.2, seed).unwrap();
        covers(&split, of.len());
        let speakers = |items: &[usize]| -> Vec<u16> {
            let mut all: Vec<_> = items.iter().map(|&i| data.samples[i].speaker).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        let [train, valid, test] = [&split.train, &split.valid, &split.test].map(|p| speakers(p));
        assert_eq!(train.len() + valid.len() + test.len(), 12);
        // The only speaker of class 4 is one to train on.
        assert!(train.contains(&5));
        assert!((10..=12).contains(&split.valid.len()), "{}", split.valid.len());
        assert!((20..=30).contains(&split.test.len()), "{}", split.test.len());
        assert_eq!(split, Split::speakers(&data, &items, 0.1, 0.2, seed).unwrap());
    }
    let two = samples(&[(0, 0), (0, 1), (1, 0), (1, 1)]);
    assert_eq!(
        text(Split::speakers(&two, &[0, 1, 2, 3], 0.25, 0.25, 0)),
        "lagged pairs: speakers = 2 cannot be divided so that every part has a speaker and every \
         class a sample to train on"
    );
    assert!(Split::speakers(&two, &[0, 1, 2, 3], 0.0, 0.25, 0).is_ok());
}

#[test]
fn what_is_unusual_about_samples_and_parts_is_said_once() {
    let mut data = samples(&[(0, 0), (0, 0), (0, 0), (0, 0), (0, 0), (1, 0)]);
    let split = |train: &[usize], test: &[usize]| Split {
        train: train.to_vec(),
        valid: Vec::new(),
        test: test.to_vec(),
    };
    let largest = "lagged pairs: class c0 has 83.3 % of the items; train.class_weights = true lets \
                   every class count the same";
    assert_eq!(data.notes(), [largest]);
    assert_eq!(
        split(&[0, 1, 2], &[3, 4, 5]).notes(&data),
        [largest, "lagged pairs: class c1 has no item to train on"]
    );
    data.samples[4].entries = data.samples[1].entries.clone();
    let equal = "lagged pairs: item 4 has the same spikes as item 1";
    assert_eq!(data.notes(), [largest, equal]);
    assert_eq!(split(&[0, 1, 4, 5], &[2, 3]).notes(&data), [largest, equal]);
    let across = format!("{equal}; 1 of 1 in another part, so figures are too good");
    assert_eq!(split(&[0, 1, 5], &[2, 3, 4]).notes(&data), [largest, &across]);
    data.samples[5].entries = data.samples[1].entries.clone();
    assert_eq!(
        data.notes()[1],
        "lagged pairs: 2 items have the same spikes as an earlier one, for example items 1 and 4"
    );
    // Half of the steps of six samples have a spike, then one in 25.
    let mut data = samples(&[(0, 0), (1, 0)]);
    for sample in &mut data.samples {
        sample.steps = 100;
        sample.entries.retain(|e| e.step < 5);
    }
    assert_eq!(data.notes(), [""; 0]);
    data.samples[0].entries.truncate(4);
    let sparse = "lagged pairs: 95.5 % of all steps of 10 ms have no spike; data.dt_ms or --dt-ms \
                  sets longer ones";
    assert_eq!(data.notes(), [sparse]);
}

#[test]
fn names_of_classes_that_look_alike_are_noted() {
    let mut data = samples(&[(0, 0), (1, 0)]);
    for (names, note) in [
        (["Yes", "yes "], "classes \"Yes\" and \"yes \" differ only in case or blanks"),
        (["a", ""], "\"\" is the name of a class; does it mean none?"),
    ] {
        data.class_names = names.map(Into::into).to_vec();
        assert_eq!(data.notes(), [format!("lagged pairs: {note}")]);
    }
    data.class_names = ["a", "a"].map(Into::into).to_vec();
    let error = data.check_samples().unwrap_err().to_string();
    assert_eq!(error, "lagged pairs: class_names[1] = a is the name of two classes");
}

#[test]
fn samples_that_do_not_exist_are_named() {
    let data = data(&[0, 1, 2, 3]);
    for split in [Split::stratified, Split::speakers] {
        let error = split(&data, &[1, 4], 0.0, 0.5, 0).unwrap_err().to_string();
        assert_eq!(error, "lagged pairs: samples[1] = 4 is not below 4 samples");
    }
}
