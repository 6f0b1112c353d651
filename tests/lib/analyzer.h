/* Included first by `make tidy` only: a call that failed has set errno to something positive. Without knowing that, the static
 * analyzer takes every `return -errno` for a possible success, and every output behind it for uninitialized. */
#include <errno.h>

#undef errno
#define errno (*({ int *e_ = __errno_location(); __builtin_assume(*e_ > 0); e_; }))
