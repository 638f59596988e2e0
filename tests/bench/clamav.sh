#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
# Signatures reloaded while mail comes: peak memory against that of one engine, how long mail waited, whether any was lost or
# passed unscanned. Signatures are made up; everything stays on loopback.
#   tests/bench/clamav.sh [--signatures N] [--reloads N] [--concurrent] [--isolation thread|process] [--wait TIME]
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/appliance/setup.sh"

install_packages $build_packages python3 python3-pytest openssl
build posthouse
POSTHOUSE=$root/build/posthouse exec /usr/bin/python3 "$root/tests/bench/clamav.py" "$@"
