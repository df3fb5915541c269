//! The arguments of the kernels: each structure is declared once, here. `arguments.h` declares the
//! same structures in C++; a test compares the two.

use crate::device::{In, Number, Out};

/// A complex number, laid out as in the kernels.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Complex<R> {
    pub(crate) re: R,
    pub(crate) im: R,
}

/// A field of an argument structure.
pub trait Field {
    /// What the kernel receives: the number itself, or the address of a block.
    type Raw;

    /// The value that the kernel receives.
    fn raw(&self) -> Self::Raw;

    /// Calls `f` with every address in the field.
    fn addresses(&self, _f: &mut dyn FnMut(u64)) {}
}

macro_rules! numbers {
    ($($number:ty)*) => {
        $(impl Field for $number {
            type Raw = Self;

            fn raw(&self) -> Self {
                *self
            }
        })*
    };
}

numbers! { u32 u64 f32 f64 }

impl<R: Copy> Field for Complex<R> {
    type Raw = Self;

    fn raw(&self) -> Self {
        *self
    }
}

impl<T: Copy, const N: usize> Field for [T; N] {
    type Raw = Self;

    fn raw(&self) -> Self {
        *self
    }
}

impl<T> Field for In<'_, T> {
    type Raw = u64;

    fn raw(&self) -> u64 {
        In::address(self)
    }

    fn addresses(&self, f: &mut dyn FnMut(u64)) {
        f(In::address(self));
    }
}

impl<T> Field for Out<'_, T> {
    type Raw = u64;

    fn raw(&self) -> u64 {
        Out::address(self)
    }

    fn addresses(&self, f: &mut dyn FnMut(u64)) {
        f(Out::address(self));
    }
}

/// Declares the argument structures of kernels. [`Field::raw`] lays them out as the kernels expect
/// them.
macro_rules! arguments {
    ($($name:ident<$($life:lifetime,)? R> { $($field:ident: $kind:ty,)* })*) => {
        /// The structures in memory, as `arguments.h` declares them.
        #[allow(unreachable_pub)]
        mod raw {
            use super::{Complex, Field, In, Model, Number, Out, Stage};

            $(
                #[repr(C)]
                pub struct $name<$($life,)? R: Number> {
                    $(pub(super) $field: <$kind as Field>::Raw,)*
                }
            )*
        }

        $(
            #[derive(Debug, Default)]
            pub(crate) struct $name<$($life,)? R> {
                $(pub(crate) $field: $kind,)*
            }

            impl<$($life,)? R: Number> Field for $name<$($life,)? R> {
                type Raw = raw::$name<$($life,)? R>;

                fn raw(&self) -> Self::Raw {
                    raw::$name { $($field: Field::raw(&self.$field),)* }
                }

                fn addresses(&self, f: &mut dyn FnMut(u64)) {
                    $(Field::addresses(&self.$field, f);)*
                }
            }
        )*

        #[cfg(test)]
        const STRUCTURES: &[(&str, &[(&str, &str)])] = &[$((
            stringify!($name),
            &[$((stringify!($field), stringify!($kind))),*],
        )),*];
    };
}

/// [`NeuronModel`] as a field, under a name that differs from that of its layout.
type Model<R> = NeuronModel<R>;
/// [`NeuronStage`] as a field.
type Stage<'a, R> = NeuronStage<'a, R>;

arguments! {
    Dropout<'a, R> {
        mask: Out<'a, R>,
        len: u64,
        seed: u64,
        stream: u64,
        probability: f64,
        keep: R,
    }
    Finite<'a, R> {
        values: In<'a, R>,
        found: Out<'a, u32>,
        len: u64,
    }
    Events<'a, R> {
        places: In<'a, u32>,
        values: In<'a, R>,
        to: Out<'a, R>,
        events: u64,
        len: u64,
    }
    Elementwise<'a, R> {
        x: In<'a, R>,
        to: Out<'a, R>,
        len: u64,
    }
    Scale<'a, R> {
        values: Out<'a, R>,
        len: u64,
        factor: R,
    }
    Squares<'a, R> {
        values: In<'a, R>,
        sums: Out<'a, f64>,
        len: u64,
    }
    SumRows<'a, R> {
        values: In<'a, R>,
        out: Out<'a, R>,
        rows: u64,
        columns: u32,
        scale: R,
    }
    RepeatRows<'a, R> {
        values: In<'a, R>,
        out: Out<'a, R>,
        len: u64,
        rows: u64,
        columns: u32,
    }
    AdamStep<'a, R> {
        gradient: In<'a, R>,
        params: Out<'a, R>,
        first: Out<'a, R>,
        second: Out<'a, R>,
        len: u64,
        rate: R,
        beta1: R,
        beta2: R,
        epsilon: R,
        l2: R,
        scale: R,
        root: R,
        low: R,
        high: R,
        decoupled: u32,
        bounded: u32,
    }
    NormStatistics<'a, R> {
        y: In<'a, R>,
        valid: In<'a, u32>,
        sums: Out<'a, R>,
        squares: Out<'a, R>,
        padding: u32,
        steps: u32,
        batch: u32,
        width: u32,
        count: R,
    }
    NormFinish<'a, R> {
        sums: In<'a, R>,
        squares: In<'a, R>,
        fixed: In<'a, R>,
        running: Out<'a, R>,
        saved: Out<'a, R>,
        width: u32,
        slices: u32,
        count: R,
        unbias: R,
        momentum: R,
        epsilon: R,
    }
    NormApply<'a, R> {
        params: In<'a, R>,
        saved: In<'a, R>,
        y: In<'a, R>,
        z: Out<'a, R>,
        rows: u64,
        width: u32,
    }
    NormBackward<'a, R> {
        params: In<'a, R>,
        saved: In<'a, R>,
        valid: In<'a, u32>,
        y: In<'a, R>,
        d_z: In<'a, R>,
        d_y: Out<'a, R>,
        gammas: Out<'a, R>,
        betas: Out<'a, R>,
        d_params: Out<'a, R>,
        padding: u32,
        steps: u32,
        batch: u32,
        width: u32,
        slices: u32,
        count: R,
    }
    RatePenalty<'a, R> {
        sums: In<'a, R>,
        valid: In<'a, u32>,
        penalties: Out<'a, f64>,
        d: Out<'a, R>,
        weight: f64,
        low: f64,
        high: f64,
        count: f64,
        padding: u32,
        steps: u32,
        batch: u32,
        width: u32,
        slices: u32,
    }
    Readout<'a, R> {
        x: In<'a, R>,
        valid: In<'a, u32>,
        targets: In<'a, R>,
        membrane: Out<'a, R>,
        scores: Out<'a, R>,
        losses: Out<'a, R>,
        d_scores: In<'a, R>,
        d_x: Out<'a, R>,
        padding: u32,
        steps: u32,
        batch: u32,
        classes: u32,
        loss: u32,
        rate: R,
        gain: R,
    }
    NeuronModel<R> {
        rate: R,
        rest: R,
        threshold: R,
        q: R,
        decay_input: u32,
        soft: u32,
        detach: u32,
    }
    NeuronStage<'a, R> {
        x: In<'a, R>,
        params: In<'a, R>,
        held: In<'a, R>,
        mask: In<'a, R>,
        valid: In<'a, u32>,
        norm: In<'a, R>,
        saved: In<'a, R>,
        start: In<'a, R>,
        spikes: Out<'a, R>,
        end: Out<'a, R>,
        states: Out<'a, R>,
        d_spikes: In<'a, R>,
        d_x: Out<'a, R>,
        d_params: Out<'a, R>,
        model: Model<R>,
        surrogate: [R; 3],
        kind: u32,
        firing: u32,
        padding: u32,
        steps: u32,
        batch: u32,
        width: u32,
        sets: u32,
    }
    RecurrentStage<'a, R> {
        neurons: Stage<'a, R>,
        lines: In<'a, R>,
        dense: In<'a, R>,
        mask: In<'a, R>,
        input: Out<'a, R>,
        sent: Out<'a, R>,
        relayed: Out<'a, R>,
        order: u32,
        taps: u32,
        earlier: u32,
        rows: u32,
    }
    ToSpectrum<'a, R> {
        sequence: In<'a, R>,
        roots: In<'a, Complex<R>>,
        places: In<'a, u32>,
        spectrum: Out<'a, Complex<R>>,
        columns: u64,
        steps: u32,
        length: u32,
        log_pairs: u32,
    }
    ToSequence<'a, R> {
        spectrum: In<'a, Complex<R>>,
        roots: In<'a, Complex<R>>,
        places: In<'a, u32>,
        sequence: Out<'a, R>,
        columns: u64,
        steps: u32,
        length: u32,
        log_pairs: u32,
    }
    Taps<'a, R> {
        weights: In<'a, R>,
        delays: In<'a, R>,
        sigma: In<'a, R>,
        roots: In<'a, Complex<R>>,
        places: In<'a, u32>,
        spectrum: Out<'a, Complex<R>>,
        d_spectrum: In<'a, Complex<R>>,
        dense: Out<'a, R>,
        d_dense: In<'a, R>,
        d_weights: Out<'a, R>,
        d_delays: Out<'a, R>,
        d_sigma: Out<'a, R>,
        sigmas: u64,
        first: u64,
        synapses: u64,
        count: u32,
        taps: u32,
        length: u32,
        log_pairs: u32,
        kernel: u32,
    }
    Lines<'a, R> {
        delays: In<'a, R>,
        sigma: In<'a, R>,
        lines: Out<'a, R>,
        stride: u32,
        neurons: u32,
        taps: u32,
        kernel: u32,
    }
    BySender<'a, R> {
        dense: In<'a, R>,
        sorted: Out<'a, R>,
        neurons: u32,
        taps: u32,
        backwards: u32,
    }
    Direct<'a, R> {
        dense: In<'a, R>,
        x: In<'a, R>,
        d_y: In<'a, R>,
        y: Out<'a, R>,
        d_x: Out<'a, R>,
        d_dense: Out<'a, R>,
        x_steps: u32,
        y_steps: u32,
        batch: u32,
        inputs: u32,
        outputs: u32,
        taps: u32,
    }
    Product<'a, R> {
        a: In<'a, Complex<R>>,
        b: In<'a, Complex<R>>,
        c: Out<'a, Complex<R>>,
        a_bin: u64,
        b_bin: u64,
        c_bin: u64,
        a_leading: u32,
        b_leading: u32,
        c_leading: u32,
        rows: u32,
        columns: u32,
        depth: u32,
        accumulate: u32,
    }
}

#[cfg(test)]
mod tests {
    use super::STRUCTURES;
    use std::fmt::Write;

    fn number(kind: &str) -> &str {
        match kind {
            "u32" => "unsigned",
            "u64" => "unsigned long long",
            "f64" => "double",
            "Model<R>" => "NeuronModel<R>",
            "Stage<'a, R>" => "NeuronStage<R>",
            other => other,
        }
    }

    /// The C++ declaration of a field.
    fn declaration(field: &str, kind: &str) -> String {
        let pointed = |prefix: &str| {
            let inner = kind.strip_prefix(prefix)?.strip_suffix('>')?;
            Some(number(inner).to_owned())
        };
        if let Some(to) = pointed("In<'a, ") {
            format!("const {to} *{field};")
        } else if let Some(to) = pointed("Out<'a, ") {
            format!("{to} *{field};")
        } else if kind == "[R; 3]" {
            format!("R {field}[3];")
        } else {
            format!("{} {field};", number(kind))
        }
    }

    fn header() -> String {
        let mut text = concat!(
            "// The arguments of the kernels, generated from arguments.rs by its test\n",
            "// `the_header_declares_the_same_structures` with UPDATE=1.\n#pragma once\n"
        )
        .to_owned();
        for (name, fields) in STRUCTURES {
            write!(text, "\ntemplate <class R>\nstruct {name} {{\n").unwrap();
            for (field, kind) in *fields {
                writeln!(text, "    {}", declaration(field, kind)).unwrap();
            }
            text += "};\n";
        }
        text
    }

    #[test]
    fn the_header_declares_the_same_structures() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/arguments.h");
        if std::env::var_os("UPDATE").is_some_and(|v| v == "1") {
            std::fs::write(path, header()).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap();
        assert!(
            found == header(),
            "arguments.h differs from arguments.rs: run this test with UPDATE=1"
        );
    }
}
