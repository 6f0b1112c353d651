/* Who may talk to the daemon, and under which user name. */
#pragma once

#include <sys/types.h>

struct users;

/* Resolves the daemon's own uid and root by NSS: at start only, never later on the loop. 0 or -ENOMEM. */
int users_new(struct users **ret_users);
void users_free(struct users *users);
/* Name of a user who may talk to us (his uid in decimal when he has none), or NULL: he may not. Lives as long as @users. */
const char *users_find(const struct users *users, uid_t uid);
