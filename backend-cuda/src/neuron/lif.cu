#include "kernels.h"

NEURON(lif, Lif)
