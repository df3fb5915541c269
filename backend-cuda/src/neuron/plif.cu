#include "stage.h"

BOTH(plif, Plif)
