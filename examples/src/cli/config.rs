//! `polychron config`: a configuration with a comment for each field.

use super::print::{say, say_json};
use crate::config::Config;
use crate::error::Result;
use crate::{models, presets};
use polychron_core::optim::Optimizer;
use polychron_core::parameter::Parameter;
use serde_json::Value as Json;
use std::path::PathBuf;
use toml::{Table, Value};

/// Options of `config`.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Preset; `train --help` lists all
    #[arg(long, value_name = "NAME", conflicts_with = "config")]
    preset: Option<String>,
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set a field of the configuration; VALUE is TOML
    #[arg(long, value_name = "KEY.PATH=VALUE")]
    set: Vec<String>,
    /// Print the configuration as one line of JSON
    #[arg(long)]
    json: bool,
}

/// Runs `config`.
pub(super) fn config(args: &Args) -> Result<()> {
    let config = presets::load(args.preset.as_deref(), args.config.as_deref(), &args.set)?;
    if args.json { say_json(&whole(&config)?) } else { say(&page(&config)?) }
}

fn whole(config: &Config) -> Result<Table> {
    Ok(toml::from_str(&config.to_toml()?)?)
}

/// The configuration in TOML with a comment for each field, from its documentation. A field that is
/// absent is a line that begins with `#` and no space.
fn page(config: &Config) -> Result<String> {
    let schema = schemars::schema_for!(Config).to_value();
    let mut page = Page { schema: &schema, text: String::new() };
    page.comment(
        "A configuration for `train --config FILE`. Lines that begin with # and no space are \
         fields that are absent; for their values, NUMBER, TEXT and TABLE stand in.",
    );
    page.fields("", &schema, Some(&whole(config)?));
    Ok(page.text)
}

struct Page<'a> {
    schema: &'a Json,
    text: String,
}

/// What a field is in TOML.
enum Shape {
    Line,
    Section,
    List,
}

impl<'a> Page<'a> {
    /// The fields of a table, the tables below it last; `None` if the table is absent.
    fn fields(&mut self, path: &str, table: &'a Json, values: Option<&Table>) {
        let mut below = Vec::new();
        for (key, field) in table["properties"].as_object().into_iter().flatten() {
            let inner = self.resolve(field);
            let shape = self.shape(inner);
            if !matches!(shape, Shape::Line) {
                below.push((key, field, shape));
                continue;
            }
            self.text.push('\n');
            self.comment(text(field));
            self.choices(path, key, inner);
            match values.map(|values| values.get(key)) {
                Some(Some(value)) => self.line("", key, value),
                // A boolean that is left out is false.
                Some(None) if field["type"] == "boolean" => self.line("", key, &"false"),
                _ => self.line("#", key, &placeholder(inner)),
            }
        }
        self.parameters(path, table, values);
        for (key, field, shape) in below {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            let inner = self.resolve(field);
            self.text.push('\n');
            self.comment(text(field));
            match (shape, values.and_then(|values| values.get(key))) {
                (Shape::List, Some(Value::Array(all))) => {
                    for (n, value) in all.iter().enumerate() {
                        self.text += if n == 0 { "" } else { "\n" };
                        self.text += &format!("[[{path}]]\n");
                        self.fields(&path, self.resolve(&inner["items"]), value.as_table());
                    }
                }
                (Shape::List, _) => {
                    self.text += &format!("#[[{path}]]\n");
                    self.fields(&path, self.resolve(&inner["items"]), None);
                }
                (_, Some(Value::Table(own))) => {
                    self.text += &format!("[{path}]\n");
                    self.fields(&path, inner, Some(own));
                }
                _ => {
                    self.text += &format!("#[{path}]\n");
                    self.fields(&path, inner, None);
                }
            }
        }
    }

    /// The parameters of a model or an optimizer, with those of other kinds as absent.
    fn parameters(&mut self, path: &str, table: &Json, values: Option<&Table>) {
        let mut known: Vec<&Parameter> = match path {
            "network.neuron" => models::all_neuron_parameters(),
            "train" => Optimizer::KINDS.iter().flat_map(|(_, own)| own.iter()).collect(),
            _ => Vec::new(),
        };
        let fields = table["properties"].as_object();
        let given = values.into_iter().flatten().filter(|(key, value)| {
            let listed = known.iter().any(|parameter| parameter.name == *key);
            let field = fields.is_some_and(|fields| fields.contains_key(*key));
            !listed && !field && !value.is_table()
        });
        for (key, value) in given {
            self.text.push('\n');
            self.line("", key, value);
        }
        let points = paragraphs(text(table));
        let points: Vec<_> = points.iter().filter_map(|point| point.strip_prefix("* ")).collect();
        let about = |parameter: &Parameter| {
            let named = format!("`{}`", parameter.name);
            let head = |point: &&str| point.split(':').next().is_some_and(|h| h.contains(&named));
            points.iter().position(head)
        };
        known.sort_by_key(|parameter| about(parameter));
        let mut last = None;
        for parameter in known {
            let point = about(parameter);
            if point.is_none() || point != last {
                self.text.push('\n');
                let text = point.map_or("", |n| points[n].trim_end_matches([';', '.']));
                self.comment(&if text.is_empty() { String::new() } else { format!("{text}.") });
            }
            last = point;
            match values.and_then(|values| values.get(parameter.name)) {
                Some(value) => self.line("", parameter.name, value),
                None => self.line("#", parameter.name, &parameter.default()),
            }
        }
    }

    /// The words that a field may have.
    fn choices(&mut self, path: &str, key: &str, field: &Json) {
        for choice in field["oneOf"].as_array().into_iter().flatten() {
            if let Some(word) = choice["const"].as_str() {
                self.comment(&format!("* `{word}`: {}", text(choice)));
            }
        }
        if (path, key) == ("network.surrogate", "kind") {
            for line in models::surrogates() {
                self.comment(&format!("* {line}"));
            }
        }
    }

    fn line(&mut self, start: &str, key: &str, value: &dyn std::fmt::Display) {
        self.text += &format!("{start}{key} = {value}\n");
    }

    /// Lines of at most 100 columns.
    fn comment(&mut self, text: &str) {
        for paragraph in paragraphs(text) {
            let indent = if paragraph.starts_with("* ") { "  " } else { "" };
            let mut line = String::from("#");
            for word in paragraph.split(' ') {
                if line.chars().count() + word.chars().count() >= 100 {
                    self.text += &format!("{line}\n");
                    line = format!("# {indent}{word}");
                } else {
                    line += &format!(" {word}");
                }
            }
            self.text += &format!("{line}\n");
        }
    }

    /// What a reference or an optional field stands for.
    fn resolve(&self, field: &'a Json) -> &'a Json {
        let own = |choice: &&Json| choice["type"] != "null";
        let optional = field["anyOf"].as_array().filter(|all| !all.iter().all(|c| own(&c)));
        if let Some(choice) = optional.and_then(|all| all.iter().find(own)) {
            return self.resolve(choice);
        }
        let target = field["$ref"].as_str().and_then(|path| path.strip_prefix('#'));
        target.and_then(|path| self.schema.pointer(path)).unwrap_or(field)
    }

    fn shape(&self, field: &'a Json) -> Shape {
        if field["properties"].is_object() {
            Shape::Section
        } else if self.resolve(&field["items"])["properties"].is_object() {
            Shape::List
        } else {
            Shape::Line
        }
    }
}

/// The documentation of a field.
fn text(field: &Json) -> &str {
    field["description"].as_str().unwrap_or_default()
}

/// The paragraphs and the points of lists, each on one line, without links.
fn paragraphs(text: &str) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    let mut open = false;
    for line in text.lines().map(str::trim) {
        match all.last_mut() {
            Some(last) if open && !line.is_empty() && !line.starts_with("* ") => {
                *last += &format!(" {line}");
            }
            _ if line.is_empty() => {}
            _ => all.push(line.to_string()),
        }
        open = !line.is_empty();
    }
    all.iter().map(|paragraph| without_links(paragraph)).collect()
}

/// Replaces ``[`name`](target)`` and ``[`name`]`` with `` `name` ``.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((name, after)) = link.split_once("`]") else { break };
        plain += &format!("{before}`{name}`");
        let target = after.strip_prefix('(').and_then(|target| target.split_once(')'));
        rest = target.map_or(after, |(_, after)| after);
    }
    plain + rest
}

/// What stands for the value of an absent field.
fn placeholder(field: &Json) -> String {
    let first = field["oneOf"].get(0).and_then(|choice| choice["const"].as_str());
    if let Some(word) = first {
        return format!("{word:?}");
    }
    let kind = match &field["type"] {
        Json::Array(kinds) => kinds.first().and_then(Json::as_str),
        kind => kind.as_str(),
    };
    String::from(match kind {
        Some("number" | "integer") => "NUMBER",
        Some("boolean") => "true",
        Some("object") => "TABLE",
        _ => "TEXT",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_the_configuration() {
        let own = "network.layers=[{ norm = false, bias = true, recurrent = { max_delay = 2 } }, \
                   { inputs = [{ from = 0 }, { from = \"input\", max_delay = 3 }], \
                   neuron = { kind = \"plif\", tau_ms = 15.0 } }]";
        let penalty = "train.rate_penalty={ weight = 1.0, high = 0.5 }";
        let more = [
            "network.hidden=[8, 8]",
            own,
            penalty,
            "train.clip_norm=0.5",
            "network.readout.max_delay=0",
            "train.optimizer=sgd",
        ];
        for name in Config::presets() {
            let plain = Config::preset(name).unwrap();
            let mut changed = plain.clone();
            for set in more {
                changed.set(set).unwrap();
            }
            for config in [plain, changed] {
                let page = page(&config).unwrap();
                let found = Config::parse(&page, "page").unwrap();
                assert_eq!(found.to_toml().unwrap(), config.to_toml().unwrap(), "{page}");
                let mut comments = page.lines().filter(|line| line.starts_with('#'));
                assert!(comments.all(|line| line.chars().count() <= 100), "{page}");
                assert!(!page.contains("]("), "{page}");
            }
        }
    }

    /// The page with all absent fields.
    fn everything() -> Table {
        let page = page(&Config::preset("order").unwrap()).unwrap();
        let present = |line: &str| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => rest.to_string(),
            _ => line.to_string(),
        };
        let lines: Vec<_> = page.lines().map(present).collect();
        let mut text = lines.join("\n") + "\n";
        for (placeholder, value) in [("NUMBER", "1"), ("TEXT", "\"word\""), ("TABLE", "{}")] {
            text = text.replace(&format!(" = {placeholder}\n"), &format!(" = {value}\n"));
        }
        toml::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn the_page_has_every_field() {
        let found = Value::Table(everything());
        let list = |name| format!("network.layers=[{{ {name} }}]");
        for (path, wrong) in [
            ("", "zzz=1".to_string()),
            ("data", "data.zzz=1".into()),
            ("data.augment", "data.augment.zzz=1".into()),
            ("network", "network.zzz=1".into()),
            ("network.neuron", "network.neuron.zzz=1".into()),
            ("network.readout", "network.readout.zzz=1".into()),
            ("network.layers.0", list("zzz = 1")),
            ("network.layers.0.inputs.0", list("inputs = [{ zzz = 1 }]")),
            ("train", "train.zzz=1".into()),
            ("train.rate_penalty", "train.rate_penalty={ zzz = 1 }".into()),
        ] {
            let error = Config::preset("order").unwrap().set(&wrong).unwrap_err().to_string();
            let (_, listed) = error.split_once("expected ").unwrap_or_else(|| panic!("{error}"));
            let listed = listed.split(" in `").next().unwrap_or_default();
            let names = listed.split(['`', '"']).skip(1).step_by(2);
            let mut table = &found;
            for key in path.split('.').filter(|key| !key.is_empty()) {
                table = match key.parse::<usize>() {
                    Ok(n) => &table[n],
                    Err(_) => &table[key],
                };
            }
            let mut count = 0;
            for name in names {
                assert!(table.get(name).is_some(), "{path}.{name}: {table}");
                count += 1;
            }
            assert!(count >= 3, "{error}");
        }
    }

    #[test]
    fn fields_are_explained() {
        let page = page(&Config::preset("order").unwrap()).unwrap();
        for part in [
            "\n# Base learning rate of the delays, above 0; 0.1 by default.\ndelay_rate = 0.1\n",
            "\n# * `h5`: Files of spikes: HDF5 in the layout of SHD, `.npz` or CSV.\n",
            "by default.\ntau_ms = 10.05\n",
            "by default.\n#a = 0.1\n#b = 0.5\n",
            "\n#[train.rate_penalty]\n",
            "\n#[[network.layers]]\n",
            "\n# * `leaky_rect`: `width` = 1, `leak` = 0.01\n",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
}
