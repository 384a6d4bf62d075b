"""Runs packages in sealed pods and leaves evidence bundles (the application)."""
