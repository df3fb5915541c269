//! Models by name: those of `polychron_core`, and those that a program registers.
//!
//! A registered model can be named in configurations. The CPU trains it; everything else, from
//! resuming to pictures, works as with the models of this library. A neuron whose
//! `linear_membrane` says that it is a leaky integrator is exported.
//!
//! Register models at the start of the program, before a configuration is read:
//!
//! ```no_run
//! # #[cfg(feature = "cli")]
//! # fn main() -> std::process::ExitCode {
//! use polychron_core::delay::Gauss;
//!
//! polychron::models::register_kernel("own-gauss", Gauss).expect("the name is free");
//! polychron::cli::main()
//! # }
//! # #[cfg(not(feature = "cli"))]
//! # fn main() {}
//! ```
//!
//! The example `own_neuron` shows a neuron.

use crate::backend::TrainingBackend;
use crate::config::{self, Backend};
use crate::error::{Error, Result, fail};
use polychron_core::backend::{self, HasKernel, HasNeuron, HasSurrogate};
use polychron_core::delay::{AnyKernel, DelayKernel};
use polychron_core::neuron::{
    AnyNeuron, NamedNeuron, Neuron, NeuronKind, NeuronModel, NeuronVisitor,
};
use polychron_core::parameter::{Parameter, ParameterError, Settings, Value};
use polychron_core::reference::Reference;
use polychron_core::surrogate::{AnySurrogate, Surrogate};
use polychron_cpu::Cpu;
use std::any::Any;
use std::sync::{Arc, PoisonError, RwLock};

/// The same model as a handle of every backend that takes all models.
type Handles = Vec<Box<dyn Any>>;
/// Makes a model. The function completes the path of a parameter in error messages.
type Build = dyn Fn(&Settings<'_>, &Place<'_>) -> Result<Handles> + Send + Sync;
type Place<'a> = dyn Fn(&str) -> String + 'a;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Neuron,
    Kernel,
    Surrogate,
}

/// A registered model.
#[derive(Clone)]
struct Own {
    kind: Kind,
    names: &'static [&'static str],
    parameters: &'static [Parameter],
    build: Arc<Build>,
}

static OWN: RwLock<Vec<Own>> = RwLock::new(Vec::new());

/// Lets configurations name a neuron, as `network.neuron.kind`.
///
/// # Errors
/// If one of its names is taken.
pub fn register_neuron<N: NamedNeuron<Real = f32>>() -> Result<()> {
    let build = |settings: &Settings<'_>, place: &Place<'_>| {
        let neuron = N::from_settings(settings).map_err(placed(place))?;
        spiking(settings.kind(), &neuron, place)?;
        Ok(vec![
            Box::new(<Cpu<f32> as HasNeuron<N>>::neuron(neuron)) as Box<dyn Any>,
            Box::new(<Reference<f32> as HasNeuron<N>>::neuron(neuron)),
        ])
    };
    let (names, parameters) = (N::NAMES, N::PARAMETERS);
    register(Own { kind: Kind::Neuron, names, parameters, build: Arc::new(build) })
}

/// Lets configurations name a delay kernel, as `network.kernel`.
///
/// # Errors
/// If the name is taken.
pub fn register_kernel<K>(name: &'static str, kernel: K) -> Result<()>
where
    K: DelayKernel<f32> + Clone + 'static,
{
    let build = move |_: &Settings<'_>, _: &Place<'_>| {
        Ok(vec![
            Box::new(<Cpu<f32> as HasKernel<K>>::kernel(kernel.clone())) as Box<dyn Any>,
            Box::new(<Reference<f32> as HasKernel<K>>::kernel(kernel.clone())),
        ])
    };
    let names = Vec::leak(vec![name]);
    register(Own { kind: Kind::Kernel, names, parameters: &[], build: Arc::new(build) })
}

/// Lets configurations name a surrogate, as `network.surrogate.kind`. `make` makes it from the
/// values of its parameters.
///
/// # Errors
/// If the name is taken.
pub fn register_surrogate<S: Surrogate<f32> + Clone + 'static>(
    name: &'static str,
    parameters: &'static [Parameter],
    make: for<'a> fn(&Settings<'a>) -> std::result::Result<S, ParameterError<'a>>,
) -> Result<()> {
    let build = move |settings: &Settings<'_>, place: &Place<'_>| {
        let surrogate = make(settings).map_err(placed(place))?;
        Ok(vec![
            Box::new(<Cpu<f32> as HasSurrogate<S>>::surrogate(surrogate.clone())) as Box<dyn Any>,
            Box::new(<Reference<f32> as HasSurrogate<S>>::surrogate(surrogate)),
        ])
    };
    let names = Vec::leak(vec![name]);
    register(Own { kind: Kind::Surrogate, names, parameters, build: Arc::new(build) })
}

fn register(model: Own) -> Result<()> {
    let mut own = OWN.write().unwrap_or_else(PoisonError::into_inner);
    let taken = |name: &&str| match model.kind {
        Kind::Neuron => AnyNeuron::<f32>::names().any(|known| known == *name),
        Kind::Kernel => AnyKernel::from_name(name).is_some(),
        Kind::Surrogate => AnySurrogate::<f32>::NAMES.contains(name),
    };
    let own_name = |name: &&str| {
        own.iter().any(|other| other.kind == model.kind && other.names.contains(name))
    };
    if let Some(name) = model.names.iter().find(|name| taken(name) || own_name(name)) {
        fail!("a {:?} named {name:?} exists already; choose another name", model.kind)
    }
    own.push(model);
    Ok(())
}

fn own(kind: Kind) -> Vec<Own> {
    let all = OWN.read().unwrap_or_else(PoisonError::into_inner);
    all.iter().filter(|model| model.kind == kind).cloned().collect()
}

/// Makes a registered model for the backend; `None` if `name` is not registered.
fn build_own<H: 'static>(
    backend: Backend,
    place: &Place<'_>,
    kind: Kind,
    name: &str,
    given: &[(&str, Value<'_>)],
    step_ms: f64,
) -> Result<Option<H>> {
    let Some(model) = own(kind).into_iter().find(|model| model.names.contains(&name)) else {
        return Ok(None);
    };
    let settings = Settings::new(name, model.parameters, given, step_ms).map_err(placed(place))?;
    let handles = (model.build)(&settings, place)?;
    let handle = handles.into_iter().find_map(|handle| handle.downcast::<H>().ok());
    match handle.filter(|_| backend == Backend::Cpu) {
        Some(handle) => Ok(Some(*handle)),
        None => fail!(
            "{} = {name:?} is a model of this program, which only the CPU computes; \
             choose backend = \"cpu\"",
            place("kind")
        ),
    }
}

/// Completes the path of the parameter that an error begins with.
fn placed<'a>(place: &'a Place<'_>) -> impl Fn(ParameterError<'_>) -> Error + 'a {
    move |error| {
        let text = error.to_string();
        let name = text.split(' ').next().unwrap_or_default();
        Error::new(format!("{}{}", place(name), &text[name.len()..]))
    }
}

/// The kinds of neurons: registered ones, then those of `polychron_core`.
fn neuron_kinds() -> Vec<(&'static [&'static str], &'static [Parameter])> {
    let own = own(Kind::Neuron).into_iter().map(|own| (own.names, own.parameters));
    let known = AnyNeuron::<f32>::KINDS.iter();
    own.chain(known.map(|NeuronKind { names, parameters, .. }| (*names, *parameters))).collect()
}

/// Makes the neuron of a configuration.
pub(crate) fn neuron<B: TrainingBackend>(
    backend: Backend,
    from: &config::Neuron,
    step_ms: f64,
    place: &Place<'_>,
) -> Result<<B as backend::Backend>::Neuron> {
    let place = &|name: &str| place(&format!("neuron.{name}"));
    let kinds = neuron_kinds();
    let all = || kinds.iter().flat_map(|(_, parameters)| parameters.iter());
    for field in from.parameters.keys() {
        if !all().any(|parameter| parameter.name == field) {
            let mut known: Vec<_> = all().map(|parameter| parameter.name).collect();
            known.sort_unstable();
            known.dedup();
            let path = place(field);
            let table = path.rsplit_once('.').map_or("network.neuron", |(table, _)| table);
            fail!(
                "{table}: unknown field `{field}`, expected `kind`, `per_neuron` or one of \
                 {known:?}"
            )
        }
    }
    let given: Vec<_> = from.given().collect();
    let kind = from.kind.as_str();
    let field = &place("kind");
    if let Some(own) = build_own(backend, place, Kind::Neuron, kind, &given, step_ms)? {
        return Ok(own);
    }
    if !AnyNeuron::<f32>::names().any(|name| name == kind) {
        let silent = |name| match AnyNeuron::from_name(name, &[], 1.0) {
            Ok(neuron) => spiking(name, &neuron, place).is_err(),
            Err(_) => false,
        };
        let names = kinds.iter().flat_map(|(names, _)| names.iter());
        let names: Vec<_> = names.filter(|name| !silent(name)).collect();
        fail!("{field} = {kind:?} is not one of {names:?}")
    }
    let known = AnyNeuron::<f32>::KINDS.iter().flat_map(|kind| kind.parameters);
    let known: Vec<_> = known.map(|parameter| parameter.name).collect();
    let given: Vec<_> = given.into_iter().filter(|(name, _)| known.contains(name)).collect();
    let neuron = AnyNeuron::from_name(kind, &given, step_ms).map_err(placed(place))?;
    spiking(kind, &neuron, place)?;
    config::require(B::has(&neuron), field, kind, "is no neuron of this backend; try the CPU")?;
    Ok(B::neuron(neuron))
}

/// Fails if the neuron never spikes.
fn spiking<M: NeuronModel<Real = f32>>(kind: &str, neuron: &M, place: &Place<'_>) -> Result<()> {
    struct Fires;
    impl NeuronVisitor<f32> for Fires {
        type Output = bool;
        fn visit<N: Neuron<Real = f32>>(self, neuron: &N) -> bool {
            neuron.fires()
        }
    }
    config::require(
        neuron.visit(Fires),
        &place("kind"),
        kind,
        "never spikes; a hidden layer needs a neuron that does",
    )
}

/// The parameters of a kind of neurons; `None` if the kind is unknown.
pub(crate) fn neuron_parameters(kind: &str) -> Option<&'static [Parameter]> {
    let found = neuron_kinds().into_iter().find(|(names, _)| names.contains(&kind));
    found.map(|(_, parameters)| parameters)
}

/// The parameters of all kinds of neurons, each name once.
#[cfg(feature = "cli")]
pub(crate) fn all_neuron_parameters() -> Vec<&'static Parameter> {
    let mut all: Vec<&Parameter> = Vec::new();
    for parameter in neuron_kinds().into_iter().flat_map(|(_, parameters)| parameters) {
        if all.iter().all(|known| known.name != parameter.name) {
            all.push(parameter);
        }
    }
    all
}

/// A line for each surrogate of `polychron_core`: its name, its parameters and their defaults.
#[cfg(feature = "cli")]
pub(crate) fn surrogates() -> impl Iterator<Item = String> {
    AnySurrogate::<f32>::NAMES.iter().map(|name| {
        let parameters = AnySurrogate::<f32>::from_name(name, &[]).map(|s| s.parameters());
        let given = parameters.into_iter().flatten().flatten();
        let given: Vec<_> = given.map(|(name, value)| format!("`{name}` = {value}")).collect();
        let none = if given.is_empty() { "no parameters" } else { "" };
        format!("`{name}`: {none}{}", given.join(", "))
    })
}

/// Makes the delay kernel of a configuration.
pub(crate) fn kernel<B: TrainingBackend>(
    backend: Backend,
    name: &str,
    field: &dyn Fn() -> String,
) -> Result<<B as backend::Backend>::Kernel> {
    let place = &|_: &str| field();
    if let Some(own) = build_own(backend, place, Kind::Kernel, name, &[], 1.0)? {
        return Ok(own);
    }
    let Some(kernel) = AnyKernel::from_name(name) else {
        let known = AnyKernel::ALL.iter().map(|(name, _)| *name);
        let own = own(Kind::Kernel).into_iter().flat_map(|own| own.names);
        let names: Vec<_> = known.chain(own.copied()).collect();
        fail!("{} = {name:?} is not one of {names:?}", field())
    };
    Ok(B::kernel(kernel))
}

/// Makes the surrogate of a configuration.
pub(crate) fn surrogate<B: TrainingBackend>(
    backend: Backend,
    from: &config::Surrogate,
    step_ms: f64,
    table: &str,
) -> Result<<B as backend::Backend>::Surrogate> {
    let place = &|name: &str| format!("{table}.{name}");
    let parameters = || from.parameters.iter().map(|(name, &value)| (name.as_str(), value));
    let name = from.kind.as_str();
    let given: Vec<_> = parameters().map(|(name, value)| (name, Value::Number(value))).collect();
    if let Some(own) = own(Kind::Surrogate).into_iter().find(|own| own.names.contains(&name)) {
        let known = |name: &str| own.parameters.iter().any(|parameter| parameter.name == name);
        if let Some((unknown, _)) = given.iter().find(|(name, _)| !known(name)) {
            fail!("{table}: {name} has no parameter {unknown:?}")
        }
    }
    if let Some(own) = build_own(backend, place, Kind::Surrogate, name, &given, step_ms)? {
        return Ok(own);
    }
    let parameters: Vec<_> = parameters().collect();
    let surrogate =
        AnySurrogate::from_name(name, &parameters).map_err(|error| Error::from(error).at(table))?;
    Ok(B::surrogate(surrogate))
}
