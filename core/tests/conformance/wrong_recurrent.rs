use polychron_core::backend::{
    Backend, HasKernel, HasNeuron, HasSurrogate, NeuronStage, NormMode, RecurrentGradients,
    RecurrentStage, SynapseGradients, SynapseParams, View, ViewMut,
};
use polychron_core::loss::Loss;
use polychron_core::neuron::Li;
use polychron_core::norm::{BatchNorm, ValidSteps};
use polychron_core::reference::{Block, Reference};
use polychron_core::shape::{Shape, ShapeError, Synapses};

/// The fault of a recurrent layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum RecurrentFault {
    None,
    /// Spikes arrive one step late.
    OneLate,
    /// The dropout of the current is ignored.
    NoMask,
    /// The spikes before the first step are ignored.
    NothingBefore,
    /// No gradient passes the recurrent synapses.
    NoGradient,
}

/// The reference with one fault in its recurrent layers.
pub(crate) struct WrongRecurrence(pub(crate) RecurrentFault);

type Result<T> = core::result::Result<T, ShapeError>;
type Recurrent<'a> = RecurrentStage<'a, WrongRecurrence>;
type Stage<'a> = NeuronStage<'a, WrongRecurrence>;

const REFERENCE: Reference<f64> = Reference::new();

impl WrongRecurrence {
    fn is(&self, fault: RecurrentFault) -> bool {
        self.0 == fault
    }

    /// Calls `f` with the synapses for the reference.
    fn with<T>(
        &self,
        recurrent: &Recurrent<'_>,
        f: impl FnOnce(&RecurrentStage<'_, Reference<f64>>) -> T,
    ) -> T {
        let RecurrentStage { synapses, place, kernel, ref params, spread, mask, before } =
            *recurrent;
        let late: Vec<_> = params.delays.buffer.iter().map(|delay| delay + 1.0).collect();
        let mut params = params.clone();
        if self.is(RecurrentFault::OneLate) {
            params.delays.buffer = &late;
        }
        let mask = mask.filter(|_| !self.is(RecurrentFault::NoMask));
        let before = before.filter(|_| !self.is(RecurrentFault::NothingBefore));
        f(&RecurrentStage { synapses, place, kernel, params, spread, mask, before })
    }
}

macro_rules! of_the_reference {
    ($($name:ident($($arg:ident: $type:ty),*) -> $result:ty;)*) => {$(
        fn $name(&self, $($arg: $type),*) -> $result {
            REFERENCE.$name($($arg),*)
        }
    )*};
}

impl Backend for WrongRecurrence {
    type Real = f64;
    type Buffer = Vec<f64>;
    type Sequence = Block<f64>;
    type Kernel = <Reference<f64> as Backend>::Kernel;
    type Neuron = <Reference<f64> as Backend>::Neuron;
    type Surrogate = <Reference<f64> as Backend>::Surrogate;
    type Error = ShapeError;

    of_the_reference! {
        name() -> &'static str;
        buffer(len: usize) -> Result<Vec<f64>>;
        sequence(shape: Shape) -> Result<Block<f64>>;
        shape(sequence: &Block<f64>) -> Shape;
        upload(from: &[f64], to: &mut Vec<f64>) -> Result<()>;
        download(from: &Vec<f64>, to: &mut [f64]) -> Result<()>;
        upload_sequence(from: &[f64], to: &mut Block<f64>) -> Result<()>;
        download_sequence(from: &Block<f64>, to: &mut [f64]) -> Result<()>;
        synchronize() -> Result<()>;
        project(
            synapses: &Synapses, kernel: &Self::Kernel, params: SynapseParams<'_, Vec<f64>>,
            x: &Block<f64>, y: &mut Block<f64>
        ) -> Result<()>;
        project_backward(
            synapses: &Synapses, kernel: &Self::Kernel, params: SynapseParams<'_, Vec<f64>>,
            x: &Block<f64>, d_y: &Block<f64>, gradients: SynapseGradients<'_, Vec<f64>>,
            d_x: Option<&mut Block<f64>>
        ) -> Result<()>;
        norm_forward(
            norm: &BatchNorm<f64>, params: View<'_, Vec<f64>>, mode: NormMode<'_, Vec<f64>>,
            valid: ValidSteps<'_>, y: &Block<f64>, saved: &mut Vec<f64>, z: &mut Block<f64>
        ) -> Result<()>;
        norm_apply(
            params: View<'_, Vec<f64>>, saved: &Vec<f64>, y: &Block<f64>, z: &mut Block<f64>
        ) -> Result<()>;
        norm_backward(
            params: View<'_, Vec<f64>>, saved: &Vec<f64>, valid: ValidSteps<'_>, y: &Block<f64>,
            d_z: &Block<f64>, d_y: &mut Block<f64>, d_params: ViewMut<'_, Vec<f64>>
        ) -> Result<()>;
        readout(
            readout: &Li<f64>, loss: Loss, valid: ValidSteps<'_>, x: &Block<f64>,
            targets: Option<&Vec<f64>>, scores: &mut Vec<f64>, d_x: Option<&mut Block<f64>>
        ) -> Result<f64>;
    }

    fn neuron_forward(
        &self,
        stage: &Stage<'_>,
        x: &Block<f64>,
        spikes: &mut Block<f64>,
        end: Option<&mut Vec<f64>>,
    ) -> Result<()> {
        REFERENCE.neuron_forward(&stage.on(), x, spikes, end)
    }

    fn neuron_backward(
        &self,
        stage: &Stage<'_>,
        x: &Block<f64>,
        d_spikes: &Block<f64>,
        d_x: &mut Block<f64>,
        d_params: ViewMut<'_, Vec<f64>>,
    ) -> Result<()> {
        REFERENCE.neuron_backward(&stage.on(), x, d_spikes, d_x, d_params)
    }

    fn recurrent_forward(
        &self,
        recurrent: &Recurrent<'_>,
        stage: &Stage<'_>,
        x: &Block<f64>,
        outputs: [&mut Block<f64>; 3],
        end: Option<&mut Vec<f64>>,
    ) -> Result<()> {
        self.with(recurrent, |recurrent| {
            REFERENCE.recurrent_forward(recurrent, &stage.on(), x, outputs, end)
        })
    }

    fn recurrent_backward(
        &self,
        recurrent: &Recurrent<'_>,
        stage: &Stage<'_>,
        [input, fired]: [&Block<f64>; 2],
        d: &mut Block<f64>,
        RecurrentGradients { synapses, neuron }: RecurrentGradients<'_, Vec<f64>>,
    ) -> Result<()> {
        let d_spikes = d.clone();
        let range = neuron.range.clone();
        let into = RecurrentGradients { synapses, neuron: ViewMut::new(neuron.buffer, range) };
        self.with(recurrent, |recurrent| {
            REFERENCE.recurrent_backward(recurrent, &stage.on(), [input, fired], d, into)
        })?;
        if self.is(RecurrentFault::NoGradient) {
            REFERENCE.neuron_backward(&stage.on(), input, &d_spikes, d, neuron)?;
        }
        Ok(())
    }
}

impl<K> HasKernel<K> for WrongRecurrence
where
    Reference<f64>: HasKernel<K>,
{
    fn kernel(kernel: K) -> Self::Kernel {
        Reference::kernel(kernel)
    }
}

impl<N> HasNeuron<N> for WrongRecurrence
where
    Reference<f64>: HasNeuron<N>,
{
    fn neuron(neuron: N) -> Self::Neuron {
        Reference::neuron(neuron)
    }
}

impl<S> HasSurrogate<S> for WrongRecurrence
where
    Reference<f64>: HasSurrogate<S>,
{
    fn surrogate(surrogate: S) -> Self::Surrogate {
        Reference::surrogate(surrogate)
    }
}
