"""The benchmarks, by what they need: nothing, a database and a broker, the whole stack."""
