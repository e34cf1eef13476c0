/* The header is all there is: Sources/LibResNet defines its functions in Swift. */
#include "resnet.h"

_Static_assert(sizeof(resnet_status) == 4 && sizeof(resnet_input) == 4, "enumerations are what Swift takes them for");
