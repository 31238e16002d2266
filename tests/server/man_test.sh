#!/bin/sh
# SPDX-License-Identifier: ISC
# Every manual page is clean mdoc. Which keys kpopd.conf.5 has is config_test's.
dir=${KPOPD_SRCDIR:?}/man
number=0
failed=0
for page in "$dir"/*.[1-9]; do
	number=$((number + 1))
	# Whether another page is installed on this machine is no matter of ours.
	if text=$(mandoc -Tlint "$page" 2>/dev/null | grep -v 'STYLE: referenced manual not found') && [ -n "$text" ]; then
		printf '%s\n' "$text" | sed 's/^/# /'
		printf 'not '
		failed=1
	fi
	echo "ok $number - ${page##*/} is clean mdoc"
done
command -v mandoc > /dev/null || {
	number=$((number + 1))
	failed=1
	echo "not ok $number - mandoc is missing; on Debian: apt-get install mandoc"
}
echo "1..$number"
exit $failed
