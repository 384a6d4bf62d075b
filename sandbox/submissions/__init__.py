"""What was asked for, as rows: committed before anything is queued, and ended in exactly one final state."""
