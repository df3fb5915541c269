//! The scalar reference of every stage: plain loops over time-major slices, the oracle for every
//! backend. Only [`Reference`], which implements [`Backend`](crate::backend::Backend) with them,
//! depends on the boundary.

mod backend;
mod neuron;
mod norm;
mod projection;
mod readout;
mod recurrent;
mod zeros;

pub use backend::{Block, Reference, ScalarNeuron};
pub use neuron::{NeuronArgs, neuron_backward, neuron_forward};
pub use norm::{norm_apply, norm_backward, norm_statistics};
pub use projection::{project, project_backward, project_input};
pub use readout::{Integration, readout, readout_backward};
pub use recurrent::{RecurrentArgs, recurrent_backward, recurrent_forward};
