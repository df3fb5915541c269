#include "stage.h"

BOTH(lif, Lif)
