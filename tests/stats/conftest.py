from importlib.util import find_spec

from hypothesis import HealthCheck, settings

# Not every board has a wheel of every library that the dev group installs; the core's own tests run
# without. What is compared with a library needs it.
LIBRARIES = {
    "test_libraries.py": ("numpy", "pandas", "polars", "pyarrow"),
    "test_loss_stats.py": ("sklearn",),
    "test_losses.py": ("sklearn",),
}
collect_ignore = [name for name, needed in LIBRARIES.items() if not all(map(find_spec, needed))]

# A failing example is printed with the blob that repeats it; no test is judged by its duration.
settings.register_profile(
    "stats",
    deadline=None,
    print_blob=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("stats")
