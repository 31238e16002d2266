# SPDX-License-Identifier: ISC
# shellcheck shell=bash
# What etc/demo and etc/check share; sourced.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) # the source tree

say() { printf '%s\n' "$*"; }
die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# Ordinary users often lack these in PATH, and the KDC's programs are there.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

# missing_packages KIND...: those of etc/packages that are not installed.
missing_packages() {
	local kind name
	while read -r kind name; do
		case " $* " in *" $kind "*) ;; *) continue ;; esac
		[ "$(dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || printf '%s\n' "$name"
	done <"$top/etc/packages"
}

# need_packages KIND...: installs what is missing, or says what somebody else must install.
need_packages() {
	local names
	command -v dpkg-query >/dev/null ||
		die "this is no Debian: see etc/packages for what must be there, and build by hand"
	mapfile -t names < <(missing_packages "$@")
	[ ${#names[@]} -gt 0 ] || return 0
	[ "$(id -u)" = 0 ] || die "missing packages; as root: apt-get install ${names[*]}"
	say "Installing ${#names[@]} packages: ${names[*]}"
	export DEBIAN_FRONTEND=noninteractive
	{
		apt-get update &&
			apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=600 "${names[@]}"
	} >"${TMPDIR:-/tmp}/kpopd-packages.$$.log" 2>&1 || {
		tail -n 20 "${TMPDIR:-/tmp}/kpopd-packages.$$.log" >&2
		die "apt-get could not install them; its log is ${TMPDIR:-/tmp}/kpopd-packages.$$.log"
	}
	rm -f "${TMPDIR:-/tmp}/kpopd-packages.$$.log"
}
