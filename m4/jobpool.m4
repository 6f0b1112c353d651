# What the build needs is looked for completely before configure gives up, so that one run names all that is missing.

# JOBPOOL_NEED_MODULE(VARIABLE-PREFIX, PKG-CONFIG-MODULE, DEBIAN-PACKAGE)
AC_DEFUN([JOBPOOL_NEED_MODULE], [
	PKG_CHECK_MODULES([$1], [$2], [], [JOBPOOL_MISSING([$2], [$3])])
])

# JOBPOOL_NEED_HEADER(HEADER, DEBIAN-PACKAGE)
AC_DEFUN([JOBPOOL_NEED_HEADER], [
	AC_CHECK_HEADER([$1], [], [JOBPOOL_MISSING([$1], [$2])])
])

# JOBPOOL_MISSING(WHAT, DEBIAN-PACKAGE)
AC_DEFUN([JOBPOOL_MISSING], [
	jobpool_missing="$jobpool_missing
  $1 (Debian package $2)"
	jobpool_packages="$jobpool_packages $2"
])

# JOBPOOL_CHECK_MISSING: ends configure when something was not found.
AC_DEFUN([JOBPOOL_CHECK_MISSING], [
	AS_IF([test -n "$jobpool_missing"], [AC_MSG_ERROR([not found:$jobpool_missing
Install them with:  apt-get install$jobpool_packages
or let ./bootstrap in the source directory install all that jobpool needs.])])
])

# JOBPOOL_PYTHON: sets PYTHON3 to the first interpreter that has the redis module. The one in PATH may be a private
# build that does not see the distribution's modules, so /usr/bin/python3 is asked too.
AC_DEFUN([JOBPOOL_PYTHON], [
	AC_ARG_VAR([PYTHON3], [Python 3 with the redis module, for the tests])
	AC_CACHE_CHECK([for a Python 3 with the redis module], [jobpool_cv_python3], [
		jobpool_cv_python3=no
		for candidate in $PYTHON3 python3 /usr/bin/python3; do
			AS_IF([$candidate -c 'import redis' >/dev/null 2>&1],
			      [jobpool_cv_python3=$candidate; break])
		done
	])
	AS_IF([test "$jobpool_cv_python3" = no],
	      [JOBPOOL_MISSING([Python 3 with the redis module], [python3-redis])],
	      [PYTHON3=$jobpool_cv_python3])
])

# JOBPOOL_STATIC_CLIENT: CLIENT_LDFLAGS for a client without shared libraries, where C library and hiredis are there as archives.
AC_DEFUN([JOBPOOL_STATIC_CLIENT], [
	jobpool_libs=$LIBS
	LIBS="$HIREDIS_LIBS $LIBS"
	AX_CHECK_LINK_FLAG([-static-pie], [CLIENT_LDFLAGS="-static -XCClinker -static-pie"], [], [-fPIE],
			   [AC_LANG_PROGRAM([[#include <stddef.h>
#include <hiredis/read.h>]], [[redisReaderFree(redisReaderCreateWithFunctions(NULL));]])])
	LIBS=$jobpool_libs
])
