#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# kpop-deliver as an MTA runs it: what it leaves in the Maildir, and what its exit status says.
# shellcheck disable=SC2059,SC2317  # messages are formats of printf, all of them below; holds runs through "verdict"
program=${KPOPD_BUILDDIR:?}/kpop-deliver
dir=$(mktemp -d) || exit 99
trap 'rm -rf "$dir"' EXIT
mkdir "$dir/mail" "$dir/state"
store_user=$(id -un)
test "$store_user" != root || store_user=nobody
cat > "$dir/kpopd.conf" << EOF
hostname = 'mail.example.org'
mail_root = '$dir/mail'
state_dir = '$dir/state'
store_user = '$store_user'
EOF
if test "$(id -u)" = 0; then
	chown nobody "$dir/mail"
	chmod 711 "$dir"
fi
number=0
failed=0

# The next message.
message() {
	printf "$1" > "$dir/in"
}

# check SENTENCE WANTED-STATUS ARGUMENT...
check() {
	sentence=$1
	want=$2
	shift 2
	"$program" -c "$dir/kpopd.conf" "$@" < "$dir/in" > "$dir/out" 2>&1
	got=$?
	verdict "$sentence" test "$got" = "$want"
}

verdict() {
	number=$((number + 1))
	sentence=$1
	shift
	if "$@"; then
		echo "ok $number - $sentence"
	else
		failed=1
		echo "not ok $number - $sentence"
		sed 's/^/# /' "$dir/out"
	fi
}

# The one message of a user is exactly this.
holds() {
	set -- "$2" "$dir/mail/$1/Maildir/new"/*
	test $# = 2 && printf "$1" | cmp - "$2" > "$dir/out" 2>&1
}

message 'Subject: x\n\nbody\n'
check 'a message is taken' 0 -d alice -f sender@example.net
verdict 'with its header fields' holds alice \
	'Return-Path: <sender@example.net>\nDelivered-To: alice\nSubject: x\n\nbody\n'
message 'From a@b Sat Nov 21 2026\nSubject: x\n\n'
check 'an mbox separator' 0 -d bob
verdict 'is left out' holds bob 'Delivered-To: bob\nSubject: x\n\n'
message 'Subject: x\r\n\r\nFrom y\r\n'
check 'a message with CRLF' 0 -d carol -f ''
verdict 'keeps them, and an empty sender is <>' holds carol \
	'Return-Path: <>\r\nDelivered-To: carol\r\nSubject: x\r\n\r\nFrom y\r\n'
message 'A: b\n\n'
check 'angle brackets' 0 -d dave -f '<x@y>'
verdict 'are not doubled' holds dave 'Return-Path: <x@y>\nDelivered-To: dave\nA: b\n\n'
message ''
check 'an empty message is taken, too' 0 -d erin
verdict 'as header fields' holds erin 'Delivered-To: erin\n'
{
	printf 'From '
	head -c 300000 /dev/zero | tr '\0' x
	printf '\nA: b\n\n'
	head -c 300000 /dev/zero | tr '\0' y
} > "$dir/in"
check 'a separator longer than the buffer' 0 -d frank
verdict 'is left out whole' test "$(cat "$dir/mail/frank/Maildir/new"/* | wc -c)" = 300026
message 'A: b\n\n'
check 'a user with a domain' 0 -d grace@example.org
verdict 'has a Maildir of that name' holds grace@example.org 'Delivered-To: grace@example.org\nA: b\n\n'

check 'no user is wrong usage' 64
check 'so is another argument' 64 -d alice more
check 'so is an unknown option' 64 -d alice -x
check 'and a sender with a line end' 64 -d alice -f 'a@b
Bcc: all'
check 'a name with a slash is no user' 67 -d ../alice
check 'nor is an empty one' 67 -d ''
check 'a configuration that is not there is no reason to send mail back' 75 -d alice -c "$dir/none"
echo 'nonsense' > "$dir/bad.conf"
check 'nor is one that makes no sense' 75 -d alice -c "$dir/bad.conf"
ln -s alice "$dir/mail/henry"
check 'a link in the way is refused until it is gone' 75 -d henry
head -c 3000000 /dev/zero > "$dir/in"
limit=$(ulimit -S -f)
ulimit -S -f 1000
check 'a file that cannot grow is tried again later' 75 -d ivan
ulimit -S -f "$limit"
verdict 'and nothing is left behind' test -z "$(find "$dir/mail/ivan" -type f)"
cat >> "$dir/kpopd.conf" << 'EOF'
class small {
    users = { 'judy', 'kim' }
    quota_octets = 60
}
class few {
    users = { 'lee' }
    quota_messages = 1
}
EOF
message 'A: b\n\n01234567890\n'
check 'a message for which there is room' 0 -d judy
verdict 'is delivered' holds judy 'Delivered-To: judy\nA: b\n\n01234567890\n'
message 'A: b\n\n012345678901\n'
check 'one for which there is none is tried again later' 75 -d judy
verdict 'and the reason begins with a code for Postfix' grep -q '^4\.2\.2 .*judy: over quota' "$dir/out"
verdict 'and nothing of it is left' test "$(find "$dir/mail/judy" -type f | wc -l)" = 1
message 'A:b\n'
check 'one that fits exactly' 0 -d judy
check 'and none after it' 75 -d judy
message 'A: b\n\n01234567890123456789012345678901234567890\n'
check 'one that is larger than all there may be is sent back' 77 -d kim
verdict 'and says why' grep -q '^5\.2\.3 .*kim: this is more' "$dir/out"
message 'A: b\n\nx\n'
check 'as many messages as there may be' 0 -d lee
check 'one more' 75 -d lee
echo 'quota_full = permanent' >> "$dir/kpopd.conf"
check 'is sent back where the site wants that' 77 -d lee
verdict 'with a code that says so' grep -q '^5\.2\.2 .*lee: over quota' "$dir/out"
check 'and others have no quota' 0 -d mia
rm "$dir/mail/lee/Maildir/new"/*
check 'what is fetched makes room' 0 -d lee
mv "$dir/mail" "$dir/away"
check 'a mail root that is not mounted is tried again later' 75 -d alice
if test "$(id -u)" = 0; then
	verdict 'root gives the mail to the store user' test "$(stat -c %U "$dir/away/alice/Maildir/new"/*)" = nobody
else
	number=$((number + 1))
	echo "ok $number - root gives the mail to the store user # SKIP not root"
fi
echo "1..$number"
exit $failed
