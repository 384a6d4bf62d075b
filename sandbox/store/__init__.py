"""Keeps rows of runs and their evidence together: takes bundles in, rebuilds, verifies, removes what is old."""
