"""Sweeps: packages submitted unattended, as feeds name them, and what came of it each morning."""
