"""What `ray submit` runs on the head node: `tissueclock sweep` on the cluster that it is the head of.

    RAY_UP_enable_autoscaler_v2=0 ray submit infra/cluster.yaml infra/submit.py /shared/studies/paper.yaml

Ray copies this one file to the head node's home folder, so it imports nothing but the installed package. `ray submit`
itself ends with 0 or 1, whatever the sweep's code was. The terminal stays tied to the sweep (`ray submit --tmux` unties
it); the same command resumes.
"""

import os
import sys


def main() -> None:
    """Runs the sweep; exits as it does."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # Ray's clients never switch it on; it reads this when imported
    os.environ.setdefault("RAY_ADDRESS", "auto")
    try:
        from tissueclock.cli import main as tissueclock
    except ModuleNotFoundError as error:
        sys.exit(f"error: {sys.executable} has no {error.name}; infra/cluster.yaml installs it (setup_commands)")
    sys.argv[1:1] = ["sweep"]
    tissueclock()


if __name__ == "__main__":
    main()
