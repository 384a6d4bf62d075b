"""Where a sweep's packages come from: small plug-ins behind `sandbox.sweeps.feeds.feed.Feed`.

Everything that a feed reads is hostile: bounded in size, read strictly, and what cannot be read is counted and told.
"""
