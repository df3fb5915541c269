#include "stage.h"

BOTH(adlif, AdLif)
