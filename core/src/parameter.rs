//! Parameters of models in configurations: their names, defaults, checks and units.
//!
//! A model that a configuration can name lists its [`Parameter`]s and is made from [`Settings`]:
//! the values that a configuration gives, with the defaults of all others.

use crate::num::Real;
use core::fmt;

/// A value in a configuration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// A number.
    Number(f64),
    /// A boolean.
    Flag(bool),
    /// A word.
    Word(&'a str),
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(x) => write!(f, "{x:?}"),
            Self::Flag(x) => write!(f, "{x:?}"),
            Self::Word(x) => write!(f, "{x:?}"),
        }
    }
}

/// The allowed values of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Domain {
    /// A time constant in ms, at least one step; the default.
    Time(f64),
    /// A time constant in ms, longer than one step, because the logistic parameter of a shorter one
    /// is not finite; the default.
    LongTime(f64),
    /// A finite number; the default.
    Number(f64),
    /// A number or an infinity, for a bound; the default.
    Bound(f64),
    /// A boolean; the default.
    Flag(bool),
    /// One of these words; the first is the default.
    Word(&'static [&'static str]),
}

/// A parameter of a model in configurations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Parameter {
    /// The name in configurations.
    pub name: &'static str,
    /// The allowed values and the default.
    pub domain: Domain,
}

impl Parameter {
    /// A parameter.
    #[must_use]
    pub const fn new(name: &'static str, domain: Domain) -> Self {
        Self { name, domain }
    }

    /// The default.
    #[must_use]
    pub fn default(&self) -> Value<'static> {
        match self.domain {
            Domain::Time(x) | Domain::LongTime(x) | Domain::Number(x) | Domain::Bound(x) => {
                Value::Number(x)
            }
            Domain::Flag(x) => Value::Flag(x),
            Domain::Word(words) => Value::Word(words.first().copied().unwrap_or_default()),
        }
    }
}

/// What a configuration says of a model: values of some parameters; all others have their defaults.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    kind: &'a str,
    parameters: &'static [Parameter],
    given: &'a [(&'a str, Value<'a>)],
    step_ms: f64,
}

impl<'a> Settings<'a> {
    /// The settings of a model of this kind with these parameters. A step takes `step_ms`.
    ///
    /// # Errors
    /// [`ParameterError`] if a value has the wrong type. Values of other parameters are not read.
    pub fn new(
        kind: &'a str,
        parameters: &'static [Parameter],
        given: &'a [(&'a str, Value<'a>)],
        step_ms: f64,
    ) -> Result<Self, ParameterError<'a>> {
        let settings = Self { kind, parameters, given, step_ms };
        for parameter in parameters {
            let value = settings.value(parameter);
            let problem = match (parameter.domain, value) {
                (Domain::Flag(_), Value::Flag(_)) => continue,
                (Domain::Flag(_), _) => Problem::Wrong("is not a boolean"),
                (Domain::Word(words), Value::Word(word)) if words.contains(&word) => continue,
                (Domain::Word(words), _) => Problem::NotOneOf(words),
                (_, Value::Number(_)) => continue,
                _ => Problem::Wrong("is not a number"),
            };
            return Err(ParameterError { parameter: parameter.name, value, problem });
        }
        Ok(settings)
    }

    /// The name by which the configuration calls the model.
    #[must_use]
    pub fn kind(&self) -> &'a str {
        self.kind
    }

    fn value(&self, parameter: &Parameter) -> Value<'a> {
        let given = self.given.iter().find(|(name, _)| *name == parameter.name);
        given.map_or(parameter.default(), |&(_, value)| value)
    }

    fn find(&self, name: &'a str) -> Result<(Domain, Value<'a>), ParameterError<'a>> {
        let found = self.parameters.iter().find(|parameter| parameter.name == name);
        let parameter = found.ok_or(ParameterError {
            parameter: name,
            value: Value::Word(self.kind),
            problem: Problem::Wrong("has no such parameter"),
        })?;
        Ok((parameter.domain, self.value(parameter)))
    }

    /// A number; a time constant in steps.
    ///
    /// # Errors
    /// [`ParameterError`] if the number is NaN or, unless it is a bound, infinite as `R`; if a time
    /// constant is too short; or if the model has no such parameter.
    pub fn number<R: Real>(&self, name: &'static str) -> Result<R, ParameterError<'a>> {
        let (domain, value) = self.find(name)?;
        let Value::Number(number) = value else { return wrong(name, value, "is not a number") };
        if number.is_nan() {
            return wrong(name, value, "is not a number");
        }
        if !matches!(domain, Domain::Bound(_)) && !R::of(number).is_finite() {
            return wrong(name, value, "is not finite in the precision of training");
        }
        let steps = R::of(number / self.step_ms);
        let short = |bound| {
            let problem = Problem::Short { bound, step_ms: self.step_ms };
            Err(ParameterError { parameter: name, value, problem })
        };
        match domain {
            Domain::Time(_) if steps >= R::one() => Ok(steps),
            Domain::LongTime(_) if steps > R::one() => Ok(steps),
            Domain::Time(_) => short("at least"),
            Domain::LongTime(_) => short("above"),
            _ => Ok(R::of(number)),
        }
    }

    /// A boolean.
    ///
    /// # Errors
    /// [`ParameterError`] if the model has no such parameter.
    pub fn flag(&self, name: &'static str) -> Result<bool, ParameterError<'a>> {
        match self.find(name)?.1 {
            Value::Flag(flag) => Ok(flag),
            value => wrong(name, value, "is not a boolean"),
        }
    }

    /// A word.
    ///
    /// # Errors
    /// [`ParameterError`] if the model has no such parameter.
    pub fn word(&self, name: &'static str) -> Result<&'a str, ParameterError<'a>> {
        match self.find(name)?.1 {
            Value::Word(word) => Ok(word),
            value => wrong(name, value, "is not a word"),
        }
    }

    /// Checks a condition between parameters.
    ///
    /// # Errors
    /// [`ParameterError`] with the value of the parameter and the problem unless the condition
    /// holds.
    pub fn require(
        &self,
        holds: bool,
        name: &'static str,
        problem: &'static str,
    ) -> Result<(), ParameterError<'a>> {
        if holds {
            return Ok(());
        }
        wrong(name, self.find(name)?.1, problem)
    }
}

fn wrong<'a, T>(
    parameter: &'a str,
    value: Value<'a>,
    problem: &'static str,
) -> Result<T, ParameterError<'a>> {
    Err(ParameterError { parameter, value, problem: Problem::Wrong(problem) })
}

/// A parameter whose value is invalid. It displays as `parameter = value problem`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ParameterError<'a> {
    /// The name of the parameter; `kind` for the name of the model.
    pub parameter: &'a str,
    /// The value.
    pub value: Value<'a>,
    /// The problem.
    pub problem: Problem,
}

/// The problem of a [`ParameterError`].
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Problem {
    /// The value is none of these words.
    NotOneOf(&'static [&'static str]),
    /// No model of the list that was asked has this name or parameter.
    Unknown,
    /// The time constant is too short.
    Short {
        /// `"at least"` or `"above"`.
        bound: &'static str,
        /// The length of a step in ms.
        step_ms: f64,
    },
    /// Another problem, in words.
    Wrong(&'static str),
}

impl fmt::Display for ParameterError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} ", self.parameter, self.value)?;
        match self.problem {
            Problem::NotOneOf(words) => write!(f, "is not one of {words:?}"),
            Problem::Unknown => f.write_str("is unknown"),
            Problem::Short { bound, step_ms } => {
                write!(f, "is not {bound} one step of {step_ms} ms")
            }
            Problem::Wrong(problem) => f.write_str(problem),
        }
    }
}

impl core::error::Error for ParameterError<'_> {}
