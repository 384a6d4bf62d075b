"""What is known of all runs: a cache of their bundles in a database, rebuilt from them at any time."""
