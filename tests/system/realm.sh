#!/bin/bash
# SPDX-License-Identifier: ISC
#
# realm.sh: throw-away Kerberos realms, each with its own KDC on 127.0.0.1.
#
#   realm.sh start DIR [PORT [REALM [SERVICES]]]
#                                        makes the realm (default: KPOPD.TEST) in DIR (created when missing)
#                                        and starts its KDC; without PORT, or when it is empty, a free high
#                                        port is chosen; SERVICES: the realm localhost is in, if another
#   realm.sh user DIR NAME PASSWORD [OPTION...]
#                                        adds a principal with that password, or sets the password anew;
#                                        options as kadmin's addprinc has them (+requires_preauth)
#   realm.sh service DIR NAME [KEYTAB [ENCTYPES]]
#                                        adds NAME with a random key and puts the key into KEYTAB
#                                        (default: DIR/krb5.keytab)
#   realm.sh trust DIR OTHER             lets each of two realms take the other's tickets
#   realm.sh know DIR OTHER              lets the clients of DIR find the KDC of OTHER
#   realm.sh path DIR CLIENT SERVER VIA  lets the clients of DIR go from realm CLIENT to SERVER through VIA
#   realm.sh stop DIR                    ends the KDC; DIR stays
#
# Afterwards DIR holds krb5.conf (for KRB5_CONFIG), kdc.conf, krb5.keytab with pop/localhost,
# pop3/localhost and imap/localhost, realm, kdc.pid, kdc.port, kdc.log. The principals alice and bob have
# the passwords alice-krb and bob-krb. Who proves a password to the KDC by SPAKE (principals with
# +requires_preauth do) has tickets with the authentication indicator "spake". The KDC does not look at the
# realms a ticket came through, so that servers have to. Nothing outside DIR is read or written, and it
# works as any user.
set -eu
PATH=$PATH:/usr/sbin:/sbin

die()
{
	echo "realm.sh: $*" >&2
	exit 1
}

use_dir()
{
	dir=$(cd "$1" && pwd) || die "no such directory: $1"
	export KRB5_CONFIG="$dir/krb5.conf" KRB5_KDC_PROFILE="$dir/kdc.conf"
	if [ -s "$dir/realm" ]; then
		read -r realm services < "$dir/realm"
	fi
	if [ -s "$dir/kdc.port" ]; then
		read -r port < "$dir/kdc.port"
	fi
}

kadmin_run()
{
	local out
	out=$(kadmin.local -r "$realm" "$@" 2>&1) || die "kadmin.local: $out"
	# kadmin.local exits with 0 whatever the query did, and says what went wrong after its own name.
	case $out in
	*": "*" while "* | *cannot*) die "kadmin.local: $out" ;;
	esac
}

write_krb5_conf()
{
	cat > "$dir/krb5.conf" <<-CONF
	[libdefaults]
	    default_realm = $realm
	    dns_lookup_kdc = false
	    dns_lookup_realm = false
	    dns_canonicalize_hostname = false
	    rdns = false
	    udp_preference_limit = 1
	    ticket_lifetime = 1h
	    spake_preauth_groups = edwards25519
	[realms]
	    $realm = {
	        kdc = 127.0.0.1:$port
	    }
	$(cat "$dir/known" 2> /dev/null)
	[domain_realm]
	    localhost = $services
	[capaths]
	$(cat "$dir/paths" 2> /dev/null)
	CONF
}

write_kdc_conf()
{
	cat > "$dir/kdc.conf" <<-CONF
	[kdcdefaults]
	    kdc_listen = 127.0.0.1:$port
	    kdc_tcp_listen = 127.0.0.1:$port
	[realms]
	    $realm = {
	        database_name = $dir/principal
	        key_stash_file = $dir/stash
	        acl_file = $dir/kadm5.acl
	        max_life = 10h
	        supported_enctypes = aes256-cts-hmac-sha1-96:normal aes128-cts-hmac-sha256-128:normal
	        spake_preauth_indicator = spake
	        reject_bad_transit = false
	    }
	[logging]
	    kdc = FILE:$dir/kdc.log
	    default = FILE:$dir/kdc.log
	CONF
}

port_free()
{
	local hex
	hex=$(printf ':%04X ' "$1")
	! cut -c1-40 /proc/net/tcp /proc/net/udp | grep -q "$hex"
}

start_kdc()
{
	local try
	for try in 1 2 3 4 5 6 7 8 9 10; do
		port=${1:-$((20000 + (RANDOM * 32768 + RANDOM) % 12000))}
		port_free "$port" || { [ -z "${1:-}" ] || break; continue; }
		write_krb5_conf
		write_kdc_conf
		# A KDC that holds our output open would keep a caller's $(...) waiting.
		if krb5kdc -r "$realm" -P "$dir/kdc.pid" < /dev/null > "$dir/kdc.out" 2>&1; then
			echo "$port" > "$dir/kdc.port"
			wait_for_pid
			return
		fi
		[ -z "${1:-}" ] || break
	done
	die "the KDC does not start (port $port, try $try): $(cat "$dir/kdc.out" 2> /dev/null)"
}

wait_for_pid()
{
	local i
	for ((i = 0; i < 100; i++)); do
		[ -s "$dir/kdc.pid" ] && kill -0 "$(cat "$dir/kdc.pid")" 2> /dev/null && return
		sleep 0.05
	done
	die "the KDC wrote no pid: $(cat "$dir/kdc.log")"
}

start()
{
	for tool in krb5kdc kdb5_util kadmin.local; do
		command -v "$tool" > /dev/null || die "$tool is missing; on Debian: apt-get install krb5-kdc krb5-admin-server"
	done
	mkdir -p "$1"
	use_dir "$1"
	stop_kdc
	rm -f "$dir"/principal* "$dir/stash" "$dir/krb5.keytab" "$dir/kdc.log" "$dir/known" "$dir/paths"
	: > "$dir/kadm5.acl"
	realm=${3:-KPOPD.TEST}
	services=${4:-$realm}
	echo "$realm $services" > "$dir/realm"
	port=${2:-88}
	write_krb5_conf
	write_kdc_conf
	kdb5_util create -s -r "$realm" -P "master-$RANDOM$RANDOM$RANDOM" > "$dir/kdc.out" 2>&1 ||
	    die "kdb5_util: $(cat "$dir/kdc.out")"
	add_user alice alice-krb
	add_user bob bob-krb
	for name in pop/localhost pop3/localhost imap/localhost; do
		add_service "$name" "$dir/krb5.keytab"
	done
	start_kdc ${2:+"$2"}
}

add_user()
{
	if kadmin.local -r "$realm" getprinc "$1" 2> /dev/null | grep -q '^Principal:'; then
		kadmin_run cpw -pw "$2" "$1"
		[ $# -le 2 ] || kadmin_run modprinc "${@:3}" "$1"
	else
		kadmin_run addprinc -pw "$2" "${@:3}" "$1"
	fi
}

add_service()
{
	kadmin_run addprinc ${3:+-e "$3"} -randkey "$1"
	kadmin_run ktadd -k "$2" -norandkey "$1"
}

# know OTHER: our clients find that realm's KDC.
know()
{
	local other_realm other_port
	read -r other_realm _ < "$1/realm"
	read -r other_port < "$1/kdc.port"
	echo "    $other_realm = { kdc = 127.0.0.1:$other_port }" | sed 's/{ /{\n        /; s/ }/\n    }/' >> "$dir/known"
	write_krb5_conf
}

# trust DIR OTHER: the same two keys in both, one for each direction.
trust()
{
	local first second secret="trust-$RANDOM$RANDOM$RANDOM" here
	read -r first _ < "$1/realm"
	read -r second _ < "$2/realm"
	for here in "$1" "$2"; do
		use_dir "$here"
		add_user "krbtgt/$second@$first" "$secret-there"
		add_user "krbtgt/$first@$second" "$secret-back"
	done
	use_dir "$1" && know "$2"
	use_dir "$2" && know "$1"
}

add_path()
{
	printf '    %s = {\n        %s = %s\n    }\n' "$1" "$2" "$3" >> "$dir/paths"
	write_krb5_conf
}

stop_kdc()
{
	local pid i
	[ -s "$dir/kdc.pid" ] || return 0
	pid=$(cat "$dir/kdc.pid")
	rm -f "$dir/kdc.pid"
	# The pid may be another program's by now.
	case $(cat "/proc/$pid/comm" 2> /dev/null) in
	krb5kdc) kill "$pid" ;;
	*) return 0 ;;
	esac
	for ((i = 0; i < 100; i++)); do
		kill -0 "$pid" 2> /dev/null || return 0
		sleep 0.05
	done
	kill -9 "$pid"
}

usage()
{
	sed -n '4,25s/^# \{0,1\}//p' "$0" >&2
	exit 64
}

case ${1:-}:$# in
start:[2345]) start "${@:2}" ;;
stop:2) use_dir "$2" && stop_kdc ;;
user:[4-9]) use_dir "$2" && add_user "${@:3}" ;;
service:[345]) use_dir "$2" && add_service "$3" "${4:-$dir/krb5.keytab}" "${5:-}" ;;
trust:3) trust "$2" "$3" ;;
know:3) use_dir "$2" && know "$3" ;;
path:5) use_dir "$2" && add_path "$3" "$4" "$5" ;;
*) usage ;;
esac
