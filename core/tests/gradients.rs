//! Backpropagation against difference quotients, in `f64`: every stage, every model, whole
//! networks.
//!
//! The modes are those of [`polychron_core::gradcheck`]. Every row of its table is a `proptest` run
//! from a fixed seed, so that the table is reproducible; failures shrink to the smallest shapes.
//! The laws of `conformance/models.rs` test single models with random parameters.

mod check;
mod draw;
mod models;
mod net;
mod network;
mod over_time;
mod recurrent;
mod stages;

use polychron_core::gradcheck::TOLERANCES;
use std::sync::OnceLock;

macro_rules! rows {
    ($($law:ident: $stage:literal, $mode:literal => $measure:path;)*) => {
        $(
            #[test]
            fn $law() {
                measured($stage, $mode);
            }
        )*

        /// The worst relative error of a row, measured once.
        fn measured(stage: &str, mode: &str) -> f64 {
            $(
                if (stage, mode) == ($stage, $mode) {
                    static ONCE: OnceLock<f64> = OnceLock::new();
                    return *ONCE.get_or_init($measure);
                }
            )*
            panic!("nothing measures {stage}, {mode}")
        }
    };
}

rows! {
    surrogates_slope_is_their_derivative: "surrogate", "difference" => models::surrogates;
    kernels_backward_is_their_slope: "delay kernel", "difference" => models::kernels;
    charge_adjoint_is_transposed: "neuron, charge", "difference" => models::charges;
    reset_adjoint_is_transposed: "neuron, reset", "difference" => models::resets;
    projection_backward_matches_differences: "projection", "difference" => stages::projection;
    projection_matches_along_directions:
        "projection", "directional" => stages::projection_along_directions;
    projection_by_input_is_adjoint: "projection by input", "adjoint" => stages::adjoint_by_input;
    projection_by_weights_is_adjoint:
        "projection by weights", "adjoint" => stages::adjoint_by_weights;
    norm_backward_matches_differences: "norm", "difference" => stages::norm;
    norm_matches_along_directions: "norm", "directional" => stages::norm_along_directions;
    smooth_neurons_match_differences: "neurons over time", "smooth" => over_time::smooth;
    held_reset_matches_differences: "neurons over time", "held" => over_time::held;
    frozen_neurons_match_differences: "neurons over time", "frozen" => over_time::frozen;
    training_pass_matches_anchored_differences:
        "neurons over time", "step" => over_time::trained;
    frozen_neurons_are_adjoint: "neurons over time", "adjoint" => over_time::adjoint;
    readout_matches_differences: "readout and loss", "difference" => stages::readouts;
    smooth_layers_match_differences: "layer", "smooth" => network::smooth_layers;
    held_layers_match_differences: "layer", "held" => network::held_layers;
    frozen_layers_match_differences: "layer", "frozen" => network::frozen_layers;
    smooth_networks_match_differences: "network", "smooth" => network::smooth_networks;
    held_networks_match_differences: "network", "held" => network::held_networks;
    frozen_networks_match_differences: "network", "frozen" => network::frozen_networks;
    networks_match_along_directions:
        "network", "directional" => network::networks_along_directions;
    smooth_skips_match_differences: "network with skips", "smooth" => network::smooth_skips;
    held_skips_match_differences: "network with skips", "held" => network::held_skips;
    frozen_skips_match_differences: "network with skips", "frozen" => network::frozen_skips;
    skips_match_along_directions:
        "network with skips", "directional" => network::skips_along_directions;
    smooth_recurrence_matches_differences: "recurrent layer", "smooth" => recurrent::smooth;
    held_recurrence_matches_differences: "recurrent layer", "held" => recurrent::held;
    recurrent_training_pass_matches_anchored_differences:
        "recurrent layer", "step" => recurrent::trained;
    recurrence_is_adjoint: "recurrent layer", "adjoint" => recurrent::adjoint;
    smooth_recurrent_networks_match_differences:
        "recurrent network", "smooth" => network::smooth_recurrent;
    held_recurrent_networks_match_differences:
        "recurrent network", "held" => network::held_recurrent;
    recurrent_networks_match_along_directions:
        "recurrent network", "directional" => network::recurrent_along_directions;
}

/// Prints the table of `core/GRADIENTS.md`, and checks that file: the same rows and bounds, and no
/// error above the stated one.
#[test]
fn table() {
    let file = include_str!("../GRADIENTS.md");
    let mut rows = file.lines().filter(|line| line.starts_with("| ")).skip(1);
    println!("| stage | mode | tolerance | worst error |\n|---|---|---|---|");
    for row in TOLERANCES {
        let worst = measured(row.stage, row.mode);
        // Room for a factor of 2, so that a row changes only when the numbers do.
        let stated = format!("1e{}", (2.0 * worst).log10().ceil());
        let start = format!("| {} | {} | {:e} | below ", row.stage, row.mode, row.bound);
        println!("{start}{stated} |");
        let line = rows.next().unwrap_or_default();
        let figure = line.strip_prefix(&start).and_then(|rest| rest.strip_suffix(" |"));
        let claimed = figure.and_then(|figure| figure.parse::<f64>().ok());
        assert!(
            claimed.is_some_and(|c| worst < c),
            "GRADIENTS.md: {line:?}, not {start}{stated} |"
        );
    }
    assert_eq!(rows.next(), None, "GRADIENTS.md has too many rows");
}
