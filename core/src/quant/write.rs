use crate::format::{
    AHEAD, BLOCK, Decision, FIELDS, FormatError, GROUP, HEADER, Input, LAYERS, MAGIC, ModelFile,
    PARTS, SECTION, Scheme, TAPS, VERSION, WIDTH, Weight, crc32,
};
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

/// A network as a model file holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec<W> {
    /// Length of a tick in microseconds.
    pub tick_us: u32,
    /// What a channel takes in.
    pub input: Input,
    /// Channels.
    pub channels: usize,
    /// How scores come about.
    pub decision: Decision,
    /// A name a class, or none at all.
    pub labels: Vec<String>,
    /// The projections with the neurons behind them, the readout's last.
    pub layers: Vec<LayerSpec<W>>,
}

/// A projection and the neurons behind it.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerSpec<W> {
    /// Neurons, or classes in the readout.
    pub outputs: usize,
    /// One more than the longest delay.
    pub taps: usize,
    /// Ticks by which an utterance grows: as long after its end the layer is still heard, the tails before it included.
    pub tail: usize,
    /// In any order; those of weight 0 are left out where the scheme allows it.
    pub synapses: Vec<SynapseSpec<W>>,
    /// One a neuron; none in the readout.
    pub neurons: Vec<NeuronSpec>,
    /// What a membrane keeps from one tick to the next.
    pub leak: Decay,
    /// Whether a spike subtracts the threshold; otherwise the membrane becomes 0.
    pub soft: bool,
    /// In the integer readout: a membrane times `gain / 2^gain_shift` is in units of 1/32 octave of the softmax.
    pub gain: (u32, u8),
    /// How spikes are delivered.
    pub scheme: Scheme,
}

/// A synapse.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SynapseSpec<W> {
    /// Presynaptic neuron or channel.
    pub source: usize,
    /// Postsynaptic neuron.
    pub target: usize,
    /// In ticks.
    pub delay: usize,
    /// What a spike adds to the membrane.
    pub weight: W,
}

/// A neuron; in the integer engine both are whole numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NeuronSpec {
    /// Membrane at which it spikes.
    pub threshold: f64,
    /// What every tick adds, in the integer engine before a shift by `bias_shift`.
    pub bias: f64,
}

/// What a membrane keeps of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decay {
    /// `v <- (v factor + bias 2^bias_shift) >> shift`
    Fixed {
        /// Below `2^shift`.
        factor: u16,
        /// At most 15.
        shift: u8,
        /// At most 15.
        bias_shift: u8,
    },
    /// `v <- v keep + bias`
    Float(f32),
}

/// A network that fits no file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum SpecError {
    /// A number of channels, layers or labels that cannot be, or a label.
    Field {
        /// What is wrong.
        what: &'static str,
        /// What was found; of labels the place.
        found: usize,
    },
    /// A size, place or number that cannot be.
    Layer {
        /// The layer.
        layer: usize,
        /// What is wrong.
        what: &'static str,
        /// What was found.
        found: f64,
    },
    /// The file would not be read.
    Format(FormatError),
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field { what, found } => write!(f, "{what}: {found}"),
            Self::Layer { layer, what, found } => write!(f, "layer {layer}: {what}: {found}"),
            Self::Format(error) => write!(f, "no model can be written: {error}"),
        }
    }
}

impl core::error::Error for SpecError {}

/// Writes a model file.
///
/// # Errors
/// [`SpecError`] names what does not fit, sums that could overflow among it.
///
/// Cost: linear in the synapses, and in the tables of K + 1 bytes a source and block.
pub fn write<W: Weight>(spec: &Spec<W>) -> Result<Vec<u8>, SpecError> {
    spec.check()?;
    let mut sections = Vec::new();
    let mut inputs = spec.channels;
    for (l, layer) in spec.layers.iter().enumerate() {
        let error = |what, found: usize| SpecError::Layer { layer: l, what, found: found as f64 };
        let parts = match layer.scheme {
            Scheme::Groups { .. } => layer.groups(inputs, error)?,
            Scheme::Ring { .. } => (Vec::new(), Vec::new(), layer.ring(inputs, error)?),
        };
        let (blocks, tables, rows) = parts;
        sections.push((l, layer.fields(inputs, &blocks)));
        sections.push((l, layer.neurons(l)?));
        sections.push((l, tables));
        sections.push((l, rows));
        inputs = layer.outputs;
    }
    let labels = spec.labels.iter().flat_map(|label| label.bytes().chain([b'\n']));
    sections.push((0, labels.collect()));
    let behind = behind(&sections);
    sections.push((0, vec![0; behind]));
    let file = assemble(spec, inputs, sections);
    ModelFile::<W>::parse(&file).map_err(SpecError::Format)?;
    Ok(file)
}

impl<W: Weight> Spec<W> {
    /// Sizes, places and names; what the numbers are is checked where they are written.
    pub(super) fn check(&self) -> Result<(), SpecError> {
        let classes = self.layers.last().map_or(0, |layer| layer.outputs);
        let names = self.labels.len();
        let line = self.labels.iter().position(|label| label.contains('\n'));
        for (what, fits, found) in [
            ("channels", (1..=WIDTH).contains(&self.channels), self.channels),
            ("layers", (1..=LAYERS).contains(&self.layers.len()), self.layers.len()),
            ("labels", names == 0 || names == classes, names),
            ("label of two lines", line.is_none(), line.unwrap_or(0)),
        ] {
            if !fits {
                return Err(SpecError::Field { what, found });
            }
        }
        let mut inputs = self.channels;
        for (l, layer) in self.layers.iter().enumerate() {
            let error =
                |what, found: usize| SpecError::Layer { layer: l, what, found: found as f64 };
            layer.check(inputs, l + 1 == self.layers.len(), error)?;
            inputs = layer.outputs;
        }
        Ok(())
    }
}

/// Zeros at the end, so that what is read ahead of the last rows of groups lies within the file.
fn behind(sections: &[(usize, Vec<u8>)]) -> usize {
    let rows = |n: &usize| n % PARTS == PARTS - 1 && !sections[n - 1].1.is_empty();
    let Some(last) = (0..sections.len() - 1).rev().find(rows) else { return 0 };
    let after: usize = sections[last + 1..].iter().map(|(_, bytes)| bytes.len()).sum();
    AHEAD.saturating_sub(after)
}

fn assemble<W: Weight>(spec: &Spec<W>, classes: usize, sections: Vec<(usize, Vec<u8>)>) -> Vec<u8> {
    let mut table = Vec::new();
    let mut body = Vec::new();
    let start = HEADER + sections.len() * SECTION;
    for (n, (layer, mut bytes)) in sections.into_iter().enumerate() {
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let kind = if n < spec.layers.len() * PARTS {
            n % PARTS
        } else {
            PARTS + n - spec.layers.len() * PARTS
        };
        table.extend([kind as u8, layer as u8, 0, 0]);
        table.extend(((start + body.len()) as u32).to_le_bytes());
        table.extend((bytes.len() as u32).to_le_bytes());
        body.extend(bytes);
    }
    let half = |x: usize| (x as u16).to_le_bytes();
    let tail = spec.layers.iter().map(|layer| layer.tail).sum();
    let mut file = Vec::from(MAGIC);
    file.extend(VERSION.to_le_bytes());
    file.extend([W::CODE, spec.input as u8]);
    file.extend(((start + body.len()) as u32).to_le_bytes());
    file.extend([0; 4]);
    file.extend(spec.tick_us.to_le_bytes());
    file.extend([half(spec.channels), half(classes), half(tail)].concat());
    file.extend([spec.layers.len() as u8, spec.decision as u8]);
    file.extend([half(spec.layers.len() * PARTS + 2), [0; 2]].concat());
    file.extend(table);
    file.extend(body);
    let crc = crc32(&file[16..]).to_le_bytes();
    file[12..16].copy_from_slice(&crc);
    file
}

/// Blocks, their tables and their rows.
type Groups = (Vec<u8>, Vec<u8>, Vec<u8>);

impl<W: Weight> LayerSpec<W> {
    fn check(
        &self,
        inputs: usize,
        last: bool,
        error: impl Fn(&'static str, usize) -> SpecError,
    ) -> Result<(), SpecError> {
        let neurons = if last { 0 } else { self.outputs };
        let (Scheme::Groups { list } | Scheme::Ring { list }) = self.scheme;
        for (what, fits, found) in [
            ("outputs", (1..=WIDTH).contains(&self.outputs), self.outputs),
            ("taps", (1..=TAPS).contains(&self.taps), self.taps),
            ("tail", self.tail < TAPS, self.tail),
            ("neurons", self.neurons.len() == neurons, self.neurons.len()),
            ("entries of a list", list < 255, list.into()),
        ] {
            if !fits {
                return Err(error(what, found));
            }
        }
        for s in &self.synapses {
            for (what, limit, found) in [
                ("source of a synapse", inputs, s.source),
                ("target of a synapse", self.outputs, s.target),
                ("delay of a synapse", self.taps, s.delay),
            ] {
                if found >= limit {
                    return Err(error(what, found));
                }
            }
        }
        Ok(())
    }

    fn fields(&self, inputs: usize, blocks: &[u8]) -> Vec<u8> {
        let (scheme, list) = match self.scheme {
            Scheme::Groups { list } => (0, list),
            Scheme::Ring { list } => (1, list),
        };
        let (factor, shift, bias_shift, keep) = match self.leak {
            Decay::Fixed { factor, shift, bias_shift } => (factor, shift, bias_shift, 0.0),
            Decay::Float(keep) => (0, 0, 0, keep),
        };
        let half = |x: usize| (x as u16).to_le_bytes();
        let mut fields = [half(inputs), half(self.outputs), half(self.taps)].concat();
        fields.extend([scheme, list, self.soft.into(), shift, bias_shift, 0]);
        fields.extend([factor.to_le_bytes(), half(blocks.len() / BLOCK)].concat());
        fields.extend(f32::to_le_bytes(keep));
        fields.extend(self.gain.0.to_le_bytes());
        fields.extend([self.gain.1, 0]);
        fields.extend(half(self.tail));
        fields.resize(FIELDS, 0);
        fields.extend(blocks);
        fields
    }

    fn neurons(&self, layer: usize) -> Result<Vec<u8>, SpecError> {
        let mut bytes = Vec::new();
        for &NeuronSpec { threshold, bias } in &self.neurons {
            if W::CODE == f32::CODE {
                bytes.extend((threshold as f32).to_le_bytes());
                bytes.extend((bias as f32).to_le_bytes());
                continue;
            }
            for (what, found, least, most) in [
                ("threshold", threshold, 1.0, 65536.0),
                ("bias", bias, f64::from(i16::MIN + 1), f64::from(i16::MAX)),
            ] {
                if !(found >= least && found <= most && found as i32 as f64 == found) {
                    return Err(SpecError::Layer { layer, what, found });
                }
            }
            bytes.extend(((threshold as u32 - 1) as u16).to_le_bytes());
            bytes.extend((bias as i16).to_le_bytes());
        }
        Ok(bytes)
    }

    /// Targets are taken together while no row grows beyond 256 synapses and no group beyond 255.
    fn groups(
        &self,
        inputs: usize,
        error: impl Fn(&'static str, usize) -> SpecError,
    ) -> Result<Groups, SpecError> {
        let mut synapses: Vec<_> = self.synapses.iter().filter(|s| !s.weight.is_zero()).collect();
        synapses.sort_by_key(|s| (s.target, s.source, s.delay));
        let mut ranges = vec![0];
        let (mut rows, mut due) = (vec![0; inputs], vec![0; inputs * self.taps]);
        let mut left = &synapses[..];
        for target in 0..self.outputs {
            let here = left.iter().take_while(|s| s.target == target).count();
            let (of_target, rest) = left.split_at(here);
            left = rest;
            let mut wide = target - ranges[ranges.len() - 1] == GROUP;
            for again in [false, true] {
                for s in of_target {
                    rows[s.source] += 1;
                    due[s.source * self.taps + s.delay] += 1;
                    wide |= rows[s.source] > GROUP || due[s.source * self.taps + s.delay] >= GROUP;
                }
                if !wide {
                    break;
                }
                if again {
                    return Err(error("synapses from one source onto target", target));
                }
                ranges.push(target);
                rows.fill(0);
                due.fill(0);
                wide = false;
            }
        }
        ranges.push(self.outputs);
        synapses.sort_by_key(|s| (s.source, s.delay, s.target));
        let (mut blocks, mut tables, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for range in ranges.windows(2) {
            for source in (0..inputs).step_by(GROUP) {
                let sources = GROUP.min(inputs - source);
                let first = synapses.partition_point(|s| s.source < source);
                let end = synapses.partition_point(|s| s.source < source + sources);
                let of_block = |s: &&&SynapseSpec<W>| (range[0]..range[1]).contains(&s.target);
                let some: Vec<_> = synapses[first..end].iter().filter(of_block).collect();
                let mut counts = vec![0; sources];
                some.iter().for_each(|s| counts[s.source - source] += 1);
                let row = counts.iter().copied().max().unwrap_or(0).max(1);
                let half = |x: usize| (x as u16).to_le_bytes();
                blocks.extend([half(source), half(sources), half(range[0])].concat());
                blocks.extend([half(range[1] - range[0]), half(row), [0; 2]].concat());
                blocks.extend((tables.len() as u32).to_le_bytes());
                blocks.extend((all.len() as u32).to_le_bytes());
                let mut due = vec![0u8; sources * self.taps];
                for s in &some {
                    let due = &mut due[s.delay * sources + s.source - source];
                    *due = due.wrapping_add(1);
                }
                let mut starts = vec![0u8; sources];
                tables.extend(&starts);
                for due in due.chunks_exact(sources) {
                    for (start, due) in starts.iter_mut().zip(due) {
                        *start = start.wrapping_add(*due);
                    }
                    tables.extend(&starts);
                }
                let mut some = some.into_iter().peekable();
                for pre in source..source + sources {
                    let end = all.len() + row * W::SYNAPSE;
                    while let Some(s) = some.next_if(|s| s.source == pre) {
                        all.push((s.target - range[0]) as u8);
                        s.weight.write(&mut all);
                    }
                    all.resize(end, 0);
                }
            }
        }
        Ok((blocks, tables, all))
    }

    fn ring(
        &self,
        inputs: usize,
        error: impl Fn(&'static str, usize) -> SpecError,
    ) -> Result<Vec<u8>, SpecError> {
        let mut pairs: Vec<Option<&SynapseSpec<W>>> = vec![None; inputs * self.outputs];
        for s in self.synapses.iter().filter(|s| !s.weight.is_zero()) {
            let pair = &mut pairs[s.source * self.outputs + s.target];
            if pair.replace(s).is_some() {
                return Err(error("more than one synapse of a ring onto target", s.target));
            }
        }
        let mut rows = Vec::new();
        for pair in pairs {
            match pair {
                Some(s) => {
                    rows.push(s.delay as u8);
                    s.weight.write(&mut rows);
                }
                None => rows.resize(rows.len() + W::SYNAPSE, 0),
            }
        }
        Ok(rows)
    }
}
