"""Nothing: this twin acts while it is built."""
