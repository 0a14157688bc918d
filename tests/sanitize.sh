#!/bin/sh
# Builds the extensions with AddressSanitizer and UndefinedBehaviorSanitizer, in an environment of
# their own (build/sanitize), and runs the tests of compiled code on them. Wants gcc or clang with libasan.
#   tests/sanitize.sh [pytest arguments]
set -eu
cd "$(dirname "$0")/.."

work=build/sanitize
python=$work/venv/bin/python
compiler=${CC:-cc}

runtime() {
    found=$($compiler -print-file-name="$1")
    case $found in
    /*) echo "$found" ;;
    *)
        echo "sanitize: $compiler has no $1 (Debian: apt-get install gcc)" >&2
        exit 1
        ;;
    esac
}
asan=$(runtime libasan.so)
ubsan=$(runtime libubsan.so)

[ -x $python ] || { rm -rf $work && .venv/bin/python -m venv $work/venv; }

# From an unpacked sdist: objects of another build must not be taken for ours, nor ours for theirs.
rm -rf $work/source
.venv/bin/python -m build --quiet --sdist --outdir $work/dist . > $work/build.log 2>&1 ||
    { cat $work/build.log; exit 1; }
mkdir $work/source
tar -xzf $work/dist/edgemse-*.tar.gz -C $work/source --strip-components 1
sed -i.bak 's/"-g0"/"-g1"/' $work/source/pyproject.toml  # a report shall name lines

flags="-fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all"
echo "sanitize: building with $flags"
$python -m pip install --quiet --upgrade 'pip>=25.1'
$python -m pip install --quiet numpy paho-mqtt msgspec hypothesis pytest \
    pytest-timeout
CFLAGS="$flags -fno-omit-frame-pointer" LDFLAGS="$flags" $python -m pip install --quiet \
    --no-deps --force-reinstall --no-cache-dir ./$work/source 2> $work/build.log ||
    { cat $work/build.log; exit 1; }

# CPython is not built for leak checking. malloc instead of pymalloc, so that the sanitizer sees the
# end of every object.
export ASAN_OPTIONS=detect_leaks=0:halt_on_error=1:strict_string_checks=1
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
export PYTHONMALLOC=malloc
# -P and importlib mode: the sources beside us are not what is tested.
[ $# -gt 0 ] || set -- tests/stats tests/test_wire.py tests/monitor/test_observe.py \
    tests/agent/test_pairing.py tests/agent/test_usual.py
LD_PRELOAD="$asan $ubsan" exec $python -P -m pytest -q -p no:cacheprovider --timeout 1200 "$@"
