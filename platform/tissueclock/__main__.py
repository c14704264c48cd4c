"""`python -m tissueclock`: the command line where no console script is installed, as in a Ray job."""

from tissueclock.cli import main

if __name__ == "__main__":
    main()
