// The kernels of a neuron, made of its equations.
#pragma once
#include "recurrent.h"

#define KERNELS(label, Neuron, Firing)                                 \
    template <class R>                                                 \
    __device__ void neuron_forward_##label(const NeuronStage<R> &a) {  \
        forward<R, Neuron<R>, Firing<R>>(a);                           \
    }                                                                  \
    template <class R>                                                 \
    __device__ void neuron_backward_##label(const NeuronStage<R> &a) { \
        backward<R, Neuron<R>, Firing<R>>(a);                          \
    }                                                                  \
    EXPORT(neuron_forward_##label, NeuronStage, 128)                   \
    EXPORT(neuron_backward_##label, NeuronStage, 128)

#define RECURRENT_KERNELS(label, Neuron)                                     \
    template <class R>                                                       \
    __device__ void recurrent_forward_##label(const RecurrentStage<R> &a) {  \
        recurrent_forward<R, Neuron<R>>(a);                                  \
    }                                                                        \
    template <class R>                                                       \
    __device__ void recurrent_backward_##label(const RecurrentStage<R> &a) { \
        recurrent_backward<R, Neuron<R>>(a);                                 \
    }                                                                        \
    EXPORT_BARRIERS(recurrent_forward_##label, RecurrentStage, 512)          \
    EXPORT_BARRIERS(recurrent_backward_##label, RecurrentStage, 512)

// The kernels of a neuron, in the file with the same name.
#define NEURON(name, Neuron)                 \
    KERNELS(name, Neuron, AnyFiring)         \
    KERNELS(name##_atan, Neuron, AtanFiring) \
    RECURRENT_KERNELS(name, Neuron)
