#!/bin/sh
# Runs inside the userland: builds the sdist as pip does on a board, and runs the tests against it.
set -eu
cd /edgemse
python=/venv/bin/python
pip="$python -m pip --disable-pip-version-check --no-color install --quiet --no-index
    --find-links /wheels --no-build-isolation"

if ! cmp -s wheels.txt /venv/complete; then
    rm -rf /venv
    python3 -m venv /venv
    # First what builds: msgspec has no wheel for armv7.
    grep -iE '^(setuptools|cython)' wheels.txt > builders.txt
    $pip --requirement builders.txt
    since=$(date +%s)
    $pip msgspec
    echo "$1: msgspec installed in $(($(date +%s) - since)) s (compiled, where it has no wheel)"
    $pip --requirement wheels.txt
    cp wheels.txt /venv/complete
fi

echo "$1: building the sdist with $(gcc -dumpmachine) gcc $(gcc -dumpfullversion)"
$pip --no-deps --force-reinstall edgemse-*.tar.gz 2> build.log || { cat build.log; exit 1; }

echo "$1: testing on $(uname -m), $($python --version), $(getconf LONG_BIT) bits"
# The time limit is that of the house times what qemu costs.
export EDGEMSE_SEEDS=20 EDGEMSE_DAMAGES=25
$python -m pytest -q -p no:cacheprovider --timeout 1800 --durations 5 tests/stats tests/agent \
    tests/monitor tests/simulation/test_delivery.py tests/test_growing.py tests/test_wire.py \
    tests/test_topics.py
