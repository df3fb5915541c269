#include "adlif.h"

NEURON(adlif, AdLif)
