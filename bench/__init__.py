"""Side-by-side benchmarks of onggi and its peers: `make bench` (docs/bench.md)."""
