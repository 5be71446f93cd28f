"""`python -m mma_runtime` is `mma`."""

from mma_runtime.cli.main import main

if __name__ == "__main__":
    main()
