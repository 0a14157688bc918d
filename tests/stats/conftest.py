from hypothesis import HealthCheck, settings

# A failing example is printed with the blob that repeats it; no test is judged by its duration.
settings.register_profile(
    "stats",
    deadline=None,
    print_blob=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("stats")
