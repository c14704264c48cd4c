"""What is tuned in each phase: one module a phase, `SPACE` (Ray Tune domains) and `REASONS` (why those bounds).

A space is data. It imports Ray Tune's domains and nothing of ours. A lab's own spaces lie in the `search_spaces/` of
its extensions folder.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
