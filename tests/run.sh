#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
# Installs what is missing, builds, and runs every test. Ends with "N passed, M failed".
#   tests/run.sh [KIND...]   only these kinds: unit checks dialogs integration faults
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/appliance/setup.sh"

test_packages="ca-certificates curl libcmocka-dev python3 python3-pytest openssl swaks libnet-ssleay-perl
 libio-socket-ssl-perl msmtp isync mutt e2fsprogs util-linux procps"
# A machine that has its own node and npm keeps them.
command -v npm >/dev/null 2>&1 || test_packages="$test_packages nodejs npm"

install_packages $build_packages $test_packages
build all
exec python3 "$root/tests/run.py" "$root" "$@"
