#include "ckernels.h"
const char *ck_version(void) { return CK_VERSION_STRING; }
