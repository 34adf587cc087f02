"""Speed of the operator beside its peers: ``python -m benchmarks``, described in README.md."""
