#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
# Messages per second and CPU per message through all built-in filters that need no virus database: one message per
# connection, 10 KB, signed by DKIM, names from a local server, posthouse against Postfix + rspamd (as a milter) + Dovecot
# (LMTP), same run, all on one journaled ext4 loop mount. Needs root (mount, cgroups, namespaces). Everything happens in a
# network of its own, which nothing leaves, and stops by itself.
#   tests/bench/filters.sh [--quick] [--no-peers] [--off STAGE,STAGE...] [--connections N,N...]
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/appliance/setup.sh"

services=$(missing_packages nsd) packages="$build_packages python3 python3-dkim openssl e2fsprogs util-linux iproute2 nsd ldnsutils"
case " $* " in
*" --no-peers "*) ;;
*)
    services=$(missing_packages nsd postfix rspamd dovecot-core)
    packages="$packages postfix rspamd dovecot-lmtpd"
    ;;
esac
install_packages $packages
# The measurement starts servers of its own; those of the packages aren't to run.
services=$(echo "$services" | sed 's/dovecot-core/dovecot/')
if [ -n "$services" ] && [ -d /run/systemd/system ]; then
    quietly as_root systemctl disable --now $services || true
fi
build posthouse
mkdir -p "$root/build/bench"
gcc -O2 -o "$root/build/bench/smtp_load" "$root/tests/bench/smtp_load.c"
# Debian's own Python: python3-dkim belongs to that one.
exec /usr/bin/python3 "$root/tests/bench/filters.py" "$root/build/posthouse" "$root/build/bench/smtp_load" "$@"
