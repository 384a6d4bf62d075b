"""What is to be run next: RQ on Redis as a hint, the rows of `sandbox.submissions` as the truth.

Whatever Redis forgets is queued again from the rows, and whatever it holds that is not in the rows is dropped.
"""

from sandbox.queue.connection import connect
from sandbox.queue.enqueue import enqueue, enqueue_or_leave

__all__ = ["connect", "enqueue", "enqueue_or_leave"]
