"""`python -m stdp_run` is `stdp-run`."""

from stdp_run.cli import main

if __name__ == "__main__":
    main()
