#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
# Many accounts: time of an import, `user list`, latency of looking an address up (p50, p99), memory, and logins a second,
# on SQLite, on our own tables in MariaDB and on Flurdy's there, against Dovecot with the same SQL and hashes. Needs root.
# Everything stays on loopback and stops by itself.
#   tests/bench/directory.sh [--users N] [--seconds S] [--no-dovecot]
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/appliance/setup.sh"

install_packages $build_packages python3 e2fsprogs util-linux mariadb-server
case " $* " in
*" --no-dovecot "*) ;;
*) install_packages dovecot-imapd dovecot-mysql ;;
esac
build posthouse
exec python3 "$root/tests/bench/directory.py" "$root/build/posthouse" "$@"
