"""One module a phase: what is learned, on which hemispheres, from which weights.

A phase with a yes-or-no question is a subclass of `trainables.phase.PhaseTrainable`, any other one of
`trainables.trial.Trial`, in a module of the phase's name. A lab's own phases lie in
the `trainables/` of its extensions folder; nothing here or in the platform needs to know them.
"""

from pkgutil import extend_path

__path__ = extend_path(__path__, __name__)
