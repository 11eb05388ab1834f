"""How a model decides, measured: rows kept for testing, whole answers, general benchmarks, reports."""
