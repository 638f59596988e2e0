#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
# Mail that comes in by SMTP, is queued and goes out to a sink: messages per second from the first octet in to the last one out,
# and CPU per message; posthouse against Postfix and OpenSMTPD, same run, all on one journaled ext4 loop mount. Then a queue of
# 100 000 messages: memory, start-up, listing. Needs root (mount, cgroups, a network namespace). It stops by itself.
#   tests/bench/relay.sh [--quick] [--only rates|queue] [--no-peers]
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/appliance/setup.sh"

install_packages $build_packages python3 e2fsprogs util-linux iproute2
case " $* " in
*" --no-peers "*) ;;
*) install_packages postfix ;;
esac
build posthouse
mkdir -p "$root/build/bench"
for tool in smtp_load smtp_sink; do
    gcc -O2 -D_GNU_SOURCE -o "$root/build/bench/$tool" "$root/tests/bench/$tool.c"
done
exec python3 "$root/tests/bench/relay.py" "$root/build/posthouse" "$root/build/bench" "$@"
