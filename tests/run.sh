#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only WITH LicenseRef-posthouse-linking-exception
# Installs what is missing, builds, and runs every test. Ends with "N passed, M failed".
#   tests/run.sh [KIND...]          only these kinds: unit checks dialogs integration database faults
#   tests/run.sh --san [KIND...]    built with sanitizers: ASan and UBSan (all that runs), then TSan (build-asan/, build-tsan/)
#   tests/run.sh --fuzz [SECONDS]   every fuzz target for so long (60), on a copy of its corpus (build-fuzz/)
#   tests/run.sh --ci               every test, then every fuzz target for 60 s from a fixed seed
# What takes longer is not part of it: tests/soak.sh, tests/bench/.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/appliance/setup.sh"

test_packages="ca-certificates curl libcmocka-dev python3 python3-pytest openssl swaks gsasl libnet-ssleay-perl
 libio-socket-ssl-perl msmtp isync mutt e2fsprogs util-linux procps iproute2 nsd ldnsutils python3-yaml opendkim opendkim-tools
 python3-dkim python3-nacl mariadb-server"
# A machine that has its own node and npm keeps them.
command -v npm >/dev/null 2>&1 || test_packages="$test_packages nodejs npm"
new_services=$(missing_packages nsd opendkim mariadb-server | sed 's/mariadb-server/mariadb/')
install_packages $build_packages $test_packages
# The tests start servers of their own; those of the packages aren't to take ports.
if [ -n "$new_services" ] && [ -d /run/systemd/system ]; then
    quietly as_root systemctl disable --now $new_services || true
fi

build_fuzz() {
    # Debian 12's clang; later ones name the package of the libraries likewise.
    install_packages clang "libclang-rt-$(clang_version)-dev"
    targets=$(cd "$root/tests/fuzz" && ls fuzz_*.c | sed 's/\.c$//')
    build_in build-fuzz "$sanitized -DCMAKE_C_COMPILER=clang -DPH_FUZZ=ON -DPH_SANITIZE=address,undefined" $targets
}

sanitized='-DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG=-g\ -O1'
case ${1-} in
--san)
    build_in build-asan "$sanitized -DPH_SANITIZE=address,undefined" all
    build_in build-tsan "$sanitized -DPH_SANITIZE=thread" all
    ;;
--fuzz)
    build_fuzz
    ;;
--ci)
    build all
    build_fuzz
    ;;
*)
    build all
    ;;
esac
exec python3 "$root/tests/run.py" "$root" "$@"
