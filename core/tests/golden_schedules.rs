//! Learning rates, beta1 and sigma of the three configurations of the paper, for every epoch.

use crate::common::Golden;
use polychron_core::schedule::{Cosine, OneCycle, SigmaSchedule};
use serde_json::Value;

const CONFIGURATIONS: [&str; 3] = ["shd", "ssc", "gsc"];

#[track_caller]
fn close(
    name: &str,
    got: impl Iterator<Item = f64>,
    want: &[f64],
    relative: impl Fn(usize) -> f64,
) {
    for (e, (got, &want)) in got.zip(want).enumerate() {
        let error = (got - want).abs() / want.abs();
        assert!(error <= relative(e), "{name}, epoch {e}: {got}, not {want} (off by {error:e})");
    }
}

#[test]
fn schedules_are_the_packages() {
    let golden = Golden::open("schedules");
    let json: Value = serde_json::from_str(include_str!("golden/schedules.json")).unwrap();
    for name in CONFIGURATIONS {
        let number = |field: &str| json[name][field].as_f64().unwrap();
        let (epochs, taps) = (number("epochs") as usize, number("K") as usize);
        let sigma = SigmaSchedule::paper(taps, epochs);
        assert_eq!((sigma.start, sigma.end), (number("sig_init"), number("sig_floor")), "{name}");
        assert_eq!(sigma.epochs, number("sig_final_epoch") as usize, "{name}");
        let (cycle, cosine) = (OneCycle { peak: 5e-3, epochs }, Cosine { base: 0.1, epochs });
        for (field, key, at) in [
            ("lr_w", "lr_w", &(|e| cycle.at(e).0) as &dyn Fn(usize) -> f64),
            ("beta1_w", "beta1_w", &|e| cycle.at(e).1),
            ("lr_pos", "lr_pos", &|e| cosine.at(e)),
            ("sig_f64", "sig", &|e| sigma.at(e)),
        ] {
            let (full, tensor) =
                (format!("{name}.{field}"), golden.f64s(&format!("{name}.{field}")));
            let listed: Vec<f64> = serde_json::from_value(json[name][key].clone()).unwrap();
            assert_eq!((tensor.len(), listed.len()), (epochs, epochs), "{full}");
            close(&full, (0..epochs).map(at), &tensor, |_| 1e-12);
            close(&format!("{full} listed"), (0..epochs).map(at), &listed, |_| 1e-12);
        }
        let width: Vec<f64> =
            serde_json::from_value(json[name]["sigma_effective"].clone()).unwrap();
        let widths = (0..epochs).map(|e| sigma.at(e) + 0.27);
        close(&format!("{name}.width"), widths, &width, |_| 1e-12);
        let single = golden.f64s(&format!("{name}.sig_f32"));
        // The packages multiply by a rounded factor in every epoch.
        let products =
            |e: usize| (1 + 2 * e.min(sigma.epochs)) as f64 * f64::from(f32::EPSILON) / 2.0;
        close(&format!("{name}.sig_f32"), (0..epochs).map(|e| sigma.at(e)), &single, products);
    }
    golden.all_read();
}

#[test]
fn schedules_keep_their_last_value() {
    for epochs in [0, 1, 12] {
        let (cycle, cosine) = (OneCycle { peak: 5e-3, epochs }, Cosine { base: 0.1, epochs });
        let (sigma, last) = (SigmaSchedule::paper(25, epochs), epochs.max(1));
        for epoch in [last + 1, 2 * last, usize::MAX] {
            assert_eq!(cosine.at(epoch), 0.0, "{epochs}, {epoch}");
            assert_eq!(cycle.at(epoch), cycle.at(last), "{epochs}, {epoch}");
            assert_eq!(sigma.at(epoch), sigma.at(last), "{epochs}, {epoch}");
        }
    }
}
