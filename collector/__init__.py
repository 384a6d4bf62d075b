"""Explains evidence bundles: events, findings, verdict, report (the library)."""
