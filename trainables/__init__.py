"""One module a phase: what is learned, on which hemispheres, from which weights.

A module is called as its phase is; `README.md` beside it says how to add one. A lab's own phases lie in the
`trainables/` of its extensions folder; nothing here or in the platform needs to know them.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
