/* Values of replies, built by hiredis's reader. */
#pragma once

#include <hiredis/read.h>

#include "jobpool.h"

/* A reader whose replies are struct jobpool_value; NULL = out of memory. redisReaderFree() ends it. */
redisReader *value_reader_new(void);
/* What @value says as an integer: an integer, or bytes that are a decimal number. false when it is neither, or
 * negative. */
bool value_to_uint(const struct jobpool_value *value, uint64_t *ret_number);
