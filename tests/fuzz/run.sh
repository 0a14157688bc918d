#!/bin/sh
# Fuzzes everything that reads bytes of strangers, for FUZZ_SECONDS (600), from the kept corpus.
#   tests/fuzz/run.sh              exit code 0: no finding
#   tests/fuzz/run.sh keep         afterwards: the shortest inputs that reached new code, kept
# With clang the extensions are built with coverage and sanitizers; without, the reference guides.
set -eu
cd "$(dirname "$0")/../.."

work=build/fuzz
python=$work/venv/bin/python
seconds=${FUZZ_SECONDS:-600}

if [ "${1:-}" = keep ]; then
    mkdir -p $work/shortest
    set -- -merge=1 $work/shortest $work/corpus
    keep=yes
else
    set -- -max_total_time="$seconds" -timeout=10 -rss_limit_mb=4096 -max_len=2048 \
        -print_final_stats=1 -artifact_prefix=$work/finding- $work/corpus
    keep=""
fi

[ -x $python ] || { rm -rf $work && .venv/bin/python -m venv $work/venv; }
rm -rf $work/source
.venv/bin/python -m build --quiet --sdist --outdir $work/dist . > $work/build.log 2>&1 ||
    { cat $work/build.log; exit 1; }
mkdir $work/source
tar -xzf $work/dist/edgemse-*.tar.gz -C $work/source --strip-components 1
sed -i.bak 's/"-g0"/"-g1"/' $work/source/pyproject.toml  # a report shall name lines
$python -m pip install --quiet --upgrade 'pip>=25.1'
$python -m pip install --quiet atheris msgspec

preload=""
if command -v clang > /dev/null; then
    export CC=clang
    # Cython's argument handling adds 0 to a null pointer, which clang calls an overflow.
    export CFLAGS="-fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all
        -fno-sanitize=pointer-overflow"
    preload=$($python -c 'import pathlib, atheris; print(pathlib.Path(atheris.path()))')
    preload=$preload/asan_with_fuzzer.so
else
    echo "fuzz: no clang, so no coverage of the extensions; the reference guides" >&2
fi
$python -m pip install --quiet --no-deps --force-reinstall --no-cache-dir ./$work/source \
    2> $work/build.log || { cat $work/build.log; exit 1; }
unset CC CFLAGS

PYTHONPATH=tests .venv/bin/python tests/fuzz/seeds.py lay-out $work/corpus
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1:quarantine_size_mb=32
export PYTHONMALLOC=malloc
# libFuzzer starts itself anew by its own name when it merges corpora.
printf '#!/bin/sh\nexec %s -P tests/fuzz/fuzz.py "$@"\n' $python > $work/target
chmod +x $work/target
export FUZZ_TARGET=$work/target
LD_PRELOAD=$preload PYTHONPATH=tests $python -P tests/fuzz/fuzz.py "$@"
[ -z "$keep" ] || PYTHONPATH=tests .venv/bin/python tests/fuzz/seeds.py keep $work/shortest
