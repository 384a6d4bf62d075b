"""The pod's only neighbour: answers every name, address and port, and writes down what the package sent.

Runs as `python -m sandbox.gateway CONFIG.json` inside the pod's network namespace.
"""
