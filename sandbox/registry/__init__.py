"""The worker's side of the registry: the only part of a run that reaches the real package index.

`fetch.Fetcher` asks the configured index through a content-addressed cache (`cache.Cache`); `proxy.RegistryProxy`
offers it to a pod's gateway on a unix socket, under the policy in `policy`.
"""
