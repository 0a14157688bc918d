#!/bin/sh
# Sees to the programs that the tests run for real; `system_parts.sh integrations` to those of
# tests/integrations as well. As root, with apt-get, installs what is missing; otherwise says exactly
# what is, and fails where CI is set (elsewhere their tests are skipped).
set -eu
PATH=$PATH:/usr/sbin:/usr/local/sbin

missing=""
command -v mosquitto > /dev/null || missing="$missing mosquitto"
command -v chromium > /dev/null || missing="$missing chromium"
command -v promtool > /dev/null || missing="$missing prometheus"
# Debian has the server's programs on nobody's PATH.
command -v postgres > /dev/null || ls /usr/lib/postgresql/*/bin/postgres > /dev/null 2>&1 ||
    missing="$missing postgresql"
if [ "${1:-}" = integrations ]; then
    command -v rabbitmq-server > /dev/null || missing="$missing rabbitmq-server"
    command -v nats-server > /dev/null || missing="$missing nats-server"
fi
command -v strace > /dev/null || missing="$missing strace"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    echo "installing:$missing"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends $missing \
        > /dev/null
    # Debian starts servers on their usual ports when it installs them; the tests start their own.
    for name in $missing; do
        service "$name" stop > /dev/null 2>&1 || true
    done
    exit 0
fi
echo "missing for the tests:$missing. Install them (Debian: sudo apt-get install$missing)." >&2
[ -z "${CI:-}" ] || exit 1
echo "Without them their tests are skipped." >&2
