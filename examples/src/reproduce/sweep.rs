//! The settings of a sweep.

use crate::config::Config;
use crate::error::{Result, fail};
use crate::presets;
use std::collections::{BTreeMap, BTreeSet};
use toml::Value;

/// Largest number of settings.
const MOST: usize = 1000;
/// Largest number of characters of a value in the name of a folder.
const LONGEST: usize = 40;

/// One setting of a sweep.
#[derive(Clone, Debug)]
pub(super) struct Setting {
    /// The values of the swept fields.
    pub(super) values: BTreeMap<String, Value>,
    /// The start of the names of its folders; empty without a sweep.
    pub(super) prefix: String,
    pub(super) config: Config,
}

/// All combinations of the values that assignments give to their fields; the last field changes
/// first. Without assignments, `config` is the only setting.
pub(super) fn settings(config: &Config, assignments: &[String]) -> Result<Vec<Setting>> {
    let mut fields: Vec<(&str, Vec<&str>)> = Vec::new();
    for assignment in assignments {
        let Some((key, value)) = assignment.split_once('=') else {
            fail!("--sweep {assignment} is not of the form key.path=value")
        };
        let (key, value) = (key.trim(), value.trim());
        if key == "seed" {
            fail!("--sweep {assignment}: --seeds N sets the seeds, 0 to N - 1")
        }
        match fields.iter_mut().find(|(known, _)| *known == key) {
            Some((_, values)) => values.push(value),
            None => fields.push((key, vec![value])),
        }
    }
    let count = fields.iter().try_fold(1_usize, |n, (_, values)| n.checked_mul(values.len()));
    if count.is_none_or(|count| count > MOST) {
        fail!("--sweep: makes more than {MOST} settings")
    }
    let (mut all, mut known, mut prefixes) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
    for n in 0..count.unwrap_or(1) {
        let mut rest = n;
        let mut chosen = Vec::new();
        for (key, values) in fields.iter().rev() {
            chosen.insert(0, (*key, values[rest % values.len()]));
            rest /= values.len();
        }
        let set: Vec<_> = chosen.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let shown = format!("--sweep {}", set.join(" --sweep "));
        let config = presets::set(config, &set).map_err(|failure| failure.at(&shown))?;
        let found = config.fields()?;
        if let Some(other) = known.insert(format!("{found:?}"), shown.clone()) {
            fail!("{shown}: the same setting as {other}")
        }
        let value = |key: &str, text: &str| found.get(key).cloned().unwrap_or(Value::from(text));
        let values = chosen.iter().map(|(key, text)| (key.to_string(), value(key, text)));
        let prefix = prefix(&chosen, &mut prefixes);
        all.push(Setting { values: values.collect(), prefix, config });
    }
    Ok(all)
}

/// A name of lower-case letters, digits, points, `-` and `_` that is not in `taken`: `rate-0.01_`.
fn prefix(chosen: &[(&str, &str)], taken: &mut BTreeSet<String>) -> String {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_string();
    let unique =
        |key: &str| chosen.iter().filter(|(other, _)| last(other) == last(key)).count() < 2;
    let parts = chosen.iter().map(|(key, value)| {
        let key = if unique(key) { last(key) } else { key.to_string() };
        format!("{}-{}_", safe(&key), safe(value))
    });
    let parts: String = parts.collect();
    let numbered = |n: usize| if n == 1 { parts.clone() } else { format!("{parts}{n}_") };
    let free = (1..).map(numbered).find(|name| name.is_empty() || taken.insert(name.clone()));
    free.unwrap_or_default()
}

/// The letters, digits, points and minus signs of a text, with one `_` in place of others.
fn safe(text: &str) -> String {
    let keep = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let words = text.split(|c| !keep(c)).filter(|word| !word.is_empty());
    let joined = words.collect::<Vec<_>>().join("_").to_ascii_lowercase();
    joined.chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(assignments: &[&str]) -> Result<Vec<Setting>> {
        let assignments: Vec<_> = assignments.iter().map(ToString::to_string).collect();
        settings(&Config::preset("order").unwrap(), &assignments)
    }

    #[test]
    fn several_fields_make_the_product() {
        let one = all(&[]).unwrap();
        assert_eq!((one.len(), one[0].prefix.as_str()), (1, ""));
        let four = ["train.rate=1e-3", "network.count=1", "train.rate=0.01", "network.count=2"];
        let four = all(&four).unwrap();
        let shown: Vec<_> = four.iter().map(|setting| setting.prefix.as_str()).collect();
        assert_eq!(
            shown,
            [
                "rate-1e-3_count-1_",
                "rate-1e-3_count-2_",
                "rate-0.01_count-1_",
                "rate-0.01_count-2_"
            ]
        );
        let Setting { config, values, .. } = &four[1];
        assert_eq!((config.train.rate, config.network.count), (0.001, 2));
        assert_eq!(values["train.rate"], Value::from(0.001));
        // Neither of the two is valid alone.
        let both = all(&["train.rounded_epochs=2", "train.rounding=nearest"]).unwrap();
        assert_eq!(both[0].config.train.rounded_epochs, Some(2));
    }

    #[test]
    fn names_are_safe_and_differ() {
        for (assignments, expected) in [
            (
                &["network.hidden=[64, 32]", "network.hidden = [64]"][..],
                ["hidden-64_32_", "hidden-64_"],
            ),
            (
                &["data.train_file=A/b\"", "data.train_file=a.b"],
                ["train_file-a_b_", "train_file-a.b_"],
            ),
            (&["data.train_file=A", "data.train_file=a"], ["train_file-a_", "train_file-a_2_"]),
        ] {
            let found: Vec<_> = all(assignments).unwrap().into_iter().map(|s| s.prefix).collect();
            assert_eq!(found, expected);
        }
        let long = format!("data.train_file={}", "x".repeat(300));
        assert_eq!(all(&[&long]).unwrap()[0].prefix.len(), "train_file-_".len() + LONGEST);
        let twice = ["network.max_delay=3", "network.readout.max_delay=5"];
        let expected = "network.max_delay-3_network.readout.max_delay-5_";
        assert_eq!(all(&twice).unwrap()[0].prefix, expected);
    }

    #[test]
    fn errors_name_the_assignment() {
        for (assignments, message) in [
            (&["train.rate"][..], "--sweep train.rate is not of the form key.path=value"),
            (
                &["train.rate=1", "train.rate=-1"],
                "--sweep train.rate=-1: train.rate = -1.0 is not positive",
            ),
            (&["train.rte=1"], "--sweep train.rte=1: train: unknown field `rte`"),
            (&["seed=1"], "--sweep seed=1: --seeds N sets the seeds"),
            (
                &["train.rate=0.01", "train.rate=1e-2"],
                "--sweep train.rate=1e-2: the same setting as",
            ),
        ] {
            let error = all(assignments).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
        let many: Vec<_> = (0..1001).map(|n| format!("network.max_delay={n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        assert!(all(&many).unwrap_err().to_string().contains("more than 1000 settings"));
    }
}
