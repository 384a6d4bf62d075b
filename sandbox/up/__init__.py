"""The whole service on one machine: its own Redis, the HTTP interface and a worker, started and stopped together."""
