#include "stage.h"

NEURON(lif, Lif)
