"""Side-by-side benchmarks against real peers."""
