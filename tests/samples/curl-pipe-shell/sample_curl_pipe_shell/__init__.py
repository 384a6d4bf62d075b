"""Nothing: this sample acts while it is built."""
