/* Any bytes as a worker file: every reader copes. */
#include "worker_file.h"

#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct worker_file_header header;
	struct mark mark;
	uint64_t epoch;
	bool retired;

	int fd = memfd_create("worker_file", MFD_CLOEXEC);
	if (fd < 0 || pwrite_all(fd, data, size, 0) < 0)
		abort();
	if (worker_file_read_header(fd, &header) == 0 && strlen(header.pool) >= sizeof(header.pool))
		abort();
	for (unsigned i = 0; i < MARKS_PER_WORKER; i++)
		if (worker_file_read_mark(fd, i, &mark) == 0 && mark.state > MARK_ENDED)
			abort();
	(void)worker_file_read_epoch(fd, &epoch);
	(void)worker_file_read_retired(fd, &retired);
	close_fd(&fd);
	return 0;
}
