//! Sources of configurations: presets, files and assignments, in ascending precedence.

use crate::config::{Config, Protocol};
use crate::error::{Result, at, fail};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use toml::{Table, Value};

macro_rules! presets {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../presets/", $name, ".toml")))),*]
    };
}

const PRESETS: &[(&str, &str)] = presets! {
    "digits" "recordings" "order" "fsdd" "tts" "shd" "ssc" "gsc" "shd-clean" "ssc-clean" "gsc-clean"
    "axonal-ssc" "axonal-gsc" "d-cadlif-shd" "d-cadlif-ssc" "d-cadlif-gsc" "se-adlif-shd"
    "silif-ssc" "delrec-ssc" "delrec-shd"
    "delays-ssc-4ms" "digits-reference" "order-reference" "fsdd-reference"
    "tts-reference"
};

/// Largest size of a configuration in bytes. Parsing may take 500 times as much memory.
const MAX_TEXT: usize = 64 << 10;
/// The preset that is used if none is named.
const DEFAULT: &str = "digits";
const CUSTOM: &str = "custom";

/// A change of one field of a configuration. The variants are the paper's ablations.
#[derive(Clone, Copy, Debug, serde::Serialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// No delays
    NoDelays,
    /// Random delays that are rounded and stay fixed
    RandomDelays,
    /// Learned delays with the final, narrow kernel from the first epoch on
    ConstantSigma,
    /// One kernel element per synapse
    KernelCount1,
    /// Two kernel elements per synapse
    KernelCount2,
    /// Ten random inputs per neuron
    Sparse,
}

impl Variant {
    /// Returns the assignment that makes this change, for [`Config::set`].
    #[must_use]
    pub fn assignment(self) -> String {
        String::from(match self {
            Self::NoDelays => "network.delays=zero",
            Self::RandomDelays => "network.delays=fixed",
            Self::ConstantSigma => "train.sigma_epochs=0",
            Self::KernelCount1 => "network.count=1",
            Self::KernelCount2 => "network.count=2",
            Self::Sparse => "network.fan_in=10",
        })
    }
}

/// The assignments that change a preset's protocol. A preset that selects the epoch on the test
/// items then selects it on a fifth of the training items instead.
pub(crate) fn protocol_assignments(
    preset: Option<&str>,
    protocol: Protocol,
) -> Result<Vec<String>> {
    let own = load(preset, None, &[])?.protocol;
    let mut set = vec![format!("protocol={}", Value::try_from(protocol)?)];
    if (own, protocol) == (Protocol::Paper, Protocol::Clean) {
        set.extend(["data.valid=0.2".into(), "train.select=valid".into()]);
    }
    Ok(set)
}

/// The names of all presets.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    PRESETS.iter().map(|(name, _)| *name)
}

/// Returns the configuration with some fields changed.
pub(crate) fn set(config: &Config, assignments: &[impl AsRef<str>]) -> Result<Config> {
    let mut table = Table::try_from(config)?;
    for assignment in assignments.iter().map(AsRef::as_ref) {
        let key = assignment.split('=').next().unwrap_or_default().trim();
        if key == "network.surrogate.kind"
            && let Some(network) = table.get_mut("network").and_then(Value::as_table_mut)
        {
            network.remove("surrogate");
        }
        assign(&mut table, assignment)?;
    }
    to_config(table)
}

/// Loads the configuration of a preset or a file and applies `key.path=value` assignments.
///
/// Fields that a file omits have the values of its `preset`, or the defaults.
pub(crate) fn load(preset: Option<&str>, file: Option<&Path>, set: &[String]) -> Result<Config> {
    let table = match file {
        Some(path) => complete(read(path)?).map_err(at(path.display()))?,
        None => {
            let name = preset.unwrap_or(DEFAULT);
            complete(Table::from_iter([("preset".to_string(), Value::from(name))]))?
        }
    };
    assign_all(table, file, set)
}

/// Adds the fields of the table's preset that it omits.
fn complete(given: Table) -> Result<Table> {
    let name = given.get("preset").and_then(Value::as_str).unwrap_or(CUSTOM);
    let mut table = preset_table(name)?;
    let train = given.get("train").and_then(Value::as_table);
    if train.is_some_and(|train| train.contains_key("epochs")) {
        remove_steps(&mut table);
    }
    merge(&mut table, given);
    Ok(table)
}

/// Removes the number of steps, from which that of the epochs would follow.
fn remove_steps(table: &mut Table) {
    if let Some(train) = table.get_mut("train").and_then(Value::as_table_mut) {
        train.remove("steps");
    }
}

/// Reads the configuration in a run's folder, which is complete without a preset, and applies
/// assignments.
pub(crate) fn read_stored(path: &Path, set: &[String]) -> Result<Config> {
    assign_all(add_fields(read(path)?), Some(path), set)
}

/// Adds the fields that older configurations do not have. Their delays were rounded after training,
/// and their adaptive neurons had no bounds.
fn add_fields(mut table: Table) -> Table {
    let train = table.entry("train").or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(train) = train {
        train.entry("rounding").or_insert_with(|| Value::from("after"));
    }
    if let Some(network) = table.get_mut("network").and_then(Value::as_table_mut) {
        add_bounds(network);
        let layers = network.get_mut("layers").and_then(Value::as_array_mut);
        layers.into_iter().flatten().filter_map(Value::as_table_mut).for_each(add_bounds);
    }
    table
}

/// Adds the bounds to the neurons of a network or a layer.
fn add_bounds(of: &mut Table) {
    let neuron = of.get_mut("neuron").and_then(Value::as_table_mut);
    if let Some(neuron) = neuron.filter(|n| n.get("kind") == Some(&Value::from("adlif"))) {
        neuron.entry("bounds").or_insert_with(|| Value::from("none"));
    }
}

/// Parses a configuration in TOML; `place` names it in error messages. Fields that the text omits
/// have the values of its `preset`, or the defaults.
pub(crate) fn parse(text: &str, place: &str) -> Result<Config> {
    complete(parse_table(text, place)?).and_then(to_config).map_err(at(place))
}

/// Parses the configuration in a file of a run, which is complete without a preset.
pub(crate) fn parse_stored(text: &str, place: &str) -> Result<Config> {
    to_config(add_fields(parse_table(text, place)?)).map_err(at(place))
}

fn read(path: &Path) -> Result<Table> {
    let shown = path.display().to_string();
    let mut text = String::new();
    let file = File::open(path).map_err(at(&shown))?;
    file.take(MAX_TEXT as u64 + 1).read_to_string(&mut text).map_err(at(&shown))?;
    parse_table(&text, &shown)
}

fn parse_table(text: &str, place: &str) -> Result<Table> {
    if text.len() > MAX_TEXT {
        fail!("{place}: the configuration is longer than {MAX_TEXT} bytes")
    }
    if let Err(error) = toml::from_str::<Config>(text) {
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        fail!("{place}:{line}: {}", error.message());
    }
    toml::from_str(text).map_err(at(place))
}

fn assign_all(table: Table, file: Option<&Path>, set: &[String]) -> Result<Config> {
    let mut changed = table.clone();
    for assignment in set {
        assign(&mut changed, assignment)?;
    }
    to_config(changed).map_err(|failure| match (file, to_config(table)) {
        (Some(path), Err(own)) if own.message() == failure.message() => at(path.display())(failure),
        _ => failure,
    })
}

fn to_config(mut table: Table) -> Result<Config> {
    move_delays(&mut table);
    let config: Config = table.try_into().map_err(at("configuration"))?;
    config.check()?;
    Ok(config)
}

/// Moves `train.delays`, as earlier versions called it, to the network.
fn move_delays(table: &mut Table) {
    let train = table.get_mut("train").and_then(Value::as_table_mut);
    let Some(delays) = train.and_then(|train| train.remove("delays")) else { return };
    let network = table.entry("network").or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(network) = network {
        network.insert("delays".into(), delays);
    }
}

fn preset_table(name: &str) -> Result<Table> {
    if name == CUSTOM {
        return Ok(Table::new());
    }
    let Some((_, text)) = PRESETS.iter().find(|(known, _)| *known == name) else {
        let known: Vec<_> = PRESETS.iter().map(|(known, _)| *known).collect();
        fail!("preset = {name:?} is not one of {}", known.join(", "))
    };
    toml::from_str(text).map_err(at(format!("preset {name}")))
}

/// Writes the values of `changes` over those of `table`.
fn merge(table: &mut Table, changes: Table) {
    changes.keys().for_each(|key| remove_alternative(table, key));
    for (key, value) in changes {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(inner)), Value::Table(changes)) => merge(inner, changes),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// Removes the other one of two fields that exclude each other.
fn remove_alternative(table: &mut Table, key: &str) {
    match key {
        "max_delay" => table.remove("max_delay_ms"),
        "max_delay_ms" => table.remove("max_delay"),
        _ => None,
    };
}

fn assign(table: &mut Table, assignment: &str) -> Result<()> {
    let Some((path, text)) = assignment.split_once('=') else {
        fail!("--set {assignment} is not of the form key.path=value")
    };
    let value = match toml::from_str::<Table>(&format!("value = {text}")) {
        Ok(mut parsed) if parsed.len() == 1 => parsed.remove("value"),
        _ if text.trim_start().starts_with(['[', '{']) => {
            fail!("--set {assignment}: the value is not TOML; are strings in quotes?")
        }
        _ => None,
    };
    let (parents, key) = path.trim().rsplit_once('.').unwrap_or(("", path.trim()));
    if path.trim() == "preset" {
        fail!("--set {assignment}: choose a preset with --preset")
    }
    if let Some((list, _)) = path.split_once('[') {
        fail!("--set {assignment}: set the whole list: {list}=[{{ ... }}]")
    }
    if path.trim() == "train.epochs" {
        remove_steps(table);
    }
    let mut at = table;
    for parent in parents.split('.').filter(|p| !p.is_empty()) {
        let next = at.entry(parent).or_insert_with(|| Value::Table(Table::new()));
        at = match next {
            Value::Table(next) => next,
            Value::Array(_) => fail!("--set {assignment}: {parent} is a list; set it as a whole"),
            _ => fail!("--set {assignment}: {parent} is not a table"),
        };
    }
    remove_alternative(at, key);
    at.insert(key.into(), value.unwrap_or_else(|| Value::from(text.trim())));
    Ok(())
}

#[cfg(test)]
mod published;
#[cfg(test)]
mod tests;
