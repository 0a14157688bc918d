#!/bin/sh
# The C client against ErrorStats, at length: 1,000,000 random streams with every compiler here, and
# 20,000 on a Cortex-M4 and a Cortex-M0+ of qemu, their doubles in software.
#   tests/c/run.sh [pytest arguments]     EDGEMSE_SEED=<n> for others
set -eu
cd "$(dirname "$0")/../.."

command -v qemu-arm-static > /dev/null || {
    echo "test-c: no qemu-arm-static (Debian: apt-get install qemu-user-static)" >&2
    exit 1
}
EDGEMSE_C_STREAMS=${EDGEMSE_C_STREAMS:-1000000} \
    .venv/bin/python -m pytest -q tests/c/test_bytes.py "$@"
PYTHONPATH=tests .venv/bin/python tests/c/cortex.py
