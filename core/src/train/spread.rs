//! Learned spreads: factors of the sigma of the schedule.

use super::layers::Layers;
use super::layout::EdgeRanges;
use super::tensor::Group;
use crate::backend::{Backend, View};
use crate::num::{Real, logistic, logistic_slope};
use alloc::vec;
use alloc::vec::Vec;

/// The spreads and the sigma of the schedule, downloaded.
struct Values<R> {
    delays: Vec<R>,
    sigma: Vec<R>,
}

impl<B: Backend> Layers<B> {
    fn spreads(&self, backend: &B) -> Result<Option<Values<B::Real>>, B::Error> {
        if !self.graph.connections().any(|edge| edge.spread.is_some()) {
            return Ok(None);
        }
        let groups = [Group::Delays, Group::Sigma];
        let [mut delays, mut sigma] = groups.map(|group| self.layout.zeros(group));
        backend.download(&self.values.0[Group::Delays as usize], &mut delays)?;
        backend.download(&self.values.0[Group::Sigma as usize], &mut sigma)?;
        Ok(Some(Values { delays, sigma }))
    }

    /// Renews the sigmas of all synapses: `2 logistic(spread) sigma`.
    pub(super) fn expand_sigmas(&mut self, backend: &B) -> Result<(), B::Error> {
        let Some(Values { delays, sigma }) = self.spreads(backend)? else { return Ok(()) };
        let nodes = self.graph.nodes.iter().zip(&self.layout.layers).zip(&mut self.full);
        for ((node, ranges), full) in nodes {
            for ((edge, ranges), full) in node.connections().zip(&ranges.edges).zip(full) {
                let ([_, _, Some(full)], [_, _, Some(sharing)]) = (full, edge.shared()) else {
                    continue;
                };
                let twice = B::Real::of(2.0) * sigma[ranges.sigma.start];
                let own = delays[ranges.spread.clone()].iter();
                let own: Vec<_> = own.map(|&p| twice * logistic(p)).collect();
                let mut packed = backend.buffer(own.len())?;
                backend.upload(&own, &mut packed)?;
                let packed = View::new(&packed, 0..own.len());
                backend.expand(&edge.synapses, sharing, packed, own.len(), full)?;
            }
        }
        Ok(())
    }

    /// Turns the gradients by sigmas, which the block of the delays holds in the places of the
    /// spreads, into those by the spreads.
    pub(super) fn sigmas_to_spreads(
        &self,
        backend: &B,
        gradients: &mut B::Buffer,
    ) -> Result<(), B::Error> {
        let Some(Values { delays, sigma }) = self.spreads(backend)? else { return Ok(()) };
        let mut d = vec![B::Real::of(0.0); delays.len()];
        backend.download(gradients, &mut d)?;
        for EdgeRanges { sigma: of, spread, .. } in self.layout.layers.iter().flat_map(|l| &l.edges)
        {
            let twice = B::Real::of(2.0) * sigma[of.start];
            let own = d[spread.clone()].iter_mut().zip(&delays[spread.clone()]);
            own.for_each(|(d, &p)| *d *= twice * logistic_slope(logistic(p)));
        }
        backend.upload(&d, gradients)
    }
}
