#include "stage.h"

BOTH(cuba_lif, CubaLif)
