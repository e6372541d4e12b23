#!/bin/sh
# Fetches Debian's package openssh-tests (OpenSSH's own test vectors and its
# sk-dummy.so, a security key without hardware), unpacks it without installing
# it, and prints the directory that holds misc/ and unittests/. The tests of
# proof/sign take it from GOVERN_OPENSSH_TESTS, or call this script.
#
# Cache: ${XDG_CACHE_HOME:-$HOME/.cache}/govern/openssh-tests. Exit 1 and a
# reason on stderr when the package cannot be had.
set -eu
cache="${XDG_CACHE_HOME:-$HOME/.cache}/govern"
dir="$cache/openssh-tests"
found="$dir/usr/lib/openssh/regress"
if [ -d "$found/unittests/sshsig/testdata" ]; then
	echo "$found"
	exit 0
fi
for tool in apt-get dpkg-deb; do
	command -v "$tool" >/dev/null || { echo "openssh-tests: no $tool here (not Debian)" >&2; exit 1; }
done
mkdir -p "$cache"
tmp=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
apt-get -qq download openssh-tests >&2 || {
	apt-get -qq update >&2 && apt-get -qq download openssh-tests >&2
} || { echo "openssh-tests: the package cannot be downloaded" >&2; exit 1; }
dpkg-deb -x openssh-tests_*.deb unpacked
[ -d "unpacked/usr/lib/openssh/regress/unittests/sshsig/testdata" ] || { echo "openssh-tests: no sshsig vectors in the package" >&2; exit 1; }
mv -T unpacked "$dir" 2>/dev/null || [ -d "$found" ] # another process was faster
echo "$found"
