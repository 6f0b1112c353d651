/* SUBMIT requests: what one job and many jobs at once have in common. Internal to libjobpool. */
#pragma once

#include "connection.h"

/* The environment's id for the next SUBMIT, sent and asked for when it is due: 0, and 0 in c->environment_id without
 * one. */
int environment_require(struct jobpool *c);
/* true when environment_require() would ask the daemon: replies in flight must be taken before. */
bool environment_is_due(const struct jobpool *c);

/**
 * Append a SUBMIT request to @out, with the connection's environment and, unless @spec has one, a random KEY.
 *
 * Returns 0; -EINVAL for an empty command, with c->error; -ENOMEM.
 */
int submit_encode(struct jobpool *c, const struct jobpool_spec *spec, struct buf *out);
/* The id in the reply to SUBMIT: frees @reply. 0 or -EPROTO. */
int submit_reply(struct jobpool *c, struct jobpool_value *reply, uint64_t *ret_id);
