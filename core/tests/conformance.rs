//! The laws of backends: for the reference, and violated by backends that are wrong on purpose.

pub(crate) mod models;
pub(crate) mod wrong;
mod wrong_models;
mod wrong_recurrent;

use polychron_core::conformance::{Verdict, laws};
use polychron_core::reference::Reference;
use wrong::{Fault, Wrong};
use wrong_recurrent::{RecurrentFault, WrongRecurrence};

polychron_core::conformance!(f32, Reference::new());
polychron_core::conformance!(f64, try Some(Reference::new()));

type Law = fn(&Wrong) -> Verdict;

/// Each fault with a law that it violates and a part of the message.
const CONTROLS: [(Fault, Law, &str); 61] = [
    (Fault::DelaysOneLate, laws::projection_of_an_impulse, "an impulse"),
    (Fault::DelaysOneLate, laws::projection_forward, "projection, y"),
    (Fault::DelaysOneLate, laws::projection_adjoint, "adjoint by"),
    (Fault::DelaysOneLate, laws::layer_forward, "layer, spikes"),
    (Fault::DelaysOneLate, laws::spikes_cross_a_layer_at_their_delay, "spike times"),
    (Fault::OutputOneEarly, laws::projection_is_causal, "before a change"),
    (Fault::OutputPlusOne, laws::projection_is_linear, "linear in weights"),
    (Fault::OutputFallsShort, laws::projection_forward, "projection, y"),
    (Fault::ViewsFromZero, laws::projection_forward, "projection, y"),
    (Fault::GradientsAdded, laws::projection_backward, "d_weights"),
    (Fault::GradientsSpill, laws::projection_backward, "wrote outside"),
    (Fault::GradientsCleared, laws::network_step, "network backward, d_weights"),
    (Fault::DelaySign, laws::projection_backward, "d_delays"),
    (Fault::DelaySign, laws::layer_backward, "d_delays"),
    (Fault::NeverRounded, laws::projection_forward, "rounding Some(Nearest)"),
    (Fault::NeverRounded, laws::layer_forward, "rounding"),
    (Fault::NeverTheSame, laws::projection_forward, "other bits"),
    (Fault::StaleUpload, laws::new_values_replace_old, "replaced"),
    (Fault::UploadCutsOff, laws::memory_rejects_wrong_sizes, "upload"),
    (Fault::FirstIsFinite, laws::what_is_not_finite_is_found, "are_finite"),
    (Fault::WidthAfterBatch, laws::memory_round_trip, "changed"),
    (Fault::NoLengths, laws::norm_forward, "norm, z"),
    (Fault::NoLengths, laws::neuron_forward, "neuron, spikes"),
    (Fault::NoLengths, laws::readout, "readout, scores"),
    (Fault::RunningStands, laws::norm_forward, "norm, running"),
    (Fault::StatisticsConstant, laws::norm_backward, "norm backward, d_y"),
    (Fault::SpikesOneLate, laws::spikes_come_in_the_step_of_their_charge, "spike times"),
    (Fault::SpikesOneLate, laws::surrogates, "neuron, spikes"),
    (Fault::NoMaskInGradient, laws::neuron_backward, "neuron backward, d_x"),
    (Fault::FirstParameters, laws::neuron_forward, "per neuron"),
    (Fault::FirstParameters, laws::layer_forward, "per neuron"),
    (Fault::ParametersOfAll, laws::neuron_backward, "per neuron"),
    (Fault::ParametersOfAll, laws::layer_backward, "per neuron"),
    (Fault::TouchesGradient, laws::readout_without_targets, "touched a gradient"),
    (Fault::AdamEverywhere, laws::optimizers, "adam, params: changed outside its range"),
    (Fault::AdamFromZero, laws::optimizers, "optimizer, params"),
    (Fault::OtherMask, laws::dropout, "not the mask"),
    (Fault::EventsOverlay, laws::events_are_written, "upload_events: other values"),
    (Fault::AddsNothing, laws::sequences_add_up, "add: other values"),
    (Fault::JoinsBackwards, laws::sequences_are_joined_and_cut, "join: other values"),
    (Fault::CopiesFirst, laws::sequences_are_joined_and_cut, "copy_last: other values"),
    (Fault::AddsNoBuffer, laws::norms_and_factors, "add_buffer: other values"),
    (Fault::DelaysSorted, laws::values_are_expanded, "expand: other values (axonal, 3 to 4"),
    (Fault::DelaysSorted, laws::network_step, "network"),
    (Fault::LastSynapse, laws::gradients_are_reduced, "delays, adjoint"),
    (Fault::LastSynapse, laws::network_step, "network backward, d_delays"),
    (Fault::FirstBias, laws::biases_are_added, "add_bias: other values"),
    (Fault::BiasOfFirstStep, laws::gradients_of_biases_are_sums, "norm backward, d_bias"),
    (Fault::AlwaysAtRest, laws::neuron_forward, "started"),
    (Fault::AlwaysAtRest, laws::layer_forward, "started"),
    (Fault::BackwardFromRest, laws::neuron_backward, "started"),
    (Fault::BackwardFromRest, laws::layer_backward, "started"),
    (Fault::StatesStand, laws::neuron_forward, "neuron, last states"),
    (Fault::GradientOfTheMean, laws::readout_backward, "readout backward, d_x"),
    (Fault::DescentEverywhere, laws::optimizers, "sgd, params: changed outside its range"),
    (Fault::NormNotSquared, laws::norms_and_factors, "optimizer, square sum"),
    (Fault::PenaltyReplaces, laws::rate_penalty, "neuron backward, d"),
    (Fault::DelaysOneLate, laws::recurrent_forward, "recurrent, inputs"),
    (Fault::DelaysOneLate, laws::spikes_return_after_their_delay, "arrive first at"),
    (Fault::DelaySign, laws::recurrent_backward, "d_delays"),
    (Fault::CopiesFirst, laws::recurrent_parts_continue, "parts"),
];

/// Each fault of recurrent layers with a law that it violates and a part of the message.
const RECURRENT: [(RecurrentFault, fn(&WrongRecurrence) -> Verdict, &str); 10] = [
    (RecurrentFault::OneLate, laws::recurrent_forward, "recurrent, inputs"),
    (RecurrentFault::OneLate, laws::recurrent_backward, "recurrent backward, d_x"),
    (RecurrentFault::OneLate, laws::spikes_return_after_their_delay, "arrive first at"),
    (RecurrentFault::NoMask, laws::recurrent_forward, "recurrent, inputs"),
    (RecurrentFault::NoMask, laws::recurrent_backward, "recurrent backward, d_x"),
    (RecurrentFault::NothingBefore, laws::recurrent_forward, "recurrent, inputs"),
    (RecurrentFault::NothingBefore, laws::recurrent_backward, "d_weights"),
    (RecurrentFault::NothingBefore, laws::recurrent_parts_continue, "parts"),
    (RecurrentFault::NoGradient, laws::recurrent_backward, "recurrent backward, d_x"),
    (RecurrentFault::NoGradient, laws::spikes_return_after_their_delay, "recurrent gradient"),
];

#[test]
fn every_fault_of_recurrent_layers_is_caught() {
    let laws: [fn(&WrongRecurrence) -> Verdict; 4] = [
        laws::recurrent_forward,
        laws::recurrent_backward,
        laws::spikes_return_after_their_delay,
        laws::recurrent_parts_continue,
    ];
    for law in laws {
        law(&WrongRecurrence(RecurrentFault::None)).unwrap();
    }
    for (fault, law, word) in RECURRENT {
        let text = law(&WrongRecurrence(fault)).expect_err(&format!("{fault:?}")).to_string();
        assert!(text.contains(word), "{fault:?}: {text}");
    }
}

#[test]
fn every_fault_is_caught() {
    for (fault, law, word) in CONTROLS {
        let text = law(&Wrong::new(fault)).expect_err(&format!("{fault:?}")).to_string();
        assert!(text.contains(word), "{fault:?}: {text}");
    }
}

/// The laws of single operations have one view in a buffer.
#[test]
fn only_a_network_finds_what_happens_between_views() {
    for law in [laws::projection_backward, laws::projection_adjoint, laws::layer_backward] {
        law(&Wrong::new(Fault::GradientsCleared)).unwrap();
    }
}

/// The wrapper has the default of recurrent layers.
#[test]
fn the_default_of_recurrent_layers_rejects_wrong_sizes() {
    laws::recurrent_rejects_wrong_sizes(&Wrong::new(Fault::None)).unwrap();
}

#[test]
fn a_wrapper_without_a_fault_passes() {
    let mut passed = Vec::new();
    for (fault, law, _) in CONTROLS {
        if !passed.contains(&(law as usize)) {
            law(&Wrong::new(Fault::None)).unwrap_or_else(|failure| panic!("{fault:?}: {failure}"));
            passed.push(law as usize);
        }
    }
}

#[test]
fn a_missing_backend_says_why() {
    use polychron_core::conformance::Attempt;
    assert_eq!(None::<Reference<f64>>.attempt().err().as_deref(), Some("no device"));
    assert_eq!(
        Err::<Reference<f64>, _>("driver too old").attempt().err().as_deref(),
        Some("driver too old")
    );
}

#[test]
fn reports_tell_the_worst_error() {
    let report = laws::projection_forward::<f32, _>(&Reference::new()).unwrap();
    let [row] = report.rows() else { panic!("{report}") };
    assert_eq!(row.what, "y");
    assert!(0.0 < row.error && row.error < row.tolerance);
    assert!(report.to_string().contains("allowed 5e-6"));
}
