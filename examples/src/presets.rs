//! Where a configuration comes from: preset, file, command line, each over the one before.

use crate::config::Config;
use crate::error::{Failure, Result, at, fail};
use std::path::Path;
use toml::{Table, Value};

macro_rules! presets {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../presets/", $name, ".toml")))),*]
    };
}

const PRESETS: &[(&str, &str)] = presets! {
    "digits" "order" "fsdd" "tts" "shd" "ssc" "gsc"
    "digits-reference" "order-reference" "fsdd-reference" "tts-reference"
};

/// The preset that runs without a name.
const DEFAULT: &str = "digits";
const CUSTOM: &str = "custom";

/// The configuration of a preset or of a file, with `key.path=value` assignments over it.
///
/// A file's own `preset` says what holds where the file names nothing; without one, the defaults do.
pub(crate) fn load(preset: Option<&str>, file: Option<&Path>, set: &[String]) -> Result<Config> {
    let given = match file {
        Some(path) => read(path)?,
        None => {
            let name = preset.unwrap_or(DEFAULT);
            Table::from_iter([("preset".to_string(), Value::from(name))])
        }
    };
    let below = base(given.get("preset").and_then(Value::as_str).unwrap_or(CUSTOM));
    let mut table = below.map_err(|failure| match file {
        Some(path) => at(path.display())(failure),
        None => failure,
    })?;
    merge(&mut table, given);
    assigned(table, file, set)
}

/// The configuration in a run's folder, which no preset completes, with assignments over it.
pub(crate) fn stored(path: &Path, set: &[String]) -> Result<Config> {
    assigned(read(path)?, Some(path), set)
}

/// A whole configuration as TOML; `place` names it in messages.
pub(crate) fn parse(text: &str, place: &str) -> Result<Config> {
    checked(table(text, place)?).map_err(at(place))
}

fn read(path: &Path) -> Result<Table> {
    let shown = path.display().to_string();
    table(&std::fs::read_to_string(path).map_err(at(&shown))?, &shown)
}

fn table(text: &str, place: &str) -> Result<Table> {
    if let Err(error) = toml::from_str::<Config>(text) {
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        fail!("{place}:{line}: {}", error.message());
    }
    toml::from_str(text).map_err(at(place))
}

fn assigned(table: Table, file: Option<&Path>, set: &[String]) -> Result<Config> {
    let mut over = table.clone();
    for assignment in set {
        assign(&mut over, assignment)?;
    }
    checked(over).map_err(|failure| match (file, checked(table)) {
        (Some(path), Err(own)) if own.0 == failure.0 => at(path.display())(failure),
        _ => failure,
    })
}

fn checked(table: Table) -> Result<Config> {
    let config: Config = table.try_into().map_err(at("configuration"))?;
    config.check()?;
    Ok(config)
}

fn base(name: &str) -> Result<Table> {
    if name == CUSTOM {
        return Ok(Table::new());
    }
    let Some((_, text)) = PRESETS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<_> = PRESETS.iter().map(|(known, _)| *known).collect();
        fail!("preset = {name:?} is not one of {}", known.join(", "))
    };
    toml::from_str(text).map_err(at(format!("preset {name}")))
}

fn merge(under: &mut Table, over: Table) {
    for (key, value) in over {
        match (under.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => {
                under.insert(key, value);
            }
        }
    }
}

fn assign(table: &mut Table, assignment: &str) -> Result<()> {
    let Some((path, text)) = assignment.split_once('=') else {
        fail!("--set {assignment} is not of the form key.path=value")
    };
    let value = match toml::from_str::<Table>(&format!("value = {text}")) {
        Ok(mut parsed) if parsed.len() == 1 => parsed.remove("value"),
        _ => None,
    };
    let (parents, key) = path.trim().rsplit_once('.').unwrap_or(("", path.trim()));
    if path.trim() == "preset" {
        fail!("--set {assignment}: a preset is chosen by --preset")
    }
    let mut at = table;
    for parent in parents.split('.').filter(|p| !p.is_empty()) {
        let next = at.entry(parent).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(next) = next else {
            return Err(Failure(format!("--set {assignment}: {parent} is not a table")));
        };
        at = next;
    }
    at.insert(key.into(), value.unwrap_or_else(|| Value::from(text.trim())));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_a_configuration_that_repeats_itself() {
        for (name, _) in PRESETS {
            let config = load(Some(name), None, &[]).unwrap();
            assert_eq!(config.preset, *name);
            let again: Config = toml::from_str(&config.to_toml().unwrap()).unwrap();
            assert_eq!(config, again);
        }
    }

    #[test]
    fn assignments_take_numbers_lists_and_bare_words() {
        let set = [
            "network.hidden=[3, 4]",
            "data.source=order",
            "train.rate=1",
            "network.surrogate.kind=rect",
        ];
        let config = load(None, None, &set.map(String::from)).unwrap();
        assert_eq!(config.network.hidden, [3, 4]);
        assert_eq!(config.data.source, crate::config::Source::Order);
        assert_eq!(config.train.rate, 1.0);
        assert!(config.network.surrogate.parameters.is_empty());
    }

    #[test]
    fn an_unknown_key_is_named() {
        let error = load(None, None, &["network.neuron.tau=3".into()]).unwrap_err().0;
        assert!(
            error.contains("unknown field `tau`") && error.contains("network.neuron"),
            "{error}"
        );
    }
}
