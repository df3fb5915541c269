use arbitrary::{Result, Unstructured};
use polychron_core::infer::Arithmetic;
use polychron_core::quant::{Decay, NeuronSpec};

/// A type of weights: how to draw its numbers, and how a file stores them.
pub trait Kind: Arithmetic + PartialEq + PartialOrd {
    fn weight(u: &mut Unstructured) -> Result<Self>;
    fn decay(u: &mut Unstructured) -> Result<Decay>;
    fn neuron(u: &mut Unstructured) -> Result<NeuronSpec>;

    fn read_weight(bytes: &[u8]) -> Self;
    fn read_decay(fields: &[u8]) -> Decay;
    fn read_neuron(bytes: &[u8]) -> NeuronSpec;
}

impl Kind for i8 {
    fn weight(u: &mut Unstructured) -> Result<Self> {
        let largest = *u.choose(&[1, 8, 127])?;
        if u.ratio(1, 30)? { Ok(i8::MIN) } else { u.int_in_range(-largest..=largest) }
    }

    fn decay(u: &mut Unstructured) -> Result<Decay> {
        let shift = u.int_in_range(0..=15)?;
        let factor = u.int_in_range(0..=((1u32 << shift) - 1) as u16)?;
        Ok(Decay::Fixed { factor, shift, bias_shift: u.int_in_range(0..=shift)? })
    }

    fn neuron(u: &mut Unstructured) -> Result<NeuronSpec> {
        let (threshold, bias) = *u.choose(&[(4, 4), (200, 50), (65536, 32767)])?;
        Ok(NeuronSpec {
            threshold: u.int_in_range(1..=threshold)?.into(),
            bias: u.int_in_range(-bias..=bias)?.into(),
        })
    }

    fn read_weight(bytes: &[u8]) -> Self {
        Self::from_le_bytes([bytes[0]])
    }

    fn read_decay(fields: &[u8]) -> Decay {
        let factor = u16::from_le_bytes([fields[12], fields[13]]);
        Decay::Fixed { factor, shift: fields[9], bias_shift: fields[10] }
    }

    fn read_neuron(bytes: &[u8]) -> NeuronSpec {
        NeuronSpec {
            threshold: f64::from(u16::from_le_bytes([bytes[0], bytes[1]])) + 1.0,
            bias: i16::from_le_bytes([bytes[2], bytes[3]]).into(),
        }
    }
}

impl Kind for f32 {
    fn weight(u: &mut Unstructured) -> Result<Self> {
        if u.ratio(1, 4)? {
            return Ok(Self::from_bits(u.arbitrary()?));
        }
        Ok(Self::from(u.arbitrary::<i16>()?) / 256.0)
    }

    fn decay(u: &mut Unstructured) -> Result<Decay> {
        Ok(Decay::Float(Self::from(u.arbitrary::<u8>()?) / 255.0))
    }

    fn neuron(u: &mut Unstructured) -> Result<NeuronSpec> {
        let threshold = (f64::from(u.arbitrary::<u16>()?) + 1.0) / 64.0;
        Ok(NeuronSpec { threshold, bias: f64::from(u.arbitrary::<i16>()?) / 64.0 })
    }

    fn read_weight(bytes: &[u8]) -> Self {
        number(bytes)
    }

    fn read_decay(fields: &[u8]) -> Decay {
        Decay::Float(number(&fields[16..]))
    }

    fn read_neuron(bytes: &[u8]) -> NeuronSpec {
        NeuronSpec { threshold: number(bytes).into(), bias: number(&bytes[4..]).into() }
    }
}

fn number(bytes: &[u8]) -> f32 {
    f32::from_le_bytes(bytes[..4].try_into().unwrap())
}
