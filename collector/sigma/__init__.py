"""Sigma rules over events: pySigma reads the rules, this package evaluates them."""
