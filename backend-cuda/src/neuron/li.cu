#include "stage.h"

INSTANCE(li, Li, AnyFiring)
