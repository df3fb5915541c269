/// How the neurons of a stage spike. `Q` is a block of recorded spikes.
#[derive(Debug)]
pub enum Firing<'a, Q: ?Sized> {
    /// Spikes are the step of the excess; gradients use the surrogate. Training and inference.
    Step,
    /// Spikes are the surrogate's smooth primitive, in the output and in the reset. If no reset is
    /// detached, the gradient of a network equals its difference quotients.
    Smooth,
    /// The output is the smooth primitive; the reset uses recorded spikes. This is the function
    /// whose gradient a detached reset computes.
    SmoothHeld(&'a Q),
    /// Recorded spikes in the output and in the reset; the surrogate is not used.
    Frozen(&'a Q),
}

impl<Q: ?Sized> Clone for Firing<'_, Q> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Q: ?Sized> Copy for Firing<'_, Q> {}
