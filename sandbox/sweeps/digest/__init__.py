"""The morning digest: what sweeps ran, what is new and bad, what changed, and what is not known."""
