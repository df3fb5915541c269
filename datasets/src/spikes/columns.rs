//! Names of arrays and columns.

/// What an array or a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    Time,
    Unit,
    Item,
    Label,
    Speaker,
    Name,
    Part,
    Keys,
    Channels,
    Step,
}

const NAMES: [(Role, &[&str]); 10] = [
    (Role::Time, &["time", "times", "t"]),
    (Role::Unit, &["unit", "units", "x", "channel"]),
    (Role::Item, &["item", "items", "sample", "samples", "index"]),
    (Role::Label, &["label", "labels"]),
    (Role::Speaker, &["speaker", "speakers"]),
    (Role::Name, &["name", "names"]),
    (Role::Part, &["part", "parts"]),
    (Role::Keys, &["keys"]),
    (Role::Channels, &["channels"]),
    (Role::Step, &["dt_ms"]),
];

/// What a name stands for, in any case.
pub(super) fn role(name: &str) -> Option<Role> {
    let named = |(_, names): &&(Role, &[&str])| names.iter().any(|n| n.eq_ignore_ascii_case(name));
    NAMES.iter().find(named).map(|(role, _)| *role)
}

/// Says what to do about events of pixels, whose units are not only their `x`.
pub(super) fn pixels<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Option<String> {
    let has = |wanted: &str| names.clone().any(|name| name.eq_ignore_ascii_case(wanted));
    let more = ["y", "p", "polarity"].into_iter().find(|name| has(name))?;
    let reason = format!("has x and {more}; give every spike one unit, such as y * width + x");
    (has("x") && !has("unit")).then_some(reason)
}

impl Role {
    pub(super) fn name(self) -> &'static str {
        NAMES.iter().find(|(role, _)| *role == self).map_or("", |(_, names)| names[0])
    }
}
