#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
//! Spiking neural networks whose synapses have learnable delays: inference on microcontrollers, and
//! the models, the scalar reference and the trainer behind it.
//!
//! A synapse has a weight and a delay. Between two layers, the weighted and delayed spikes are a
//! convolution over time with one tap per synapse. To learn a delay by gradient descent, its tap
//! spreads into a bump whose width shrinks during training; in the end it becomes one or two taps
//! at whole steps. The method is DCLS-Delays (Hammouamri, Khalfaoui-Hassani, Masquelier,
//! *Learning delays in spiking neural networks using dilated convolutions with learnable spacings*,
//! ICLR 2024).
//!
//! The crate does not use `std`. Without features it does not allocate.
//!
//! # Firmware
//!
//! * [`format`](mod@format): model files, checked at compile time or at run time;
//! * [`infer`]: engines that run a model file, one time step after the other, in fixed memory;
//! * `quant` (feature `alloc`): quantises a trained network and writes its model file.
//!
//! ```
//! use polychron_core::format::ModelFile;
//! use polychron_core::infer::{Engine, EngineState};
//!
//! // The compiler checks the file and computes the memory that the model needs.
//! #[allow(long_running_const_eval)]
//! const MODEL: ModelFile = ModelFile::parse_static(include_bytes!("../tests/golden/small.pcn"));
//!
//! type State =
//!     EngineState<{ MODEL.state_words() }, { MODEL.state_halves() }, { MODEL.state_bytes() }>;
//!
//! let mut state = State::new();
//! let mut engine = Engine::new(&MODEL, &mut state)?;
//! for spiking_channels in [&[0u16, 3][..], &[], &[2]] {
//!     engine.step(spiking_channels)?;
//! }
//! assert!(engine.decide() < MODEL.classes());
//! # Ok::<(), polychron_core::infer::EngineError>(())
//! ```
//!
//! # Models
//!
//! * [`delay`], [`surrogate`], [`neuron`]: the three traits of a model, with the models of the
//!   field;
//! * [`norm`], [`loss`], [`optim`], [`schedule`], [`init`]: the other parts of a training recipe;
//! * [`parameter`]: parameters of models in configurations;
//! * [`num`], [`shape`], [`rng`]: numbers, shapes, and a counter-based random generator;
//! * [`gradcheck`]: difference quotients, to test gradients.
//!
//! # Training
//!
//! With feature `alloc`:
//!
//! * `reference`: every stage as plain loops, the oracle for backends;
//! * `backend`: the boundary between models and machines; `polychron-cpu` and `polychron-cuda`
//!   implement it;
//! * `train`: networks and the trainer, generic over the backend.
//!
//! With feature `conformance`:
//!
//! * `conformance`: the laws of backends, neurons, delay kernels and surrogates, as macros of
//!   tests.
//!
//! ```
//! use polychron_core::delay::Gauss;
//! use polychron_core::neuron::{Li, Lif};
//! use polychron_core::reference::Reference;
//! use polychron_core::shape::{Shape, Synapses};
//! use polychron_core::surrogate::Atan;
//! use polychron_core::train::{Batch, Input, Layer, Network, Readout, Recipe, Trainer};
//!
//! let hidden = Layer::new(Synapses::new(2, 8, 9), Gauss, Lif::new(2.0), Atan { alpha: 5.0f32 });
//! let output = Readout::new(Synapses::new(8, 2, 9), Gauss, Li::new(5.0));
//! let network = Network::chain([hidden], output);
//! let mut trainer = Trainer::new(Reference::new(), network, Recipe::paper(40), 0)?;
//!
//! // Two samples: the channels spike in one order or in the other.
//! let shape = Shape::new(6, 2, 2);
//! let mut x = vec![0.0; shape.len()];
//! for (t, sample, channel) in [(0, 0, 0), (4, 0, 1), (4, 1, 0), (0, 1, 1)] {
//!     x[shape.at(t, sample, channel)] = 1.0;
//! }
//! let targets = Some(&[1.0, 0.0, 0.0, 1.0][..]);
//! let batch = Batch { shape, x: Input::Dense(&x), targets, lengths: None };
//!
//! let before = trainer.step(&batch)?.loss;
//! for _ in 0..40 {
//!     trainer.step(&batch)?;
//!     trainer.finish_epoch()?;
//! }
//! assert!(trainer.step(&batch)?.loss < before);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `alloc` | networks, trainer, reference backend, quantisation; needs an allocator |
//! | `conformance` | tests of the laws, with `proptest`; needs `std` |
//! | `defmt` | `defmt::Format` for the errors of model files and engines |
//! | `heapless` | lists of spikes with a fixed capacity |

#[cfg(feature = "alloc")]
extern crate alloc;

#[cfg(feature = "alloc")]
pub mod backend;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "alloc")]
pub mod connectivity;
pub mod delay;
pub mod format;
pub mod gradcheck;
pub mod infer;
pub mod init;
pub mod loss;
pub mod neuron;
pub mod norm;
pub mod num;
pub mod optim;
pub mod parameter;
#[cfg(feature = "alloc")]
pub mod quant;
#[cfg(feature = "alloc")]
pub mod reference;
pub mod rng;
pub mod schedule;
pub mod shape;
pub mod surrogate;
#[cfg(feature = "alloc")]
pub mod train;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
