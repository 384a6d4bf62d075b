"""The Docker pod: a gateway and a tracee container that share a sealed network namespace, under a chosen runtime."""
