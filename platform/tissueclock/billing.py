"""The bill of a study: what each of its sweeps costs at most."""

from collections.abc import Sequence

from tissueclock.checking import PhaseLoader, check_space
from tissueclock.records import SweepBill
from tissueclock.study import Study
from tissueclock.sweeping.bill import bill_sweep, measure_on_cluster
from tissueclock.sweeping.room import lack_of_room, this_machine
from tissueclock.training.bill import measure_as_trial


def bill_study(
    study: Study, load_phase: PhaseLoader, *, on_cluster: bool = False, n_cpus: int | None = None
) -> list[SweepBill]:
    """What each sweep costs at most, from a few training steps, measured one sweep after the other.

    Args:
        study: The study, its cohort's identity known.
        load_phase: Gives the phase of a spec.
        on_cluster: Whether to measure on the connected Ray cluster; else in this process.
        n_cpus: CPUs that trials would share on this machine; None: all.

    Raises:
        TissueclockError: A measurement on the cluster failed.
    """
    nodes = None if on_cluster else this_machine(n_cpus)
    measure = measure_on_cluster if on_cluster else measure_as_trial
    lines = []
    for spec in study.vertices.values():
        phase = load_phase(spec)
        lines.append(bill_sweep(spec, phase, check_space(study, spec, phase), measure=measure, nodes=nodes))
    return lines


def room_faults(study: Study, *, n_cpus: int | None = None) -> list[str]:
    """Which sweeps have trials that a cluster on this machine could not hold, a line each.

    Args:
        study: The study.
        n_cpus: CPUs of that cluster; None: all.
    """
    lacks = {name: lack_of_room(spec.budget.resources, this_machine(n_cpus)) for name, spec in study.vertices.items()}
    return [
        f"{name}: {lack}, this machine; --ray-address names a larger cluster" for name, lack in lacks.items() if lack
    ]


def budget_faults(study: Study, bill: Sequence[SweepBill]) -> list[str]:
    """Which time budgets end before the first epoch does, a line each."""
    return [
        f"{line.vertex}: time_budget_min is {budget_min:g}, but one epoch takes {line.epoch_s / 60:.2g} min: no trial "
        "would end one"
        for line in bill
        if (budget_min := study.vertices[line.vertex].budget.time_budget_min) and budget_min * 60 < line.epoch_s
    ]
