use super::{AnyNeuron, LinearMembrane, Neuron, Reset};
use crate::num::Real;
use crate::parameter::{Domain, Parameter, ParameterError, Settings, Value};
use core::fmt::Debug;

/// A generic function of a neuron, called through [`NeuronModel::visit`].
pub trait NeuronVisitor<R: Real> {
    /// The result.
    type Output;
    /// Calls the function with the concrete neuron.
    fn visit<N: Neuron<Real = R>>(self, neuron: &N) -> Self::Output;
}

/// A neuron whose type may be chosen at run time: every [`Neuron`], and [`AnyNeuron`].
///
/// Backends dispatch once per stage, through [`visit`](Self::visit), not once per step.
pub trait NeuronModel: Clone + Debug + Send + Sync {
    /// The number type.
    type Real: Real;
    /// Calls the visitor with the concrete neuron.
    fn visit<V: NeuronVisitor<Self::Real>>(&self, visitor: V) -> V::Output;
}

/// What a network knows of a neuron model whose type is erased.
pub trait ErasedNeuron<R: Real>: Debug {
    /// The number of raw learnable parameters of a neuron.
    fn param_count(&self) -> usize;
    /// The number of components of a state.
    fn state_count(&self) -> usize;
    /// Copies the raw parameters of the configuration to `out`, up to its length.
    fn write_params(&self, out: &mut [R]);
    /// The bounds of a raw parameter, from [`Neuron::bounds`]; `None` if it has none.
    fn param_bounds(&self, index: usize) -> Option<(R, R)>;
    /// [`Neuron::linear_membrane`] of a neuron with these raw parameters. `None` also if it cannot
    /// spike or if `params` has another length.
    fn membrane_with(&self, params: &[R]) -> Option<LinearMembrane<R>>;
}

impl<R: Real, M: NeuronModel<Real = R>> ErasedNeuron<R> for M {
    fn param_count(&self) -> usize {
        struct Count;
        impl<R: Real> NeuronVisitor<R> for Count {
            type Output = usize;
            fn visit<N: Neuron<Real = R>>(self, neuron: &N) -> usize {
                neuron.params().as_ref().len()
            }
        }
        self.visit(Count)
    }

    fn state_count(&self) -> usize {
        struct Count;
        impl<R: Real> NeuronVisitor<R> for Count {
            type Output = usize;
            fn visit<N: Neuron<Real = R>>(self, neuron: &N) -> usize {
                neuron.rest().as_ref().len()
            }
        }
        self.visit(Count)
    }

    fn write_params(&self, out: &mut [R]) {
        struct Write<'a, R>(&'a mut [R]);
        impl<R: Real> NeuronVisitor<R> for Write<'_, R> {
            type Output = ();
            fn visit<N: Neuron<Real = R>>(self, neuron: &N) {
                for (to, &from) in self.0.iter_mut().zip(neuron.params().as_ref()) {
                    *to = from;
                }
            }
        }
        self.visit(Write(out));
    }

    fn param_bounds(&self, index: usize) -> Option<(R, R)> {
        struct Bounds(usize);
        impl<R: Real> NeuronVisitor<R> for Bounds {
            type Output = Option<(R, R)>;
            fn visit<N: Neuron<Real = R>>(self, neuron: &N) -> Self::Output {
                let (least, most) = neuron.bounds()?;
                let bounds = (*least.as_ref().get(self.0)?, *most.as_ref().get(self.0)?);
                (bounds != (-R::infinity(), R::infinity())).then_some(bounds)
            }
        }
        self.visit(Bounds(index))
    }

    fn membrane_with(&self, params: &[R]) -> Option<LinearMembrane<R>> {
        struct Linear<'a, R>(&'a [R]);
        impl<R: Real> NeuronVisitor<R> for Linear<'_, R> {
            type Output = Option<LinearMembrane<R>>;
            fn visit<N: Neuron<Real = R>>(self, neuron: &N) -> Self::Output {
                if !neuron.fires() || neuron.params().as_ref().len() != self.0.len() {
                    return None;
                }
                neuron.with_set(self.0, 1, 0).linear_membrane()
            }
        }
        self.visit(Linear(params))
    }
}

impl<N: Neuron> NeuronModel for N {
    type Real = N::Real;

    fn visit<V: NeuronVisitor<N::Real>>(&self, visitor: V) -> V::Output {
        visitor.visit(self)
    }
}

/// A neuron that configurations can name.
pub trait NamedNeuron: Neuron {
    /// The names in configurations: usually one, `"lif"`.
    const NAMES: &'static [&'static str];
    /// The parameters in configurations.
    const PARAMETERS: &'static [Parameter];
    /// Configurations for proofs, with a step of 1 ms. The numbers, and those that
    /// [`from_settings`](Self::from_settings) computes, are exact in `f32`.
    const EXAMPLES: &'static [Example];

    /// The neuron of a configuration, called by one of its names.
    ///
    /// # Errors
    /// Names the parameter whose value is invalid.
    fn from_settings<'a>(settings: &Settings<'a>) -> Result<Self, ParameterError<'a>>;
}

/// A configuration of a neuron, for proofs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Example {
    /// The name in test reports: the kind and what is special.
    pub label: &'static str,
    /// One of the neuron's names.
    pub kind: &'static str,
    /// Parameters that differ from their defaults.
    pub given: &'static [(&'static str, Value<'static>)],
}

/// The names and parameters of a [`NamedNeuron`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NeuronKind {
    /// [`NamedNeuron::NAMES`]
    pub names: &'static [&'static str],
    /// [`NamedNeuron::PARAMETERS`]
    pub parameters: &'static [Parameter],
    /// [`NamedNeuron::EXAMPLES`]
    pub examples: &'static [Example],
}

impl NeuronKind {
    /// Names, parameters and examples of a neuron type.
    #[must_use]
    pub const fn of<N: NamedNeuron>() -> Self {
        Self { names: N::NAMES, parameters: N::PARAMETERS, examples: N::EXAMPLES }
    }
}

macro_rules! neurons {
    ($($neuron:ident)*) => {
        /// A neuron model chosen at run time.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub enum AnyNeuron<R> {
            $(
                #[doc = concat!("[`", stringify!($neuron), "`]")]
                $neuron($neuron<R>),
            )*
        }

        impl<R: Real> NeuronModel for AnyNeuron<R> {
            type Real = R;

            fn visit<V: NeuronVisitor<R>>(&self, visitor: V) -> V::Output {
                match self {
                    $(Self::$neuron(n) => visitor.visit(n)),*
                }
            }
        }

        $(impl<R> From<$neuron<R>> for AnyNeuron<R> {
            fn from(neuron: $neuron<R>) -> Self {
                Self::$neuron(neuron)
            }
        })*

        impl<R: Real> AnyNeuron<R> {
            /// Names, parameters and examples of every neuron.
            pub const KINDS: &'static [NeuronKind] = &[$(NeuronKind::of::<$neuron<R>>()),*];

            /// The neuron of a name. Parameters that are not given have their defaults. Those of
            /// other neurons are ignored. A step takes `step_ms`.
            ///
            /// ```
            /// use polychron_core::neuron::{AnyNeuron, Lif};
            /// use polychron_core::parameter::Value;
            /// let neuron = AnyNeuron::from_name("lif", &[("tau_ms", Value::Number(20.0))], 10.0);
            /// assert_eq!(neuron, Ok(AnyNeuron::Lif(Lif::new(2.0))));
            /// ```
            ///
            /// # Errors
            /// [`ParameterError`] if no neuron has this name or one of the parameters, or if a
            /// value is invalid.
            pub fn from_name<'a>(
                name: &'a str,
                given: &'a [(&'a str, Value<'a>)],
                step_ms: f64,
            ) -> Result<Self, ParameterError<'a>> {
                let known = |name: &str| {
                    let mut all = Self::KINDS.iter().flat_map(|kind| kind.parameters);
                    all.any(|parameter| parameter.name == name)
                };
                if let Some(&(parameter, value)) = given.iter().find(|(name, _)| !known(name)) {
                    return Err(ParameterError { parameter, value, problem: Problem::Unknown });
                }
                $(if <$neuron<R> as NamedNeuron>::NAMES.contains(&name) {
                    let parameters = <$neuron<R> as NamedNeuron>::PARAMETERS;
                    let settings = Settings::new(name, parameters, given, step_ms)?;
                    return Ok(Self::$neuron(NamedNeuron::from_settings(&settings)?));
                })*
                let (parameter, value) = ("kind", Value::Word(name));
                Err(ParameterError { parameter, value, problem: Problem::Unknown })
            }
        }
    };
}
pub(super) use neurons;

impl<R: Real> AnyNeuron<R> {
    /// Every name that [`AnyNeuron::from_name`] accepts.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::KINDS.iter().flat_map(|kind| kind.names.iter().copied())
    }

    /// The examples of every neuron, with their labels.
    pub fn examples() -> impl Iterator<Item = (&'static str, Self)> {
        let examples = Self::KINDS.iter().flat_map(|kind| kind.examples);
        examples.filter_map(|Example { label, kind, given }| {
            Some((*label, Self::from_name(kind, given, 1.0).ok()?))
        })
    }
}

/// The parameters of a membrane that [`membrane`] reads.
pub(super) const THRESHOLD: Parameter = Parameter::new("threshold", Domain::Number(1.0));
pub(super) const RESET: Parameter = Parameter::new("reset", Domain::Word(&["hard", "soft"]));
pub(super) const V_RESET: Parameter = Parameter::new("v_reset", Domain::Number(0.0));
pub(super) const DETACH: Parameter = Parameter::new("detach", Domain::Flag(true));
pub(super) const DECAY_INPUT: Parameter = Parameter::new("decay_input", Domain::Flag(false));
/// The default of `tau_ms`: the paper's on SHD.
pub(super) const TAU_MS: f64 = 10.05;

/// Threshold, reset, and whether it is detached.
pub(super) fn membrane<'a, R: Real>(
    settings: &Settings<'a>,
) -> Result<(R, Reset<R>, bool), ParameterError<'a>> {
    let threshold = settings.number("threshold")?;
    let reset = match settings.word("reset")? {
        "soft" => Reset::Soft,
        _ => Reset::Hard(settings.number("v_reset")?),
    };
    let above = threshold > reset.rest();
    settings.require(above, "threshold", "is not above the resting potential, v_reset")?;
    Ok((threshold, reset, settings.flag("detach")?))
}

/// Settings that several examples have.
pub(super) const TAU: (&str, Value<'_>) = ("tau_ms", Value::Number(4.0));
pub(super) const ATTACHED: (&str, Value<'_>) = ("detach", Value::Flag(false));
pub(super) const SOFT: (&str, Value<'_>) = ("reset", Value::Word("soft"));
pub(super) const OFFSET: (&str, Value<'_>) = ("v_reset", Value::Number(-0.25));
pub(super) const DECAYING: (&str, Value<'_>) = ("decay_input", Value::Flag(true));

pub(super) const fn example(
    label: &'static str,
    kind: &'static str,
    given: &'static [(&'static str, Value<'static>)],
) -> Example {
    Example { label, kind, given }
}
