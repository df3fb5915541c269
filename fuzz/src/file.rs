//! Reads model files by the layout in `core/FORMAT.md`, independently of the crate that checks
//! them.

use crate::kind::Kind;
use polychron_core::format::{Decision, Input, Scheme};
use polychron_core::quant::{LayerSpec, ModelSpec, SynapseSpec};

const HEADER: usize = 32;
const SECTION: usize = 12;
const FIELDS: usize = 32;
const BLOCK: usize = 20;

/// Corrects length and checksum.
pub fn seal(file: &mut [u8]) {
    if file.len() >= HEADER {
        let length = file.len() as u32;
        file[8..12].copy_from_slice(&length.to_le_bytes());
        let checksum = crc32fast::hash(&file[16..]);
        file[12..16].copy_from_slice(&checksum.to_le_bytes());
    }
}

/// Corrects the offsets of the sections, so that each follows the previous one in its stated
/// length. The last one ends with the file.
pub fn lay_out(file: &mut [u8]) {
    let sections = 4 * usize::from(*file.get(26).unwrap_or(&0)) + 2;
    let mut offset = HEADER + sections * SECTION;
    if offset > file.len() {
        return;
    }
    file[28..30].copy_from_slice(&(sections as u16).to_le_bytes());
    for n in 0..sections {
        let at = HEADER + n * SECTION;
        let left = file.len() - offset;
        let length = if n + 1 == sections { left } else { word(file, at + 8).min(left) };
        file[at + 4..at + 8].copy_from_slice(&(offset as u32).to_le_bytes());
        file[at + 8..at + 12].copy_from_slice(&(length as u32).to_le_bytes());
        offset += length;
    }
}

/// The network in a valid file.
pub fn decode<W: Kind>(file: &[u8]) -> ModelSpec<W> {
    let section = |n: usize| {
        let at = HEADER + n * SECTION;
        &file[word(file, at + 4)..][..word(file, at + 8)]
    };
    let count = usize::from(file[26]);
    let layer = |l: usize| layer([0, 1, 2, 3].map(|part| section(4 * l + part)));
    let layers: Vec<_> = (0..count).map(layer).collect();
    let labels = String::from_utf8_lossy(section(4 * count));
    let labels = labels.split_terminator('\n').take(half(file, 22)).map(String::from);
    ModelSpec {
        tick_us: word(file, 16) as u32,
        input: if file[7] == 0 { Input::Spikes } else { Input::Values },
        channels: half(file, 20),
        decision: [Decision::SoftmaxSum, Decision::MembraneSum, Decision::Max]
            [usize::from(file[27])],
        labels: labels.collect(),
        layers,
    }
}

fn layer<W: Kind>([own, neurons, tables, rows]: [&[u8]; 4]) -> LayerSpec<W> {
    let (inputs, outputs, taps, list) = (half(own, 0), half(own, 2), half(own, 4), own[7]);
    let weight = |at: usize| W::read_weight(&rows[at + 1..at + W::SYNAPSE]);
    let mut synapses = Vec::new();
    if own[6] == 1 {
        for (n, at) in (0..inputs * outputs).zip((0..).step_by(W::SYNAPSE)) {
            let (source, target) = (n / outputs, n % outputs);
            let delay = rows[at].into();
            synapses.push(SynapseSpec { source, target, delay, weight: weight(at) });
        }
    }
    for block in own[FIELDS..].chunks_exact(BLOCK) {
        let (sources, row) = (half(block, 2), half(block, 8));
        for (source, delay) in (0..sources).flat_map(|i| (0..taps).map(move |d| (i, d))) {
            let start = word(block, 12) + delay * sources + source;
            let (start, end) = (tables[start], tables[start + sources]);
            for n in 0..usize::from(end.wrapping_sub(start)) {
                let synapse = source * row + usize::from(start) + n;
                let at = word(block, 16) + synapse * W::SYNAPSE;
                let target = half(block, 4) + usize::from(rows[at]);
                let source = half(block, 0) + source;
                synapses.push(SynapseSpec { source, target, delay, weight: weight(at) });
            }
        }
    }
    LayerSpec {
        outputs,
        taps,
        padding: half(own, 26),
        synapses,
        neurons: neurons.chunks_exact(W::NEURON).map(W::read_neuron).collect(),
        decay: W::read_decay(own),
        soft: own[8] == 1,
        gain: (word(own, 20) as u32, own[24]),
        scheme: if own[6] == 1 { Scheme::Ring { list } } else { Scheme::Groups { list } },
    }
}

fn half(bytes: &[u8], at: usize) -> usize {
    u16::from_le_bytes([bytes[at], bytes[at + 1]]).into()
}

fn word(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}
