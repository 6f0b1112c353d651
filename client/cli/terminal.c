/* What may be done on a terminal. */
#include "terminal.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "text.h"

#define STDOUT_BYTES 65536
#define CLEAR "\r\033[K"

/* There is one stderr, so there is one line. */
static bool live_is_shown;

size_t terminal_width(int fd)
{
	const char *columns = getenv("COLUMNS");
	struct winsize size = { 0 };
	uint64_t width = 0;

	if (!isatty(fd))
		return SIZE_MAX;
	if (columns && slice_to_uint(slice_of(columns), UINT16_MAX, &width) == 0 && width)
		return (size_t)width;
	return ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : SIZE_MAX;
}

static bool obeys_escapes(int fd)
{
	const char *kind = getenv("TERM");

	return isatty(fd) && kind && *kind && strcmp(kind, "dumb") != 0;
}

bool terminal_has_colour(const char *when)
{
	const char *no_colour = getenv("NO_COLOR");

	if (when && strcmp(when, "auto") != 0)
		return strcmp(when, "always") == 0;
	return obeys_escapes(STDOUT_FILENO) && !(no_colour && *no_colour);
}

bool live_begin(void)
{
	static char kept[STDOUT_BYTES];

	if (!obeys_escapes(STDERR_FILENO))
		return false;
	setvbuf(stdout, kept, _IOFBF, sizeof(kept));
	return true;
}

void live_line_init(struct live_line *line)
{
	size_t width = terminal_width(STDERR_FILENO);

	*line = (struct live_line){ .width = width - 1 }; /* the cursor needs a place too, or the line would wrap */
}

void live_line_add(struct live_line *line, const char *format, ...)
{
	char part[LIVE_BYTES];
	const char *comma = line->len ? ", " : "";
	size_t width;
	va_list args;

	va_start(args, format);
	vsnprintf(part, sizeof(part), format, args);
	va_end(args);
	width = strlen(comma) + text_width(part);
	if (line->full || width > line->width || line->len + strlen(comma) + strlen(part) >= sizeof(line->text)) {
		line->full = true;
		return;
	}
	snprintf(line->text + line->len, sizeof(line->text) - line->len, "%s%s", comma, part);
	line->len += strlen(line->text + line->len);
	line->width -= width;
}

void live_show(const struct live_line *line)
{
	live_clear();
	fputs(line->text, stderr);
	live_is_shown = true;
}

void live_clear(void)
{
	if (live_is_shown)
		fputs(CLEAR, stderr);
	live_is_shown = false;
	fflush(stdout);
}
