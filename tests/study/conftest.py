from tiny_runs import tiny_network  # noqa: F401
