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
	say "Installing ${names[*]}"
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

# make_certificate DIR: a CA of its own (ca.pem) and a P-256 certificate for localhost (cert.pem, key.pem).
make_certificate() {
	local dir=$1
	{
		openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 30 \
			-subj "/CN=kpopd's throw-away authority" -addext keyUsage=critical,keyCertSign \
			-keyout "$dir/ca.key" -out "$dir/ca.pem" &&
			openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj /CN=localhost \
				-keyout "$dir/key.pem" -out "$dir/cert.csr" &&
			openssl x509 -req -in "$dir/cert.csr" -CA "$dir/ca.pem" -CAkey "$dir/ca.key" -days 30 \
				-out "$dir/cert.pem" -extfile <(
					printf '%s\n' 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1' \
						basicConstraints=critical,CA:FALSE extendedKeyUsage=serverAuth
				)
	} >"$dir/openssl.log" 2>&1 || die "openssl could not make a certificate: $(tail -n 3 "$dir/openssl.log")"
	rm -f "$dir/cert.csr" "$dir/openssl.log" "$dir/ca.key"
	chmod 600 "$dir/key.pem"
}

# make_role_users: the system users that the roles run as; only root can and only root needs them.
make_role_users() {
	local name
	[ "$(id -u)" = 0 ] || return 0
	for name in kpopd-front kpopd-auth kpopd-check kpopd; do
		getent passwd "$name" >/dev/null ||
			flock "${TMPDIR:-/tmp}" useradd --system --user-group --no-create-home \
				--home-dir /nonexistent --shell /usr/sbin/nologin "$name" ||
			getent passwd "$name" >/dev/null || die "useradd could not make the user $name"
	done
}

# make_state_dirs MAIL-ROOT STATE-DIR: both, owned by the roles that use them.
make_state_dirs() {
	mkdir -p "$1" "$2/auth" "$2/index" "$2/empty"
	chmod 711 "$2"
	chmod 700 "$1" "$2/auth" "$2/index"
	chmod 755 "$2/empty"
	[ "$(id -u)" = 0 ] || return 0
	chown kpopd:kpopd "$1" "$2/index"
	chown kpopd-auth:kpopd-auth "$2/auth"
}
