//! A neuron of your own, in one file: definition, gradient check, training from a configuration,
//! resuming, pictures and export.
//!
//! `cargo run --release -p polychron --example own_neuron` shows all of it and fails if something
//! is wrong. With arguments the program is the command `polychron` with one more neuron:
//! `... --example own_neuron -- train --preset order --set network.neuron.kind=resonator`

use polychron::export::ExportOptions;
use polychron::inspect::Inspection;
use polychron::{Config, Flow, Model, Observer, Part, Run, Step, Task, models};
use polychron_core::gradcheck::{charge_error, reset_error};
use polychron_core::neuron::{
    ChargeAdjoint, Example, LinearMembrane, NamedNeuron, Neuron, Reset, ResetAdjoint,
};
use polychron_core::num::Real;
use polychron_core::parameter::{Domain, Parameter, ParameterError, Settings, Value};
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

/// The resonate-and-fire neuron. Membrane `v` and current `u` rotate by a learned angle `w` per
/// step and are damped.
///
/// ```text
/// h[t] = damping (cos(w) v[t-1] - sin(w) u[t-1]) + x[t]
/// u[t] = damping (sin(w) v[t-1] + cos(w) u[t-1])
/// v[t] = (1 - s[t]) h[t]                                  detached
/// ```
/// Source: Izhikevich, *Resonate-and-fire neurons* (Neural Networks, 2001), in steps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Resonator<R> {
    damping: R,
    angle: R,
}

impl<R: Real> Resonator<R> {
    /// `damping sin(w)` and `damping cos(w)`.
    fn rotation(&self) -> (R, R) {
        (self.damping * self.angle.sin(), self.damping * self.angle.cos())
    }
}

impl<R: Real> Neuron for Resonator<R> {
    type Real = R;
    type State = [R; 2];
    type Params = [R; 1];

    fn fill_state(x: R) -> [R; 2] {
        [x; 2]
    }
    fn fill_params(x: R) -> [R; 1] {
        [x]
    }
    fn params(&self) -> [R; 1] {
        [self.angle]
    }
    fn with_params(&self, [angle]: [R; 1]) -> Self {
        Self { angle, ..*self }
    }
    fn rest(&self) -> [R; 2] {
        [R::zero(); 2]
    }
    fn charge(&self, [v, u]: [R; 2], x: R) -> [R; 2] {
        let (sin, cos) = self.rotation();
        [cos * v - sin * u + x, sin * v + cos * u]
    }
    fn charge_adjoint(
        &self,
        [v, u]: [R; 2],
        _x: R,
        [d_h, d_u]: [R; 2],
    ) -> ChargeAdjoint<[R; 2], [R; 1], R> {
        let (sin, cos) = self.rotation();
        ChargeAdjoint {
            state: [cos * d_h + sin * d_u, cos * d_u - sin * d_h],
            params: [d_u * (cos * v - sin * u) - d_h * (sin * v + cos * u)],
            input: d_h,
        }
    }
    fn excess(&self, [h, _]: [R; 2]) -> R {
        h - R::one()
    }
    fn reset(&self, [h, u]: [R; 2], s: R) -> [R; 2] {
        [(R::one() - s) * h, u]
    }
    fn reset_adjoint(
        &self,
        _charged: [R; 2],
        s: R,
        [d_v, d_u]: [R; 2],
    ) -> ResetAdjoint<[R; 2], [R; 1], R> {
        let zero = R::zero();
        ResetAdjoint { charged: [(R::one() - s) * d_v, d_u], params: [zero], spike: zero }
    }
    fn detached(&self) -> bool {
        true
    }
    /// Without rotation the neuron is a leaky integrator, which a model file can hold.
    fn linear_membrane(&self) -> Option<LinearMembrane<R>> {
        (self.angle == R::zero()).then_some(LinearMembrane {
            decay: self.damping,
            input_gain: R::one(),
            threshold: R::one(),
            reset: Reset::Hard(R::zero()),
        })
    }
}

/// How configurations call the neuron and its parameters.
impl<R: Real> NamedNeuron for Resonator<R> {
    const NAMES: &'static [&'static str] = &["resonator"];
    const PARAMETERS: &'static [Parameter] = &[
        Parameter::new("damping", Domain::Number(0.8)),
        Parameter::new("angle", Domain::Number(0.4)),
    ];
    const EXAMPLES: &'static [Example] = &[
        Example { label: "resonator", kind: "resonator", given: &[] },
        Example {
            label: "resonator, leaky",
            kind: "resonator",
            given: &[("angle", Value::Number(0.0)), ("damping", Value::Number(0.5))],
        },
    ];

    fn from_settings<'a>(settings: &Settings<'a>) -> Result<Self, ParameterError<'a>> {
        let (damping, angle) = (settings.number("damping")?, settings.number("angle")?);
        let stable = damping > R::zero() && damping < R::one();
        settings.require(stable, "damping", "is not between 0 and 1")?;
        Ok(Self { damping, angle })
    }
}

fn main() -> ExitCode {
    let shown = models::register_neuron::<Resonator<f32>>().map_err(Box::<dyn Error>::from);
    if std::env::args().len() > 1 {
        return polychron::cli::main();
    }
    let folder = std::env::temp_dir().join(format!("resonator-{}", std::process::id()));
    let shown = shown.and_then(|()| show(&folder));
    let removed = fs::remove_dir_all(&folder);
    match shown.and(removed.map_err(Box::from)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Shows what the neuron can do. Runs are written to `folder`.
pub(crate) fn show(folder: &Path) -> Result<(), Box<dyn Error>> {
    check_gradients()?;
    let config = config(&[])?;
    let task = || Task::load(&config, None);

    let (whole, cut) = (folder.join("whole"), folder.join("cut"));
    let figures = Run::create(&config, task()?, &whole)?.train(&mut ())?.figures();
    let accuracy = figures.and_then(|figures| figures.test_accuracy).unwrap_or(0.0);
    println!("accuracy {:.1} % of test items", 100.0 * accuracy);

    // Another run stops in the middle of an epoch, and continues as if in another process.
    Run::create(&config, task()?, &cut)?.train(&mut Stopper)?;
    Run::resume(&config, task()?, &cut)?.train(&mut ())?;
    for file in ["checkpoint.safetensors", "model.safetensors"] {
        same(file, &fs::read(whole.join(file))?, &fs::read(cut.join(file))?)?;
    }
    println!("a resumed run ends in the same bytes");

    for picture in ["curves.svg", "delays.svg", "raster.svg"] {
        println!("{picture}: {} bytes", fs::metadata(whole.join(picture))?.len());
    }
    let (inspection, _) = Inspection::read(&whole)?;
    println!("learned angle {:?} per step", inspection.layers[0].neuron);
    let model = Model::load(&whole)?;
    let evaluated = model.evaluate(&model.task(None)?, Part::Test)?.accuracy;
    same("accuracy", &evaluated, &Some(accuracy))?;
    let refused = model.export(Some(&model.task(None)?), &ExportOptions::default());
    println!("export: {}", refused.err().ok_or("a resonator was exported")?);

    let leaky = self::config(&["network.neuron.angle=0", "train.train_neurons=false"])?;
    let path = folder.join("leaky");
    Run::create(&leaky, Task::load(&leaky, None)?, &path)?.train(&mut ())?;
    let model = Model::load(&path)?;
    let export = model.export(Some(&model.task(None)?), &ExportOptions::default())?;
    println!("without rotation: a model file of {} bytes", export.file.len());
    Ok(())
}

/// The order task with a layer of resonators and these assignments.
fn config(set: &[&str]) -> Result<Config, polychron::Error> {
    let mut config = Config::preset("order")?;
    let own = ["network.neuron.kind=resonator", "network.hidden=[32]", "train.epochs=4"];
    for assignment in own.iter().chain(set) {
        config.set(assignment)?;
    }
    Ok(config)
}

/// Compares the adjoints with difference quotients, in double precision. In a test,
/// `polychron_core::neuron_laws!` checks these and more laws.
fn check_gradients() -> Result<(), Box<dyn Error>> {
    for Example { label, kind, given } in Resonator::<f64>::EXAMPLES {
        let settings = Settings::new(kind, Resonator::<f64>::PARAMETERS, given, 1.0)?;
        let neuron = Resonator::<f64>::from_settings(&settings)?;
        let charge = charge_error(&neuron, [0.3, -0.7], 0.5, [0.9, -0.4]);
        let reset = reset_error(&neuron, [1.2, -0.7], 1.0, [0.9, -0.4]);
        println!("{label}: error of the charge adjoint {charge:.1e}, of the reset {reset:.1e}");
        if charge.max(reset) > 1e-8 {
            return Err("an adjoint differs from its difference quotient".into());
        }
    }
    Ok(())
}

/// Stops after the third step.
struct Stopper;

impl Observer for Stopper {
    fn step_ended(&mut self, step: &Step) -> Flow {
        if step.step == 3 { Flow::Stop } else { Flow::Continue }
    }
}

fn same<T: PartialEq>(what: &str, a: &T, b: &T) -> Result<(), String> {
    if a == b { Ok(()) } else { Err(format!("{what} differs")) }
}
