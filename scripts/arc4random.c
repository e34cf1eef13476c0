/* arc4random as glibc has it from 2.36 on, which the Swift runtime asks for when it was built there. With our own, programs and
 * libraries that carry the runtime also run with glibc 2.35, such as Ubuntu 22.04's. */
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>

uint32_t arc4random(void) {
    uint32_t value;
    /* Up to 256 bytes come whole once the system has started; before that the call waits. */
    while (getrandom(&value, sizeof value, 0) != sizeof value) continue;
    return value;
}
