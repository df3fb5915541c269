use super::spec::{Decay, LayerSpec, ModelSpec, NeuronSpec, SpecError, SynapseSpec};
use crate::format::{
    AHEAD, BLOCK, FIELDS, GROUP, HEADER, MAGIC, MAX_LENGTH, ModelFile, PARTS, SECTION, Scheme,
    VERSION, Weight, crc32,
};
use alloc::vec;
use alloc::vec::Vec;

impl<W: Weight> ModelSpec<W> {
    /// The bytes of the model file.
    ///
    /// Cost: linear in the number of synapses and in the tables, of `taps + 1` bytes per source and
    /// block. Memory stays within the synapses of a layer and the limit of a file, 16 MiB.
    ///
    /// # Errors
    /// [`SpecError`] names what does not fit, including sums that some input could overflow.
    pub fn to_bytes(&self) -> Result<Vec<u8>, SpecError> {
        self.check()?;
        let mut sections = Vec::new();
        let mut room = Room { left: MAX_LENGTH, layer: 0 };
        let mut inputs = self.channels;
        for (l, layer) in self.layers.iter().enumerate() {
            room.layer = l;
            let error =
                |what, found: usize| SpecError::Layer { layer: l, what, found: found as f64 };
            let (blocks, tables, rows) = match layer.scheme {
                Scheme::Groups { .. } => layer.groups(inputs, &mut room, error)?,
                Scheme::Ring { .. } => {
                    (Vec::new(), Vec::new(), layer.ring(inputs, &mut room, error)?)
                }
            };
            sections.push((l, layer.fields(inputs, &blocks)?));
            sections.push((l, layer.neurons(l)?));
            sections.push((l, tables));
            sections.push((l, rows));
            inputs = layer.outputs;
        }
        room.layer = self.layers.len();
        for label in &self.labels {
            room.take(label.len())?;
        }
        let labels = self.labels.iter().flat_map(|label| label.bytes().chain([b'\n']));
        sections.push((0, labels.collect()));
        let zeros = zeros(&sections);
        sections.push((0, vec![0; zeros]));
        let file = assemble(self, inputs, sections)?;
        if file.len() > MAX_LENGTH {
            return Err(SpecError::Length { layer: room.layer });
        }
        ModelFile::<W>::parse(&file).map_err(SpecError::Format)?;
        Ok(file)
    }
}

/// The bytes that a file can still take.
struct Room {
    left: usize,
    /// The layer that is being written.
    layer: usize,
}

impl Room {
    fn take(&mut self, bytes: usize) -> Result<(), SpecError> {
        let error = SpecError::Length { layer: self.layer };
        self.left = self.left.checked_sub(bytes).ok_or(error)?;
        Ok(())
    }

    /// Takes a product.
    fn take_all(&mut self, factors: [usize; 3]) -> Result<(), SpecError> {
        let bytes = factors.into_iter().try_fold(1usize, usize::checked_mul);
        self.take(bytes.unwrap_or(usize::MAX))
    }
}

/// The number of zeros at the end, so that what is read ahead of the last row lies within the file.
fn zeros(sections: &[(usize, Vec<u8>)]) -> usize {
    let rows = |n: &usize| n % PARTS == PARTS - 1 && !sections[n - 1].1.is_empty();
    let Some(last) = (0..sections.len() - 1).rev().find(rows) else { return 0 };
    let after: usize = sections[last + 1..].iter().map(|(_, bytes)| bytes.len()).sum();
    AHEAD.saturating_sub(after)
}

fn half(what: &'static str, found: usize) -> Result<[u8; 2], SpecError> {
    u16::try_from(found).map(u16::to_le_bytes).map_err(|_| SpecError::Field { what, found })
}

fn word(what: &'static str, found: usize) -> Result<[u8; 4], SpecError> {
    u32::try_from(found).map(u32::to_le_bytes).map_err(|_| SpecError::Field { what, found })
}

fn assemble<W: Weight>(
    spec: &ModelSpec<W>,
    classes: usize,
    sections: Vec<(usize, Vec<u8>)>,
) -> Result<Vec<u8>, SpecError> {
    let mut table = Vec::new();
    let mut body = Vec::new();
    let start = HEADER + sections.len() * SECTION;
    let of_layers = spec.layers.len() * PARTS;
    for (n, (layer, mut bytes)) in sections.into_iter().enumerate() {
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let kind = if n < of_layers { n % PARTS } else { PARTS + n - of_layers };
        table.extend(half("sections", kind | layer << 8)?);
        table.extend([0; 2]);
        table.extend(word("offset of a section", start + body.len())?);
        table.extend(word("length of a section", bytes.len())?);
        body.extend(bytes);
    }
    let padding = spec.layers.iter().map(|layer| layer.padding).sum();
    let [layers, _] = half("layers", spec.layers.len())?;
    let mut file = Vec::from(MAGIC);
    file.extend(VERSION.to_le_bytes());
    file.extend([W::CODE, spec.input as u8]);
    file.extend(word("length of the file", start + body.len())?);
    file.extend([0; 4]);
    file.extend(spec.tick_us.to_le_bytes());
    file.extend(half("channels", spec.channels)?);
    file.extend(half("classes", classes)?);
    file.extend(half("padding", padding)?);
    file.extend([layers, spec.decision as u8]);
    file.extend(half("sections", of_layers + 2)?);
    file.extend([0; 2]);
    file.extend(table);
    file.extend(body);
    let crc = crc32(&file[16..]).to_le_bytes();
    file[12..16].copy_from_slice(&crc);
    Ok(file)
}

/// The blocks, their tables and their rows.
type Groups = (Vec<u8>, Vec<u8>, Vec<u8>);

impl<W: Weight> LayerSpec<W> {
    fn fields(&self, inputs: usize, blocks: &[u8]) -> Result<Vec<u8>, SpecError> {
        let (scheme, list) = match self.scheme {
            Scheme::Groups { list } => (0, list),
            Scheme::Ring { list } => (1, list),
        };
        let (factor, shift, bias_shift, decay_f32) = match self.decay {
            Decay::Fixed { factor, shift, bias_shift } => (factor, shift, bias_shift, 0.0),
            Decay::Float(decay) => (0, 0, 0, decay),
        };
        let mut fields = Vec::new();
        fields.extend(half("inputs", inputs)?);
        fields.extend(half("outputs", self.outputs)?);
        fields.extend(half("taps", self.taps)?);
        fields.extend([scheme, list, self.soft.into(), shift, bias_shift, 0]);
        fields.extend(factor.to_le_bytes());
        fields.extend(half("blocks of a layer", blocks.len() / BLOCK)?);
        fields.extend(f32::to_le_bytes(decay_f32));
        fields.extend(self.gain.0.to_le_bytes());
        fields.extend([self.gain.1, 0]);
        fields.extend(half("padding", self.padding)?);
        fields.resize(FIELDS, 0);
        fields.extend(blocks);
        Ok(fields)
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

    /// Puts as many targets into a block as keep its rows at 256 synapses and its groups at 255.
    fn groups(
        &self,
        inputs: usize,
        room: &mut Room,
        error: impl Fn(&'static str, usize) -> SpecError,
    ) -> Result<Groups, SpecError> {
        let mut synapses: Vec<_> = self.synapses.iter().filter(|s| !s.weight.is_zero()).collect();
        synapses.sort_by_key(|s| (s.target, s.source, s.delay));
        let blocks = inputs.div_ceil(GROUP);
        let mut take_range = || {
            room.take_all([blocks, BLOCK, 1])?;
            room.take_all([inputs, self.taps + 1, 1])
        };
        take_range()?;
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
                take_range()?;
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
                room.take_all([sources, row, W::SYNAPSE])?;
                blocks.extend(half("source", source)?);
                blocks.extend(half("sources", sources)?);
                blocks.extend(half("target", range[0])?);
                blocks.extend(half("targets", range[1] - range[0])?);
                blocks.extend(half("synapses of a row", row)?);
                blocks.extend([0; 2]);
                blocks.extend(word("tables", tables.len())?);
                blocks.extend(word("rows", all.len())?);
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
                        // A block has at most 256 targets.
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
        room: &mut Room,
        error: impl Fn(&'static str, usize) -> SpecError,
    ) -> Result<Vec<u8>, SpecError> {
        room.take_all([inputs, self.outputs, W::SYNAPSE])?;
        let mut rows = vec![0; inputs * self.outputs * W::SYNAPSE];
        let mut pairs = vec![false; inputs * self.outputs];
        let mut bytes = Vec::new();
        for s in self.synapses.iter().filter(|s| !s.weight.is_zero()) {
            let pair = s.source * self.outputs + s.target;
            if core::mem::replace(&mut pairs[pair], true) {
                return Err(error("more than one synapse of a ring onto target", s.target));
            }
            bytes.clear();
            // A layer has at most 256 taps.
            bytes.push(s.delay as u8);
            s.weight.write(&mut bytes);
            rows[pair * W::SYNAPSE..][..W::SYNAPSE].copy_from_slice(&bytes);
        }
        Ok(rows)
    }
}
