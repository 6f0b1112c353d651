/* The daemon itself: is it there, reload, stop. */
#include "connection.h"

int jobpool_ping(struct jobpool *c)
{
	return ASK(c, false, NULL, "PING");
}

int jobpool_hello(struct jobpool *c, struct jobpool_value **ret_server)
{
	return ASK(c, false, ret_server, "HELLO", "2");
}

int jobpool_reload(struct jobpool *c)
{
	return ASK(c, false, NULL, "RELOAD");
}

int jobpool_shutdown(struct jobpool *c, bool kill)
{
	int r = ASK(c, false, NULL, "SHUTDOWN", kill ? "KILL" : "LEAVE");

	if (r == -ECONNRESET)
		return 0; /* it was faster than its answer */
	if (r < 0)
		return r;
	/* The connection closes when it has ended: nothing else comes. */
	connection_expect(c);
	r = connection_take(c, NULL);
	return r == -ECONNRESET ? 0 : r;
}
